//! The lists of anchors: their nearest rows among all rows.

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_core::linalg::Matrix;
use twinlearn_knn::{KnnGraph, near_search_of_checked, search_of_checked, without_own};
use twinlearn_vectors::{Subset, Vectors, ids_at, spread_ids};

use crate::params::{MOST_PAIRS, Params};

/// The lists of the rows `anchors`, each without the row itself: nearly all their nearest rows, unless the
/// method is exact. Where those near them would be too few, of [`fewer`] anchors, exactly.
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
    let (anchors, found) = match near(ctx, params, &some, rows, k + 1)? {
        Some(found) => (anchors.to_vec(), found),
        None => {
            let anchors = fewer(params, anchors, rows);
            let some = Subset::new(rows, &anchors)?;
            let found = search_of_checked(ctx, &some, rows, k + 1, params.metric)?;
            (anchors, found)
        }
    };
    KnnGraph::of_anchors(rows.n_rows(), &anchors, without_own(&found, &anchors, k))
}

/// Those of the queries `training` that are anchors, with their lists: all, or an even sample of more than
/// there are anchors of so many rows.
pub(super) fn of_queries(
    ctx: &Context,
    params: &Params,
    (queries, training): (&dyn Vectors, &[u32]),
    rows: &dyn Vectors,
) -> Result<(Vec<u32>, Vec<u32>)> {
    let k = params.n_neighbors;
    let most = match params.n_anchors(rows.n_rows(), rows.dim()) {
        some if some < rows.n_rows() => some,
        _ => training.len(),
    };
    let mut anchors = ids_at(training, &spread_ids(training.len(), most));
    let found = near(ctx, params, &Subset::new(queries, &anchors)?, rows, k)?;
    if let Some(found) = found {
        return Ok((anchors, found));
    }
    if most < training.len() {
        anchors = fewer(params, &anchors, rows);
    }
    let asking = Subset::new(queries, &anchors)?;
    let found = search_of_checked(ctx, &asking, rows, k, params.metric)?;
    Ok((anchors, found))
}

/// An even sample of the anchors: as many as may look at all rows.
pub(super) fn fewer(params: &Params, anchors: &[u32], rows: &dyn Vectors) -> Vec<u32> {
    let most = params.n_exact_anchors(rows.n_rows(), rows.dim());
    ids_at(anchors, &spread_ids(anchors.len(), most))
}

/// The `k` nearest of `rows` to each of `anchors`, of those near them; none where all rows are to be
/// looked at.
fn near(
    ctx: &Context,
    params: &Params,
    anchors: &dyn Vectors,
    rows: &dyn Vectors,
    k: usize,
) -> Result<Option<Vec<u32>>> {
    match params.looks_near(rows.n_rows()) {
        true => near_search_of_checked(ctx, anchors, rows, k, params.metric, MOST_PAIRS),
        false => Ok(None),
    }
}
