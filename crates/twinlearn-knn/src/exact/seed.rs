//! First limits: a distance within which each row is known to have `k` neighbours.

use twinlearn_core::context::{Context, runs};
use twinlearn_core::error::Result;
use twinlearn_core::linalg::arch;
use twinlearn_core::linalg::{MatMut, MatRef, matmul_here};
use twinlearn_vectors::{ids_at, spread_ids};

use super::set::Set;
use crate::frame::{Coordinates, Frame};
use crate::kernels::scan::{Pair, Rows, TILE, exact};

/// Rows that a query's limit is found among, at most.
const CANDIDATES: usize = 2 * TILE;

/// The limit of each row of a set, by position. The candidates are the rows of its own tile.
pub(super) fn in_itself(ctx: &Context, frame: &Frame, set: &Set<'_>, k: usize) -> Result<Vec<f64>> {
    let tiles: Vec<_> = runs(set.len(), TILE).collect();
    let limits = ctx.try_map(tiles.len(), |t| {
        let tile = Tile::new(frame, set, &set.order.ids[tiles[t].clone()])?;
        Ok(of_tile(frame, &tile, &tile, k, true))
    })?;
    Ok(limits.concat())
}

/// The limit of each row of `left`, by position. The candidates are rows of `right`: an even sample of
/// those of the row's cluster, or of all where they are not sorted.
pub(super) fn among(
    ctx: &Context,
    frame: &Frame,
    left: &Set<'_>,
    right: &Set<'_>,
    same_ids: bool,
    k: usize,
) -> Result<Vec<f64>> {
    let parts = left.order.parts();
    let limits = ctx.try_map(parts.len(), |p| {
        let (cluster, queries) = parts[p].clone();
        let near = &right.order.ids[right.order.cluster(cluster)];
        let some = ids_at(near, &spread_ids(near.len(), CANDIDATES));
        let queries = Tile::new(frame, left, &left.order.ids[queries])?;
        Ok(of_tile(frame, &queries, &Tile::new(frame, right, &some)?, k, same_ids))
    })?;
    Ok(limits.concat())
}

/// Some rows of a set, as they are and as they are scored.
struct Tile<'a> {
    ids: &'a [u32],
    norms: Vec<f64>,
    offsets: Vec<f32>,
    rows: Vec<f32>,
    scored: Vec<f32>,
    width: usize,
    index: Vec<u32>,
}

impl<'a> Tile<'a> {
    fn new(frame: &Frame, set: &Set<'_>, ids: &'a [u32]) -> Result<Self> {
        let dim = set.rows.dim();
        let mut rows = vec![0.0; ids.len() * dim];
        set.rows.gather(ids, &mut rows)?;
        let norms: Vec<f64> = ids.iter().map(|&id| set.norms[id as usize]).collect();
        let Coordinates { leading, width, offsets, .. } = &set.coordinates;
        let (scored, width) = match *width {
            0 => {
                let mut moved = rows.clone();
                frame.move_rows(&mut moved, norms.iter().copied());
                (moved, dim)
            }
            width => {
                let row = |&id: &u32| &leading[id as usize * width..][..width];
                (ids.iter().flat_map(row).copied().collect(), width)
            }
        };
        let offsets = ids.iter().map(|&id| offsets[id as usize]).collect();
        let index = (0..ids.len() as u32).collect();
        Ok(Self { ids, norms, offsets, rows, scored, width, index })
    }

    fn rows(&self) -> Rows<'_> {
        let width = self.rows.len() / self.ids.len();
        Rows { data: &self.rows, width, index: &self.index }
    }
}

/// The limits of the rows of `left`, by the candidates in `right` with the best scores on the
/// coordinates they are scored by. Where there are fewer than `k` there is no limit.
fn of_tile(frame: &Frame, left: &Tile<'_>, right: &Tile<'_>, k: usize, same_ids: bool) -> Vec<f64> {
    let (n, m) = (left.ids.len(), right.ids.len());
    if m < k + usize::from(same_ids) {
        return vec![f64::INFINITY; n];
    }
    let mut scores = vec![0.0; n * m];
    matmul_here(
        1.0,
        MatRef::new(&left.scored, n, left.width),
        MatRef::new(&right.scored, m, right.width).t(),
        0.0,
        MatMut::new(&mut scores, n, m),
    );
    let measured = (2 * k + 8).min(m - usize::from(same_ids));
    let (mut limits, mut sums) = (Vec::with_capacity(n), Vec::new());
    for (i, scores) in scores.chunks_exact(m).enumerate() {
        let others = (0..m).filter(|&j| !(same_ids && right.ids[j] == left.ids[i]));
        let mut best: Vec<(f32, usize)> =
            others.map(|j| (scores[j] + right.offsets[j], j)).collect();
        if measured < best.len() {
            best.select_nth_unstable_by(measured, |x, y| y.0.total_cmp(&x.0));
            best.truncate(measured);
        }
        let pairs: Vec<Pair> =
            best.iter().map(|&(_, j)| Pair { left: i as u16, right: j as u16 }).collect();
        let term = frame.metric.term();
        exact(arch(), term, left.rows(), right.rows(), &pairs, &mut sums);
        let distance = |(pair, &sum): (&Pair, &f64)| {
            frame.metric.distance_of(sum, left.norms[i], right.norms[usize::from(pair.right)])
        };
        let mut distances: Vec<f64> = pairs.iter().zip(&sums).map(distance).collect();
        let (_, limit, _) = distances.select_nth_unstable_by(k - 1, f64::total_cmp);
        limits.push(*limit);
    }
    limits
}
