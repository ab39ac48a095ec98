//! How a search will be done: how many leading axes, in how large blocks, in how much memory.

use std::ops::Range;

use twinlearn_core::context::{Context, runs};
use twinlearn_core::cost::{beside, reading};
use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::{MatMut, MatRef, Matrix, matmul_here};
use twinlearn_core::progress;
use twinlearn_vectors::{Vectors, spread_ids};

use super::super::frame::{Frame, frame_bytes, frame_seconds};
use super::super::metric::Metric;
use super::super::neighbor::Neighbor;
use crate::kernels::scan::TILE;

/// How one search is done. What it finds does not depend on it.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The leading coordinates of the scan, then (perhaps) those of the refinement. D alone when
    /// no axes are used.
    pub(super) levels: Vec<usize>,
    /// Whether survivors are compared in `f32` over all coordinates before they are in `f64`.
    pub(super) screens: bool,
    /// Rows of a block: a multiple of [`TILE`].
    pub(super) block_rows: usize,
    /// Bytes of working memory.
    pub(super) bytes: usize,
    /// About the nanoseconds of one thread of the machine that the costs were tuned on.
    pub(super) cost: f64,
    /// Those of them that find and use axes, before any pair is looked at.
    setup: f64,
    /// Times that each row is read, where rows do not lie in memory.
    passes: Option<usize>,
    threads: usize,
    n_rows: usize,
    n_left: usize,
    /// Whether rows look among themselves.
    of_itself: bool,
    dim: usize,
    /// The greatest length of a row.
    pub(super) largest: f64,
    /// The share of neighbours that are found, where not all rows are looked at.
    found: Option<f64>,
}

impl Plan {
    /// The plan as it is reported.
    pub(super) fn report(&self) -> progress::Plan {
        let Self { n_rows, n_left, dim, passes, threads, .. } = *self;
        let among = if self.of_itself { String::new() } else { format!(" among {n_rows}") };
        let kind = if self.found.is_some() { "approximate" } else { "exact" };
        let mut details = format!("{dim} dimensions, ");
        if let Some(found) = self.found {
            details += &format!(
                "in the clusters nearest to each, which hold {:.0} % of the neighbours of a sample, ",
                100.0 * found
            );
        }
        details += &match self.levels[..] {
            [p, q] => format!("bounded by {p}, then {q} leading axes"),
            [p] if p < dim => format!("bounded by {p} leading axes"),
            _ => "by all coordinates".to_owned(),
        };
        let full = n_rows as f64 * n_left as f64 * cost::scan(dim);
        let share = 100.0 * (self.cost - self.setup) / full;
        details += &format!(
            ", {share:.0} % of the work of every pair, in blocks of {} rows",
            self.block_rows
        );
        if let Some(passes) = passes {
            details += &format!(", each row read {passes} times");
        }
        let read = passes.unwrap_or(0) as f64 * (4 * n_rows * dim) as f64;
        progress::Plan {
            what: format!("{kind} neighbours of {n_left} rows{among}"),
            details,
            bytes: self.bytes,
            seconds: (self.cost / 1e9 + reading(read)) / threads as f64,
        }
    }
}

/// Leading coordinates that are considered.
const GRID: [usize; 10] = [8, 16, 24, 32, 48, 64, 96, 128, 192, 256];
/// Rows whose limits are estimated, and rows they are bounded against.
const PROBES: usize = 64;
const PROBED: usize = 2048;
/// Nanoseconds that this takes.
const SURVIVAL: f64 = 5e7;
/// Axes are considered where finding them takes at most this share of looking at every pair.
pub(super) const WORTH: f64 = 0.3;
/// By how much worse the limits are, while a search runs, than they end.
const LOOSENESS: f64 = 0.1;
/// Bytes of original rows that a block should hold: blocks are read once for each pair.
const BLOCK_BYTES: usize = 8 << 20;
const MAX_TILES: usize = 4;
/// Tiles of a block of rows that do not lie in memory: the larger, the fewer times they are read.
const MAX_TILES_READ: usize = 16;
/// Blocks that leave the threads enough to share.
const MIN_BLOCKS: usize = 16;

