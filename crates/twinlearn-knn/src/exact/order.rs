//! An order of the rows in which near rows have near positions.

use std::ops::Range;

use twinlearn_core::context::{Context, runs};
use twinlearn_core::error::Result;
use twinlearn_core::linalg::{MatMut, MatRef, Matrix, matmul_here};
use twinlearn_vectors::spread_ids;

use crate::kernels::scan::TILE;

/// Leading coordinates that nearness is judged by.
pub(super) const WIDTH: usize = 32;
const MAX_CLUSTERS: usize = 1024;
/// Rows for each cluster that its centre is found from.
const SAMPLE_PER_CLUSTER: usize = 48;
const ROUNDS: usize = 4;

/// Centres of rows (k-means of a sample of them), chained so that neighbours in the chain are near.
pub(super) struct Clusters {
    centres: Matrix,
    /// What is added to a point's product with each centre: the higher the sum, the nearer.
    offsets: Vec<f32>,
}

/// Rows sorted by cluster.
pub(super) struct Order {
    /// The row at each position.
    pub(super) ids: Vec<u32>,
    /// Where the rows of each cluster begin, and where the last ones end. One cluster has all rows
    /// where they are in the order that they came in.
    starts: Vec<usize>,
}

impl Order {
    /// The order in which `n` rows came.
    pub(super) fn given(n: usize) -> Self {
        Self { ids: (0..n as u32).collect(), starts: vec![0, n] }
    }

    pub(super) fn n_clusters(&self) -> usize {
        self.starts.len() - 1
    }

    /// The positions of a cluster's rows.
    pub(super) fn cluster(&self, c: usize) -> Range<usize> {
        self.starts[c]..self.starts[c + 1]
    }

    /// Every cluster with the positions of its rows, at most a tile of them at once.
    pub(super) fn parts(&self) -> Vec<(usize, Range<usize>)> {
        let of_cluster = |c| {
            let own = self.cluster(c);
            runs(own.len(), TILE).map(move |run| (c, own.start + run.start..own.start + run.end))
        };
        (0..self.n_clusters()).flat_map(of_cluster).collect()
    }

    /// The cluster of each row.
    pub(super) fn by_row(&self) -> Vec<u32> {
        let mut clusters = vec![0; self.ids.len()];
        for c in 0..self.n_clusters() {
            self.ids[self.cluster(c)].iter().for_each(|&id| clusters[id as usize] = c as u32);
        }
        clusters
    }
}

/// Reads the coordinates of some rows that nearness is judged by, row after row.
pub(super) type Points<'a> = dyn Fn(&[u32]) -> Result<Vec<f32>> + Sync + 'a;

impl Clusters {
    /// At most `most` clusters of `n` rows; none where these would be fewer than four.
    pub(super) fn of(
        ctx: &Context,
        (n, width): (usize, usize),
        most: usize,
        points: &Points<'_>,
    ) -> Result<Option<Self>> {
        let clusters = (n / TILE).min(MAX_CLUSTERS).min(most);
        if clusters < 4 {
            return Ok(None);
        }
        let sample = spread_ids(n, clusters * SAMPLE_PER_CLUSTER);
        let blocks: Vec<_> = runs(sample.len(), TILE).collect();
        let sampled = ctx.try_map(blocks.len(), |b| points(&sample[blocks[b].clone()]))?.concat();
        let first = points(&spread_ids(n, clusters))?;
        let mut found = Self::at(Matrix::new(clusters, width, first)?);
        for _ in 0..ROUNDS {
            let owners = found.owners(ctx, sample.len(), |range| {
                Ok(sampled[range.start * width..range.end * width].to_vec())
            })?;
            let mut sums = vec![0.0; clusters * width];
            let mut counts = vec![0.0; clusters];
            for (point, &owner) in sampled.chunks_exact(width).zip(&owners) {
                let owner = owner as usize;
                counts[owner] += 1.0;
                let sum = &mut sums[owner * width..][..width];
                sum.iter_mut().zip(point).for_each(|(s, &v)| *s += f64::from(v));
            }
            let mut centres = found.centres;
            let means = centres.as_mut_slice().chunks_exact_mut(width);
            for ((centre, sum), count) in means.zip(sums.chunks_exact(width)).zip(counts) {
                // A cluster that lost all its points keeps its centre.
                if count > 0.0 {
                    centre.iter_mut().zip(sum).for_each(|(c, s)| *c = (s / count) as f32);
                }
            }
            found = Self::at(centres);
        }
        let chain = chain(&found.centres);
        let chained = chain.iter().flat_map(|&c| found.centres.row(c)).copied().collect();
        Ok(Some(Self::at(Matrix::new(clusters, width, chained)?)))
    }

