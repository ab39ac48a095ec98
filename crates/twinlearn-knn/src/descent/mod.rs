//! Approximate search for sets whose every pair is too many: NN-descent (Dong, Charikar, Li, 2011)
//! on the leading principal axes.
//!
//! 1. `space`: rows are turned to a few leading axes, and pairs are scored by these. `probes`: where
//!    such scores cannot tell near rows apart, as in tight clusters, they are made finer.
//! 2. `forest`: some random trees put near rows into one leaf; every pair within a leaf is scored.
//! 3. `join`: neighbours of neighbours are scored, until hardly any is new.
//! 4. `decide`: the best-scored are put in order by their exact distances, and the nearest stay.
//! 5. `probes`: the recall of some rows, whose nearest are known, is reported.
//!
//! Each round reads what the round before it left and each row keeps the best of all it was
//! shown, so that the result depends on the seed alone.

mod decide;
mod forest;
mod join;
mod list;
mod probes;
mod space;

use twinlearn_core::context::Context;
use twinlearn_core::cost::{self, beside};
use twinlearn_core::error::Result;
use twinlearn_core::progress::{Event, Plan, Stage};
use twinlearn_vectors::Vectors;

use self::forest::Leaves;
use self::join::Parts;
use self::list::{Entry, List};
use self::probes::{Probes, Recall};
use self::space::{Precision, Space};
use super::frame::{Frame, frame_bytes, row_norms};
use super::metric::Metric;

/// Leading axes that pairs are scored by, and where those cannot tell near rows apart.
const WIDTH: usize = 192;
const WHOLE_WIDTH: usize = 1024;
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
/// The share of the nearest that scores must be able to find; where they are not, they are made finer.
const REACH: f64 = 0.98;
/// Joining ends when less than this share of those that take part is fresh.
const SETTLED: f64 = 0.005;
/// The least recall that is enough.
const ENOUGH: f64 = 0.9;

/// Bytes that an allocator takes for each list.
const MALLOC: usize = 16;

/// About the `k` nearest other rows of every row, row after row, best first.
pub(super) struct Found {
    ids: Vec<u32>,
    recall: Option<Recall>,
}

impl Found {
    pub(super) fn is_enough(&self) -> bool {
        self.recall.is_none_or(|recall| recall.mean >= ENOUGH)
    }

    /// The lists, with a warning where too few were found.
    pub(super) fn reported(self, ctx: &Context) -> Vec<u32> {
        if let Some(recall) = self.recall.filter(|_| !self.is_enough()) {
            ctx.emit(&Event::Warning(&format!(
                "NN-descent found {recall} only; knn_method exact finds all"
            )));
        }
        self.ids
    }
}

