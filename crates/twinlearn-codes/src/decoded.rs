//! Search of codes: among the rows that they stand for.

use twinlearn_core::context::Context;
use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::Matrix;
use twinlearn_knn::{Metric, search_of_checked};
use twinlearn_vectors::Vectors;

use crate::codec::Codec;

/// Codes whose bytes are read and decoded at once.
const ROWS: usize = 64;

/// The rows that codes stand for, turned as [`search_codes`] turns its queries, decoded anew each time that they
/// are read. The codes are vectors of bytes, N × [`Codec::row_bytes`], in memory or in a file.
#[derive(Clone, Copy)]
pub struct Decoded<'a> {
    codec: &'a Codec,
    codes: &'a dyn Vectors,
}

impl std::fmt::Debug for Decoded<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoded").field("n_rows", &self.n_rows()).finish_non_exhaustive()
    }
}

impl<'a> Decoded<'a> {
    /// The rows that `codes` stand for.
    ///
    /// # Errors
    /// When codes have another number of bytes.
    pub fn new(codec: &'a Codec, codes: &'a dyn Vectors) -> Result<Self> {
        let bytes = codec.row_bytes();
        if codes.dim() == bytes {
            return Ok(Self { codec, codes });
        }
        let expected = format!("{bytes} bytes a row, as code {} has", codec.spec());
        Err(Error::invalid("codes", expected, codes.dim()))
    }

    /// Decodes as many rows as `out` has; `read` writes so many codes from a place on.
    fn decode(
        &self,
        out: &mut [f32],
        read: impl Fn(usize, &mut [f32]) -> Result<()>,
    ) -> Result<()> {
        let (dim, bytes) = (self.dim(), self.codes.dim());
        let (mut numbers, mut code) = (vec![0.0; ROWS * bytes], vec![0; bytes]);
        for (b, out) in out.chunks_mut(ROWS * dim).enumerate() {
            let numbers = &mut numbers[..out.len() / dim * bytes];
            read(b * ROWS, numbers)?;
            for (numbers, out) in numbers.chunks_exact(bytes).zip(out.chunks_exact_mut(dim)) {
                for (byte, &number) in code.iter_mut().zip(numbers) {
                    *byte = number as u8;
                    if f32::from(*byte) != number {
                        return Err(Error::invalid("codes", "bytes, from 0 to 255", number));
                    }
                }
                self.codec.decode_turned(&code, out);
            }
        }
        Ok(())
    }
}

impl Vectors for Decoded<'_> {
    fn n_rows(&self) -> usize {
        self.codes.n_rows()
    }

    fn dim(&self) -> usize {
        self.codec.dim()
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        self.decode(out, |at, numbers| self.codes.read_rows(start + at, numbers))
    }

    fn gather(&self, ids: &[u32], out: &mut [f32]) -> Result<()> {
        let bytes = self.codes.dim();
        self.decode(out, |at, numbers| {
            self.codes.gather(&ids[at..at + numbers.len() / bytes], numbers)
        })
    }
}

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
    search_of_checked(ctx, &queries, &base, k, codec.metric())
}

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
/// When there are fewer candidates than `k`, rows cannot be read, or the work is cancelled.
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
