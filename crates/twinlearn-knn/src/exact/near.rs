//! Approximate search of queries: each looks at the clusters of the base whose centres are nearest to
//! it (an inverted file). How many those are is measured: so many that they hold nearly all neighbours
//! of a sample of the queries.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use twinlearn_core::context::{Context, lock, runs};
use twinlearn_core::error::Result;
use twinlearn_core::progress::{Event, Stage};
use twinlearn_vectors::{Subset, Vectors, spread_ids};

use super::order::Clusters;
use super::set::{Block, Limits, Set};
use super::sweep::Sweep;
use super::tiles::{Side, Survivors};
use super::{Searched, seed};
use crate::kernels::scan::{Operand, TILE};
use crate::metric::Metric;
use crate::neighbor::{Nearest, in_row_order};

/// Queries whose neighbours among all rows tell how many clusters are needed.
const PROBES: usize = 256;
/// The share of those neighbours that the clusters looked at must hold.
const WANTED: f64 = 0.95;
/// Where the clusters that may be looked at hold less than this, that is warned of.
const ENOUGH: f64 = 0.8;
/// A larger share of all pairs takes as long as all of them.
const WORTH: f64 = 0.5;
/// Queries whose clusters are found at once.
const BATCH: usize = 1 << 14;
/// Fewer queries for each cluster do not pay for sorting the base.
const QUERIES_PER_CLUSTER: usize = 8;

/// About the `k` nearest rows of `base` to every row of `queries`, row after row, best first. No more
/// pairs are compared than about `most_pairs`.
pub(crate) fn search(
    ctx: &Context,
    queries: &dyn Vectors,
    base: &dyn Vectors,
    (k, metric): (usize, Metric),
    most_pairs: f64,
) -> Result<Vec<u32>> {
    ctx.stage(Stage::Knn, queries.n_rows(), || {
        near(ctx, Searched::new(ctx, queries, base, (k, metric), 0)?, k, most_pairs)
    })
}

/// [`search`] of what is ready to be compared.
pub(super) fn near(
    ctx: &Context,
    mut searched: Searched<'_>,
    k: usize,
    most_pairs: f64,
) -> Result<Vec<u32>> {
    let Searched { frame, left, right, .. } = &mut searched;
    let most = left.len() / QUERIES_PER_CLUSTER;
    let Some(clusters) = Clusters::of(ctx, frame, right, most)? else {
        return searched.all(ctx, k, false);
    };
    right.order = clusters.sort(ctx, frame, right)?;
    left.order = clusters.sort(ctx, frame, left)?;
    let n_queries = left.len();
    let share = most_pairs / (n_queries as f64 * right.len() as f64);
    let visits = Visits { ctx, clusters: &clusters, searched: &searched, k };
    let reach = visits.reach(share)?;
    let bytes = searched.plan.bytes + size_of::<u32>() * reach.clusters * n_queries;
    let fits = ctx.memory_limit().is_none_or(|limit| bytes <= limit);
    if !fits || reach.share > WORTH && share >= 1.0 {
        return searched.all(ctx, k, false);
    }
    ctx.emit(&Event::Plan(&searched.plan.clone().near(reach.share, reach.held).to_string()));
    if reach.held < ENOUGH {
        ctx.emit(&Event::Warning(&format!(
            "the rows that are looked at hold {:.0} % of the neighbours only; knn_method exact finds all",
            100.0 * reach.held
        )));
    }
    visits.run(reach.clusters)
}

/// How many clusters each query looks at.
struct Reach {
    clusters: usize,
    /// The share of all pairs that those are.
    share: f64,
    /// The share of neighbours in them.
    held: f64,
}

/// The visits of queries to clusters.
struct Visits<'a> {
    ctx: &'a Context,
    clusters: &'a Clusters,
    searched: &'a Searched<'a>,
    k: usize,
}

#[derive(Default)]
struct Workspace {
    left: Block,
    right: Block,
    limits: [Limits; 2],
    survivors: Survivors,
}

