//! Random trees (Dasgupta and Freund, 2008): the rows of a leaf are looked at together.

use super::list::{Entry, List};
use super::space::Space;
use crate::context::{Context, runs};
use crate::error::Result;
use crate::linalg::kernels::{arch, select};
use crate::linalg::{MatMut, MatRef, matmul_here};
use crate::pairs::below;
use crate::random::{Purpose, generator};

/// Rows of a leaf.
pub(super) const LEAF: usize = 240;
/// Leading coordinates that rows are split by.
const WIDTH: usize = 32;
/// Rows a task handles at once.
const PIECE: usize = 1 << 14;
/// Columns that a row's limit is good for.
const STRIP: usize = 48;

/// The rows in the order of the leaves of random tree number `tree`. Every leaf but the last
/// is [`LEAF`] rows.
pub(super) fn leaves(ctx: &Context, space: &Space, seed: u64, tree: u32) -> Result<Vec<u32>> {
    let n = space.len();
    let mut order: Vec<u32> = (0..n as u32).collect();
    let mut nodes: Vec<_> = std::iter::once(0..n).collect();
    let mut level = 0;
    while nodes.iter().any(|node| node.len() > LEAF) {
        ctx.check_cancelled()?;
        let mut pieces = Vec::with_capacity(nodes.len());
        let mut rest = &mut order[..];
        for node in &nodes {
            let (piece, after) = rest.split_at_mut(node.len());
            pieces.push(piece);
            rest = after;
        }
        ctx.for_each_chunk(&mut pieces, 1, |i, piece| {
            // Nodes are numbered through the levels; 2^24 of them are 4 billion rows.
            let stream = tree << 24 | 1 << level | i as u32;
            split(ctx, space, seed, stream, piece[0]);
        });
        nodes = nodes.into_iter().flat_map(|n| halves(n.start, n.len())).collect();
        level += 1;
    }
    Ok(order)
}

/// Brings the rows on one side of a plane, midway by count between two random rows, to the
/// front.
fn split(ctx: &Context, space: &Space, seed: u64, stream: u32, rows: &mut [u32]) {
    if rows.len() <= LEAF {
        return;
    }
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
    let cut = first_half(rows.len());
    keyed.select_nth_unstable_by(cut, order);
    rows.iter_mut().zip(keyed).for_each(|(row, (_, id))| *row = id);
}

/// About half of `n`, in whole leaves.
fn first_half(n: usize) -> usize {
    n.div_ceil(LEAF).div_ceil(2) * LEAF
}

fn halves(start: usize, n: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let cut = if n > LEAF { first_half(n) } else { n };
    [start..start + cut, start + cut..start + n].into_iter().filter(|r| !r.is_empty())
}

/// Offers the rows of every leaf to each other. `order` has the position at each place of the
/// leaves, and `lists` are in that order.
pub(super) fn look(ctx: &Context, space: &Space, order: &[u32], lists: &mut [List]) -> Result<()> {
    ctx.try_for_each_chunk(lists, LEAF, |leaf, lists| {
        let ids = &order[leaf * LEAF..][..lists.len()];
        let (n, width) = (ids.len(), space.width());
        let mut rows = vec![0.0; n * width];
        rows.chunks_exact_mut(width).zip(ids).for_each(|(row, &id)| space.unpack(id, row));
        let offsets: Vec<f32> = ids.iter().map(|&id| space.offset(id)).collect();
        let rows = MatRef::new(&rows, n, width);
        let mut products = vec![0.0; n * n];
        matmul_here(1.0, rows, rows.t(), 0.0, MatMut::new(&mut products, n, n));
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
