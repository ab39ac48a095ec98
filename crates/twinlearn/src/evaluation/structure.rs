//! What a reduction does to neighbourhoods as wholes, and how many axes it uses.

use super::bootstrap::Estimate;
use crate::context::Context;
use crate::data::Subset;
use crate::error::Result;
use crate::knn::Metric;
use crate::linalg::Matrix;
use crate::pca::Pca;

/// Resamples of the effective rank, each of which takes an eigendecomposition.
const RESAMPLES: u32 = 100;

/// Every row's order of the others in one space.
pub(crate) struct Orders {
    n: usize,
    /// The other rows of each, nearest first, ties by the smaller number.
    near: Vec<Vec<u32>>,
}

/// Trustworthiness and continuity of every row (Venna and Kaski, 2001).
pub(crate) struct Neighbourhoods {
    /// 1 − 2 / (k (2n − 3k − 1)) · Σ max(0, r − k) over the k nearest in the reduced space, of which
    /// r is the rank in the original one.
    pub(crate) trustworthiness: Vec<f64>,
    /// The same with the spaces exchanged.
    pub(crate) continuity: Vec<f64>,
}

impl Orders {
    /// Of all pairs of rows.
    pub(crate) fn new(ctx: &Context, x: &Matrix, metric: Metric) -> Result<Self> {
        let n = x.rows();
        let near = ctx.try_map(n, |i| {
            let distances: Vec<f64> = (0..n).map(|j| metric.distance(x.row(i), x.row(j))).collect();
            let mut ids: Vec<u32> = (0..n as u32).filter(|&j| j as usize != i).collect();
            let by_distance = |a: &u32, b: &u32| {
                distances[*a as usize].total_cmp(&distances[*b as usize]).then(a.cmp(b))
            };
            ids.sort_unstable_by(by_distance);
            Ok(ids)
        })?;
        Ok(Self { n, near })
    }

    /// What a reduction, of which `after` are the orders, made of the neighbourhoods of k < n/2.
    pub(crate) fn compare(&self, ctx: &Context, after: &Self, k: usize) -> Result<Neighbourhoods> {
        let n = self.n;
        let scale = 2.0 / (k as f64 * (2.0 * n as f64 - 3.0 * k as f64 - 1.0));
        let score = |near: &[u32], other: &[u32]| {
            let mut rank = vec![0_u32; n];
            other.iter().zip(1..).for_each(|(&id, r)| rank[id as usize] = r);
            let beyond = near[..k].iter().map(|&id| rank[id as usize].saturating_sub(k as u32));
            1.0 - scale * beyond.map(f64::from).sum::<f64>()
        };
        let rows = ctx.try_map(n, |i| {
            let (before, after) = (&self.near[i], &after.near[i]);
            Ok((score(after, before), score(before, after)))
        })?;
        let (trustworthiness, continuity) = rows.into_iter().unzip();
        Ok(Neighbourhoods { trustworthiness, continuity })
    }
}

/// exp(−Σ pᵢ ln pᵢ) with p the singular values of the centred rows, scaled to sum to 1 (Roy and
/// Vetterli, 2007): between 1 and d.
pub(crate) fn effective_rank(ctx: &Context, rows: &Matrix, seed: u64) -> Result<Estimate> {
    let ctx = &ctx.quiet();
    let rank = Estimate::resampled(rows.rows(), seed, RESAMPLES, |ids| {
        let pca = Pca::fit(ctx, &Subset::new(rows, ids)?)?;
        let total: f64 = pca.std().iter().sum();
        let shares = pca.std().iter().map(|s| s / total).filter(|&p| p > 0.0);
        Ok(shares.map(|p| -p * p.ln()).sum::<f64>().exp())
    })?;
    Ok(rank.about_value())
}