/// The cost of a pair in nanoseconds of one thread of the machine that this was tuned on; only
/// their ratios matter.
mod cost {
    /// A step of the scan, for one coordinate.
    pub(super) const SCAN: f64 = 0.0195;
    /// Starting a pair's scan and testing it.
    pub(super) const TEST: f64 = 0.07;
    /// Refining a survivor, at all and for each coordinate.
    pub(super) const REFINE: (f64, f64) = (6.0, 0.06);
    /// Comparing a survivor over all coordinates.
    pub(super) const SCREEN: (f64, f64) = (12.0, 0.1);

    pub(super) fn line((constant, slope): (f64, f64), x: usize) -> f64 {
        constant + slope * x as f64
    }

    pub(super) fn scan(width: usize) -> f64 {
        line((TEST, SCAN), width + 1)
    }
}

/// What is searched for in what.
#[derive(Clone, Copy)]
pub(super) struct Problem<'a> {
    pub(super) x: &'a dyn Vectors,
    /// The length of each row.
    pub(super) norms: &'a [f64],
    /// The rows that look, if not those of `x` for each other, and their lengths.
    pub(super) queries: Option<(&'a dyn Vectors, &'a [f64])>,
    pub(super) k: usize,
    pub(super) metric: Metric,
    /// Bytes of the context's memory that are taken already.
    pub(super) reserved: usize,
}

impl Problem<'_> {
    /// The rows that look.
    fn left(&self) -> (&dyn Vectors, &[f64]) {
        self.queries.unwrap_or((self.x, self.norms))
    }

    /// Pairs to look at.
    fn pairs(&self) -> f64 {
        let sides = if self.queries.is_some() { 1.0 } else { 0.5 };
        sides * self.left().0.n_rows() as f64 * self.x.n_rows() as f64
    }
}

/// A frame and a plan.
///
/// # Errors
/// When rows cannot be read or the context's memory is too little.
pub(super) fn choose(ctx: &Context, problem: &Problem<'_>) -> Result<(Frame, Plan)> {
    choose_within(ctx, problem, WORTH)
}

/// [`choose`], with axes considered where finding them takes at most this share of the work.
pub(super) fn choose_within(
    ctx: &Context,
    problem: &Problem<'_>,
    worth: f64,
) -> Result<(Frame, Plan)> {
    let &Problem { x, norms, queries, k, metric, reserved } = problem;
    let (n, dim) = (x.n_rows(), x.dim());
    let all_norms = norms.iter().chain(queries.map_or(&[][..], |q| q.1));
    let largest = all_norms.copied().fold(0.0, f64::max);
    let pairs = problem.pairs();
    let budget = Budget {
        threads: ctx.n_threads(),
        n_rows: n,
        n_left: problem.left().0.n_rows(),
        symmetric: queries.is_none(),
        dim,
        k,
        reads: x.as_f32().is_none(),
        reserved,
        limit: ctx.memory_limit(),
    };
    let widest = GRID.into_iter().filter(|&p| p < dim && budget.fits(&[p])).max();
    let mut frame;
    let (mut levels, mut cost, mut setup) = (vec![dim], cost::scan(dim), 0.0);
    let to_find = |p: usize| 1e9 * frame_seconds(n, dim, p) + SURVIVAL;
    // For a row to be turned to one axis.
    let to_turn = 1e9 * twinlearn_core::cost::product(dim as f64);
    let n_turned = (n + queries.map_or(0, |(queries, _)| queries.n_rows())) as f64;
    match widest {
        Some(widest) if to_find(widest) <= worth * pairs * cost && n > 2 * k => {
            frame = Frame::new(ctx, x, norms, metric, widest, largest)?;
            let survival = Survival::probe(ctx, &frame, problem, widest)?;
            setup = to_find(widest);
            let turn = n_turned * to_turn / pairs;
            match survival.cheapest(dim, queries.is_none(), turn, &budget) {
                Some(cheapest) => {
                    (levels, cost) = cheapest;
                    setup += n_turned * to_turn * levels[levels.len() - 1] as f64;
                }
                None => frame.drop_axes(),
            }
        }
        _ => frame = Frame::new(ctx, x, norms, metric, 0, largest)?,
    }
    let block_rows = budget.block_rows(ctx, &levels)?;
    let plan = Plan {
        passes: budget.reads.then(|| budget.passes(block_rows)),
        threads: budget.threads,
        screens: levels[0] < dim,
        block_rows,
        bytes: budget.bytes(&levels, block_rows),
        cost: cost * pairs + setup,
        setup,
        levels,
        n_rows: n,
        n_left: budget.n_left,
        of_itself: queries.is_none(),
        dim,
        largest,
        found: None,
    };
    Ok((frame, plan))
}

