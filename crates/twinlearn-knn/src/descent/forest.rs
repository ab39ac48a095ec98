//! Random trees (Dasgupta and Freund, 2008): the rows of a leaf are looked at together.

use std::ops::Range;

use twinlearn_core::context::{Context, runs};
use twinlearn_core::error::Result;
use twinlearn_core::linalg::arch;
use twinlearn_core::random::{Purpose, below, generator};

use super::list::{Entry, List};
use super::space::Space;
use crate::kernels::select;

/// About the rows of a leaf.
const LEAF: usize = 240;
/// Leading coordinates that rows are split by.
pub(super) const WIDTH: usize = 32;
/// Rows a task handles at once.
const PIECE: usize = 1 << 14;
/// Columns that a row's limit is good for.
const STRIP: usize = 48;

/// Where the leaves of a tree begin and end.
pub(super) struct Leaves {
    n_rows: usize,
    count: usize,
}

impl Leaves {
    /// About [`LEAF`] rows each, and enough for every row to fill a list of `kept` from its leaf.
    pub(super) fn new(n_rows: usize, kept: usize) -> Self {
        // Sizes differ by one at most, and none is below half of the most.
        Self { n_rows, count: n_rows.div_ceil(Self::most(n_rows, kept)) }
    }

    /// The most rows of a leaf.
    pub(super) fn most(n_rows: usize, kept: usize) -> usize {
        LEAF.max(2 * (kept + 1)).min(n_rows)
    }

    fn start(&self, leaf: usize) -> usize {
        (leaf as u64 * self.n_rows as u64 / self.count as u64) as usize
    }

    /// What `rows`, which are those of all leaves, are in each run of leaves.
    fn pieces<'a, T>(&self, mut rows: &'a mut [T], runs: &[Range<usize>]) -> Vec<&'a mut [T]> {
        let mut pieces = Vec::with_capacity(runs.len());
        for run in runs {
            let (piece, rest) = rows.split_at_mut(self.start(run.end) - self.start(run.start));
            pieces.push(piece);
            rows = rest;
        }
        pieces
    }
}

/// The rows in the order of the leaves of random tree number `tree`.
pub(super) fn order(
    ctx: &Context,
    space: &Space,
    leaves: &Leaves,
    seed: u64,
    tree: u32,
) -> Result<Vec<u32>> {
    let mut order: Vec<u32> = (0..space.len() as u32).collect();
    let mut nodes: Vec<_> = std::iter::once(0..leaves.count).collect();
    let mut level = 0;
    while nodes.iter().any(|node| node.len() > 1) {
        ctx.check_cancelled()?;
        let mut pieces = leaves.pieces(&mut order, &nodes);
        ctx.for_each_chunk(&mut pieces, 1, |i, piece| {
            let Range { start, end } = nodes[i];
            if end - start > 1 {
                // Nodes are numbered through the levels; 2^24 of them are 4 billion rows.
                let stream = tree << 24 | 1 << level | i as u32;
                let cut = leaves.start(start.midpoint(end)) - leaves.start(start);
                split(ctx, space, seed, stream, piece[0], cut);
            }
        });
        let halves = |node: &Range<usize>| {
            let cut = node.start.midpoint(node.end);
            [node.start..cut, cut..node.end]
        };
        nodes = nodes.iter().flat_map(halves).filter(|node| !node.is_empty()).collect();
        level += 1;
    }
    Ok(order)
}

/// Brings the `cut` rows on one side of a plane, normal to the line between two random rows, to
/// the front.
fn split(ctx: &Context, space: &Space, seed: u64, stream: u32, rows: &mut [u32], cut: usize) {
    let mut rng = generator(seed, Purpose::Forest, stream);
    let mut pick = || space.head(rows[below(&mut rng, rows.len() as u32) as usize], WIDTH);
    let direction: Vec<f32> = pick().zip(pick()).map(|(a, b)| a - b).collect();
    let mut keyed = vec![(0.0_f32, 0_u32); rows.len()];
    let runs: Vec<_> = runs(rows.len(), PIECE).collect();
    ctx.for_each_chunk(&mut keyed, PIECE, |c, out| {
        for (out, &id) in out.iter_mut().zip(&rows[runs[c].clone()]) {
            let key = space.head(id, WIDTH).zip(&direction).map(|(x, d)| x * d).sum();
            *out = (key, id);
        }
    });
    let order = |a: &(f32, u32), b: &(f32, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    keyed.select_nth_unstable_by(cut, order);
    rows.iter_mut().zip(keyed).for_each(|(row, (_, id))| *row = id);
}

/// Offers the rows of every leaf to each other. `order` has the position at each place of the
/// leaves, and `lists` are in that order.
pub(super) fn look(
    ctx: &Context,
    space: &Space,
    leaves: &Leaves,
    order: &[u32],
    lists: &mut [List],
) -> Result<()> {
    let each: Vec<_> = (0..leaves.count).map(|leaf| leaf..leaf + 1).collect();
    let mut pieces = leaves.pieces(lists, &each);
    ctx.try_for_each_chunk(&mut pieces, 1, |leaf, piece| {
        let lists = &mut *piece[0];
        let ids = &order[leaves.start(leaf)..][..lists.len()];
        let n = ids.len();
        let offsets: Vec<f32> = ids.iter().map(|&id| space.offset(id)).collect();
        let products = space.pairs(ids);
        let mut found = Vec::with_capacity(STRIP);
        for (i, (list, products)) in lists.iter_mut().zip(products.chunks_exact(n)).enumerate() {
            if list.entries().is_empty() {
                let entry =
                    |j: usize| Entry { score: products[j] + offsets[j] + offsets[i], id: ids[j] };
                let mut offers: Vec<Entry> = (0..n).filter(|&j| j != i).map(entry).collect();
                list.fill(&mut offers);
                continue;
            }
            for (s, strip) in products.chunks(STRIP).enumerate() {
                let others = &offsets[s * STRIP..][..strip.len()];
                select(arch(), strip, others, list.limit() - offsets[i], &mut found);
                for &(column, score) in &found {
                    let j = s * STRIP + column as usize;
                    if j != i {
                        list.offer(score + offsets[i], ids[j]);
                    }
                }
            }
        }
        Ok(())
    })
}
