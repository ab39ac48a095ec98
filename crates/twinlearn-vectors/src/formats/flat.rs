//! Rows that lie in a file at even distances.

use std::ops::Range;
use std::sync::Arc;

use twinlearn_core::error::Result;

use super::disk::DiskFile;
use super::dtype::Dtype;

/// Bytes read at once: small enough for the nearest cache, in which they are then widened.
const PIECE: usize = 32 << 10;

/// The length of the number before each row, in files that have one.
const MARK: usize = 4;

/// Rows in a file: `n_rows` runs of `dim` numbers.
#[derive(Clone, Debug)]
pub(crate) struct Flat {
    file: Arc<DiskFile>,
    offset: u64,
    pub(crate) dtype: Dtype,
    pub(crate) n_rows: usize,
    pub(crate) dim: usize,
    /// Whether each row begins with its own dimension, in 4 bytes.
    marked: bool,
}

impl Flat {
    /// The caller has checked that the rows end within the file.
    pub(crate) fn new(
        file: Arc<DiskFile>,
        offset: u64,
        dtype: Dtype,
        [n_rows, dim]: [usize; 2],
    ) -> Self {
        Self { file, offset, dtype, n_rows, dim, marked: false }
    }

    /// Rows that each begin with their dimension.
    pub(super) fn marked(self) -> Self {
        Self { marked: true, ..self }
    }

    /// Bytes of a row's numbers.
    pub(crate) fn row_bytes(&self) -> usize {
        self.dim * self.dtype.size()
    }

    fn stride(&self) -> usize {
        self.row_bytes() + if self.marked { MARK } else { 0 }
    }

    fn at(&self, row: usize) -> u64 {
        self.offset + row as u64 * self.stride() as u64
    }

    /// Writes the numbers of some rows to `out`, as they are in the file.
    pub(crate) fn read_raw(&self, start: usize, out: &mut [u8]) -> Result<()> {
        if !self.marked {
            return self.file.read_exact_at(out, self.at(start));
        }
        let mut piece = vec![0; PIECE.max(self.stride())];
        let rows = piece.len() / self.stride();
        for (first, out) in (start..).step_by(rows).zip(out.chunks_mut(rows * self.row_bytes())) {
            let n = out.len() / self.row_bytes();
            let piece = &mut piece[..n * self.stride()];
            self.file.read_exact_at(piece, self.at(first))?;
            for ((row, from), to) in (first..)
                .zip(piece.chunks_exact(self.stride()))
                .zip(out.chunks_exact_mut(self.row_bytes()))
            {
                let (mark, numbers) = from.split_at(MARK);
                let mark = i32::from_le_bytes([mark[0], mark[1], mark[2], mark[3]]);
                if usize::try_from(mark) != Ok(self.dim) {
                    let expected = format!("dimension {} in every row", self.dim).to_string();
                    return Err(self.file.wrong(expected, format_args!("{mark} in row {row}")));
                }
                to.copy_from_slice(numbers);
            }
        }
        Ok(())
    }

    /// Writes rows to `out`, row after row.
    pub(crate) fn read(&self, start: usize, out: &mut [f32]) -> Result<()> {
        if self.dtype == Dtype::F32 {
            return self.read_raw(start, bytemuck::cast_slice_mut(out));
        }
        let mut words = [0_u64; PIECE / 8];
        self.read_through(&mut words, start, out)
    }

    /// Writes rows less `origin` to `out`, row after row.
    pub(crate) fn read_from(&self, origin: &[f64], start: usize, out: &mut [f32]) -> Result<()> {
        let rows = (PIECE / self.row_bytes()).max(1);
        let mut piece = vec![0; rows.min(out.len() / self.dim) * self.row_bytes()];
        for (first, out) in (start..).step_by(rows).zip(out.chunks_mut(rows * self.dim)) {
            let piece = &mut piece[..out.len() * self.dtype.size()];
            self.read_raw(first, piece)?;
            self.dtype.widen_from(piece, origin, out);
        }
        Ok(())
    }

    /// Writes rows named by `ids` to `out`, row after row.
    pub(crate) fn gather(&self, ids: impl Iterator<Item = usize>, out: &mut [f32]) -> Result<()> {
        let mut words = [0_u64; PIECE / 8];
        for (id, out) in ids.zip(out.chunks_exact_mut(self.dim)) {
            match self.dtype {
                Dtype::F32 => self.read_raw(id, bytemuck::cast_slice_mut(out))?,
                _ => self.read_through(&mut words, id, out)?,
            }
        }
        Ok(())
    }

    fn read_through(&self, words: &mut [u64], start: usize, out: &mut [f32]) -> Result<()> {
        let size = self.dtype.size();
        let piece: &mut [u8] = bytemuck::cast_slice_mut(words);
        if self.marked {
            let rows = (piece.len() / self.row_bytes()).max(1);
            let mut long = Vec::new();
            for (first, out) in (start..).step_by(rows).zip(out.chunks_mut(rows * self.dim)) {
                let bytes = out.len() * size;
                let piece = if bytes <= piece.len() {
                    &mut piece[..bytes]
                } else {
                    long.resize(bytes, 0);
                    &mut long[..]
                };
                self.read_raw(first, piece)?;
                self.dtype.widen(piece, out);
            }
            return Ok(());
        }
        let mut offset = self.at(start);
        for out in out.chunks_mut(piece.len() / size) {
            let piece = &mut piece[..out.len() * size];
            self.file.read_exact_at(piece, offset)?;
            self.dtype.widen(piece, out);
            offset += piece.len() as u64;
        }
        Ok(())
    }

    /// Tells the system that these rows will be wanted.
    pub(crate) fn will_need(&self, rows: Range<usize>) {
        let (start, end) = (self.at(rows.start), self.at(rows.end));
        self.file.will_need(start, end - start);
    }
}
