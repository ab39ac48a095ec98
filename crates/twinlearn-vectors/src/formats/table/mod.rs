//! Columns of Parquet and Arrow files.

mod column;
mod footer;
mod ipc;
mod parquet;
mod pieces;
mod shapes;
mod thrift;
mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, SchemaRef};

pub(crate) use self::column::Column;
use self::pieces::Pieces;
pub(crate) use self::writer::{TableWriter, reduced_array, reduced_field, reduced_schema};
use super::disk::DiskFile;
use super::{Array, BLOCK, Dtype, Rows, Sink, Stream, choose};
use twinlearn_core::error::{Error, Result};

/// Bytes of vectors in a batch that is read, about.
const BATCH: usize = 4 << 20;

/// What gives the next batch of a table.
type NextBatch = Box<dyn FnMut() -> Result<Option<RecordBatch>> + Send>;

/// A file of rows of named columns.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) file: Arc<DiskFile>,
    kind: Kind,
    pub(crate) schema: SchemaRef,
    pub(crate) n_rows: usize,
}

#[derive(Clone, Debug)]
enum Kind {
    Parquet,
    Ipc(Arc<ipc::Layout>),
}

impl Table {
    pub(crate) fn open(file: &Arc<DiskFile>) -> Result<Self> {
        let parquet = file.start(4)? == b"PAR1";
        let (kind, schema, n_rows) = guarded(file, || {
            if parquet {
                let (schema, n_rows) = parquet::open(file)?;
                Ok((Kind::Parquet, schema, n_rows))
            } else {
                let (layout, schema, n_rows) = ipc::open(file)?;
                Ok((Kind::Ipc(Arc::new(layout)), schema, n_rows))
            }
        })?;
        Ok(Self { file: Arc::clone(file), kind, schema, n_rows })
    }

    /// The batches of these columns (all, where none are named), of about `batch_rows` rows where
    /// the format leaves a choice.
    pub(crate) fn batches(&self, columns: Option<&[usize]>, batch_rows: usize) -> Result<Batches> {
        let next = guarded(&self.file, || match &self.kind {
            Kind::Parquet => parquet::batches(&self.file, columns, batch_rows),
            Kind::Ipc(layout) => ipc::batches(&self.file, layout, columns),
        })?;
        Ok(Batches { file: Arc::clone(&self.file), next, done: 0, n_rows: self.n_rows })
    }

    /// Bytes of so many of the largest batches of an Arrow file, as they are and unpacked, if it has so
    /// many; of Parquet, batches are as large as they are asked for.
    pub(crate) fn batches_bytes(&self, n: usize) -> usize {
        match &self.kind {
            Kind::Parquet => 0,
            Kind::Ipc(layout) => layout.batch_bytes().saturating_mul(n.min(layout.n_batches())),
        }
    }

    /// The numbers of a column of an Arrow file, where they lie in it as they are.
    fn pieces(&self, column: &Column) -> Result<Option<Pieces>> {
        guarded(&self.file, || match &self.kind {
            Kind::Parquet => Ok(None),
            Kind::Ipc(layout) => Pieces::of(&self.file, layout, column),
        })
    }

    /// The column that holds the vectors: the one asked for, or the only one that could be meant.
    fn column(&self, name: Option<&str>) -> Result<Place> {
        let places = self.places();
        let names = |wanted: &dyn Fn(&DataType) -> bool| -> Vec<String> {
            let places = places.iter().filter(|place| wanted(&place.of));
            places.map(|place| place.name.clone()).collect()
        };
        let all = match name {
            Some(_) => names(&|_| true),
            None => names(&|of| item(of).and_then(dtype).is_some()),
        };
        let all = if all.is_empty() { names(&|of| dtype(of).is_some()) } else { all };
        if all.is_empty() && !places.is_empty() {
            let some = places.iter().take(20).map(|place| format!("{} ({})", place.name, place.of));
            let got = some.collect::<Vec<_>>().join(", ");
            return Err(self.file.wrong("a column of numbers or of lists of numbers", got));
        }
        let chosen = choose(&self.file, "column", &all, name)?.to_owned();
        // A name that stands twice means the first.
        let place = places.into_iter().find(|place| place.name == chosen);
        place.ok_or_else(|| self.file.wrong("a column", "none"))
    }

    /// All columns, and the members of those that have some: `doc.emb` is member `emb` of `doc`.
    fn places(&self) -> Vec<Place> {
        let mut all = Vec::new();
        for (index, field) in self.schema.fields().iter().enumerate() {
            members(Place::of(index, field), field.data_type(), &mut all);
        }
        all
    }
}

/// Where a column's numbers are: in a column of the table, or in a member of a member of one.
#[derive(Clone, Debug)]
struct Place {
    index: usize,
    /// The numbers of members, outermost first.
    path: Vec<usize>,
    name: String,
    of: DataType,
}

