//! An order of the rows in which near rows have near positions.

use twinlearn_core::context::{Context, runs};
use twinlearn_core::error::Result;
use twinlearn_core::linalg::{MatMut, MatRef, Matrix, matmul_here};
use twinlearn_vectors::spread_ids;

use crate::frame::Coordinates;
use crate::kernels::scan::TILE;

/// Leading coordinates that nearness is judged by.
const WIDTH: usize = 32;
const MAX_CLUSTERS: usize = 1024;
/// Rows for each cluster that its centre is found from.
const SAMPLE_PER_CLUSTER: usize = 48;
const ROUNDS: usize = 4;

/// Rows sorted by cluster (k-means of a sample of them, on the leading coordinates), and clusters
/// chained so that neighbours in the chain are near.
pub(super) fn by_nearness(ctx: &Context, coordinates: &Coordinates) -> Result<Vec<u32>> {
    let n = coordinates.offsets.len();
    let clusters = (n / TILE).min(MAX_CLUSTERS);
    if clusters < 4 {
        return Ok((0..n as u32).collect());
    }
    let width = WIDTH.min(coordinates.width);
    let row = |id: u32| &coordinates.leading[id as usize * coordinates.width..][..width];
    let gather = |ids: &[u32]| ids.iter().flat_map(|&id| row(id)).copied().collect::<Vec<f32>>();

    let sample = spread_ids(n, clusters * SAMPLE_PER_CLUSTER);
    let points = gather(&sample);
    let mut centres = Matrix::new(clusters, width, gather(&spread_ids(n, clusters)))?;
    for _ in 0..ROUNDS {
        let owners = assign(ctx, &centres, sample.len(), |range| {
            points[range.start * width..range.end * width].to_vec()
        })?;
        let mut sums = vec![0.0; clusters * width];
        let mut counts = vec![0.0; clusters];
        for (point, &owner) in points.chunks_exact(width).zip(&owners) {
            let owner = owner as usize;
            counts[owner] += 1.0;
            let sum = &mut sums[owner * width..][..width];
            sum.iter_mut().zip(point).for_each(|(s, &v)| *s += f64::from(v));
        }
        let centres = centres.as_mut_slice().chunks_exact_mut(width);
        for ((centre, sum), count) in centres.zip(sums.chunks_exact(width)).zip(counts) {
            // A cluster that lost all its points keeps its centre.
            if count > 0.0 {
                centre.iter_mut().zip(sum).for_each(|(c, s)| *c = (s / count) as f32);
            }
        }
    }
    let owners = assign(ctx, &centres, n, |range| {
        gather(&(range.start as u32..range.end as u32).collect::<Vec<_>>())
    })?;
    let ranks = chain(&centres);
    let mut order: Vec<u32> = (0..n as u32).collect();
    order.sort_by_key(|&id| ranks[owners[id as usize] as usize]);
    Ok(order)
}

/// The nearest centre of each of `n` points; `points` gives a run of them.
fn assign(
    ctx: &Context,
    centres: &Matrix,
    n: usize,
    points: impl Fn(std::ops::Range<usize>) -> Vec<f32> + Sync + Send,
) -> Result<Vec<u32>> {
    let (clusters, width) = (centres.rows(), centres.cols());
    let halves: Vec<f32> =
        (0..clusters).map(|c| 0.5 * centres.row(c).iter().map(|v| v * v).sum::<f32>()).collect();
    let blocks: Vec<_> = runs(n, TILE).collect();
    let owners = ctx.try_map(blocks.len(), |b| {
        let rows = points(blocks[b].clone());
        let mut products = vec![0.0; blocks[b].len() * clusters];
        matmul_here(
            1.0,
            MatRef::new(&rows, blocks[b].len(), width),
            centres.view().t(),
            0.0,
            MatMut::new(&mut products, blocks[b].len(), clusters),
        );
        let nearest = |products: &[f32]| {
            let mut best = (f32::NEG_INFINITY, 0);
            for (c, (product, half)) in products.iter().zip(&halves).enumerate() {
                let score = product - half;
                if score > best.0 {
                    best = (score, c as u32);
                }
            }
            best.1
        };
        Ok(products.chunks_exact(clusters).map(nearest).collect::<Vec<u32>>())
    })?;
    Ok(owners.concat())
}

/// The place of each centre in a walk that always goes to the nearest one not yet visited.
fn chain(centres: &Matrix) -> Vec<u32> {
    let n = centres.rows();
    let distance = |a: usize, b: usize| -> f32 {
        centres.row(a).iter().zip(centres.row(b)).map(|(x, y)| (x - y) * (x - y)).sum()
    };
    let mut ranks = vec![u32::MAX; n];
    let mut here = 0;
    for rank in 0..n as u32 {
        ranks[here] = rank;
        let left = (0..n).filter(|&c| ranks[c] == u32::MAX);
        here = left
            .map(|c| (distance(here, c), c))
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map_or(here, |(_, c)| c);
    }
    ranks
}
