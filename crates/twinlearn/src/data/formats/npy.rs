//! `.npy` files, and the arrays in them.

use std::sync::Arc;

use super::disk::DiskFile;
use super::npy_header::NpyHeader;
use super::{Array, BLOCK, Dtype, Rows, Sink, Stream, check_len, in_place, two_d};
use crate::error::Result;

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
    let (header, dtype) = parse(file, &start)?;
    let NpyHeader { shape, fortran_order, data_start, .. } = header;
    let data = len - data_start as u64;
    check_len(file, &shape, dtype, data)?;
    let offset = offset + data_start as u64;
    if !fortran_order || shape.iter().filter(|&&d| d != 1).count() < 2 {
        return Ok(in_place(file, offset, dtype, shape));
    }
    let [n_rows, dim] = two_d(&shape);
    if shape.len() != 2 {
        return Err(file.wrong("a 2-D array", format_args!("shape {shape:?}")));
    }
    let columns = Columns { file: Arc::clone(file), offset, dtype, n_rows, dim };
    Ok(Array { shape, rows: Rows::Stream { stream: Box::new(columns), n_rows, dim } })
}

/// The header at the start of an array, and the type of its numbers.
pub(super) fn parse(file: &DiskFile, start: &[u8]) -> Result<(NpyHeader, Dtype)> {
    let header = NpyHeader::parse(start).map_err(|got| file.wrong("a .npy file", got))?;
    match Dtype::from_npy(&header.descr) {
        Some(dtype) => Ok((header, dtype)),
        None => {
            let got = format_args!("elements of type {:?}", header.descr).to_string();
            Err(file.wrong("little-endian floats or integers", got))
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
