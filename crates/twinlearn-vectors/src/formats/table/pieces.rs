//! Columns of Arrow files that are read piece by piece.
//!
//! Where nothing is compressed and nothing is null, the numbers of a column of a batch lie one after
//! the other in the file: a batch of any size is read without its being decoded whole.

use std::sync::Arc;

use arrow_ipc::RecordBatch;
use arrow_schema::{DataType, FieldRef, Fields};
use twinlearn_core::error::Result;

use super::super::Sink;
use super::super::disk::DiskFile;
use super::batches::Table;
use super::column::Column;
use super::guard::{damaged, guarded};
use super::ipc::Layout;
use super::places::item;

/// The numbers of one batch.
#[derive(Clone, Copy, Debug)]
struct Piece {
    n_rows: usize,
    /// Where the offsets of lists are, and how many bytes one takes.
    offsets: Option<(u64, usize)>,
    /// Where the numbers are, and how many bytes they take.
    values: u64,
    len: u64,
}

/// The numbers of a column, batch after batch.
#[derive(Clone, Debug)]
pub(super) struct Pieces {
    file: Arc<DiskFile>,
    pieces: Vec<Piece>,
}

impl Pieces {
    /// The numbers of a column of an Arrow file, where they lie in it as they are.
    pub(super) fn of(table: &Table, column: &Column) -> Result<Option<Self>> {
        let Some(layout) = table.layout() else { return Ok(None) };
        guarded(&table.file, || Self::within(&table.file, layout, column))
    }

    /// None where something is compressed, null or laid out in another way: it takes a decoder.
    fn within(file: &Arc<DiskFile>, layout: &Layout, column: &Column) -> Result<Option<Self>> {
        let mut pieces = Vec::with_capacity(layout.n_batches());
        for at in 0..layout.n_batches() {
            let found = layout.batch(file, at, |batch, body| {
                let place = Place::default().of(layout.fields(), column.index, &column.path, batch);
                place?.piece(batch, body)
            })?;
            let Some(piece) = found else { return Ok(None) };
            pieces.push(piece);
        }
        Ok(Some(Self { file: Arc::clone(file), pieces }))
    }

    /// The length of the first list, of so many bytes a number; none where there is no list.
    pub(super) fn first_len(&self, size: usize) -> Result<Option<usize>> {
        let Some(piece) = self.pieces.iter().find(|piece| piece.n_rows > 0) else {
            return Ok(None);
        };
        let &[first, end] = &self.offsets(piece, 0, 1)?[..] else { return Ok(None) };
        let most = piece.len / size as u64;
        let len = end.checked_sub(first).and_then(|len| u64::try_from(len).ok());
        match len.filter(|&len| len <= most) {
            Some(len) => Ok(usize::try_from(len).ok()),
            None => Err(damaged(&self.file, "numbers outside their buffer")),
        }
    }

    /// Gives all rows to `sink`, at most `rows` at once.
    pub(super) fn read(&self, column: &Column, rows: usize, sink: &mut Sink<'_>) -> Result<()> {
        let row_bytes = column.dtype.size() * column.width();
        let mut bytes = Vec::new();
        let mut before = 0;
        for piece in &self.pieces {
            for start in (0..piece.n_rows).step_by(rows) {
                let n = rows.min(piece.n_rows - start);
                let ends = self.offsets(piece, start, n)?;
                column.check_lengths(&self.file, &ends, before + start)?;
                let first = match ends.first() {
                    Some(&first) => u64::try_from(first).ok(),
                    None => (start as u64).checked_mul(column.width() as u64),
                };
                let at = first.and_then(|first| first.checked_mul(column.dtype.size() as u64));
                let end = at.and_then(|at| at.checked_add((n * row_bytes) as u64));
                let (Some(at), true) = (at, end.is_some_and(|end| end <= piece.len)) else {
                    return Err(damaged(&self.file, "numbers outside their buffer"));
                };
                bytes.resize(n * row_bytes, 0);
                self.file.read_exact_at(&mut bytes, piece.values + at)?;
                sink(&bytes)?;
            }
            before += piece.n_rows;
        }
        Ok(())
    }

    /// Where lists `start` to `start + n` begin, and the last ends; nothing where they are all of one
    /// length.
    fn offsets(&self, piece: &Piece, start: usize, n: usize) -> Result<Vec<i64>> {
        let Some((at, width)) = piece.offsets else { return Ok(Vec::new()) };
        let mut bytes = vec![0; (n + 1) * width];
        self.file.read_exact_at(&mut bytes, at + (start * width) as u64)?;
        let number = |bytes: &[u8]| match *bytes {
            [a, b, c, d] => i32::from_le_bytes([a, b, c, d]).into(),
            [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
            _ => 0,
        };
        Ok(bytes.chunks_exact(width).map(number).collect())
    }
}

/// Which node and which buffer of a batch come next.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    node: usize,
    buffer: usize,
    lists: Lists,
}

