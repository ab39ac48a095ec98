//! The closed form for linear encoders: leading axes of the covariance of rows with their
//! neighbours, without any training (after Balestriero and LeCun, arXiv 2205.11508).
//!
//! With Xc the rows and Yc the means of each row's neighbours, both less the mean μ of the rows,
//! A = (XcᵀYc + YcᵀXc) / 2N. Its leading eigenpairs (s, U) give the map W = U / s^(γ/2),
//! b = −Wμ: what neighbours share is kept, and noise, which they don't, is not.

use twinlearn_core::context::{Context, runs};
use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::{Effort, MatRef, Matrix, add_product, leading_eigen, matmul};
use twinlearn_core::progress::{Event, Stage};
use twinlearn_vectors::Vectors;

use crate::linear_map::LinearMap;
use crate::pairs::Pairs;

/// Anchors of a block: one product each.
const ROWS: usize = 2048;
/// Anchors that a task reads at once.
const PIECE: usize = 64;
/// No more neighbours of a row are used than this share of all rows: where all rows are
/// neighbours, their mean is that of all, and shares nothing with any.
const SHARE: usize = 4;
/// Eigenvalues up to this share of the largest are rounding: products are in `f32`. Neighbours may
/// even disagree along an axis: then its eigenvalue is below zero.
const ROUNDING: f64 = 1e-6;

/// The eigenvalues of A, falling, and its axes as rows.
pub(crate) struct SharedAxes {
    values: Vec<f64>,
    axes: Matrix<f64>,
    mean: Vec<f64>,
}

impl SharedAxes {
    /// The `most` leading ones; none where no rows vary together with their neighbours. `mean` is that
    /// of the rows.
    pub(crate) fn of(
        ctx: &Context,
        x: &dyn Vectors,
        pairs: &Pairs,
        mean: &[f64],
        most: usize,
    ) -> Result<Option<Self>> {
        let (values, axes) = ctx.stage(Stage::Spectral, pairs.len(), || {
            let covariance = covariance(ctx, x, pairs, mean)?;
            leading_eigen(ctx, covariance, most, None, Effort::EXACT)
        })?;
        if values[0] <= 0.0 {
            return Ok(None);
        }
        Ok(Some(Self { values, axes, mean: mean.to_vec() }))
    }

    /// How many of the known axes neighbours share, by more than rounding.
    pub(crate) fn n_shared(&self) -> usize {
        self.values.iter().filter(|&&value| value > ROUNDING * self.values[0]).count()
    }

    /// The map to the `n_components` leading axes. Those along which neighbours share no more than
    /// rounding are not divided but left out, as in the pseudoinverse; for `power` 0 they stay.
    pub(crate) fn map(&self, n_components: usize, power: f64) -> Result<LinearMap> {
        let rounding = ROUNDING * self.values[0];
        let gains = self.values[..n_components].iter().map(|&value| match power {
            0.0 => 1.0,
            _ if value <= rounding => 0.0,
            _ => value.powf(-power / 2.0),
        });
        LinearMap::along(&self.axes, &self.mean, gains)
    }
}

/// A: products in `f32` over blocks of anchors, their sum in `f64`. Rows are brought to about length 1
/// for it, so that products neither overflow nor vanish.
fn covariance(ctx: &Context, x: &dyn Vectors, pairs: &Pairs, mean: &[f64]) -> Result<Matrix<f64>> {
    let dim = x.dim();
    let size = size(ctx, x, pairs, mean)?;
    let mut total = Matrix::<f64>::zeros(dim, dim);
    let mut part = Matrix::<f32>::zeros(dim, dim);
    for run in runs(pairs.len(), ROWS) {
        ctx.check_cancelled()?;
        let (mut rows, mut others) = (Matrix::zeros(run.len(), dim), Matrix::zeros(run.len(), dim));
        let mut pieces: Vec<_> = rows
            .as_mut_slice()
            .chunks_mut(PIECE * dim)
            .zip(others.as_mut_slice().chunks_mut(PIECE * dim))
            .collect();
        ctx.try_for_each_chunk(&mut pieces, 1, |c, piece| {
            let (rows, others) = &mut piece[0];
            let first = run.start + c * PIECE;
            read(x, pairs, first, (mean, 1.0 / size), rows, others)
        })?;
        let (rows, others) = (
            MatRef::new(rows.as_slice(), run.len(), dim),
            MatRef::new(others.as_slice(), run.len(), dim),
        );
        matmul(ctx, 1.0, rows.t(), others, 0.0, part.view_mut());
        add_product(ctx, &mut total, &part);
        ctx.emit(&Event::StageProgress { stage: Stage::Spectral, done: run.end });
    }
    let mut symmetric = Matrix::zeros(dim, dim);
    let scale = 0.5 / pairs.len() as f64 * size * size;
    for i in 0..dim {
        for j in 0..dim {
            let sum = total.row(i)[j] + total.row(j)[i];
            symmetric.as_mut_slice()[i * dim + j] = sum * scale;
        }
    }
    if let Some(bad) = symmetric.as_slice().iter().find(|v| !v.is_finite()) {
        return Err(Error::invalid("X", "values whose covariance is finite", bad));
    }
    Ok(symmetric)
}

