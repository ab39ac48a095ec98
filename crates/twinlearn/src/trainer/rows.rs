//! The rows that a fit is made on: a sample of many, seen from where they lie, brought to length 1.

use super::setting::spread_ids;
use super::validation::Split;
use crate::context::Context;
use crate::data::{Centred, Subset, Vectors};
use crate::error::Result;
use crate::linalg::{Matrix, scale_to_unit};
use crate::model::Model;
use crate::params::MOST_ROWS;
use crate::random::{Purpose, generator, subset};

/// How many times farther from the origin than from each other rows may be, under l2, before the
/// origin is taken off them in `f64`.
const FAR: f64 = 100.0;

/// The rows that a model was judged by when it was made on these vectors, as places in them, rising;
/// none where it was made on others or held no row out.
pub(crate) fn judged_rows(model: &Model, n_rows: usize, checksum: u32) -> Option<Vec<u32>> {
    let (record, seed) = (model.training(), model.params().seed);
    let held_out = record.held_out.as_ref()?;
    if record.n_rows != n_rows || held_out.rows != checksum || held_out.count < 2 {
        return None;
    }
    let sample = held_out.of_sample.then(|| sample_of(seed, n_rows));
    let split = Split::new(seed, held_out.count, sample.as_ref().map_or(n_rows, Vec::len));
    Some(split.judged_of(sample.as_deref()))
}

pub(super) fn sample_of(seed: u64, n_rows: usize) -> Vec<u32> {
    subset(&mut generator(seed, Purpose::Anchors, 0), n_rows, MOST_ROWS)
}

/// A copy of all rows.
pub(super) fn copied(ctx: &Context, x: &dyn Vectors) -> Result<Matrix> {
    const ROWS: usize = 256;
    let mut rows = Matrix::zeros(x.n_rows(), x.dim());
    ctx.try_for_each_chunk(rows.as_mut_slice(), ROWS * x.dim(), |c, out| {
        x.read_rows(c * ROWS, out)
    })?;
    Ok(rows)
}

/// About the mean of rows that lie far from the origin and near each other.
pub(super) fn far_origin(ctx: &Context, x: &dyn Vectors) -> Result<Option<Vec<f64>>> {
    let ids: Vec<u32> = spread_ids(x.n_rows(), 4096);
    let some = Subset::new(x, &ids)?;
    let mean = crate::pca::mean(&ctx.quiet(), &some)?;
    let about = Centred::new(&some, &mean);
    let mut square = 0.0;
    let mut row = vec![0.0; x.dim()];
    for i in 0..some.n_rows() {
        about.read_rows(i, &mut row)?;
        square += row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
    }
    let spread = (square / some.n_rows() as f64).sqrt();
    let length = mean.iter().map(|m| m * m).sum::<f64>().sqrt();
    Ok((length > FAR * spread).then_some(mean))
}

/// Rows, brought to length 1 where only their direction matters.
pub(super) struct Units<'a> {
    pub(super) x: &'a dyn Vectors,
    pub(super) to_unit: bool,
}

impl Units<'_> {
    fn scale(&self, rows: &mut [f32]) {
        if self.to_unit {
            rows.chunks_exact_mut(self.x.dim()).for_each(|row| {
                scale_to_unit(row);
            });
        }
    }
}

impl Vectors for Units<'_> {
    fn n_rows(&self) -> usize {
        self.x.n_rows()
    }

    fn dim(&self) -> usize {
        self.x.dim()
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        self.x.read_rows(start, out)?;
        self.scale(out);
        Ok(())
    }

    fn gather(&self, ids: &[u32], out: &mut [f32]) -> Result<()> {
        self.x.gather(ids, out)?;
        self.scale(out);
        Ok(())
    }
}
