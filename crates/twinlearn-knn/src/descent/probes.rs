//! Some rows whose nearest are known: whether scores can tell them apart, and the recall in the end.

use std::fmt;

use twinlearn_core::context::{Context, runs};
use twinlearn_core::cost::beside;
use twinlearn_core::error::Result;
use twinlearn_core::random::{Purpose, generator, subset};
use twinlearn_vectors::{Subset, Vectors, copied};

use super::space::Space;
use crate::exact;
use crate::metric::Metric;

/// Rows that are probed.
const PROBES: usize = 200;
/// Rows that all probes are scored against before the next ones are read.
const BLOCK: usize = 256;
/// Parts that a pass over all rows is cut into, at most.
const PARTS: usize = 64;

/// A seeded sample of the rows, with the nearest other rows of each by exact search.
pub(super) struct Probes {
    k: usize,
    rows: Vec<u32>,
    /// The `k` nearest of each, row after row.
    nearest: Vec<u32>,
}

/// recall@k on a sample of rows, and its standard error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recall {
    pub(super) mean: f64,
    error: f64,
    n_rows: usize,
}

impl fmt::Display for Recall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mean, error, n_rows } = self;
        write!(f, "{mean:.3} (standard error {error:.3}) of the exact neighbours of {n_rows} rows")
    }
}

impl Probes {
    /// None where the context's memory is too little for their search, which takes some tens of megabytes
    /// however few rows there are.
    pub(super) fn find(
        ctx: &Context,
        x: &dyn Vectors,
        k: usize,
        metric: Metric,
        seed: u64,
    ) -> Result<Option<Self>> {
        let n = x.n_rows();
        let sizes = (PROBES.min(n), n, x.dim());
        let bytes = exact::least_search_bytes(ctx.n_threads(), sizes, k + 1);
        if beside(ctx, bytes, "this search").is_err() {
            return Ok(None);
        }
        let rows = subset(&mut generator(seed, Purpose::Probes, 0), n, PROBES.min(n));
        let queries = copied(ctx, &Subset::new(x, &rows)?)?;
        let found = exact::search(&ctx.quiet(), &queries, x, k + 1, metric, Default::default())?;
        let mut nearest = Vec::with_capacity(rows.len() * k);
        for (&row, list) in rows.iter().zip(found.chunks_exact(k + 1)) {
            nearest.extend(list.iter().filter(|&&id| id != row).take(k));
        }
        Ok(Some(Self { k, rows, nearest }))
    }

    /// The share of their nearest that are among the best `kept` of all rows by the scores of `space`,
    /// whose positions are the numbers of the rows: what a search by these scores can find at most.
    pub(super) fn reach(&self, ctx: &Context, space: &Space, kept: usize) -> Result<f64> {
        let n = space.len();
        let mut own = vec![0.0; self.rows.len() * space.width()];
        let mut wanted = vec![0.0; self.nearest.len()];
        let mut scores = Vec::new();
        for (((&row, own), ids), wanted) in self
            .rows
            .iter()
            .zip(own.chunks_exact_mut(space.width()))
            .zip(self.nearest.chunks_exact(self.k))
            .zip(wanted.chunks_exact_mut(self.k))
        {
            space.unpack(row, own);
            space.scores(row, own, ids, &mut scores);
            wanted.copy_from_slice(&scores);
        }
        let parts: Vec<_> = runs(n, n.div_ceil(PARTS).max(BLOCK)).collect();
        // How many rows are better by score than each of the nearest; as good ones count half.
        let counts = ctx.try_map(parts.len(), |part| {
            let mut halves = vec![0_u32; wanted.len()];
            let mut scores = Vec::new();
            for block in runs(parts[part].len(), BLOCK) {
                let start = (parts[part].start + block.start) as u32;
                let ids: Vec<u32> = (start..start + block.len() as u32).collect();
                for (((&row, own), wanted), halves) in self
                    .rows
                    .iter()
                    .zip(own.chunks_exact(space.width()))
                    .zip(wanted.chunks_exact(self.k))
                    .zip(halves.chunks_exact_mut(self.k))
                {
                    let least = wanted.iter().copied().fold(f32::INFINITY, f32::min);
                    space.scores(row, own, &ids, &mut scores);
                    let near = ids.iter().zip(&scores).filter(|&(&id, &s)| s >= least && id != row);
                    for (_, score) in near {
                        for (halves, wanted) in halves.iter_mut().zip(wanted) {
                            *halves += u32::from(score > wanted) + u32::from(score >= wanted);
                        }
                    }
                }
            }
            Ok(halves)
        })?;
        let rank = |i: usize| counts.iter().map(|part| u64::from(part[i])).sum::<u64>() / 2;
        let reached = (0..wanted.len()).filter(|&i| rank(i) < kept as u64).count();
        Ok(reached as f64 / wanted.len() as f64)
    }

    /// The recall of lists of `k` neighbours of all rows. Rows as near as the last of the exact list
    /// are as good.
    pub(super) fn recall(&self, x: &dyn Vectors, metric: Metric, lists: &[u32]) -> Result<Recall> {
        let mut found = Vec::with_capacity(self.rows.len());
        for (&row, exact) in self.rows.iter().zip(self.nearest.chunks_exact(self.k)) {
            let list = &lists[row as usize * self.k..][..self.k];
            // The row itself, the last that is to be found, and those that were.
            let ids: Vec<u32> =
                [row, exact[self.k - 1]].into_iter().chain(list.iter().copied()).collect();
            let mut rows = vec![0.0; ids.len() * x.dim()];
            x.gather(&ids, &mut rows)?;
            let (own, others) = rows.split_at(x.dim());
            let mut distances =
                others.chunks_exact(x.dim()).map(|other| metric.distance(own, other));
            let farthest = distances.next().unwrap_or(f64::INFINITY);
            found.push(
                distances.filter(|&distance| distance <= farthest).count() as f64 / self.k as f64,
            );
        }
        let n = found.len() as f64;
        let mean = found.iter().sum::<f64>() / n;
        let squares: f64 = found.iter().map(|f| (f - mean).powi(2)).sum();
        let error = (squares / (n - 1.0).max(1.0) / n).sqrt();
        Ok(Recall { mean, error, n_rows: found.len() })
    }
}
