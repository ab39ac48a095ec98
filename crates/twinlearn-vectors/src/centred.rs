//! Vectors seen from another origin.

use twinlearn_core::error::Result;

use super::{Subset, Vectors, spread_ids};

/// How many times farther from the origin than from each other rows may be before it is worth while
/// to take it off them in `f64`.
const FAR: f64 = 100.0;
/// Rows that are looked at to know where they lie.
const SAMPLE: usize = 4096;

/// Rows less an origin, rounded to `f32` once: rows that lie far from 0 and near each other keep
/// their digits where they are `f64`.
pub struct Centred<'a> {
    x: &'a dyn Vectors,
    origin: &'a [f64],
}

impl<'a> Centred<'a> {
    /// `origin` has as many numbers as a row.
    pub fn new(x: &'a dyn Vectors, origin: &'a [f64]) -> Self {
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

/// About the mean of rows that lie far from the origin and near each other; none of others.
pub fn far_origin(x: &dyn Vectors) -> Result<Option<Vec<f64>>> {
    let ids = spread_ids(x.n_rows(), SAMPLE);
    let some = Subset::new(x, &ids)?;
    let mut row = vec![0.0; x.dim()];
    let mut origin = vec![0.0; x.dim()];
    for i in 0..ids.len() {
        some.read_rows(i, &mut row)?;
        origin.iter_mut().zip(&row).for_each(|(sum, &v)| *sum += f64::from(v) / ids.len() as f64);
    }
    let about = Centred::new(&some, &origin);
    let mut square = 0.0;
    for i in 0..ids.len() {
        about.read_rows(i, &mut row)?;
        square += row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
    }
    let spread = (square / ids.len() as f64).sqrt();
    let length = origin.iter().map(|m| m * m).sum::<f64>().sqrt();
    Ok((length > FAR * spread).then_some(origin))
}

/// Takes `origin` off rows.
pub(super) fn move_rows(rows: &mut [f32], origin: &[f64]) {
    for row in rows.chunks_exact_mut(origin.len()) {
        for (v, o) in row.iter_mut().zip(origin) {
            *v = (f64::from(*v) - o) as f32;
        }
    }
}
