//! Random trees (Dasgupta and Freund, 2008) whose leaves are tiles.

use rand::Rng;

use crate::context::{Context, runs};
use crate::error::Result;
use crate::knn::exact::set::Set;
use crate::knn::frame::Frame;
use crate::linalg::kernels::scan::TILE;
use crate::linalg::{MatMut, MatRef, matmul_here};
use crate::pairs::below;
use crate::random::{Purpose, generator};

/// Coordinates that rows are split by.
const WIDTH: usize = 32;
/// Rows a task handles at once.
const PIECE: usize = 1 << 14;

/// A few coordinates of every row, by which trees split.
pub(super) struct Features {
    /// Random projections, for sets without leading coordinates.
    projected: Option<Vec<f32>>,
    width: usize,
}

impl Features {
    pub(super) fn new(ctx: &Context, frame: &Frame, set: &Set<'_>, seed: u64) -> Result<Self> {
        let (n, dim) = (set.len(), set.rows.dim());
        if set.coordinates.width > 0 {
            return Ok(Self { projected: None, width: WIDTH.min(set.coordinates.width) });
        }
        let width = WIDTH.min(dim);
        let mut rng = generator(seed, Purpose::Forest, u32::MAX);
        let signs: Vec<f32> =
            (0..width * dim).map(|_| if rng.next_u32() & 1 == 0 { 1.0 } else { -1.0 }).collect();
        let mut projected = vec![0.0; n * width];
        ctx.try_for_each_chunk(&mut projected, TILE * width, |b, out| {
            let start = b * TILE;
            let rows = out.len() / width;
            let mut z = vec![0.0; rows * dim];
            set.rows.read_rows(start, &mut z)?;
            frame.move_rows(&mut z, set.norms[start..start + rows].iter().copied());
            let (z, signs) = (MatRef::new(&z, rows, dim), MatRef::new(&signs, width, dim));
            matmul_here(1.0, z, signs.t(), 0.0, MatMut::new(out, rows, width));
            Ok(())
        })?;
        Ok(Self { projected: Some(projected), width })
    }

    fn row<'a>(&'a self, set: &'a Set<'_>, id: u32) -> &'a [f32] {
        let (data, stride) = match &self.projected {
            Some(projected) => (projected, self.width),
            None => (&set.coordinates.leading, set.coordinates.width),
        };
        &data[id as usize * stride..][..self.width]
    }

    /// The rows in the order of the leaves of random tree number `tree`. Every leaf but the last
    /// is [`TILE`] rows.
    pub(super) fn leaves(
        &self,
        ctx: &Context,
        set: &Set<'_>,
        seed: u64,
        tree: u32,
    ) -> Result<Vec<u32>> {
        let n = set.len();
        let mut order: Vec<u32> = (0..n as u32).collect();
        let mut nodes = vec![0..n];
        let mut level = 0;
        while nodes.iter().any(|node| node.len() > TILE) {
            ctx.check_cancelled()?;
            let mut pieces = Vec::with_capacity(nodes.len());
            let mut rest = &mut order[..];
            for node in &nodes {
                let (piece, after) = rest.split_at_mut(node.len());
                pieces.push(piece);
                rest = after;
            }
            ctx.for_each_chunk(&mut pieces, 1, |i, piece| {
                // Nodes are numbered through the levels; 2^24 of them are 8 billion rows.
                let stream = tree << 24 | 1 << level | i as u32;
                self.split(ctx, set, seed, stream, piece[0]);
            });
            nodes = nodes.into_iter().flat_map(|n| halves(n.start, n.len())).collect();
            level += 1;
        }
        Ok(order)
    }

    /// Brings the rows on one side of a plane, midway by count between two random rows, to the
    /// front.
    fn split(&self, ctx: &Context, set: &Set<'_>, seed: u64, stream: u32, rows: &mut [u32]) {
        if rows.len() <= TILE {
            return;
        }
        let mut rng = generator(seed, Purpose::Forest, stream);
        let mut pick = || self.row(set, rows[below(&mut rng, rows.len() as u32) as usize]);
        let direction: Vec<f32> = pick().iter().zip(pick()).map(|(a, b)| a - b).collect();
        let mut keyed = vec![(0.0_f32, 0_u32); rows.len()];
        let runs: Vec<_> = runs(rows.len(), PIECE).collect();
        ctx.for_each_chunk(&mut keyed, PIECE, |c, out| {
            for (out, &id) in out.iter_mut().zip(&rows[runs[c].clone()]) {
                let key = self.row(set, id).iter().zip(&direction).map(|(x, d)| x * d).sum();
                *out = (key, id);
            }
        });
        let order = |a: &(f32, u32), b: &(f32, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        let cut = first_half(rows.len());
        let mut sorted = keyed.clone();
        let middle = *sorted.select_nth_unstable_by(cut, order).1;
        let (mut front, mut back) = (0, cut);
        for key in keyed {
            let place = if order(&key, &middle).is_lt() { &mut front } else { &mut back };
            rows[*place] = key.1;
            *place += 1;
        }
    }
}

/// About half of `n`, in whole tiles.
fn first_half(n: usize) -> usize {
    n.div_ceil(TILE).div_ceil(2) * TILE
}

fn halves(start: usize, n: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let cut = if n > TILE { first_half(n) } else { n };
    [start..start + cut, start + cut..start + n].into_iter().filter(|r| !r.is_empty())
}
