//! Approximate search for sets whose every pair is too many: NN-descent (Dong, Charikar, Li, 2011)
//! on the bounds and kernels of the exact search.
//!
//! 1. `forest`: some random trees put near rows into one tile; every pair within a tile is looked
//!    at, exactly.
//! 2. `join`: neighbours of neighbours are looked at, until hardly any is new.
//!
//! Each round reads what the round before it left and each row keeps the nearest of all it was
//! shown, so that the result depends on the seed alone.

mod forest;
mod join;

use super::exact::set::Set;
use super::exact::sweep::Sweep;
use super::exact::{GraphSearch, in_row_order, seed};
use super::neighbor::Nearest;
use crate::context::{Event, Stage};
use crate::error::Result;

/// Trees of the forest.
const TREES: usize = 8;
/// Neighbours kept while the search runs: at least this many, and half as many again as asked for.
const MIN_KEPT: usize = 16;
/// Rounds of joining, at most.
const MAX_ROUNDS: usize = 12;
/// Joining ends when fewer than this share of all kept neighbours is new.
const ENOUGH: f64 = 0.002;

/// About the `k` nearest other rows of every row, row after row, best first.
pub(super) fn run(search: GraphSearch<'_>, k: usize, seed_number: u64) -> Result<Vec<u32>> {
    let GraphSearch { ctx, x, norms, frame, plan } = search;
    let n = x.n_rows();
    let kept = (k + k / 2).max(MIN_KEPT).min(n - 1);
    ctx.emit(&Event::Plan(&format!(
        "NN-descent of {n} rows of dimension {}: {TREES} trees, at most {MAX_ROUNDS} rounds of \
         joining, {} MB of working memory",
        x.dim(),
        (plan.bytes + join::bytes(n, kept)).div_ceil(1_000_000),
    )));
    let mut set = Set::new(ctx, x, norms, &frame, &plan)?;
    let features = forest::Features::new(ctx, &frame, &set, seed_number)?;
    let progress = |round: usize| {
        let done = n * round / (TREES + MAX_ROUNDS);
        ctx.emit(&Event::StageProgress { stage: Stage::Knn, done });
    };

    let mut nearest: Vec<Nearest> = Vec::new();
    for tree in 0..TREES {
        set.order = features.leaves(ctx, &set, seed_number, tree as u32)?;
        if tree == 0 {
            let limits = seed::limits(ctx, &frame, &set, None, true, kept)?;
            let limits = limits.into_iter().map(|limit| Nearest::new(kept, limit));
            nearest = to_row_order(&set.order, limits.collect());
        }
        let sweep = Sweep {
            ctx,
            frame: &frame,
            plan: &plan,
            left: &set,
            right: None,
            same_ids: true,
            revisits: tree > 0,
        };
        let found = sweep.within_tiles(to_positions(&set.order, nearest))?;
        nearest = to_row_order(&set.order, found);
        progress(tree + 1);
    }

    // In the order of the last tree, rows that are near each other follow each other, and what
    // they share stays in cache.
    let mut lists = join::Lists::new(n);
    for round in 0..MAX_ROUNDS {
        lists.update(ctx, &nearest, round);
        let positions = to_positions(&set.order, nearest);
        let (found, entered) = join::round(ctx, &frame, &plan, &set, &lists, positions)?;
        nearest = to_row_order(&set.order, found);
        progress(TREES + round + 1);
        if (entered as f64) < ENOUGH * (n * kept) as f64 {
            break;
        }
    }
    let rows: Vec<u32> = (0..n as u32).collect();
    Ok(in_row_order(&rows, nearest, k))
}

fn to_positions(order: &[u32], mut by_row: Vec<Nearest>) -> Vec<Nearest> {
    order.iter().map(|&id| std::mem::take(&mut by_row[id as usize])).collect()
}

fn to_row_order(order: &[u32], by_position: Vec<Nearest>) -> Vec<Nearest> {
    let mut by_row = vec![Nearest::default(); order.len()];
    for (&id, nearest) in order.iter().zip(by_position) {
        by_row[id as usize] = nearest;
    }
    by_row
}