/// Finds them, and tells what share of the exact ones they are.
pub(super) fn search(
    ctx: &Context,
    x: &dyn Vectors,
    k: usize,
    metric: Metric,
    seed: u64,
) -> Result<Found> {
    let n = x.n_rows();
    let sizes = Sizes::new((n, x.dim()), k);
    let Sizes { kept, share, .. } = sizes;
    let plan = |how: &str, width: usize, bytes: usize| {
        let read = if x.as_f32().is_none() { (kept * 4 * n * x.dim()) as f64 } else { 0.0 };
        let work = cost::descent(n, width, kept) + cost::reading(read);
        ctx.emit(&Event::Plan(&Plan {
            what: format!("neighbours of {n} rows by NN-descent"),
            details: format!(
                "{} dimensions, compared by {width} leading axes{how}, {TREES} trees, at most \
                 {MAX_ROUNDS} rounds of joining, {kept} candidates of each row compared exactly",
                x.dim()
            ),
            bytes,
            seconds: work / ctx.n_threads() as f64,
        }));
    };
    let (width, bytes) = sizes.width(ctx, Precision::Half)?;
    plan("", width, bytes);
    let progress = |step: usize| {
        let done = n * step / (1 + TREES as usize + MAX_ROUNDS);
        ctx.emit(&Event::StageProgress { stage: Stage::Knn, done });
    };

    let norms = row_norms(ctx, x)?;
    let probes = Probes::find(ctx, x, k, metric, seed)?;
    let space = |precision: Precision, width: usize| {
        let largest = norms.iter().copied().fold(0.0, f64::max);
        // Trees look at as many coordinates, however they are turned.
        let axes = if width == x.dim() && width <= forest::WIDTH { 0 } else { width };
        let frame = Frame::new(ctx, x, &norms, metric, axes, largest)?;
        Space::new(ctx, &frame, x, &norms, precision, width)
    };
    let mut scored = space(Precision::Half, width)?;
    let reach = match &probes {
        Some(probes) => probes.reach(ctx, &scored, kept)?,
        None => 1.0,
    };
    let finer = || match sizes.width(ctx, Precision::Whole) {
        Ok((finer, bytes)) if finer >= width => {
            beside(ctx, bytes, "this search").ok().map(|_| (finer, bytes))
        }
        _ => None,
    };
    if reach < REACH
        && let Some((width, bytes)) = finer()
    {
        drop(scored);
        let why =
            format!(", in f32, as scores in bf16 reach {:.0} % of the neighbours", 100.0 * reach);
        plan(&why, width, bytes);
        scored = space(Precision::Whole, width)?;
    }
    let mut space = scored;
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
        if (fresh as f64) < SETTLED * (n * share) as f64 {
            break;
        }
        join::round(ctx, &space, &parts, &mut lists)?;
        progress(2 + TREES as usize + round);
    }
    drop(parts);
    let ids = decide::nearest(ctx, x, &norms, metric, &space.into_ids(), &mut lists, k)?;
    let recall = probes.map(|probes| probes.recall(x, metric, &ids)).transpose()?;
    if let Some(recall) = recall {
        ctx.emit(&Event::Note(&format!("NN-descent found {recall}")));
    }
    Ok(Found { ids, recall })
}

fn at_least((least, share): (usize, f64), of: usize) -> usize {
    least.max((share * of as f64) as usize)
}

/// Bytes of working memory that a search takes at least.
pub(super) fn least_bytes(threads: usize, (n, dim): (usize, usize), k: usize) -> usize {
    let sizes = Sizes::new((n, dim), k);
    sizes.bytes(threads, Precision::Half, MIN_WIDTH.min(dim))
}

fn widest(precision: Precision) -> usize {
    match precision {
        Precision::Half => WIDTH,
        Precision::Whole => WHOLE_WIDTH,
    }
}

/// What is searched, and how many candidates a row has.
struct Sizes {
    n: usize,
    dim: usize,
    kept: usize,
    share: usize,
}

impl Sizes {
    fn new((n, dim): (usize, usize), k: usize) -> Self {
        let kept = (k + at_least(SPARE, k)).min(n - 1);
        Self { n, dim, kept, share: at_least(SHARE, kept).min(kept) }
    }

    /// Bytes of working memory with so many axes.
    fn bytes(&self, threads: usize, precision: Precision, width: usize) -> usize {
        let &Self { n, dim, kept, share } = self;
        let widest = widest(precision).min(dim);
        // Lengths, offsets, residuals, order and keys, lists with their headers and their movement.
        let lists = kept * size_of::<Entry>() + 3 * size_of::<List>();
        let row = 8 + 12 + lists + MALLOC + Parts::row_bytes(share);
        let leaf = Leaves::most(n, kept);
        let thread = n * 4 + leaf * (leaf + widest) * 4 + decide::bytes(dim, kept);
        let searching = n * (row + Space::row_bytes(precision, width)) + threads * thread;
        searching.max(8 * n + frame_bytes(n, dim, width))
    }

    /// How many axes fit into memory, and the bytes of working memory with them.
    fn width(&self, ctx: &Context, precision: Precision) -> Result<(usize, usize)> {
        let bytes = |width: usize| self.bytes(ctx.n_threads(), precision, width);
        let widest = widest(precision).min(self.dim);
        let fits = |width: &usize| ctx.memory_limit().is_none_or(|limit| bytes(*width) <= limit);
        let narrowest = MIN_WIDTH.min(widest);
        match (narrowest..=widest).rev().find(fits) {
            Some(width) => Ok((width, bytes(width))),
            None => {
                beside(ctx, bytes(narrowest), "this search").map(|_| (narrowest, bytes(narrowest)))
            }
        }
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
