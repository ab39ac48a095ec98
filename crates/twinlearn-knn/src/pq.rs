//! Product quantisation (Jégou, Douze, Schmid, 2011): each row is kept as one byte for each of a
//! few groups of its coordinates, the number of the nearest of 256 centres there.
//!
//! Coordinates are the leading principal axes, dealt out so that every group has about the same
//! product of variances (the parametric form of optimised product quantisation; Ge, He, Ke, Sun,
//! 2013).
//!
//! A query is compared with what a row's code stands for (the asymmetric distance). That is an
//! ordinary search among the decoded rows, so the exact engine does it, bounds and all, instead
//! of adding up table entries pair by pair.

use std::ops::Range;

use twinlearn_core::context::Context;
use twinlearn_core::cost::{self, beside};
use twinlearn_core::error::Result;
use twinlearn_core::linalg::Matrix;
use twinlearn_core::progress::{Event, Plan};
use twinlearn_core::random::{Purpose, generator, subset};
use twinlearn_vectors::Vectors;

use super::exact;
use super::frame::{Frame, frame_bytes, row_norms};
use super::kmeans::{NearestCentre, deal, k_means, variances};
use super::metric::Metric;
use crate::kernels::scan::TILE;

/// Leading axes that are coded.
const AXES: usize = 128;
/// Centres of each group of coordinates: what a byte can name.
const CENTRES: usize = 256;
/// The sample that centres are found from: a tenth of the rows within these bounds.
const SAMPLE: Range<usize> = 4096..65536;
/// Rounds of k-means.
const ROUNDS: usize = 25;

/// Bytes of rows along their axes, their codes and their lengths.
fn coded_bytes(n: usize, axes: usize, parts: usize) -> usize {
    n * (4 * axes + parts + 8)
}

/// Bytes of working memory that [`graph`] takes at least.
pub(super) fn least_bytes(
    threads: usize,
    (n, dim): (usize, usize),
    k: usize,
    n_subvectors: usize,
) -> usize {
    let axes = AXES.min(dim);
    let search = exact::least_search_bytes(threads, (n, n, axes), k);
    (coded_bytes(n, axes, n_subvectors.min(axes)) + search).max(frame_bytes(n, dim, axes))
}

/// About the `k` nearest other rows of every row of `x` by their codes of `n_subvectors` bytes,
/// row after row, best first.
pub(super) fn graph(
    ctx: &Context,
    x: &dyn Vectors,
    k: usize,
    metric: Metric,
    n_subvectors: usize,
    seed: u64,
) -> Result<Vec<u32>> {
    let (n, dim, axes) = (x.n_rows(), x.dim(), AXES.min(x.dim()));
    let parts = n_subvectors.min(axes);
    let bytes = coded_bytes(n, axes, parts);
    beside(ctx, least_bytes(ctx.n_threads(), (n, dim), k, n_subvectors), "this search")?;
    let seconds = cost::product((n * axes * (dim + CENTRES * (1 + ROUNDS / 10))) as f64);
    ctx.emit(&Event::Plan(&Plan {
        what: format!("product quantisation of {n} rows"),
        details: format!(
            "{dim} dimensions, each row read 3 times, {axes} leading axes as {parts} bytes a row; \
             the search of the codes comes after"
        ),
        bytes,
        seconds: seconds / ctx.n_threads() as f64,
    }));
    let norms = row_norms(ctx, x)?;
    let largest = norms.iter().copied().fold(0.0, f64::max);
    let frame = Frame::new(ctx, x, &norms, metric, axes, largest)?;
    let mut rows = Matrix::zeros(n, axes);
    ctx.try_for_each_chunk(rows.as_mut_slice(), TILE * axes, |b, out| {
        let start = b * TILE;
        let count = out.len() / axes;
        let mut z = vec![0.0; count * dim];
        x.read_rows(start, &mut z)?;
        frame.move_rows(&mut z, norms[start..start + count].iter().copied());
        out.copy_from_slice(&frame.turn(&z));
        Ok(())
    })?;
    let quantiser = Quantiser::train(ctx, &rows, parts, seed)?;
    let codes = quantiser.encode(ctx, &rows)?;
    // With z = (x − μ)σ turned to u, distances are ‖u − u'‖ but under the inner product, which
    // orders rows by (u + c) · u' with c the turned μσ.
    if metric == Metric::Ip {
        let centre = frame.turned_mean();
        for row in rows.as_mut_slice().chunks_exact_mut(axes) {
            row.iter_mut().zip(&centre).for_each(|(v, c)| *v += c);
        }
    }
    let metric = if metric == Metric::Ip { Metric::Ip } else { Metric::L2 };
    let decoded = Decoded { quantiser: &quantiser, codes: &codes };
    exact::search(
        ctx,
        &rows,
        &decoded,
        k,
        metric,
        exact::Options { same_ids: true, reserved: bytes },
    )
}