/// Bytes of working memory that a search of `n_left` rows for `k` of `n_rows` of dimension `dim` takes
/// at least.
#[must_use]
pub fn least_search_bytes(
    threads: usize,
    (n_left, n_rows, dim): (usize, usize, usize),
    k: usize,
) -> usize {
    let (symmetric, reads, reserved, limit) = (false, true, 0, None);
    let budget = Budget { threads, n_rows, n_left, symmetric, dim, k, reads, reserved, limit };
    budget.bytes(&[dim], TILE)
}

/// Nanoseconds of a search of `n` rows in themselves, at most.
pub(in super::super) fn most_cost(n: usize, dim: usize) -> f64 {
    0.5 * (n as f64).powi(2) * cost::scan(dim)
}

impl Plan {
    /// Looks at a share of all pairs, which has this share of the neighbours. As many of them come near
    /// enough to be refined as would of all.
    pub(super) fn near(mut self, share: f64, found: f64) -> Self {
        let scan = self.n_rows as f64 * self.n_left as f64 * cost::scan(self.levels[0]);
        self.cost -= (1.0 - share) * scan;
        self.block_rows = TILE;
        self.found = Some(found);
        self
    }

    /// The value that a pair's `f32` comparison must reach (for products) or not exceed (for
    /// squared distances) when a row of length `norm` looks no farther than `distance`.
    ///
    /// γ_n bounds the error of a sum of n products relative to the sum of their sizes, which is
    /// at most the product of the lengths.
    pub(super) fn screen_bound(&self, metric: Metric, norm: f64, distance: f64) -> f32 {
        let gamma = 1.01 * (self.dim + 8) as f64 / f64::from(1 << 24);
        match metric {
            Metric::L2 => (distance * (1.0 + 2.0 * gamma) + 1e-37) as f32,
            _ if distance == f64::INFINITY => f32::NEG_INFINITY,
            Metric::Cosine if !is_ordinary(norm) => f32::NEG_INFINITY,
            Metric::Cosine => (1.0 - distance - 2.0 * gamma) as f32,
            Metric::Ip => (-distance - 2.0 * gamma * norm * self.largest - 1e-37) as f32,
        }
    }

    /// The bound of a row that looks for nothing.
    pub(super) fn out_of_reach(&self, metric: Metric) -> f32 {
        if metric == Metric::L2 { f32::NEG_INFINITY } else { f32::INFINITY }
    }

    /// What products with a row of length `norm` are multiplied by.
    pub(super) fn factor(&self, metric: Metric, norm: f64) -> f32 {
        match metric {
            Metric::Cosine if is_ordinary(norm) => (1.0 / norm) as f32,
            _ => 1.0,
        }
    }
}

/// Whether products of rows of this length stay well inside the range of `f32`.
fn is_ordinary(norm: f64) -> bool {
    (1e-15..1e15).contains(&norm)
}

/// What working memory is needed for.
struct Budget {
    threads: usize,
    n_rows: usize,
    n_left: usize,
    symmetric: bool,
    dim: usize,
    k: usize,
    /// Whether rows are read, each time, as they do not lie in memory.
    reads: bool,
    reserved: usize,
    limit: Option<usize>,
}

