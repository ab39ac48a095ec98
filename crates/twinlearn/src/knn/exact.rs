//! Exact search: every pair, in blocks.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::graph::KnnGraph;
use super::metric::Metric;
use super::neighbor::{Nearest, Neighbor};
use crate::context::{Context, Event, Stage, runs};
use crate::data::{Vectors, check_vectors};
use crate::error::{Error, Result};
use crate::linalg::{MatMut, MatRef, matmul_here};

/// Queries a task searches at once: enough for the product to run from cache.
const QUERIES: usize = 256;
/// Base rows they are compared with at once.
const BASE: usize = 1024;
/// Candidates kept beyond `k`: those that rounding in `f32` may have put in the wrong order are
/// decided in `f64`.
const SPARE: usize = 16;

/// The `k` nearest rows of `x` to each row of `x`, itself left out; exact, N² · D work.
///
/// Row i of the result is sorted by distance, ties by the smaller index. Of equal rows each is
/// the other's neighbour.
///
/// # Errors
/// When `k` is 0 or not below the number of rows, a value is not finite, or a row is all zeros
/// under [`Metric::Cosine`].
///
/// ```
/// use twinlearn::{Context, Matrix, Metric, knn_graph};
/// let x = Matrix::new(4, 1, vec![0.0, 1.0, 1.5, 9.0])?;
/// let graph = knn_graph(&Context::new()?, &x, 2, Metric::L2)?;
/// assert_eq!(graph.neighbors(3), [2, 1]);
/// # Ok::<(), twinlearn::Error>(())
/// ```
pub fn knn_graph(ctx: &Context, x: &dyn Vectors, k: usize, metric: Metric) -> Result<KnnGraph> {
    check_n_neighbors(k, x.n_rows())?;
    check_vectors(ctx, "X", x, metric == Metric::Cosine)?;
    graph_of_checked(ctx, x, k, metric)
}

/// [`knn_graph`] of vectors that were checked before.
pub(crate) fn graph_of_checked(
    ctx: &Context,
    x: &dyn Vectors,
    k: usize,
    metric: Metric,
) -> Result<KnnGraph> {
    check_n_neighbors(k, x.n_rows())?;
    let ids = ctx.stage(Stage::Knn, x.n_rows(), || search(ctx, x, x, k, metric, true))?;
    Ok(KnnGraph::new(x.n_rows(), ids))
}

/// The `k` nearest rows of `base` to each row of `queries`, row after row, best first; exact.
///
/// # Errors
/// When the dimensions differ, `k` is 0 or above the number of base rows, a value is not finite,
/// or a row is all zeros under [`Metric::Cosine`].
pub fn knn_search(
    ctx: &Context,
    queries: &dyn Vectors,
    base: &dyn Vectors,
    k: usize,
    metric: Metric,
) -> Result<Vec<u32>> {
    if queries.dim() != base.dim() {
        return Err(Error::invalid(
            "queries",
            format_args!("vectors of dimension {}", base.dim()),
            queries.dim(),
        ));
    }
    if k == 0 || k > base.n_rows() {
        return Err(Error::invalid("k", format_args!("a number from 1 to {}", base.n_rows()), k));
    }
    check_vectors(ctx, "queries", queries, metric == Metric::Cosine)?;
    check_vectors(ctx, "base", base, metric == Metric::Cosine)?;
    search_of_checked(ctx, queries, base, k, metric)
}

/// [`knn_search`] of finite vectors of one dimension. Rows of zeros are taken under every metric:
/// what an encoder gives may hold some.
pub(crate) fn search_of_checked(
    ctx: &Context,
    queries: &dyn Vectors,
    base: &dyn Vectors,
    k: usize,
    metric: Metric,
) -> Result<Vec<u32>> {
    search(ctx, queries, base, k, metric, false)
}

