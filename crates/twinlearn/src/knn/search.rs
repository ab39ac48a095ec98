//! The public face of neighbour search.

use super::exact;
use super::graph::KnnGraph;
use super::metric::Metric;
use crate::context::{Context, Stage};
use crate::data::{Vectors, check_vectors};
use crate::error::{Error, Result};

/// The `k` nearest rows of `x` to each row of `x`, itself left out; exact.
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
    Ok(KnnGraph::new(
        x.n_rows(),
        ctx.stage(Stage::Knn, x.n_rows(), || exact::GraphSearch::new(ctx, x, k, metric)?.run(k))?,
    ))
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
    exact::search(ctx, queries, base, k, metric, false)
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
