//! Exact search, for a fraction of the products of every pair; of queries also an approximate one,
//! which looks at the clusters near each (`near`).
//!
//! 1. `frame`: rows are moved, scaled and turned to their leading principal axes, so that a short
//!    product bounds a pair's score.
//! 2. `plan`: a sample tells how many axes pay, if any do.
//! 3. `order` and `seed`: near rows are put in one tile, and the nearest there give every row a
//!    first limit.
//! 4. `sweep` and `tiles`: every pair of tiles is visited once (in a set searched in itself for both
//!    its sides): bound, refine with more coordinates, screen with all of them in `f32`, decide in
//!    `f64`.
//!
//! What is found is the nearest by [`Metric::distance`] of the rows looked at, ties by the smaller id:
//! it depends on neither the plan nor the order nor the threads. `frame` proves that the bounds lose
//! nothing.

mod distinct;
pub(super) mod near;
mod order;
mod plan;
mod seed;
mod set;
mod sweep;
mod tiles;

#[cfg(test)]
mod tests;

pub use self::plan::least_search_bytes;
pub(super) use self::plan::most_cost;
use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_core::progress::{Event, Stage};
use twinlearn_vectors::Vectors;

use self::order::{Clusters, WIDTH};
use self::plan::{Plan, Problem};
use self::set::Set;
use self::sweep::Sweep;
use super::frame::{Frame, row_norms};
use super::metric::Metric;
use super::neighbor::{Nearest, in_row_order};

/// A search of a set in itself, planned but not begun.
pub(super) struct GraphSearch<'a> {
    ctx: &'a Context,
    x: &'a dyn Vectors,
    norms: Vec<f64>,
    frame: Frame,
    plan: Plan,
}

impl<'a> GraphSearch<'a> {
    pub(super) fn new(
        ctx: &'a Context,
        x: &'a dyn Vectors,
        k: usize,
        metric: Metric,
    ) -> Result<Self> {
        let norms = row_norms(ctx, x)?;
        let problem = Problem { x, norms: &norms, queries: None, k, metric, reserved: 0 };
        let (frame, plan) = plan::choose(ctx, &problem)?;
        Ok(Self { ctx, x, norms, frame, plan })
    }

    /// About how long it takes, in nanoseconds of one thread of the machine that this was tuned on.
    pub(super) fn cost(&self) -> f64 {
        self.plan.cost
    }

    /// The `k` nearest other rows of every row, row after row, best first.
    pub(super) fn run(self, k: usize) -> Result<Vec<u32>> {
        let Self { ctx, x, norms, frame, plan } = self;
        ctx.emit(&Event::Plan(&plan.report()));
        let mut set = Set::new(ctx, x, norms, &frame, &plan)?;
        let width = WIDTH.min(set.coordinates.width);
        let clusters = match width {
            0 => None,
            _ => Clusters::of(ctx, (set.len(), width), usize::MAX, &|ids| {
                Ok(set.leading(ids, width))
            })?,
        };
        if let Some(clusters) = clusters {
            set.order = clusters.sort(ctx, set.len(), &|ids| Ok(set.leading(ids, width)))?;
        }
        let limits = seed::in_itself(ctx, &frame, &set, k)?;
        let sweep =
            Sweep { ctx, frame: &frame, plan: &plan, left: &set, right: None, same_ids: true };
        let nearest = limits.into_iter().map(|limit| Nearest::new(k, limit)).collect();
        Ok(in_row_order(&set.order.ids, sweep.every_pair(nearest)?, k))
    }
}

/// What differs between searches of queries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    /// A query is not the neighbour of the row that has its number.
    pub(super) same_ids: bool,
    /// Bytes of the context's memory that are taken already.
    pub(super) reserved: usize,
}

/// The `k` nearest rows of `base` to every row of `queries`, row after row, best first.
pub(super) fn search(
    ctx: &Context,
    queries: &dyn Vectors,
    base: &dyn Vectors,
    k: usize,
    metric: Metric,
    Options { same_ids, reserved }: Options,
) -> Result<Vec<u32>> {
    ctx.stage(Stage::Knn, queries.n_rows(), || {
        Searched::new(ctx, queries, base, (k, metric), reserved)?.all(ctx, k, same_ids)
    })
}

/// Queries and a base, ready to be compared.
struct Searched<'a> {
    frame: Frame,
    plan: Plan,
    left: Set<'a>,
    right: Set<'a>,
    /// Bytes that the plan counts as taken.
    reserved: usize,
}

impl<'a> Searched<'a> {
    fn new(
        ctx: &Context,
        queries: &'a dyn Vectors,
        base: &'a dyn Vectors,
        k: (usize, Metric),
        reserved: usize,
    ) -> Result<Self> {
        Self::within(ctx, queries, base, k, reserved, plan::WORTH)
    }

    /// With axes considered where finding them takes at most this share of the work.
    fn within(
        ctx: &Context,
        queries: &'a dyn Vectors,
        base: &'a dyn Vectors,
        (k, metric): (usize, Metric),
        reserved: usize,
        worth: f64,
    ) -> Result<Self> {
        let (norms, query_norms) = (row_norms(ctx, base)?, row_norms(ctx, queries)?);
        let queries_with_norms = Some((queries, &query_norms[..]));
        let problem =
            Problem { x: base, norms: &norms, queries: queries_with_norms, k, metric, reserved };
        let (frame, plan) = plan::choose_within(ctx, &problem, worth)?;
        let right = Set::new(ctx, base, norms, &frame, &plan)?;
        let left = Set::new(ctx, queries, query_norms, &frame, &plan)?;
        Ok(Self { frame, plan, left, right, reserved })
    }

    /// Every pair.
    fn all(&self, ctx: &Context, k: usize, same_ids: bool) -> Result<Vec<u32>> {
        ctx.emit(&Event::Plan(&self.plan.report()));
        self.all_of(ctx, &self.left, k, same_ids)
    }

    /// Every pair of other queries and the base.
    fn all_of(&self, ctx: &Context, left: &Set<'_>, k: usize, same_ids: bool) -> Result<Vec<u32>> {
        let Self { frame, plan, right, .. } = self;
        let limits = seed::among(ctx, frame, left, right, same_ids, k)?;
        let nearest = limits.into_iter().map(|limit| Nearest::new(k, limit)).collect();
        let sweep = Sweep { ctx, frame, plan, left, right: Some(right), same_ids };
        Ok(in_row_order(&left.order.ids, sweep.every_pair(nearest)?, k))
    }
}