pub(crate) fn check_n_neighbors(k: usize, n_rows: usize) -> Result<()> {
    if n_rows < 2 {
        return Err(Error::invalid("X", "at least 2 rows", n_rows));
    }
    if k == 0 || k >= n_rows {
        return Err(Error::invalid(
            "n_neighbors",
            format_args!("a number from 1 to {} (one less than the rows)", n_rows - 1),
            k,
        ));
    }
    Ok(())
}

/// The search itself. With `same` the two sets are one, and row i is no neighbour of itself.
fn search(
    ctx: &Context,
    queries: &dyn Vectors,
    base: &dyn Vectors,
    k: usize,
    metric: Metric,
    same: bool,
) -> Result<Vec<u32>> {
    let squares = half_squares(ctx, base, metric)?;
    let blocks: Vec<_> = runs(queries.n_rows(), QUERIES).collect();
    let done = AtomicUsize::new(0);
    let found = ctx.try_map(blocks.len(), |b| {
        let rows = blocks[b].clone();
        let task = BlockSearch { ctx, base, squares: &squares, k, metric };
        let ids = task.run(queries, rows.start, rows.len(), same)?;
        let done = done.fetch_add(rows.len(), Ordering::Relaxed) + rows.len();
        ctx.emit(&Event::StageProgress { stage: Stage::Knn, done });
        Ok(ids)
    })?;
    Ok(found.concat())
}

/// ‖y‖² / 2 for every base row under L2, where `‖y‖²/2 − x·y` orders as the distance does; nothing
/// for the others.
fn half_squares(ctx: &Context, base: &dyn Vectors, metric: Metric) -> Result<Vec<f32>> {
    if metric != Metric::L2 {
        return Ok(Vec::new());
    }
    let mut squares = vec![0.0; base.n_rows()];
    ctx.try_for_each_chunk(&mut squares, BASE, |b, out| {
        let mut rows = vec![0.0; out.len() * base.dim()];
        base.read_rows(b * BASE, &mut rows)?;
        for (o, row) in out.iter_mut().zip(rows.chunks_exact(base.dim())) {
            *o = (0.5 * row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>()) as f32;
        }
        Ok(())
    })?;
    Ok(squares)
}

struct BlockSearch<'a> {
    ctx: &'a Context,
    base: &'a dyn Vectors,
    squares: &'a [f32],
    k: usize,
    metric: Metric,
}