    /// Clusters that are near by the distance to their centres.
    fn at(centres: Matrix) -> Self {
        let half = |c| -0.5 * centres.row(c).iter().map(|v| v * v).sum::<f32>();
        Self { offsets: (0..centres.rows()).map(half).collect(), centres }
    }

    /// The clusters, near by the products of what is looked for, moved by `shift`, with their centres.
    pub(super) fn by_product(self, shift: &[f32]) -> Self {
        let product = |c| self.centres.row(c).iter().zip(shift).map(|(a, b)| a * b).sum::<f32>();
        let offsets = (0..self.len()).map(product).collect();
        Self { offsets, ..self }
    }

    pub(super) fn len(&self) -> usize {
        self.centres.rows()
    }

    /// `n` rows, sorted by the cluster that is nearest to each, in the order of the chain.
    pub(super) fn sort(&self, ctx: &Context, n: usize, points: &Points<'_>) -> Result<Order> {
        let mut ids: Vec<u32> = (0..n as u32).collect();
        let owners = self.owners(ctx, n, |range| points(&ids[range]))?;
        ids.sort_by_key(|&id| owners[id as usize]);
        let mut starts = vec![0; self.len() + 1];
        owners.iter().for_each(|&owner| starts[owner as usize + 1] += 1);
        for c in 1..starts.len() {
            starts[c] += starts[c - 1];
        }
        Ok(Order { ids, starts })
    }

    /// The `k` nearest clusters of each of some rows, the nearest first, row after row.
    pub(super) fn nearest(
        &self,
        ctx: &Context,
        ids: &[u32],
        k: usize,
        points: &Points<'_>,
    ) -> Result<Vec<u32>> {
        let of_row = |scores: &[f32], out: &mut Vec<u32>| {
            let mut all: Vec<u32> = (0..scores.len() as u32).collect();
            let order = |&a: &u32, &b: &u32| {
                scores[b as usize].total_cmp(&scores[a as usize]).then(a.cmp(&b))
            };
            if k < all.len() {
                all.select_nth_unstable_by(k, order);
                all.truncate(k);
            }
            all.sort_unstable_by(order);
            out.extend(all);
        };
        self.scored(ctx, ids.len(), of_row, |range| points(&ids[range]))
    }

    /// The nearest cluster of each of `n` points; `points` gives a run of them.
    fn owners(
        &self,
        ctx: &Context,
        n: usize,
        points: impl Fn(Range<usize>) -> Result<Vec<f32>> + Sync + Send,
    ) -> Result<Vec<u32>> {
        let nearest = |scores: &[f32], out: &mut Vec<u32>| {
            let mut best = (f32::NEG_INFINITY, 0);
            for (&score, c) in scores.iter().zip(0..) {
                if score > best.0 {
                    best = (score, c);
                }
            }
            out.push(best.1);
        };
        self.scored(ctx, n, nearest, points)
    }

    /// What `pick` takes of the scores of every cluster, for each of `n` points: the higher, the nearer.
    fn scored(
        &self,
        ctx: &Context,
        n: usize,
        pick: impl Fn(&[f32], &mut Vec<u32>) + Sync + Send,
        points: impl Fn(Range<usize>) -> Result<Vec<f32>> + Sync + Send,
    ) -> Result<Vec<u32>> {
        let centres = &self.centres;
        let (clusters, width) = (centres.rows(), centres.cols());
        let blocks: Vec<_> = runs(n, TILE).collect();
        let picked = ctx.try_map(blocks.len(), |b| {
            let rows = points(blocks[b].clone())?;
            let mut scores = vec![0.0; blocks[b].len() * clusters];
            matmul_here(
                1.0,
                MatRef::new(&rows, blocks[b].len(), width),
                centres.view().t(),
                0.0,
                MatMut::new(&mut scores, blocks[b].len(), clusters),
            );
            let mut picked = Vec::new();
            for scores in scores.chunks_exact_mut(clusters) {
                scores.iter_mut().zip(&self.offsets).for_each(|(score, offset)| *score += offset);
                pick(scores, &mut picked);
            }
            Ok(picked)
        })?;
        Ok(picked.concat())
    }
}

/// The squared distance of two centres.
fn distance(centres: &Matrix, a: usize, b: usize) -> f32 {
    centres.row(a).iter().zip(centres.row(b)).map(|(x, y)| (x - y) * (x - y)).sum()
}

/// The centres in the order of a walk that always goes to the nearest one not yet visited.
fn chain(centres: &Matrix) -> Vec<usize> {
    let mut left: Vec<usize> = (1..centres.rows()).collect();
    let mut walk = vec![0];
    let mut here = 0;
    while !left.is_empty() {
        let distances = left.iter().map(|&c| distance(centres, here, c)).enumerate();
        let nearest = distances.min_by(|a, b| a.1.total_cmp(&b.1));
        here = left.remove(nearest.map_or(0, |(place, _)| place));
        walk.push(here);
    }
    walk
}
