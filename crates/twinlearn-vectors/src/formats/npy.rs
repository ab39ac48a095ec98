//! `.npy` files, and the arrays in them.

use std::sync::Arc;

use twinlearn_core::error::Result;

use super::disk::DiskFile;
use super::npy_header::NpyHeader;
use super::{Array, BLOCK, Dtype, Rows, Sink, Stream, are_vectors, check_len, in_place, two_d};

/// More than the longest header that the format's first version, the usual one, allows.
pub(super) const HEADER: usize = (64 << 10) + 16;

pub(super) fn open(file: &Arc<DiskFile>) -> Result<Array> {
    if file.len() == 0 {
        return Err(file.wrong("a .npy file", "an empty file"));
    }
    open_at(file, 0, file.len())
}

/// The array of `len` bytes, header included, that begins at `offset`.
pub(super) fn open_at(file: &Arc<DiskFile>, offset: u64, len: u64) -> Result<Array> {
    let mut start = vec![0; usize::try_from(len).unwrap_or(HEADER).min(HEADER)];
    file.read_exact_at(&mut start, offset)?;
    let (header, dtype, swapped) = parse(file, &start)?;
    let NpyHeader { shape, fortran_order, data_start, .. } = header;
    let data = len - data_start as u64;
    check_len(file, &shape, dtype, data)?;
    let offset = offset + data_start as u64;
    if !fortran_order || shape.iter().filter(|&&d| d != 1).count() < 2 {
        return Ok(native(in_place(file, offset, dtype, shape), swapped));
    }
    let [n_rows, dim] = two_d(&shape);
    if !are_vectors(&shape) {
        return Err(file.wrong("a 2-D array", format_args!("shape {shape:?}")));
    }
    let columns = Columns { file: Arc::clone(file), offset, dtype, n_rows, dim };
    let rows = Rows::Stream { stream: Box::new(columns), n_rows, dim };
    Ok(native(Array { shape, rows }, swapped))
}

/// The header at the start of an array, the type of its numbers, and whether their bytes are in the
/// other order.
pub(super) fn parse(file: &DiskFile, start: &[u8]) -> Result<(NpyHeader, Dtype, bool)> {
    let header = NpyHeader::parse(start).map_err(|got| file.wrong("a .npy file", got))?;
    match Dtype::from_npy(&header.descr) {
        Some((dtype, swapped)) => Ok((header, dtype, swapped)),
        None => {
            let got = format!("elements of type {:?}", header.descr).to_string();
            Err(file.wrong("floats of at most 64 bits, integers or booleans", got))
        }
    }
}

/// An array whose bytes are put in order, where they are `swapped`.
pub(super) fn native(array: Array, swapped: bool) -> Array {
    if !swapped {
        return array;
    }
    let Array { shape, rows } = array;
    let (n_rows, dim) = (rows.n_rows(), rows.dim());
    Array { shape, rows: Rows::Stream { stream: Box::new(Swapped(rows)), n_rows, dim } }
}

/// Numbers with the highest byte first.
#[derive(Debug)]
struct Swapped(Rows);

impl Stream for Swapped {
    fn dtype(&self) -> Dtype {
        self.0.dtype()
    }

    fn read(&self, sink: &mut Sink<'_>) -> Result<()> {
        let size = self.dtype().size();
        let mut block = Vec::new();
        let mut swap = |block: &mut [u8]| {
            block.chunks_exact_mut(size).for_each(<[u8]>::reverse);
            sink(block)
        };
        match &self.0 {
            Rows::Flat(flat) => {
                let most = (BLOCK / flat.row_bytes().max(1)).max(1);
                for start in (0..flat.n_rows).step_by(most) {
                    block.resize(most.min(flat.n_rows - start) * flat.row_bytes(), 0);
                    flat.read_raw(start, &mut block)?;
                    swap(&mut block)?;
                }
                Ok(())
            }
            Rows::Stream { stream, .. } => stream.read(&mut |bytes| {
                block.clear();
                block.extend_from_slice(bytes);
                swap(&mut block)
            }),
        }
    }
}

/// An array in Fortran order: column after column.
#[derive(Debug)]
struct Columns {
    file: Arc<DiskFile>,
    offset: u64,
    dtype: Dtype,
    n_rows: usize,
    dim: usize,
}

impl Stream for Columns {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn read(&self, sink: &mut Sink<'_>) -> Result<()> {
        let size = self.dtype.size();
        let row_bytes = self.dim * size;
        let most = (BLOCK / row_bytes.max(1)).clamp(1, self.n_rows.max(1));
        let (mut block, mut column) = (vec![0; most * row_bytes], vec![0; most * size]);
        for start in (0..self.n_rows).step_by(most) {
            let n = most.min(self.n_rows - start);
            let block = &mut block[..n * row_bytes];
            for c in 0..self.dim {
                let column = &mut column[..n * size];
                let at = (c as u64 * self.n_rows as u64 + start as u64) * size as u64;
                self.file.read_exact_at(column, self.offset + at)?;
                let rows = block.chunks_exact_mut(row_bytes);
                for (row, value) in rows.zip(column.chunks_exact(size)) {
                    row[c * size..][..size].copy_from_slice(value);
                }
            }
            sink(block)?;
        }
        Ok(())
    }
}