impl BlockSearch<'_> {
    fn run(&self, queries: &dyn Vectors, start: usize, n: usize, same: bool) -> Result<Vec<u32>> {
        let dim = self.base.dim();
        let mut x = vec![0.0; n * dim];
        queries.read_rows(start, &mut x)?;
        let original = x.clone();
        self.normalise(&mut x);
        let mut nearest = vec![Nearest::new(self.k + SPARE); n];
        let mut y = vec![0.0; BASE * dim];
        let mut products = vec![0.0; n * BASE];
        for run in runs(self.base.n_rows(), BASE) {
            self.ctx.check_cancelled()?;
            let y = &mut y[..run.len() * dim];
            self.base.read_rows(run.start, y)?;
            self.normalise(y);
            let products = &mut products[..n * run.len()];
            matmul_here(
                1.0,
                MatRef::new(&x, n, dim),
                MatRef::new(y, run.len(), dim).t(),
                0.0,
                MatMut::new(products, n, run.len()),
            );
            for (i, row) in products.chunks_exact(run.len()).enumerate() {
                let own = if same { start + i } else { usize::MAX };
                for (id, &product) in run.clone().zip(row) {
                    if id != own {
                        let offset = self.squares.get(id).copied().unwrap_or(0.0);
                        nearest[i].push(offset - product, id as u32);
                    }
                }
            }
        }
        self.decide(&original, &nearest)
    }

    fn normalise(&self, rows: &mut [f32]) {
        if self.metric == Metric::Cosine {
            rows.chunks_exact_mut(self.base.dim()).for_each(crate::data::normalise_row);
        }
    }

    /// Orders the candidates of each query by their distance in `f64` and keeps `k`.
    fn decide(&self, queries: &[f32], nearest: &[Nearest]) -> Result<Vec<u32>> {
        let dim = self.base.dim();
        let mut out = Vec::with_capacity(nearest.len() * self.k);
        let mut row = vec![0.0; dim];
        for (query, nearest) in queries.chunks_exact(dim).zip(nearest) {
            let mut exact = Vec::with_capacity(self.k + SPARE);
            for id in nearest.ids() {
                self.base.read_rows(id as usize, &mut row)?;
                exact.push(Neighbor { distance: self.metric.distance(query, &row), id });
            }
            exact.sort_unstable();
            out.extend(exact[..self.k].iter().map(|n| n.id));
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::Matrix;
    use crate::random::{Purpose, generator};
    use rand::Rng;

    fn random(n: usize, dim: usize, seed: u64) -> Matrix {
        let mut rng = generator(seed, Purpose::Init, 0);
        let data = (0..n * dim).map(|_| rng.next_u32() as f32 / u32::MAX as f32 - 0.4).collect();
        Matrix::new(n, dim, data).unwrap()
    }

    fn brute_force(q: &Matrix, x: &Matrix, k: usize, metric: Metric, same: bool) -> Vec<u32> {
        (0..q.rows())
            .flat_map(|i| {
                let mut all: Vec<_> = (0..x.rows())
                    .filter(|&j| !same || j != i)
                    .map(|j| (metric.distance(q.row(i), x.row(j)), j as u32))
                    .collect();
                all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                all.into_iter().take(k).map(|(_, j)| j)
            })
            .collect()
    }

    #[test]
    fn equals_brute_force_at_any_number_of_threads() {
        let (x, q) = (random(1500, 19, 1), random(300, 19, 2));
        for metric in [Metric::Cosine, Metric::Ip, Metric::L2] {
            for threads in [1, 2, 4] {
                let ctx = Context::with_threads(threads).unwrap();
                let graph = knn_graph(&ctx, &x, 7, metric).unwrap();
                assert_eq!(graph.ids(), brute_force(&x, &x, 7, metric, true), "{metric}");
                let found = knn_search(&ctx, &q, &x, 7, metric).unwrap();
                assert_eq!(found, brute_force(&q, &x, 7, metric, false), "{metric}");
            }
        }
    }

    #[test]
    fn duplicates_are_neighbours_and_self_is_not() {
        let ctx = Context::with_threads(2).unwrap();
        let x = Matrix::new(4, 2, vec![3.0, 4.0, 3.0, 4.0, 3.0, 4.0, -1.0, 0.0]).unwrap();
        for metric in [Metric::Cosine, Metric::Ip, Metric::L2] {
            let graph = knn_graph(&ctx, &x, 2, metric).unwrap();
            assert_eq!(graph.ids(), [1, 2, 0, 2, 0, 1, 0, 1], "{metric}");
        }
        // Every other row, in order.
        assert_eq!(knn_graph(&ctx, &x, 3, Metric::L2).unwrap().neighbors(1), [0, 2, 3]);
    }

    #[test]
    fn wrong_input_is_named() {
        let ctx = Context::with_threads(1).unwrap();
        let x = Matrix::new(3, 1, vec![1.0, 2.0, 0.0]).unwrap();
        let error = |k, metric| knn_graph(&ctx, &x, k, metric).unwrap_err().to_string();
        let k_message = "n_neighbors: expected a number from 1 to 2 (one less than the rows), got ";
        assert_eq!(error(3, Metric::L2), format!("{k_message}3"));
        assert_eq!(error(0, Metric::L2), format!("{k_message}0"));
        assert!(error(1, Metric::Cosine).ends_with("got all zeros in row 2"));
        let one = Matrix::new(1, 1, vec![1.0]).unwrap();
        let message = knn_graph(&ctx, &one, 1, Metric::L2).unwrap_err().to_string();
        assert_eq!(message, "X: expected at least 2 rows, got 1");
    }
}
