//! Product quantisation (Jégou, Douze, Schmid, 2011): each row is kept as one byte for each of a
//! few runs of its coordinates, the number of the nearest of 256 centres there.
//!
//! A query is compared with what a row's code stands for (the asymmetric distance). That is an
//! ordinary search among the decoded rows, so the exact engine does it, bounds and all, instead
//! of adding up table entries pair by pair.

use std::ops::Range;

use rand::Rng;

use super::exact;
use super::frame::row_norms;
use super::metric::Metric;
use crate::context::{Context, Event};
use crate::data::Vectors;
use crate::error::Result;
use crate::linalg::kernels::scan::TILE;
use crate::linalg::{MatMut, MatRef, Matrix, matmul_here};
use crate::pairs::below;
use crate::random::{Purpose, generator};

/// Centres of each run of coordinates: what a byte can name.
const CENTRES: usize = 256;
/// The sample that centres are found from: a tenth of the rows within these bounds.
const SAMPLE: Range<usize> = 4096..65536;
/// Rounds of k-means.
const ROUNDS: usize = 25;

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
    // Under cosine rows are coded by their direction, and the inner product with the code is the
    // cosine but for the query's length, which orders nothing.
    let norms = if metric == Metric::Cosine { Some(row_norms(ctx, x)?) } else { None };
    let metric = if metric == Metric::Cosine { Metric::Ip } else { metric };
    let rows = Directed { x, norms: norms.as_deref() };
    let quantiser = Quantiser::train(ctx, &rows, n_subvectors, seed)?;
    ctx.emit(&Event::Plan(&format!(
        "product quantisation of {} rows of dimension {}: {} bytes a row",
        x.n_rows(),
        x.dim(),
        quantiser.books.len(),
    )));
    let codes = quantiser.encode(ctx, &rows)?;
    exact::search(ctx, x, &Decoded { quantiser: &quantiser, codes: &codes }, k, metric, true)
}

/// Rows at their own length, or at length 1 where their lengths are given.
struct Directed<'a> {
    x: &'a dyn Vectors,
    norms: Option<&'a [f64]>,
}

impl Vectors for Directed<'_> {
    fn n_rows(&self) -> usize {
        self.x.n_rows()
    }

    fn dim(&self) -> usize {
        self.x.dim()
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        self.x.read_rows(start, out)?;
        let Some(norms) = self.norms else { return Ok(()) };
        for (row, &norm) in out.chunks_exact_mut(self.dim()).zip(&norms[start..]) {
            if norm > 0.0 {
                row.iter_mut().for_each(|v| *v = (f64::from(*v) / norm) as f32);
            }
        }
        Ok(())
    }
}

/// For each run of coordinates its centres, row after row.
struct Quantiser {
    dim: usize,
    books: Vec<Book>,
}

struct Book {
    columns: Range<usize>,
    centres: Matrix,
}

impl Quantiser {
    fn train(ctx: &Context, x: &dyn Vectors, n_subvectors: usize, seed: u64) -> Result<Self> {
        let (n, dim) = (x.n_rows(), x.dim());
        let sample = sample(n, (n / 10).clamp(SAMPLE.start, SAMPLE.end).min(n), seed);
        let mut rows = vec![0.0; sample.len() * dim];
        ctx.try_for_each_chunk(&mut rows, TILE * dim, |b, out| {
            x.gather(&sample[b * TILE..][..out.len() / dim], out)
        })?;
        let parts = n_subvectors.min(dim);
        // Runs whose lengths differ by one at most.
        let columns: Vec<_> = (0..parts).map(|s| s * dim / parts..(s + 1) * dim / parts).collect();
        let books = ctx.try_map(parts, |s| {
            let part = slice_columns(&rows, dim, columns[s].clone());
            let centres = k_means(ctx, &part, columns[s].len(), seed, s as u32)?;
            Ok(Book { columns: columns[s].clone(), centres })
        })?;
        Ok(Self { dim, books })
    }

