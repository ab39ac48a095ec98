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
use twinlearn_core::linalg::{MatMut, MatRef, Matrix, matmul_here};
use twinlearn_core::progress::{Event, Plan};
use twinlearn_core::random::{Purpose, below, generator, subset};
use twinlearn_vectors::Vectors;

use super::exact;
use super::frame::{Frame, frame_bytes, row_norms};
use super::metric::Metric;
use crate::kernels::scan::TILE;

/// Leading axes that are coded.
const AXES: usize = 128;
/// Centres of each group of coordinates: what a byte can name.
const CENTRES: usize = 256;
/// The sample that centres are found from: a tenth of the rows within these bounds.
const SAMPLE: Range<usize> = 4096..65536;
/// By what share the halves of a split centre differ from it.
const SPLIT: f32 = 1.0 / 1024.0;
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
}

impl Quantiser {
    fn train(ctx: &Context, rows: &Matrix, parts: usize, seed: u64) -> Result<Self> {
        let (n, dim) = (rows.rows(), rows.cols());
        let count = (n / 10).clamp(SAMPLE.start, SAMPLE.end).min(n);
        let chosen = subset(&mut generator(seed, Purpose::Quantiser, u32::MAX), n, count);
        let sample: Vec<f32> =
            chosen.iter().flat_map(|&id| rows.row(id as usize)).copied().collect();
        let groups = deal(&variances(&sample, dim), parts);
        let books = ctx.try_map(parts, |s| {
            let columns = groups[s].clone();
            let part = pick_columns(&sample, dim, &columns);
            let centres = k_means(ctx, &part, columns.len(), seed, s as u32)?;
            Ok(Book { columns, centres })
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
            for (s, book) in self.books.iter().enumerate() {
                let part = pick_columns(rows, self.dim, &book.columns);
                let nearest = nearest_centres(&part, &book.centres);
                for (code, centre) in codes[s..].iter_mut().step_by(parts).zip(nearest) {
                    *code = centre as u8;
                }
            }
            Ok(())
        })?;
        Ok(codes)
    }
}

/// The variance of each column.
fn variances(rows: &[f32], dim: usize) -> Vec<f64> {
    let n = (rows.len() / dim) as f64;
    let (mut sums, mut squares) = (vec![0.0; dim], vec![0.0; dim]);
    for row in rows.chunks_exact(dim) {
        for ((&v, sum), square) in row.iter().zip(&mut sums).zip(&mut squares) {
            *sum += f64::from(v);
            *square += f64::from(v) * f64::from(v);
        }
    }
    sums.iter()
        .zip(squares)
        .map(|(sum, square)| (square / n - (sum / n).powi(2)).max(0.0))
        .collect()
}

/// Deals columns out to groups whose sizes differ by one at most: each in turn, by falling
/// variance, to the group with the least product of variances so far.
fn deal(variances: &[f64], parts: usize) -> Vec<Vec<usize>> {
    let dim = variances.len();
    let sizes: Vec<usize> = (0..parts).map(|s| (s + 1) * dim / parts - s * dim / parts).collect();
    let mut columns: Vec<usize> = (0..dim).collect();
    columns.sort_by(|&a, &b| variances[b].total_cmp(&variances[a]));
    let floor = columns.last().map_or(0.0, |&c| variances[c]).max(f64::MIN_POSITIVE);
    let mut groups = vec![Vec::new(); parts];
    // Logarithms of products of variances relative to the least, so that each column counts.
    let mut products = vec![0.0_f64; parts];
    for column in columns {
        let open = (0..parts).filter(|&s| groups[s].len() < sizes[s]);
        let Some(s) = open.min_by(|&a, &b| products[a].total_cmp(&products[b])) else { break };
        groups[s].push(column);
        products[s] += (variances[column].max(floor) / floor).ln();
    }
    groups
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

/// The nearest centre of each point.
fn nearest_centres(points: &[f32], centres: &Matrix) -> Vec<usize> {
    let (count, width) = (centres.rows(), centres.cols());
    let halves: Vec<f32> =
        (0..count).map(|c| 0.5 * centres.row(c).iter().map(|v| v * v).sum::<f32>()).collect();
    let mut found = Vec::with_capacity(points.len() / width);
    let mut products = Vec::new();
    for points in points.chunks(TILE * width) {
        let n = points.len() / width;
        products.resize(n * count, 0.0);
        let (a, b) = (MatRef::new(points, n, width), centres.view().t());
        matmul_here(1.0, a, b, 0.0, MatMut::new(&mut products, n, count));
        for products in products.chunks_exact(count) {
            let mut best = (f32::INFINITY, 0);
            for (c, (half, product)) in halves.iter().zip(products).enumerate() {
                let distance = half - product;
                if distance < best.0 {
                    best = (distance, c);
                }
            }
            found.push(best.1);
        }
    }
    found
}

/// Lloyd's k-means from points drawn at random. A centre that has no points takes half of those of
/// the fullest one, so that many equal points (the borders of images, say) waste none.
fn k_means(ctx: &Context, points: &[f32], width: usize, seed: u64, book: u32) -> Result<Matrix> {
    let n = points.len() / width;
    let point = |i: usize| &points[i * width..][..width];
    let mut rng = generator(seed, Purpose::Quantiser, book);
    let mut order: Vec<usize> = (0..n).collect();
    for i in 0..CENTRES.min(n) {
        order.swap(i, i + below(&mut rng, (n - i) as u32) as usize);
    }
    order.truncate(CENTRES);
    let start: Vec<f32> = order.iter().flat_map(|&i| point(i)).copied().collect();
    let mut centres = Matrix::new(order.len(), width, start)?;
    for _ in 0..ROUNDS {
        ctx.check_cancelled()?;
        let nearest = nearest_centres(points, &centres);
        let mut sums = vec![0.0; centres.rows() * width];
        let mut counts = vec![0.0; centres.rows()];
        for (i, &centre) in nearest.iter().enumerate() {
            counts[centre] += 1.0;
            let sum = &mut sums[centre * width..][..width];
            sum.iter_mut().zip(point(i)).for_each(|(s, &v)| *s += f64::from(v));
        }
        let rows = centres.as_mut_slice().chunks_exact_mut(width);
        for ((centre, sum), &count) in rows.zip(sums.chunks_exact(width)).zip(&counts) {
            if count > 0.0 {
                centre.iter_mut().zip(sum).for_each(|(c, s)| *c = (s / count) as f32);
            }
        }
        for empty in 0..counts.len() {
            if counts[empty] == 0.0 {
                let full =
                    (0..counts.len()).fold(0, |a, b| if counts[b] > counts[a] { b } else { a });
                counts[full] /= 2.0;
                counts[empty] = counts[full];
                for j in 0..width {
                    let all = centres.as_mut_slice();
                    let (value, sign) =
                        (all[full * width + j], if j % 2 == 0 { 1.0 } else { -1.0 });
                    all[empty * width + j] = value * (1.0 + sign * SPLIT);
                    all[full * width + j] = value * (1.0 - sign * SPLIT);
                }
            }
        }
    }
    Ok(centres)
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

    #[test]
    fn groups_have_equal_products() {
        let groups = deal(&[16.0, 1.0, 8.0, 2.0, 4.0, 4.0], 3);
        assert_eq!(groups, [[0, 1], [2, 3], [4, 5]]);
        let sizes: Vec<_> = deal(&[1.0; 7], 3).iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 2, 3]);
    }
}