/// About the length of the longest anchor less `mean`: a power of two, which rounds nothing.
fn size(ctx: &Context, x: &dyn Vectors, pairs: &Pairs, mean: &[f64]) -> Result<f64> {
    let dim = x.dim();
    let parts: Vec<_> = runs(pairs.len(), PIECE).collect();
    let longest = ctx.try_map(parts.len(), |part| {
        let ids: Vec<u32> = parts[part].clone().map(|i| pairs.list(i).0).collect();
        let mut rows = vec![0.0; ids.len() * dim];
        x.gather(&ids, &mut rows)?;
        let square = |row: &[f32]| {
            row.iter().zip(mean).map(|(&v, m)| (f64::from(v) - m).powi(2)).sum::<f64>()
        };
        Ok(rows.chunks_exact(dim).map(square).fold(0.0, f64::max).sqrt())
    })?;
    let longest = longest.into_iter().fold(0.0, f64::max);
    Ok(if longest > 0.0 && longest.is_finite() { longest.log2().ceil().exp2() } else { 1.0 })
}

/// Reads anchors from number `first` on, and the means of their partners, less `mean` and times
/// `gain`.
fn read(
    x: &dyn Vectors,
    pairs: &Pairs,
    first: usize,
    (mean, gain): (&[f64], f64),
    rows: &mut [f32],
    others: &mut [f32],
) -> Result<()> {
    let dim = x.dim();
    let anchors = first..first + rows.len() / dim;
    let ids: Vec<u32> = anchors.clone().map(|i| pairs.list(i).0).collect();
    x.gather(&ids, rows)?;
    for row in rows.chunks_exact_mut(dim) {
        row.iter_mut().zip(mean).for_each(|(v, m)| *v = ((f64::from(*v) - m) * gain) as f32);
    }
    let mut partners = Vec::new();
    for (i, out) in anchors.zip(others.chunks_exact_mut(dim)) {
        let ids = pairs.list(i).1;
        let ids = &ids[..ids.len().min((x.n_rows().saturating_sub(1) / SHARE).max(1))];
        partners.resize(ids.len() * dim, 0.0);
        x.gather(ids, &mut partners)?;
        for (j, (out, m)) in out.iter_mut().zip(mean).enumerate() {
            let sum: f64 = partners.iter().skip(j).step_by(dim).map(|&v| f64::from(v)).sum();
            *out = ((sum / ids.len() as f64 - m) * gain) as f32;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinlearn_knn::KnnGraph;

    /// Pairs that agree along (3, 4)/5 and differ along (−4, 3)/5, about (7, −2).
    #[test]
    fn what_neighbours_share_is_kept() {
        let n = 3000_usize;
        let data = (0..n).flat_map(|i| {
            let shared = ((i / 2) as f64 * 0.37).sin() * 2f64.sqrt();
            // Ten times as large, but of opposite sign in a pair.
            let own = 10.0 * if i % 2 == 0 { 1.0 } else { -1.0 } * ((i / 2) as f64 * 0.11).cos();
            [0.6 * shared - 0.8 * own + 7.0, 0.8 * shared + 0.6 * own - 2.0].map(|v| v as f32)
        });
        let x = Matrix::new(n, 2, data.collect()).unwrap();
        let ids: Vec<i64> = (0..n as i64).map(|i| i ^ 1).collect();
        let graph = KnnGraph::from_indices(n, &ids).unwrap();
        let pairs = Pairs::from_graph(&graph, 1, |_| true).unwrap();
        let mean = [7.0, -2.0];
        let maps = [1, 3].map(|threads| {
            let ctx = Context::with_threads(threads).unwrap();
            SharedAxes::of(&ctx, &x, &pairs, &mean, 2).unwrap().unwrap().map(1, 1.0).unwrap()
        });
        assert_eq!(maps[0], maps[1], "threads change nothing");
        // The shared part has variance 1: W = (0.6, 0.8) / 1^(1/2).
        let w = maps[0].weight.as_slice();
        assert!((w[0] - 0.6).abs() < 1e-2 && (w[1] - 0.8).abs() < 1e-2, "{w:?}");
        let at_mean = w[0] * 7.0 + w[1] * -2.0 + maps[0].bias[0];
        assert!(at_mean.abs() < 1e-5, "{at_mean}");
    }
}