impl Place {
    fn of(index: usize, field: &Field) -> Self {
        let (name, of) = (field.name().clone(), field.data_type().clone());
        Self { index, path: Vec::new(), name, of }
    }
}

/// A place, or those within it.
fn members(place: Place, of: &DataType, all: &mut Vec<Place>) {
    let DataType::Struct(fields) = of else { return all.push(place) };
    for (number, field) in fields.iter().enumerate() {
        let mut member = place.clone();
        member.path.push(number);
        member.name = format!("{}.{}", place.name, field.name());
        member.of = field.data_type().clone();
        members(member, field.data_type(), all);
    }
}

/// The batches of a table, in order.
pub(crate) struct Batches {
    file: Arc<DiskFile>,
    next: NextBatch,
    done: usize,
    n_rows: usize,
}

impl Batches {
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>> {
        let batch = guarded(&self.file, &mut self.next)?;
        match &batch {
            Some(batch) => self.done += batch.num_rows(),
            None if self.done == self.n_rows => {}
            None => return Err(self.file.wrong(format_args!("{} rows", self.n_rows), self.done)),
        }
        Ok(batch)
    }
}

/// The type of the elements of lists.
fn item(list: &DataType) -> Option<&DataType> {
    match list {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => Some(item.data_type()),
        _ => None,
    }
}

fn dtype(of: &DataType) -> Option<Dtype> {
    Some(match of {
        DataType::Float16 => Dtype::F16,
        DataType::Float32 => Dtype::F32,
        DataType::Float64 => Dtype::F64,
        DataType::Int8 => Dtype::I8,
        DataType::UInt8 => Dtype::U8,
        DataType::Int16 => Dtype::I16,
        DataType::UInt16 => Dtype::U16,
        DataType::Int32 => Dtype::I32,
        DataType::UInt32 => Dtype::U32,
        DataType::Int64 => Dtype::I64,
        DataType::UInt64 => Dtype::U64,
        _ => return None,
    })
}

pub(super) fn open(file: &Arc<DiskFile>, name: Option<&str>) -> Result<Array> {
    let table = Table::open(file)?;
    let found = table.column(name).and_then(|place| Column::of(&table, place));
    let (column, pieces) = match found {
        // A part without a row may not know what its columns hold.
        Err(_) if table.n_rows == 0 => {
            let rows = Rows::Stream { stream: Box::new(Nothing), n_rows: 0, dim: 0 };
            return Ok(Array { shape: vec![0, 0], rows });
        }
        found => found?,
    };
    let (n_rows, dim) = (table.n_rows, column.width());
    let shape = if column.is_list() { vec![n_rows, dim] } else { vec![n_rows] };
    let stream = ColumnStream { table, column, pieces };
    Ok(Array { shape, rows: Rows::Stream { stream: Box::new(stream), n_rows, dim } })
}

/// No row.
#[derive(Debug)]
struct Nothing;

impl Stream for Nothing {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn read(&self, _: &mut Sink<'_>) -> Result<()> {
        Ok(())
    }
}

/// One column of a table, row after row.
#[derive(Debug)]
struct ColumnStream {
    table: Table,
    column: Column,
    /// Its numbers, where they are read piece by piece.
    pieces: Option<Pieces>,
}

impl Stream for ColumnStream {
    fn dtype(&self) -> Dtype {
        self.column.dtype
    }

    fn read(&self, sink: &mut Sink<'_>) -> Result<()> {
        if let Some(pieces) = &self.pieces {
            return pieces.read(&self.column, self.column.batch_rows(), sink);
        }
        let columns = [self.column.index];
        let mut batches = self.table.batches(Some(&columns), self.column.batch_rows())?;
        let mut row = 0;
        let row_bytes = self.column.dtype.size() * self.column.width();
        let block = (BLOCK / row_bytes.max(1)).max(1) * row_bytes;
        while let Some(batch) = batches.next()? {
            let numbers = self.column.numbers(&self.table.file, batch.column(0), row)?;
            for block in numbers.as_bytes().chunks(block.max(1)) {
                sink(block)?;
            }
            row += batch.num_rows();
        }
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        match self.pieces {
            Some(_) => 0,
            None => self.table.batches_bytes(1),
        }
    }

    fn table(&self) -> Option<(&Table, &Column)> {
        Some((&self.table, &self.column))
    }
}

/// What a decoder says, or its panic: they are written for files that other programs wrote whole.
fn guarded<R>(file: &DiskFile, work: impl FnOnce() -> Result<R>) -> Result<R> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(damaged(file, "one that breaks its decoder")))
}

fn damaged(file: &DiskFile, e: impl std::fmt::Display) -> Error {
    // Some of their messages have several lines.
    let text = e.to_string();
    file.wrong("an undamaged Parquet or Arrow file", text.lines().collect::<Vec<_>>().join(" "))
}
