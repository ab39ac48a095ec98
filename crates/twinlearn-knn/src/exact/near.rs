//! Approximate search of queries: each looks at the clusters of the base whose centres are nearest to
//! it (an inverted file). How many those are is measured: so many that they hold nearly all neighbours
//! of a sample of the queries.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use twinlearn_core::context::{Context, lock, runs};
use twinlearn_core::error::Result;
use twinlearn_core::progress::{Event, Stage};
use twinlearn_vectors::{Subset, Vectors, ids_at, spread_ids};

use super::distinct::distinct;
use super::order::{Clusters, Points, WIDTH};
use super::set::{Block, Limits, Set};
use super::tiles::{Side, Survivors};
use super::{Searched, seed};
use crate::frame::Frame;
use crate::kernels::scan::{Operand, TILE};
use crate::metric::Metric;
use crate::neighbor::{Nearest, in_row_order};

/// Queries whose neighbours among all rows tell how many clusters are needed.
const PROBES: usize = 256;
/// The share of those neighbours that the clusters looked at must hold.
const WANTED: f64 = 0.95;
/// Where the clusters that may be looked at hold less than this, they are not searched.
const ENOUGH: f64 = 0.8;
/// A larger share of all pairs takes as long as all of them.
const WORTH: f64 = 0.5;
/// Bytes for lists of clusters, at least.
const RESERVED: usize = 8 << 20;
/// Fewer queries for each cluster do not pay for sorting the base.
const QUERIES_PER_CLUSTER: usize = 8;

/// About the `k` nearest rows of `base` to every row of `queries`, row after row, best first. No more
/// pairs are compared than about `most_pairs`; none are found where those would be too few.
pub(crate) fn search(
    ctx: &Context,
    queries: &dyn Vectors,
    base: &dyn Vectors,
    k: (usize, Metric),
    most_pairs: f64,
) -> Result<Option<Vec<u32>>> {
    ctx.stage(Stage::Knn, queries.n_rows(), || {
        let found =
            |base| near(ctx, Searched::new(ctx, queries, base, k, RESERVED)?, k.0, most_pairs);
        match distinct(ctx, base, k.0)? {
            None => found(base),
            Some(kept) => {
                let found = found(&Subset::new(base, &kept)?)?;
                Ok(found.map(|places| ids_at(&kept, &places)))
            }
        }
    })
}