impl Budget {
    /// Bytes of working memory.
    fn bytes(&self, levels: &[usize], block_rows: usize) -> usize {
        let has_axes = levels[0] < self.dim;
        let width = if has_axes { levels[levels.len() - 1] } else { 0 };
        let rows = if self.symmetric { self.n_rows } else { self.n_rows + self.n_left };
        // Length, order, offset and residuals (twice while they are made), coordinates.
        let per_row = 8 + 4 + 8 * (levels.len() + 1) + 4 * width;
        let per_left = self.k * (size_of::<Neighbor>() + 4) + 64;
        // The rows, as they are scanned and packed for it; without axes moved before.
        let scanned = if has_axes { width } else { self.dim } + 2 * (levels[0] + 1);
        let blocks = 2 * block_rows * (4 * (self.dim + scanned) + 48);
        // The first limits are found in three tiles of rows and of what they are scored by.
        let seed = 3 * TILE * 4 * (self.dim + if has_axes { width } else { self.dim });
        let thread = blocks.max(seed) + TILE * TILE * 12;
        let searching = rows * per_row + self.n_left * per_left + self.threads * thread;
        self.reserved + searching.max(rows * 8 + frame_bytes(self.n_rows, self.dim, width))
    }

    /// Times that each row is read: for lengths, coordinates and first limits, then with every block
    /// that looks at it, or by every thread, which then lets all blocks of queries look at it.
    fn passes(&self, block_rows: usize) -> usize {
        match self.symmetric {
            true => 4 + self.n_left.div_ceil(block_rows),
            false => 3 + self.threads,
        }
    }

    fn fits(&self, levels: &[usize]) -> bool {
        self.limit.is_none_or(|limit| self.bytes(levels, TILE) <= limit)
    }

    fn block_rows(&self, ctx: &Context, levels: &[usize]) -> Result<usize> {
        beside(ctx, self.bytes(levels, TILE), "this search")?;
        let by_cache = match self.reads {
            true => MAX_TILES_READ,
            false => (BLOCK_BYTES / (4 * self.dim * TILE)).clamp(1, MAX_TILES),
        };
        let by_threads = (self.n_left / (MIN_BLOCKS * TILE)).max(1);
        let fits = |tiles: &usize| {
            self.limit.is_none_or(|limit| self.bytes(levels, tiles * TILE) <= limit)
        };
        let tiles = (1..=by_cache.min(by_threads)).rev().find(fits).unwrap_or(1);
        Ok(tiles * TILE)
    }
}

/// For each number of leading coordinates the share of pairs that its bound lets pass.
struct Survival(Vec<(usize, f64)>);

impl Survival {
    /// Measured on an even sample of the rows that look against one of `x`.
    fn probe(ctx: &Context, frame: &Frame, problem: &Problem<'_>, widest: usize) -> Result<Self> {
        let (left, left_norms) = problem.left();
        let &Problem { x, norms, k, .. } = problem;
        let grid: Vec<usize> = GRID.into_iter().filter(|&p| p <= widest).collect();
        let pick = |rows: &dyn Vectors, norms: &[f64], most: usize| {
            let ids = spread_ids(rows.n_rows(), most);
            let mut data = vec![0.0; ids.len() * rows.dim()];
            rows.gather(&ids, &mut data)?;
            let norms: Vec<f64> = ids.iter().map(|&id| norms[id as usize]).collect();
            Ok::<_, Error>((Matrix::new(ids.len(), rows.dim(), data)?, norms))
        };
        let (probes, probe_norms) = pick(left, left_norms, PROBES)?;
        let (others, other_norms) = pick(x, norms, PROBED)?;
        let limits = probe_limits(ctx, frame, (&probes, &probe_norms), (x, norms), k)?;
        let a = frame.coordinates(ctx, &probes, &probe_norms, &grid)?;
        let b = frame.coordinates(ctx, &others, &other_norms, &grid)?;
        let mut survivors = vec![0_usize; grid.len()];
        for (i, limit) in limits.iter().enumerate() {
            let u = &a.leading[i * a.width..][..a.width];
            for j in 0..b.offsets.len() {
                let v = &b.leading[j * b.width..][..b.width];
                let (mut product, mut from) = (a.offsets[i] + b.offsets[j], 0);
                for (level, &p) in grid.iter().enumerate() {
                    let terms = u[from..p].iter().zip(&v[from..p]);
                    product += terms.map(|(x, y)| x * y).sum::<f32>();
                    from = p;
                    let bound = product + a.residuals[level][i] * b.residuals[level][j];
                    survivors[level] += usize::from(bound >= *limit);
                }
            }
        }
        let pairs = (limits.len() * b.offsets.len()) as f64;
        Ok(Self(grid.into_iter().zip(survivors.into_iter().map(|s| s as f64 / pairs)).collect()))
    }

