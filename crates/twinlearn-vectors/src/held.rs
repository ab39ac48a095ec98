//! Rows in memory, as their file had them.

use twinlearn_core::error::Result;

use super::Vectors;
use super::formats::Dtype;

/// Rows in memory, as their file had them.
#[derive(Debug)]
pub(super) struct HeldRows {
    /// Bytes, in words so that any number type lies even.
    pub(super) words: Vec<u64>,
    pub(super) dtype: Dtype,
    pub(super) n_rows: usize,
    pub(super) dim: usize,
}

impl HeldRows {
    pub(super) fn new(bytes: &[u8], dtype: Dtype, dim: usize) -> Self {
        let mut words = vec![0; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        let n_rows = bytes.len() / (dim * dtype.size());
        Self { words, dtype, n_rows, dim }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.n_rows * self.dim * self.dtype.size()]
    }

    fn row_bytes(&self) -> usize {
        self.dim * self.dtype.size()
    }

    /// The bytes of so many numbers, from row `start` on.
    fn bytes_from(&self, start: usize, numbers: usize) -> &[u8] {
        &self.bytes()[start * self.row_bytes()..][..numbers * self.dtype.size()]
    }
}

impl Vectors for HeldRows {
    fn n_rows(&self) -> usize {
        self.n_rows
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        self.dtype.widen(self.bytes_from(start, out.len()), out);
        Ok(())
    }

    fn read_rows_from(&self, origin: &[f64], start: usize, out: &mut [f32]) -> Result<()> {
        self.dtype.widen_from(self.bytes_from(start, out.len()), origin, out);
        Ok(())
    }

    fn as_f32(&self) -> Option<&[f32]> {
        match self.dtype {
            Dtype::F32 => bytemuck::try_cast_slice(self.bytes()).ok(),
            _ => None,
        }
    }
}