impl Visits<'_> {
    /// As many clusters as hold [`WANTED`] of the neighbours of an even sample of the queries, but no
    /// more than a share `most` of all pairs.
    fn reach(&self, most: f64) -> Result<Reach> {
        let Searched { frame, left, right, .. } = self.searched;
        let n_clusters = self.clusters.len();
        let ids = spread_ids(left.len(), PROBES);
        let nearest = self.clusters.nearest(self.ctx, frame, left, &ids, n_clusters)?;
        let found = self.among_all(&ids)?;
        let of = right.order.by_row();
        // By how near a cluster is.
        let (mut neighbors, mut rows) = (vec![0_usize; n_clusters], vec![0_usize; n_clusters]);
        let mut ranks = vec![0; n_clusters];
        for (found, nearest) in found.chunks_exact(self.k).zip(nearest.chunks_exact(n_clusters)) {
            for (rank, &c) in nearest.iter().enumerate() {
                ranks[c as usize] = rank;
                rows[rank] += right.order.cluster(c as usize).len();
            }
            found.iter().for_each(|&id| neighbors[ranks[of[id as usize] as usize]] += 1);
        }
        let (mut held, mut looked_at) = (0, 0);
        let mut reach = Reach { clusters: 0, share: 0.0, held: 0.0 };
        for (neighbors, rows) in neighbors.iter().zip(rows) {
            (held, looked_at) = (held + neighbors, looked_at + rows);
            let share = looked_at as f64 / (ids.len() * right.len()) as f64;
            if reach.held >= WANTED || reach.clusters > 0 && share > most {
                break;
            }
            let clusters = reach.clusters + 1;
            reach = Reach { clusters, share, held: held as f64 / found.len() as f64 };
        }
        Ok(reach)
    }

    /// The nearest rows of some queries among all.
    fn among_all(&self, ids: &[u32]) -> Result<Vec<u32>> {
        let Searched { frame, plan, left, right } = self.searched;
        let ctx = &self.ctx.quiet();
        let rows = Subset::new(left.rows, ids)?;
        let norms = ids.iter().map(|&id| left.norms[id as usize]).collect();
        let mut left = Set::new(ctx, &rows, norms, frame, plan)?;
        left.order = self.clusters.sort(ctx, frame, &left)?;
        let limits = seed::among(ctx, frame, &left, right, false, self.k)?;
        let nearest = limits.into_iter().map(|limit| Nearest::new(self.k, limit)).collect();
        let (left, right) = (&left, Some(right));
        let sweep = Sweep { ctx, frame, plan, left, right, same_ids: false };
        Ok(in_row_order(&left.order.ids, sweep.every_pair(nearest)?, self.k))
    }

    /// Each query visits so many clusters.
    fn run(&self, n_clusters: usize) -> Result<Vec<u32>> {
        let Self { ctx, k, .. } = *self;
        let Searched { frame, left, right, .. } = self.searched;
        let queries: Vec<u32> = (0..left.len() as u32).collect();
        let mut visitors = vec![Vec::new(); right.order.n_clusters()];
        for queries in queries.chunks(BATCH) {
            let lists = self.clusters.nearest(ctx, frame, left, queries, n_clusters)?;
            for (&query, list) in queries.iter().zip(lists.chunks_exact(n_clusters)) {
                list.iter().for_each(|&c| visitors[c as usize].push(query));
            }
        }
        // Within its limit a query has k rows of its own cluster, the first that it visits.
        let limits = seed::among(ctx, frame, left, right, false, k)?;
        let mut finds: Vec<_> = queries.iter().map(|_| Mutex::default()).collect();
        for (&query, limit) in left.order.ids.iter().zip(limits) {
            finds[query as usize] = Mutex::new(Nearest::new(k, limit));
        }
        let of_cluster = |c: usize| {
            let own = right.order.cluster(c);
            runs(own.len(), TILE).map(move |run| (c, own.start + run.start..own.start + run.end))
        };
        let tasks: Vec<_> = (0..visitors.len()).flat_map(of_cluster).collect();
        let done = AtomicUsize::new(0);
        let workspaces = Mutex::new(Vec::<Workspace>::new());
        ctx.try_in_order(tasks.len(), |t| {
            let mut workspace = lock(&workspaces).pop().unwrap_or_default();
            let (cluster, rows) = tasks[t].clone();
            let rows = &right.order.ids[rows];
            let result = self.tile(&visitors[cluster], rows, &finds, &mut workspace);
            lock(&workspaces).push(workspace);
            let done = queries.len() * (done.fetch_add(1, Ordering::Relaxed) + 1) / tasks.len();
            ctx.emit(&Event::StageProgress { stage: Stage::Knn, done });
            result
        })?;
        let finds =
            finds.into_iter().map(|f| f.into_inner().unwrap_or_else(PoisonError::into_inner));
        let finds: Vec<Nearest> = finds.collect();
        // Clusters of few rows may hold fewer than k.
        let few: Vec<u32> =
            queries.iter().copied().filter(|&q| finds[q as usize].len() < k).collect();
        let mut ids = in_row_order(&queries, finds, k);
        if !few.is_empty() {
            for (&query, found) in few.iter().zip(self.among_all(&few)?.chunks_exact(k)) {
                ids[query as usize * k..][..k].copy_from_slice(found);
            }
        }
        Ok(ids)
    }

    /// Queries look at a tile of the base.
    fn tile(
        &self,
        queries: &[u32],
        rows: &[u32],
        finds: &[Mutex<Nearest>],
        workspace: &mut Workspace,
    ) -> Result<()> {
        if queries.is_empty() {
            return Ok(());
        }
        let Searched { frame, plan, left: left_set, right: right_set } = self.searched;
        let Workspace { left, right, limits: [left_limits, right_limits], survivors } = workspace;
        right.load(frame, plan, right_set, rows, Operand::Right)?;
        *right_limits = Limits::out_of_reach(frame, plan, rows.len());
        let right = Side { set: right_set, block: right, start: 0, limits: right_limits };
        for queries in queries.chunks(TILE) {
            self.ctx.check_cancelled()?;
            left.load(frame, plan, left_set, queries, Operand::Left)?;
            *left_limits = Limits::out_of_reach(frame, plan, queries.len());
            for (i, &query) in queries.iter().enumerate() {
                let limit = lock(&finds[query as usize]).limit();
                left_limits.set(frame, plan, i, left.norms[i], limit);
            }
            let left = Side { set: left_set, block: left, start: 0, limits: left_limits };
            survivors.find((frame, plan), (left, right), |_| true);
            for (row, candidate) in survivors.of_left(right) {
                lock(&finds[queries[row] as usize]).push(candidate);
            }
        }
        Ok(())
    }
}