/// For each group of coordinates its centres.
struct Quantiser {
    dim: usize,
    books: Vec<Book>,
}

struct Book {
    columns: Vec<usize>,
    centres: Matrix,
    nearest: NearestCentre,
}

impl Quantiser {
    fn train(ctx: &Context, rows: &Matrix, parts: usize, seed: u64) -> Result<Self> {
        let (n, dim) = (rows.rows(), rows.cols());
        let count = (n / 10).clamp(SAMPLE.start, SAMPLE.end).min(n);
        let chosen = subset(&mut generator(seed, Purpose::Quantiser, u32::MAX), n, count);
        let sample: Vec<f32> =
            chosen.iter().flat_map(|&id| rows.row(id as usize)).copied().collect();
        let groups = deal(&variances(&sample, dim), parts, (CENTRES as f64).log2());
        let books = ctx.try_map(parts, |s| {
            let columns = groups[s].clone();
            let part = pick_columns(&sample, dim, &columns);
            let sizes = (columns.len(), CENTRES);
            let centres = k_means(ctx, &part, sizes, ROUNDS, (seed, s as u32))?;
            let nearest = NearestCentre::new(&centres);
            Ok(Book { columns, centres, nearest })
        })?;
        Ok(Self { dim, books })
    }

    /// The code of every row, row after row.
    fn encode(&self, ctx: &Context, rows: &Matrix) -> Result<Vec<u8>> {
        let parts = self.books.len();
        let mut codes = vec![0; rows.rows() * parts];
        ctx.try_for_each_chunk(&mut codes, TILE * parts, |b, codes| {
            let n = codes.len() / parts;
            let rows = &rows.as_slice()[b * TILE * self.dim..][..n * self.dim];
            let mut found = vec![0; n];
            for (s, book) in self.books.iter().enumerate() {
                let part = pick_columns(rows, self.dim, &book.columns);
                book.nearest.find(&part, book.columns.len(), &mut found);
                for (code, &centre) in codes[s..].iter_mut().step_by(parts).zip(&found) {
                    *code = centre as u8;
                }
            }
            Ok(())
        })?;
        Ok(codes)
    }
}

/// Rows as their codes tell them.
struct Decoded<'a> {
    quantiser: &'a Quantiser,
    codes: &'a [u8],
}

impl Vectors for Decoded<'_> {
    fn n_rows(&self) -> usize {
        self.codes.len() / self.quantiser.books.len()
    }

    fn dim(&self) -> usize {
        self.quantiser.dim
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let Quantiser { dim, books } = self.quantiser;
        let codes = self.codes[start * books.len()..].chunks_exact(books.len());
        for (row, codes) in out.chunks_exact_mut(*dim).zip(codes) {
            for (book, &code) in books.iter().zip(codes) {
                let centre = book.centres.row(code.into());
                book.columns.iter().zip(centre).for_each(|(&column, &v)| row[column] = v);
            }
        }
        Ok(())
    }
}

fn pick_columns(rows: &[f32], dim: usize, columns: &[usize]) -> Vec<f32> {
    rows.chunks_exact(dim).flat_map(|row| columns.iter().map(|&c| row[c])).collect()
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    /// The squared error of rows as their codes of so many bytes tell them.
    fn error(x: &Matrix, parts: usize) -> f32 {
        let ctx = Context::with_threads(2).unwrap();
        let quantiser = Quantiser::train(&ctx, x, parts, 3).unwrap();
        let mut columns: Vec<_> = quantiser.books.iter().flat_map(|b| b.columns.clone()).collect();
        columns.sort_unstable();
        assert!(columns.into_iter().eq(0..x.cols()), "every column is in one group");
        let codes = quantiser.encode(&ctx, x).unwrap();
        let mut rows = vec![0.0; x.as_slice().len()];
        Decoded { quantiser: &quantiser, codes: &codes }.read_rows(0, &mut rows).unwrap();
        rows.iter().zip(x.as_slice()).map(|(a, b)| (a - b).powi(2)).sum()
    }

    #[test]
    fn more_bytes_lose_less() {
        let mut rng = generator(0, Purpose::Init, 0);
        let data = (0..700 * 21).map(|_| rng.next_u32() as f32 / u32::MAX as f32).collect();
        let x = Matrix::new(700, 21, data).unwrap();
        let errors = [1, 2, 8, 21].map(|parts| error(&x, parts));
        assert!(errors.is_sorted_by(|a, b| a > b), "{errors:?}");
    }

    #[test]
    fn few_rows_are_their_own_centres() {
        let x = Matrix::new(9, 2, (0..18).map(|v| v as f32).collect()).unwrap();
        assert_eq!(error(&x, 1), 0.0);
    }
}