/// How the numbers of a row are found.
#[derive(Clone, Copy, Debug, Default)]
enum Lists {
    #[default]
    None,
    Fixed,
    /// By offsets of so many bytes.
    Offsets(usize),
}

impl Place {
    /// That of member `path` of column `index`, where none on the way to it is null.
    fn of(
        mut self,
        fields: &Fields,
        index: usize,
        path: &[usize],
        batch: &RecordBatch<'_>,
    ) -> Option<Self> {
        for field in fields.iter().take(index) {
            let (nodes, buffers) = parts(field.data_type())?;
            (self.node, self.buffer) = (self.node + nodes, self.buffer + buffers);
        }
        let of = fields.get(index)?.data_type();
        match (path, of) {
            ([], of) => {
                self.lists = match of {
                    DataType::List(_) => Lists::Offsets(4),
                    DataType::LargeList(_) => Lists::Offsets(8),
                    DataType::FixedSizeList(..) => Lists::Fixed,
                    of if item(of).is_some() => return None,
                    _ => Lists::None,
                };
                Some(self)
            }
            ([member, path @ ..], DataType::Struct(fields)) => {
                self.check_node(batch)?;
                self.node += 1;
                self.buffer += 1;
                self.of(fields, *member, path, batch)
            }
            _ => None,
        }
    }

    /// The number of rows of a node without nulls.
    fn check_node(&self, batch: &RecordBatch<'_>) -> Option<usize> {
        let nodes = batch.nodes()?;
        let node = (self.node < nodes.len()).then(|| nodes.get(self.node))?;
        usize::try_from(node.length()).ok().filter(|_| node.null_count() == 0)
    }

    /// Where the numbers are, `body` being where the batch's buffers are, and how long they are in all.
    fn piece(mut self, batch: &RecordBatch<'_>, (start, length): (u64, u64)) -> Option<Piece> {
        if batch.compression().is_some() {
            return None;
        }
        let n_rows = self.check_node(batch)?;
        if usize::try_from(batch.length()).ok() != Some(n_rows) {
            return None;
        }
        let buffers = batch.buffers()?;
        let buffer = |i: usize| {
            let buffer = (i < buffers.len()).then(|| buffers.get(i))?;
            let at = u64::try_from(buffer.offset()).ok()?;
            let len = u64::try_from(buffer.length()).ok()?;
            at.checked_add(len).filter(|&end| end <= length).map(|_| (start + at, len))
        };
        // A node's first buffer says what is null.
        let offsets = match self.lists {
            Lists::None => None,
            Lists::Fixed => {
                (self.node, self.buffer) = (self.node + 1, self.buffer + 1);
                None
            }
            Lists::Offsets(width) => {
                let (at, len) = buffer(self.buffer + 1)?;
                let wanted = (n_rows as u64).checked_add(1)?.checked_mul(width as u64)?;
                // Lists that are none may have no offset.
                let whole = n_rows == 0 || wanted <= len;
                (self.node, self.buffer) = (self.node + 1, self.buffer + 2);
                Some(whole.then_some((at, width))?)
            }
        };
        self.check_node(batch)?;
        let (values, len) = buffer(self.buffer + 1)?;
        Some(Piece { n_rows, offsets, values, len })
    }
}

/// The nodes and the buffers of a column of this type; none where that depends on more.
fn parts(of: &DataType) -> Option<(usize, usize)> {
    use DataType as T;
    match of {
        T::Null => Some((1, 0)),
        T::Utf8 | T::LargeUtf8 | T::Binary | T::LargeBinary => Some((1, 3)),
        T::List(item) | T::LargeList(item) | T::Map(item, _) => parts_with(2, [item]),
        T::ListView(item) | T::LargeListView(item) => parts_with(3, [item]),
        T::FixedSizeList(item, _) => parts_with(1, [item]),
        T::Struct(fields) => parts_with(1, fields),
        T::Utf8View | T::BinaryView | T::Union(..) | T::RunEndEncoded(..) => None,
        // Numbers, times, keys of dictionaries have two buffers: what is null, and the values.
        _ => Some((1, 2)),
    }
}

/// Those of a node with so many buffers of its own, and of the fields within it.
fn parts_with<'a>(
    own: usize,
    fields: impl IntoIterator<Item = &'a FieldRef>,
) -> Option<(usize, usize)> {
    fields.into_iter().try_fold((1, own), |(nodes, buffers), field| {
        let (more_nodes, more_buffers) = parts(field.data_type())?;
        Some((nodes + more_nodes, buffers + more_buffers))
    })
}