/// [`search`] of what is ready to be compared. What is found depends on neither the memory nor the
/// threads: clusters have axes of their own.
pub(super) fn near(
    ctx: &Context,
    mut searched: Searched<'_>,
    k: usize,
    most_pairs: f64,
) -> Result<Option<Vec<u32>>> {
    let Searched { frame, plan, left, right, .. } = &mut searched;
    let (n_queries, n_rows, dim) = (left.len(), right.len(), right.rows.dim());
    let components = if dim > WIDTH { WIDTH } else { 0 };
    let axes = Frame::new(ctx, right.rows, &right.norms, frame.metric, components, plan.largest)?;
    let points = |rows: &dyn Vectors, norms: &[f64], ids: &[u32]| {
        let mut some = vec![0.0; ids.len() * dim];
        rows.gather(ids, &mut some)?;
        axes.move_rows(&mut some, ids.iter().map(|&id| norms[id as usize]));
        Ok(axes.turn(&some))
    };
    let of_right = |ids: &[u32]| points(right.rows, &right.norms, ids);
    let (size, most) = ((n_rows, dim.min(WIDTH)), n_queries / QUERIES_PER_CLUSTER);
    let Some(clusters) = Clusters::of(ctx, size, most, &of_right)? else {
        return searched.all(ctx, k, false).map(Some);
    };
    right.order = clusters.sort(ctx, n_rows, &of_right)?;
    let clusters = match frame.metric {
        Metric::Ip => clusters.by_product(&axes.turned_mean()),
        Metric::L2 | Metric::Cosine => clusters,
    };
    let of_left = |ids: &[u32]| points(left.rows, &left.norms, ids);
    left.order = clusters.sort(ctx, n_queries, &of_left)?;

    let searched = &searched;
    let of_left = |ids: &[u32]| points(searched.left.rows, &searched.left.norms, ids);
    let visits = Visits { ctx, clusters: &clusters, points: &of_left, searched, k };
    let share = most_pairs / (n_queries as f64 * n_rows as f64);
    let reach = visits.reach(share)?;
    if reach.share > WORTH && share >= 1.0 {
        return searched.all(ctx, k, false).map(Some);
    }
    if reach.held < ENOUGH {
        ctx.emit(&Event::Note(&format!(
            "the clusters that each of {n_queries} rows may look at hold {:.0} % of its neighbours only",
            100.0 * reach.held
        )));
        return Ok(None);
    }
    ctx.emit(&Event::Plan(&searched.plan.clone().near(reach.share, reach.held).report()));
    visits.run(reach.clusters).map(Some)
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
    /// Reads coordinates of the queries.
    points: &'a Points<'a>,
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
        let Searched { left, right, .. } = self.searched;
        let n_clusters = self.clusters.len();
        let ids = spread_ids(left.len(), PROBES);
        let nearest = self.clusters.nearest(self.ctx, &ids, n_clusters, self.points)?;
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
        let Searched { frame, plan, left, .. } = self.searched;
        let ctx = &self.ctx.quiet();
        let rows = Subset::new(left.rows, ids)?;
        let norms = ids.iter().map(|&id| left.norms[id as usize]).collect();
        let mut left = Set::new(ctx, &rows, norms, frame, plan)?;
        left.order =
            self.clusters.sort(ctx, ids.len(), &|places| (self.points)(&ids_at(ids, places)))?;
        self.searched.all_of(ctx, &left, self.k, false)
    }

    /// Each query visits so many clusters.
    fn run(&self, n_clusters: usize) -> Result<Vec<u32>> {
        let Self { ctx, k, .. } = *self;
        let &Searched { ref frame, ref plan, ref left, ref right, reserved } = self.searched;
        let queries: Vec<u32> = (0..left.len() as u32).collect();
        // Within its limit a query has k rows of the first cluster that it visits.
        let limits = seed::among(ctx, frame, left, right, false, k)?;
        let mut finds: Vec<_> = queries.iter().map(|_| Mutex::default()).collect();
        for (&query, limit) in left.order.ids.iter().zip(limits) {
            finds[query as usize] = Mutex::new(Nearest::new(k, limit));
        }
        // As many queries at once as there is memory for the lists of their clusters, twice.
        let rest = ctx.memory_limit().map(|limit| limit.saturating_sub(plan.bytes) + reserved);
        let most = rest.map_or(usize::MAX, |rest| rest / (2 * size_of::<u32>() * n_clusters));
        let groups: Vec<_> =
            runs(queries.len(), most.clamp(TILE, queries.len().max(TILE))).collect();
        let tasks = right.order.parts();
        let workspaces = Mutex::new(Vec::<Workspace>::new());
        for (g, group) in groups.iter().enumerate() {
            let visitors = self.visitors(&queries[group.clone()], n_clusters)?;
            let done = AtomicUsize::new(g * tasks.len());
            ctx.try_in_order(tasks.len(), |t| {
                let mut workspace = lock(&workspaces).pop().unwrap_or_default();
                let (cluster, rows) = tasks[t].clone();
                let rows = &right.order.ids[rows];
                let result = self.tile(&visitors[cluster], rows, &finds, &mut workspace);
                lock(&workspaces).push(workspace);
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                let done = queries.len() * done / (groups.len() * tasks.len());
                ctx.emit(&Event::StageProgress { stage: Stage::Knn, done });
                result
            })?;
        }
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

    /// By cluster, which of some queries visit it.
    fn visitors(&self, queries: &[u32], n_clusters: usize) -> Result<Vec<Vec<u32>>> {
        let nearest = self.clusters.nearest(self.ctx, queries, n_clusters, self.points)?;
        let mut counts = vec![0; self.clusters.len()];
        nearest.iter().for_each(|&c| counts[c as usize] += 1);
        let mut visitors: Vec<_> = counts.into_iter().map(Vec::with_capacity).collect();
        for (&query, list) in queries.iter().zip(nearest.chunks_exact(n_clusters)) {
            list.iter().for_each(|&c| visitors[c as usize].push(query));
        }
        Ok(visitors)
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
        let Searched { frame, plan, left: left_set, right: right_set, .. } = self.searched;
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
