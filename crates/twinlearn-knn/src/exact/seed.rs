//! First limits: a distance within which each row is known to have `k` neighbours.

use twinlearn_core::context::{Context, runs};
use twinlearn_core::error::Result;
use twinlearn_core::linalg::arch;
use twinlearn_core::linalg::{MatMut, MatRef, matmul_here};
use twinlearn_vectors::spread_ids;

use super::set::Set;
use crate::frame::Frame;
use crate::kernels::scan::{Pair, Rows, TILE, exact};

/// The limit of each row of `left`, by position. The candidates are the rows of its own tile, or of an even
/// sample of `right`; those with the best scores on the leading coordinates are measured. A row
/// with fewer than `k` candidates has no limit.
pub(super) fn limits(
    ctx: &Context,
    frame: &Frame,
    left: &Set<'_>,
    right: Option<&Set<'_>>,
    same_ids: bool,
    k: usize,
) -> Result<Vec<f64>> {
    let sample = right.map(|right| (right, spread_ids(right.len(), TILE)));
    let tiles: Vec<_> = runs(left.len(), TILE).collect();
    let limits = ctx.try_map(tiles.len(), |t| {
        let ids = &left.order[tiles[t].clone()];
        match &sample {
            Some((right, sample)) => of_tile(frame, (left, ids), (right, sample), k, same_ids),
            None => of_tile(frame, (left, ids), (left, ids), k, true),
        }
    })?;
    Ok(limits.concat())
}

/// The rows `ids` of a set, as they are and as they are scored.
struct Tile {
    rows: Vec<f32>,
    scored: Vec<f32>,
    width: usize,
    index: Vec<u32>,
}

impl Tile {
    fn new(frame: &Frame, set: &Set<'_>, ids: &[u32]) -> Result<Self> {
        let dim = set.rows.dim();
        let mut rows = vec![0.0; ids.len() * dim];
        let index = (0..ids.len() as u32).collect();
        set.rows.gather(ids, &mut rows)?;
        let width = set.coordinates.width;
        if width > 0 {
            let leading = &set.coordinates.leading;
            let row = |&id: &u32| &leading[id as usize * width..][..width];
            let scored = ids.iter().flat_map(row).copied().collect();
            return Ok(Self { rows, scored, width, index });
        }
        let mut scored = rows.clone();
        frame.move_rows(&mut scored, ids.iter().map(|&id| set.norms[id as usize]));
        Ok(Self { rows, scored, width: dim, index })
    }

    fn rows(&self, dim: usize) -> Rows<'_> {
        Rows { data: &self.rows, width: dim, index: &self.index }
    }
}

fn of_tile(
    frame: &Frame,
    (left, left_ids): (&Set<'_>, &[u32]),
    (right, right_ids): (&Set<'_>, &[u32]),
    k: usize,
    same_ids: bool,
) -> Result<Vec<f64>> {
    let (n, m) = (left_ids.len(), right_ids.len());
    if m < k + usize::from(same_ids) {
        return Ok(vec![f64::INFINITY; n]);
    }
    let (dim, metric) = (left.rows.dim(), frame.metric);
    let (a, b) = (Tile::new(frame, left, left_ids)?, Tile::new(frame, right, right_ids)?);
    let mut scores = vec![0.0; n * m];
    matmul_here(
        1.0,
        MatRef::new(&a.scored, n, a.width),
        MatRef::new(&b.scored, m, b.width).t(),
        0.0,
        MatMut::new(&mut scores, n, m),
    );
    let measured = (2 * k + 8).min(m - usize::from(same_ids));
    let (mut limits, mut sums) = (Vec::with_capacity(n), Vec::new());
    for (i, scores) in scores.chunks_exact(m).enumerate() {
        let score = |j: usize| scores[j] + right.coordinates.offsets[right_ids[j] as usize];
        let others = (0..m).filter(|&j| !(same_ids && right_ids[j] == left_ids[i]));
        let mut best: Vec<(f32, usize)> = others.map(|j| (score(j), j)).collect();
        if measured < best.len() {
            best.select_nth_unstable_by(measured, |x, y| y.0.total_cmp(&x.0));
            best.truncate(measured);
        }
        let pairs: Vec<Pair> =
            best.iter().map(|&(_, j)| Pair { left: i as u16, right: j as u16 }).collect();
        exact(arch(), metric.term(), a.rows(dim), b.rows(dim), &pairs, &mut sums);
        let norm = left.norms[left_ids[i] as usize];
        let distance = |(pair, &sum): (&Pair, &f64)| {
            let other = right.norms[right_ids[usize::from(pair.right)] as usize];
            metric.distance_of(sum, norm, other)
        };
        let mut distances: Vec<f64> = pairs.iter().zip(&sums).map(distance).collect();
        let (_, limit, _) = distances.select_nth_unstable_by(k - 1, f64::total_cmp);
        limits.push(*limit);
    }
    Ok(limits)
}
