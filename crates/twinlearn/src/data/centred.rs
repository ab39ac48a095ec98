//! Vectors seen from another origin.

use super::Vectors;
use crate::error::Result;

/// Rows less an origin, rounded to `f32` once: rows that lie far from 0 and near each other keep
/// their digits where they are `f64`.
pub(crate) struct Centred<'a> {
    x: &'a dyn Vectors,
    origin: &'a [f64],
}

impl<'a> Centred<'a> {
    /// `origin` has as many numbers as a row.
    pub(crate) fn new(x: &'a dyn Vectors, origin: &'a [f64]) -> Self {
        assert_eq!(x.dim(), origin.len());
        Self { x, origin }
    }
}

impl Vectors for Centred<'_> {
    fn n_rows(&self) -> usize {
        self.x.n_rows()
    }

    fn dim(&self) -> usize {
        self.x.dim()
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        self.x.read_rows_from(self.origin, start, out)
    }

    fn gather(&self, ids: &[u32], out: &mut [f32]) -> Result<()> {
        self.x.gather_from(self.origin, ids, out)
    }
}

/// Takes `origin` off rows.
pub(super) fn move_rows(rows: &mut [f32], origin: &[f64]) {
    for row in rows.chunks_exact_mut(origin.len()) {
        for (v, o) in row.iter_mut().zip(origin) {
            *v = (f64::from(*v) - o) as f32;
        }
    }
}
