//! Rows in the coordinates of loss KL, and how similar they are there.

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_core::linalg::{Matrix, dot_here, scale_to_unit};
use twinlearn_knn::Metric;
use twinlearn_vectors::{Vectors, copied, spread_ids};

use super::coordinates::{Coordinates, Seen};
use crate::pairs::Pairs;

/// Rows that sizes and gaps are taken from, at most.
pub(super) const SAMPLE: usize = 512;
/// Neighbours whose similarity is near.
const NEAR: usize = 10;

/// Rows and the coordinates of loss KL.
pub(super) struct Axes<'a> {
    pub(super) coordinates: Coordinates,
    /// As batches hold them: in the coordinates, or less the mean alone.
    pub(super) rows: Box<dyn Vectors + 'a>,
    pub(super) is_moved: bool,
    /// The root mean square length of what is compared.
    pub(super) length: f64,
    /// Whether lists are sorted, nearest first.
    pub(super) is_sorted: bool,
}

impl Axes<'_> {
    /// What the numbers of rows are multiplied by, to be compared.
    pub(super) fn factors(&self) -> Vec<f32> {
        match self.is_moved {
            true => self.scaled(self.coordinates.lengths()),
            false => self.scaled(&vec![1.0; self.rows.dim()]),
        }
    }

    /// A point of X, as it is compared.
    pub(super) fn compared(&self, point: &[f64]) -> Vec<f32> {
        let moved = point.iter().zip(self.coordinates.mean()).map(|(v, mean)| v - mean);
        let moved: Vec<f64> = moved.collect();
        match self.is_moved {
            true => self.scaled(&self.coordinates.along(&moved)),
            false => self.scaled(&moved.iter().map(|&v| v as f32).collect::<Vec<f32>>()),
        }
    }

    /// Other rows as batches hold them, copied if they are to be kept.
    pub(super) fn seen<'b>(
        &self,
        ctx: &Context,
        x: &'b dyn Vectors,
        keeps: bool,
    ) -> Result<Box<dyn Vectors + 'b>> {
        seen(ctx, x, &self.coordinates, self.is_moved, keeps)
    }

    fn scaled(&self, values: &[f32]) -> Vec<f32> {
        values.iter().map(|&v| (f64::from(v) / self.length) as f32).collect()
    }
}

/// How similar rows in the coordinates of training are: cosines, or inner products and halves of
/// squared distances by mean square length.
pub(super) struct Similarity<'a> {
    pub(super) metric: Metric,
    pub(super) factors: &'a [f32],
}

impl Similarity<'_> {
    /// Rows as they are compared.
    fn read(&self, x: &dyn Vectors, ids: &[u32]) -> Result<Matrix> {
        let mut rows = Matrix::zeros(ids.len(), x.dim());
        x.gather(ids, rows.as_mut_slice())?;
        for row in rows.as_mut_slice().chunks_exact_mut(x.dim()) {
            row.iter_mut().zip(self.factors).for_each(|(v, f)| *v *= f);
            if self.metric == Metric::Cosine {
                scale_to_unit(row);
            }
        }
        Ok(rows)
    }

    fn of(&self, a: &[f32], b: &[f32]) -> f64 {
        let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
        match self.metric {
            Metric::L2 => -0.5 * a.iter().zip(b).map(square).sum::<f64>(),
            _ => dot_here(a, b),
        }
    }
}

/// How much more similar `anchors` are to their nearest rows of `x` than to the nearest of other
/// anchors; none where they are not.
pub(super) fn gap(
    anchors: &dyn Vectors,
    x: &dyn Vectors,
    pairs: &Pairs,
    similarity: &Similarity<'_>,
) -> Result<Option<f64>> {
    let chosen = spread_ids(pairs.len(), SAMPLE);
    let ids: Vec<u32> = chosen.iter().map(|&i| pairs.list(i as usize).0).collect();
    let anchors = similarity.read(anchors, &ids)?;
    let nearest: Vec<u32> = chosen.iter().map(|&i| pairs.list(i as usize).1[0]).collect();
    let nearest = similarity.read(x, &nearest)?;
    let (mut near, mut far) = (0.0, 0.0);
    for (i, &number) in chosen.iter().enumerate() {
        let list = pairs.list(number as usize).1;
        let rows = similarity.read(x, &list[..list.len().min(NEAR)])?;
        let sum: f64 = (0..rows.rows()).map(|j| similarity.of(anchors.row(i), rows.row(j))).sum();
        near += sum / rows.rows() as f64;
        far +=
            similarity.of(anchors.row(i), nearest.row((i + 1 + chosen.len() / 2) % chosen.len()));
    }
    let gap = (near - far) / chosen.len() as f64;
    Ok(Some(gap).filter(|gap| *gap > 0.0 && gap.is_finite()))
}

/// Rows as batches hold them: moved to the coordinates or not, copied or made whenever they are read.
pub(super) fn seen<'a>(
    ctx: &Context,
    x: &'a dyn Vectors,
    coordinates: &Coordinates,
    is_moved: bool,
    keeps: bool,
) -> Result<Box<dyn Vectors + 'a>> {
    let seen = Seen::new(x, coordinates, is_moved);
    Ok(if keeps { Box::new(copied(ctx, &seen)?) } else { Box::new(seen) })
}
