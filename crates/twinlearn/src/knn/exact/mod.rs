//! Exact search, for a fraction of the products of every pair.
//!
//! 1. `frame`: rows are moved, scaled and turned to their leading principal axes, so that a short
//!    product bounds a pair's score.
//! 2. `plan`: a sample tells how many axes pay, if any do.
//! 3. `order` and `seed`: near rows are put in one tile, and the nearest there give every row a
//!    first limit.
//! 4. `sweep`: every pair of tiles is visited once, for both its sides: bound, refine with more
//!    coordinates, screen with all of them in `f32`, decide in `f64`.
//!
//! What is found is the nearest by [`Metric::distance`], ties by the smaller id: it depends on
//! neither the plan nor the order nor the threads. `frame` proves that the bounds lose nothing.

mod order;
mod plan;
mod seed;
mod sweep;

#[cfg(test)]
mod tests;

use self::plan::Plan;
use self::sweep::Sweep;
use super::frame::{Coordinates, Frame, row_norms};
use super::metric::Metric;
use super::neighbor::Neighbor;
use crate::context::{Context, Stage};
use crate::data::Vectors;
use crate::error::Result;

/// One set of rows of a search.
struct Set<'a> {
    rows: &'a dyn Vectors,
    /// The row at each position.
    order: Vec<u32>,
    /// By row.
    norms: Vec<f64>,
    /// By row.
    coordinates: Coordinates,
}

impl<'a> Set<'a> {
    fn new(
        ctx: &Context,
        rows: &'a dyn Vectors,
        norms: Vec<f64>,
        frame: &Frame,
        plan: &Plan,
    ) -> Result<Self> {
        let coordinates = frame.coordinates(ctx, rows, &norms, &plan.levels)?;
        Ok(Self { rows, order: (0..rows.n_rows() as u32).collect(), norms, coordinates })
    }

    fn len(&self) -> usize {
        self.order.len()
    }

    fn norm(&self, position: usize) -> f64 {
        self.norms[self.order[position] as usize]
    }
}

/// The `k` nearest other rows of every row of `x`, row after row, best first.
pub(super) fn graph(
    ctx: &Context,
    x: &dyn Vectors,
    k: usize,
    metric: Metric,
    memory: Option<usize>,
) -> Result<Vec<u32>> {
    ctx.stage(Stage::Knn, x.n_rows(), || {
        let norms = row_norms(ctx, x)?;
        let (frame, plan) = plan::choose(ctx, x, &norms, None, k, metric, memory)?;
        let mut set = Set::new(ctx, x, norms, &frame, &plan)?;
        if set.coordinates.width > 0 {
            set.order = order::by_nearness(ctx, &set.coordinates)?;
        }
        let seeds = seed::limits(ctx, &frame, &set, None, k)?;
        let sweep = Sweep { ctx, frame: &frame, plan: &plan, left: &set, right: None, k };
        Ok(in_row_order(&set.order, &sweep.run(&seeds)?, k))
    })
}

/// The `k` nearest rows of `base` to every row of `queries`, row after row, best first.
pub(super) fn search(
    ctx: &Context,
    queries: &dyn Vectors,
    base: &dyn Vectors,
    k: usize,
    metric: Metric,
    memory: Option<usize>,
) -> Result<Vec<u32>> {
    ctx.stage(Stage::Knn, queries.n_rows(), || {
        let (norms, query_norms) = (row_norms(ctx, base)?, row_norms(ctx, queries)?);
        let queries_too = Some((queries, &query_norms[..]));
        let (frame, plan) = plan::choose(ctx, base, &norms, queries_too, k, metric, memory)?;
        let right = Set::new(ctx, base, norms, &frame, &plan)?;
        let left = Set::new(ctx, queries, query_norms, &frame, &plan)?;
        let seeds = seed::limits(ctx, &frame, &left, Some(&right), k)?;
        let sweep = Sweep { ctx, frame: &frame, plan: &plan, left: &left, right: Some(&right), k };
        Ok(in_row_order(&left.order, &sweep.run(&seeds)?, k))
    })
}

/// From finds by position to ids by row.
fn in_row_order(order: &[u32], finds: &[Vec<Neighbor>], k: usize) -> Vec<u32> {
    let mut ids = vec![0; order.len() * k];
    for (&row, finds) in order.iter().zip(finds) {
        let out = &mut ids[row as usize * k..][..k];
        out.iter_mut().zip(finds).for_each(|(id, find)| *id = find.id);
    }
    ids
}