    /// The cheapest levels and the cost of a pair with them, when they are cheaper than all
    /// coordinates.
    ///
    /// `turn` is what it costs for a pair that its rows are turned to one axis.
    fn cheapest(
        &self,
        dim: usize,
        symmetric: bool,
        turn: f64,
        budget: &Budget,
    ) -> Option<(Vec<usize>, f64)> {
        let (mut best, mut least) = (None, cost::scan(dim));
        // In a symmetric search a pair survives for either of its rows.
        let sides = if symmetric { 2.0 } else { 1.0 };
        let shares = || self.0.iter().map(|&(p, share)| (p, (sides * share).min(1.0)));
        for (p, survive) in shares() {
            let screen = |share: f64| share * cost::line(cost::SCREEN, dim);
            let alone = (vec![p], cost::scan(p) + screen(survive));
            let refined = shares().filter(|&(q, _)| q > p).map(|(q, left)| {
                let refine = survive * cost::line(cost::REFINE, q);
                (vec![p, q], cost::scan(p) + refine + screen(left))
            });
            for (levels, cost) in refined.chain([alone]) {
                let all = cost + turn * levels[levels.len() - 1] as f64;
                if all < least && budget.fits(&levels) {
                    least = all;
                    best = Some((levels, cost));
                }
            }
        }
        best
    }
}

/// About the score of each probe's k-th nearest row of `x`, loosened.
fn probe_limits(
    ctx: &Context,
    frame: &Frame,
    (probes, probe_norms): (&Matrix, &[f64]),
    (x, norms): (&dyn Vectors, &[f64]),
    k: usize,
) -> Result<Vec<f32>> {
    let (n, dim) = (probes.rows(), x.dim());
    let mut moved = probes.clone();
    frame.move_rows(moved.as_mut_slice(), probe_norms.iter().copied());
    let own = frame.offsets(probes.as_slice(), moved.as_slice());
    // At most an eighth of the rows, in even runs: the k-th nearest of all is about the (k/8)-th
    // nearest of those.
    let blocks: Vec<_> = runs(x.n_rows(), TILE).collect();
    let step = if blocks.len() > 64 && k >= 8 { 8 } else { 1 };
    let blocks: Vec<_> = blocks.into_iter().step_by(step).collect();
    // The row itself is among them in a search of a set in itself.
    let n_scored: usize = blocks.iter().map(Range::len).sum();
    let rank = (k / step).max(1).min(n_scored - 1);
    // As many of the best of each block as may be among the best of all.
    let best = ctx.try_map(blocks.len(), |b| {
        let block = blocks[b].clone();
        let mut rows = vec![0.0; block.len() * dim];
        x.read_rows(block.start, &mut rows)?;
        let raw = rows.clone();
        frame.move_rows(&mut rows, norms[block.clone()].iter().copied());
        let offsets = frame.offsets(&raw, &rows);
        let mut scores = vec![0.0; n * block.len()];
        matmul_here(
            1.0,
            moved.view(),
            MatRef::new(&rows, block.len(), dim).t(),
            0.0,
            MatMut::new(&mut scores, n, block.len()),
        );
        let kept = (rank + 1).min(block.len());
        let mut best = Vec::with_capacity(n * kept);
        for row in scores.chunks_exact_mut(block.len()) {
            row.iter_mut().zip(&offsets).for_each(|(s, o)| *s += o);
            row.select_nth_unstable_by(kept - 1, |x, y| y.total_cmp(x));
            best.extend_from_slice(&row[..kept]);
        }
        Ok(best)
    })?;
    let limit = |i: usize| {
        let mut all = Vec::new();
        for best in &best {
            let kept = best.len() / n;
            all.extend_from_slice(&best[i * kept..][..kept]);
        }
        let (_, score, _) = all.select_nth_unstable_by(rank, |x: &f32, y| y.total_cmp(x));
        let score = *score + own[i];
        score - LOOSENESS as f32 * score.abs()
    };
    Ok((0..n).map(limit).collect())
}
