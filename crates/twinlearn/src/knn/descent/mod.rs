//! Approximate search for sets whose every pair is too many: NN-descent (Dong, Charikar, Li, 2011)
//! on the leading principal axes.
//!
//! 1. Rows are turned to a few leading axes; pairs are scored by them, as if what is left out of
//!    two rows were orthogonal.
//! 2. `forest`: some random trees put near rows into one leaf; every pair within a leaf is scored.
//! 3. `join`: neighbours of neighbours are scored, until hardly any is new.
//! 4. `decide`: the best-scored are put in order by their exact distances, and the nearest stay.
//!
//! Each round reads what the round before it left and each row keeps the best of all it was
//! shown, so that the result depends on the seed alone.

mod decide;
mod forest;
mod join;
mod list;
mod space;

use self::forest::Leaves;
use self::join::Parts;
use self::list::{Entry, List};
use self::space::Space;
use super::frame::{Frame, frame_bytes, row_norms};
use super::metric::Metric;
use crate::context::{Context, Event, Stage};
use crate::cost::{self, beside, in_words, megabytes};
use crate::data::Vectors;
use crate::error::Result;

/// Leading axes that pairs are scored by.
const WIDTH: usize = 192;
/// The narrowest that a bound on memory may make it.
const MIN_WIDTH: usize = 16;
/// Trees of the forest.
const TREES: u32 = 6;
/// Candidates kept beyond the neighbours asked for: the least, and the share of those.
const SPARE: (usize, f64) = (14, 0.5);
/// Neighbours of a row that take part in a round: the least, and the share of those kept.
const SHARE: (usize, f64) = (16, 0.3);
/// Rounds of joining, at most.
const MAX_ROUNDS: usize = 12;
/// Joining ends when less than this share of those that take part is fresh.
const ENOUGH: f64 = 0.005;

/// Bytes that an allocator takes for each list.
const MALLOC: usize = 16;

/// About the `k` nearest other rows of every row, row after row, best first.
pub(super) fn search(
    ctx: &Context,
    x: &dyn Vectors,
    k: usize,
    metric: Metric,
    seed: u64,
) -> Result<Vec<u32>> {
    let n = x.n_rows();
    let kept = (k + at_least(SPARE, k)).min(n - 1);
    let share = at_least(SHARE, kept).min(kept);
    let (width, bytes) = width(ctx, n, x.dim(), kept, share)?;
    let read = if x.as_f32().is_none() { (kept * 4 * n * x.dim()) as f64 } else { 0.0 };
    let seconds = (cost::descent(n, width, kept) + cost::reading(read)) / ctx.n_threads() as f64;
    ctx.emit(&Event::Plan(&format!(
        "NN-descent of {n} rows of dimension {} by {width} leading axes: {TREES} trees, at most \
         {MAX_ROUNDS} rounds of joining, {kept} candidates of each row compared; {} MB of working \
         memory, about {}",
        x.dim(),
        megabytes(bytes),
        in_words(seconds),
    )));
    let progress = |step: usize| {
        let done = n * step / (1 + TREES as usize + MAX_ROUNDS);
        ctx.emit(&Event::StageProgress { stage: Stage::Knn, done });
    };

    let norms = row_norms(ctx, x)?;
    let largest = norms.iter().copied().fold(0.0, f64::max);
    let frame = Frame::new(ctx, x, &norms, metric, width, largest)?;
    let mut space = Space::new(ctx, &frame, x, &norms, width)?;
    progress(1);

    // Rows are laid out in the order of the first tree: near rows follow each other from here on,
    // and what they share stays in cache.
    let mut lists: Vec<List> = (0..n).map(|_| List::new(kept)).collect();
    let leaves = Leaves::new(n, kept);
    for tree in 0..TREES {
        let mut order = forest::order(ctx, &space, &leaves, seed, tree)?;
        if tree == 0 {
            space.arrange(&order);
            order = (0..n as u32).collect();
        }
        lists = to_places(&order, lists);
        forest::look(ctx, &space, &leaves, &order, &mut lists)?;
        lists = from_places(&order, lists);
        progress(2 + tree as usize);
    }
    let mut parts = Parts::new(n, share);
    for round in 0..MAX_ROUNDS {
        let fresh = parts.update(&mut lists, round);
        if (fresh as f64) < ENOUGH * (n * share) as f64 {
            break;
        }
        join::round(ctx, &space, &parts, &mut lists)?;
        progress(2 + TREES as usize + round);
    }
    drop(parts);
    decide::nearest(ctx, x, &norms, metric, &space.into_ids(), &mut lists, k)
}

fn at_least((least, share): (usize, f64), of: usize) -> usize {
    least.max((share * of as f64) as usize)
}

/// How many axes fit into memory, and the bytes of working memory with them.
fn width(ctx: &Context, n: usize, dim: usize, kept: usize, share: usize) -> Result<(usize, usize)> {
    // Lengths, offsets, residuals, order and keys, lists with their headers and their movement.
    let lists = kept * size_of::<Entry>() + 3 * size_of::<List>();
    let row = 8 + 12 + lists + MALLOC + Parts::row_bytes(share);
    let leaf = Leaves::most(n, kept);
    let thread = n * 4 + leaf * (leaf + WIDTH) * 4 + decide::bytes(dim, kept);
    let fixed = n * row + ctx.n_threads() * thread;
    let bytes =
        |width: usize| (fixed + n * Space::row_bytes(width)).max(8 * n + frame_bytes(n, dim, true));
    let widest = WIDTH.min(dim);
    let fits = |width: &usize| ctx.memory_limit().is_none_or(|limit| bytes(*width) <= limit);
    let narrowest = MIN_WIDTH.min(widest);
    match (narrowest..=widest).rev().find(fits) {
        Some(width) => Ok((width, bytes(width))),
        None => beside(ctx, bytes(narrowest), "this search").map(|_| (narrowest, bytes(narrowest))),
    }
}

fn to_places(order: &[u32], mut by_position: Vec<List>) -> Vec<List> {
    order.iter().map(|&at| std::mem::take(&mut by_position[at as usize])).collect()
}

fn from_places(order: &[u32], by_place: Vec<List>) -> Vec<List> {
    let mut by_position = vec![List::default(); order.len()];
    for (&at, list) in order.iter().zip(by_place) {
        by_position[at as usize] = list;
    }
    by_position
}
