//! The lists of anchors: their nearest rows among all rows.

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_core::linalg::Matrix;
use twinlearn_knn::{KnnGraph, near_search_of_checked, search_of_checked, without_own};
use twinlearn_vectors::{Subset, Vectors, ids_at, spread_ids};

use crate::params::{MOST_PAIRS, Params};

/// The `k` nearest of `rows` to each of `anchors`, row after row, best first: where the rows are so many
/// that not all are anchors, nearly all of them, unless the method is exact.
fn nearest(
    ctx: &Context,
    params: &Params,
    anchors: &dyn Vectors,
    rows: &dyn Vectors,
    k: usize,
) -> Result<Vec<u32>> {
    match params.looks_near(rows.n_rows()) {
        true => near_search_of_checked(ctx, anchors, rows, k, params.metric, MOST_PAIRS),
        false => search_of_checked(ctx, anchors, rows, k, params.metric),
    }
}

/// The lists of the rows `anchors`, each without the row itself.
pub(super) fn of_rows(
    ctx: &Context,
    params: &Params,
    anchors: &[u32],
    rows: &dyn Vectors,
) -> Result<KnnGraph> {
    let k = params.n_neighbors;
    // They are read many times, wherever the rows lie.
    let mut some = Matrix::zeros(anchors.len(), rows.dim());
    rows.gather(anchors, some.as_mut_slice())?;
    let found = nearest(ctx, params, &some, rows, k + 1)?;
    KnnGraph::of_anchors(rows.n_rows(), anchors, without_own(&found, anchors, k))
}

/// Those of the queries `training` that are anchors, with their lists: all, or an even sample of more than
/// there are anchors of so many rows.
pub(super) fn of_queries(
    ctx: &Context,
    params: &Params,
    (queries, training): (&dyn Vectors, &[u32]),
    rows: &dyn Vectors,
) -> Result<(Vec<u32>, Vec<u32>)> {
    let most = match params.n_anchors(rows.n_rows(), rows.dim()) {
        some if some < rows.n_rows() => some,
        _ => training.len(),
    };
    let anchors = ids_at(training, &spread_ids(training.len(), most));
    let asking = Subset::new(queries, &anchors)?;
    let lists = nearest(ctx, params, &asking, rows, params.n_neighbors)?;
    Ok((anchors, lists))
}
