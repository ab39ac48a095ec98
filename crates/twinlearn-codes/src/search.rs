//! Search of codes: among the rows that they stand for.

use twinlearn_core::context::Context;
use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::Matrix;
use twinlearn_knn::{Metric, search_of_checked};
use twinlearn_vectors::{Vectors, check_row};

use crate::codec::Codec;
use crate::decoded::Decoded;
use crate::kernels::Kernel;
use crate::scan;

/// The `k` codes that stand for the rows nearest to each query by the metric of the codec: row after row,
/// best first, ties by the smaller number. Queries are rows as they are before they are coded.
///
/// # Errors
/// When queries or codes do not fit the codec, `k` is 0 or above the number of codes, a query is not
/// finite, the context's memory is too little, or the work is cancelled.
pub fn search_codes(
    ctx: &Context,
    codec: &Codec,
    codes: &dyn Vectors,
    queries: &dyn Vectors,
    k: usize,
) -> Result<Vec<u32>> {
    let base = Decoded::new(codec, codes)?;
    if queries.dim() != codec.dim() {
        let expected = format!("vectors of dimension {}", codec.dim());
        return Err(Error::invalid("queries", expected, queries.dim()));
    }
    check_count("k", k, codes.n_rows())?;
    let queries = codec.turned(queries)?;
    for (i, query) in queries.as_slice().chunks_exact(queries.cols()).enumerate() {
        check_row("queries", i, query, false)?;
    }
    match Kernel::of_this_processor() {
        Some(kernel) if codec.dim() <= MOST => {
            scan::search(ctx, kernel, (codec, codes), &queries, k)
        }
        _ => search_of_checked(ctx, &queries, &base, k, codec.metric()),
    }
}

/// Numbers whose products as bytes stay within 32 bits.
const MOST: usize = 1 << 15;

/// Refuses a count that there are not.
fn check_count(name: &str, count: usize, n: usize) -> Result<()> {
    match (1..=n).contains(&count) {
        true => Ok(()),
        false => Err(Error::invalid(name, format_args!("a number from 1 to {n}"), count)),
    }
}

/// The `k` nearest of each query's candidates, by the rows themselves in `f64`: row after row, best first,
/// ties by the smaller number. `candidates` are row numbers of `rows`, as many for each query.
///
/// # Errors
/// When there are fewer candidates than `k`; a candidate's row is not finite, or all zeros under cosine;
/// rows cannot be read, or the work is cancelled.
pub fn rescore(
    ctx: &Context,
    candidates: &[u32],
    queries: &dyn Vectors,
    rows: &dyn Vectors,
    k: usize,
    metric: Metric,
) -> Result<Vec<u32>> {
    let dim = rows.dim();
    if queries.dim() != dim {
        let expected = format!("vectors of dimension {dim}, as the rows");
        return Err(Error::invalid("queries", expected, queries.dim()));
    }
    let count = candidates.len() / queries.n_rows().max(1);
    check_count("k", k, count)?;
    let found = ctx.try_map(queries.n_rows(), |i| {
        let ids = &candidates[i * count..][..count];
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= rows.n_rows()) {
            let expected = format!("rows for all codes, more than {id}");
            return Err(Error::invalid("rescore", expected, rows.n_rows()));
        }
        let (mut query, mut some) = (vec![0.0; dim], Matrix::zeros(count, dim));
        queries.read_rows(i, &mut query)?;
        rows.gather(ids, some.as_mut_slice())?;
        for (row, &id) in some.as_slice().chunks_exact(dim).zip(ids) {
            check_row("rescore", id as usize, row, metric == Metric::Cosine)?;
        }
        let mut near: Vec<(f64, u32)> = ids
            .iter()
            .enumerate()
            .map(|(j, &id)| (metric.distance(&query, some.row(j)), id))
            .collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        Ok(near.into_iter().take(k).map(|(_, id)| id).collect::<Vec<u32>>())
    })?;
    Ok(found.concat())
}
