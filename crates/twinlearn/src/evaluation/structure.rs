//! What a reduction does to neighbourhoods as wholes, and how many axes it uses.

use twinlearn_core::context::{Context, runs};
use twinlearn_core::error::Result;
use twinlearn_core::linalg::{MatRef, Matrix, matmul};
use twinlearn_knn::Metric;

use crate::estimate::Estimate;
use crate::pca::Pca;
use crate::span::Span;

/// Axes along which rows spread by less than this share of the most are taken for rounding.
const LIVE: f64 = 1e-6;
/// Rows that are turned to their axes at once.
const ROWS: usize = 256;

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
    /// Orders all pairs of rows.
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

/// exp(H) with H = −Σ pᵢ ln pᵢ of the singular values σᵢ of the centred rows, scaled to sum to 1 (Roy
/// and Vetterli, 2007): between 1 and d; 1 where all rows are equal.
///
/// The interval is of first order: along its axis uᵢ a row moves σᵢ² by (uᵢ · x)² − σᵢ², and with
/// dR/dσᵢ = −R (ln pᵢ + H) / Σσ the rank R by the sum of its influences.
pub(crate) fn effective_rank(ctx: &Context, rows: &Matrix) -> Result<Estimate> {
    if let Some(span) = Span::over(ctx, rows)? {
        return effective_rank(ctx, &span.rows(0));
    }
    let Some(pca) = Pca::fit(&ctx.quiet(), rows)? else {
        return Ok(Estimate { value: 1.0, low: 1.0, high: 1.0 });
    };
    let (std, d) = (pca.std(), rows.cols() as f64);
    let total: f64 = std.iter().sum();
    let shares = || std.iter().map(|s| s / total);
    let entropy: f64 = shares().filter(|&p| p > 0.0).map(|p| -p * p.ln()).sum();
    let value = entropy.exp();
    // What is rounding is moved by rounding alone.
    let live = std.iter().take_while(|&&s| s > LIVE * std[0]).count();
    let rate = |(s, p): (&f64, f64)| -value * (p.ln() + entropy) / total / (2.0 * s);
    let rates: Vec<f64> = std.iter().zip(shares()).take(live).map(rate).collect();
    let influence = |along: &[f64]| -> f64 {
        let terms = along.iter().zip(std).zip(&rates);
        terms.map(|((a, std), rate)| rate * (a * a - std * std)).sum()
    };
    let (n, dim) = (rows.rows(), rows.cols());
    let axes = MatRef::new(&pca.axes().as_slice()[..live * dim], live, dim);
    let mut squares = 0.0;
    for run in runs(n, ROWS) {
        ctx.check_cancelled()?;
        let centred = rows.as_slice()[run.start * dim..run.end * dim].chunks_exact(dim);
        let centred =
            centred.flat_map(|row| row.iter().zip(pca.mean()).map(|(&x, m)| f64::from(x) - m));
        let centred = Matrix::new(run.len(), dim, centred.collect())?;
        let mut along = Matrix::<f64>::zeros(run.len(), live);
        matmul(ctx, 1.0, centred.view(), axes.t(), 0.0, along.view_mut());
        squares += (0..run.len()).map(|i| influence(along.row(i)).powi(2)).sum::<f64>();
    }
    let half = 1.96 * squares.sqrt() / n as f64;
    Ok(Estimate { value, low: (value - half).max(1.0), high: (value + half).min(d) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of independent uniform numbers in columns of other spreads.
    fn rows(n: usize, seed: u64) -> Matrix {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
        };
        let value = |i: usize| next() * [8.0, 4.0, 2.0, 1.0][i % 4];
        Matrix::new(n, 4, (0..4 * n).map(value).collect()).unwrap()
    }

    #[test]
    fn the_interval_of_the_effective_rank_is_as_wide_as_other_rows_make_it() {
        let ctx = Context::with_threads(1).unwrap();
        let found: Vec<Estimate> =
            (0..200).map(|seed| effective_rank(&ctx, &rows(300, seed)).unwrap()).collect();
        let mean = found.iter().map(|e| e.value).sum::<f64>() / 200.0;
        let variance = found.iter().map(|e| (e.value - mean).powi(2)).sum::<f64>() / 199.0;
        let half = found.iter().map(|e| e.high - e.value).sum::<f64>() / 200.0;
        let wanted = 1.96 * variance.sqrt();
        // The deviation of 200 values is known to a twentieth.
        assert!((half / wanted - 1.0).abs() < 0.2, "{half} for {wanted}");
        let held = found.iter().filter(|e| e.low <= mean && mean <= e.high).count();
        assert!((180..=198).contains(&held), "{held} of 200");
    }

    #[test]
    fn equal_rows_have_rank_one() {
        let ctx = Context::with_threads(1).unwrap();
        let x = Matrix::new(9, 3, vec![0.7; 27]).unwrap();
        let rank = effective_rank(&ctx, &x).unwrap();
        assert_eq!((rank.value, rank.low, rank.high), (1.0, 1.0, 1.0));
    }
}