    /// The code of every row, row after row.
    fn encode(&self, ctx: &Context, x: &dyn Vectors) -> Result<Vec<u8>> {
        let parts = self.books.len();
        let mut codes = vec![0; x.n_rows() * parts];
        ctx.try_for_each_chunk(&mut codes, TILE * parts, |b, codes| {
            let n = codes.len() / parts;
            let mut rows = vec![0.0; n * self.dim];
            x.read_rows(b * TILE, &mut rows)?;
            for (s, book) in self.books.iter().enumerate() {
                let part = slice_columns(&rows, self.dim, book.columns.clone());
                let nearest = nearest_centres(&part, &book.centres);
                for (code, (_, centre)) in codes[s..].iter_mut().step_by(parts).zip(nearest) {
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
                row[book.columns.clone()].copy_from_slice(book.centres.row(code.into()));
            }
        }
        Ok(())
    }
}

/// `count` of `n` row numbers, rising; every subset is equally likely (Knuth, TAOCP 3.4.2, S).
fn sample(n: usize, count: usize, seed: u64) -> Vec<u32> {
    let mut rng = generator(seed, Purpose::Quantiser, u32::MAX);
    let mut missing = count as u64;
    let mut chosen = Vec::with_capacity(count);
    for id in 0..n {
        let left = (n - id) as u64;
        if (u64::from(rng.next_u32()) * left) >> 32 < missing {
            missing -= 1;
            chosen.push(id as u32);
        }
    }
    chosen
}

fn slice_columns(rows: &[f32], dim: usize, columns: Range<usize>) -> Vec<f32> {
    rows.chunks_exact(dim).flat_map(|row| &row[columns.clone()]).copied().collect()
}

/// For each point its squared distance to the nearest centre (less its own square) and which.
fn nearest_centres(points: &[f32], centres: &Matrix) -> Vec<(f32, usize)> {
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
            found.push(best);
        }
    }
    found
}

/// Lloyd's k-means from points drawn at random. A centre without points goes to the point that is
/// worst off.
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
    let squares: Vec<f32> =
        points.chunks_exact(width).map(|p| 0.5 * p.iter().map(|v| v * v).sum::<f32>()).collect();
    for _ in 0..ROUNDS {
        ctx.check_cancelled()?;
        let nearest = nearest_centres(points, &centres);
        let mut sums = vec![0.0; centres.rows() * width];
        let mut counts = vec![0.0; centres.rows()];
        for (i, &(_, centre)) in nearest.iter().enumerate() {
            counts[centre] += 1.0;
            let sum = &mut sums[centre * width..][..width];
            sum.iter_mut().zip(point(i)).for_each(|(s, &v)| *s += f64::from(v));
        }
        let mut worst: Vec<usize> = Vec::new();
        if counts.contains(&0.0) {
            worst = (0..n).collect();
            worst.sort_by(|&a, &b| {
                let distance = |i: usize| nearest[i].0 + squares[i];
                distance(a).total_cmp(&distance(b))
            });
        }
        let rows = centres.as_mut_slice().chunks_exact_mut(width);
        for ((centre, sum), count) in rows.zip(sums.chunks_exact(width)).zip(counts) {
            if count > 0.0 {
                centre.iter_mut().zip(sum).for_each(|(c, s)| *c = (s / count) as f32);
            } else if let Some(i) = worst.pop() {
                centre.copy_from_slice(point(i));
            }
        }
    }
    Ok(centres)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_bytes_lose_less() {
        let ctx = Context::with_threads(2).unwrap();
        let data = (0..700 * 21).map(|i| (i as f32 * 0.37).sin() + (i % 13) as f32).collect();
        let x = Matrix::new(700, 21, data).unwrap();
        let error = |bytes| {
            let quantiser = Quantiser::train(&ctx, &x, bytes, 3).unwrap();
            let lengths: Vec<_> = quantiser.books.iter().map(|b| b.columns.len()).collect();
            assert!(lengths.iter().max().unwrap() - lengths.iter().min().unwrap() <= 1);
            assert_eq!(lengths.iter().sum::<usize>(), 21);
            let codes = quantiser.encode(&ctx, &x).unwrap();
            let decoded = Decoded { quantiser: &quantiser, codes: &codes };
            let mut rows = vec![0.0; 700 * 21];
            decoded.read_rows(0, &mut rows).unwrap();
            rows.iter().zip(x.as_slice()).map(|(a, b)| (a - b).powi(2)).sum::<f32>()
        };
        let errors = [1, 2, 8].map(error);
        assert!(errors[0] > errors[1] && errors[1] > errors[2], "{errors:?}");
        // More bytes than coordinates are one for each, and as many centres as rows lose nothing.
        assert_eq!(Quantiser::train(&ctx, &x, 32, 3).unwrap().books.len(), 21);
    }

    #[test]
    fn few_rows_are_their_own_centres() {
        let ctx = Context::with_threads(1).unwrap();
        let x = Matrix::new(9, 2, (0..18).map(|v| v as f32).collect()).unwrap();
        let quantiser = Quantiser::train(&ctx, &x, 1, 0).unwrap();
        let codes = quantiser.encode(&ctx, &x).unwrap();
        let mut rows = vec![0.0; 18];
        Decoded { quantiser: &quantiser, codes: &codes }.read_rows(0, &mut rows).unwrap();
        assert_eq!(rows, x.as_slice());
    }
}
