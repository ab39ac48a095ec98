//! Product codes with a learned rotation (OPQ: Ge, He, Ke, Sun, 2013).
//!
//! A row z (under cosine at length 1) is turned, y = R z (R an orthogonal matrix over the size of rows, a
//! power of two near their mean length, so that no square overflows or vanishes), and each of M groups of neighbouring numbers of y
//! becomes one byte, the number of the nearest of 256 centres. R begins as principal axes dealt to groups of
//! equal products of variances; then k-means and the best rotation for its centres (Procrustes) take turns.
//!
//! Under cosine a query is compared with the direction of what a code stands for: that keeps .05 more of the
//! neighbours than inner products with it, as FAISS compares them.

use twinlearn_core::context::Context;
use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::{
    MatMut, MatRef, Matrix, gram, matmul, matmul_here, nearest_orthogonal, symmetric_eigen,
};
use twinlearn_knn::Metric;
use twinlearn_knn::kmeans::{NearestCentre, deal, drawn_centres, lloyd, nearest_centres};

use crate::scalar::prepare;

/// Centres of each group: what a byte can name.
const CENTRES: usize = 256;
/// Rounds of k-means before the rotation is looked at, turns of both, and rounds after them.
const FIRST: usize = 4;
const TURNS: usize = 10;
const LAST: usize = 10;

/// Bytes that a thread takes to turn rows and to look for the nearest centres: what a matrix product packs.
const PER_THREAD: usize = 4 << 20;

/// A product code for rows of one dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct ProductCode {
    metric: Metric,
    /// R, d × d.
    rotation: Matrix,
    /// The centres of all groups side by side, and those of each.
    centres: Matrix,
    books: Vec<Matrix>,
    finders: Vec<NearestCentre>,
}

/// Where group `s` of `parts` begins; their sizes differ by one at most.
fn start(s: usize, dim: usize, parts: usize) -> usize {
    s * dim / parts
}

/// Columns from `start` on of rows of `dim` numbers.
fn columns(rows: &[f32], dim: usize, start: usize, width: usize) -> Vec<f32> {
    rows.chunks_exact(dim).flat_map(|row| &row[start..start + width]).copied().collect()
}

impl ProductCode {
    /// Learns a code of so many bytes from rows.
    ///
    /// # Errors
    /// When there are no rows, `bytes` is 0 or above the dimension, or the work is cancelled.
    pub fn train(
        ctx: &Context,
        metric: Metric,
        rows: &Matrix,
        bytes: usize,
        seed: u64,
    ) -> Result<Self> {
        let (n, dim, parts) = (rows.rows(), rows.cols(), bytes);
        if parts == 0 || parts > dim {
            let expected =
                format_args!("from 1 to {dim} bytes, one for each number of a row at most");
            return Err(Error::invalid("codes", expected, format_args!("pq:{parts}")));
        }
        if n == 0 {
            return Err(Error::invalid("X", "at least 1 row to learn codes from", n));
        }
        let size = size(metric, rows);
        let mut scaled = rows.clone();
        scaled.as_mut_slice().chunks_exact_mut(dim).for_each(|row| {
            prepare(metric, row);
            row.iter_mut().for_each(|v| *v /= size);
        });
        let rows = &scaled;
        let group = |s: usize| start(s, dim, parts)..start(s + 1, dim, parts);
        let part =
            |rows: &Matrix, s: usize| columns(rows.as_slice(), dim, group(s).start, group(s).len());
        let mut rotation = principal(ctx, rows, parts)?;
        let mut turned = Matrix::zeros(n, dim);
        let turn = |rotation: &Matrix, turned: &mut Matrix| {
            matmul(ctx, 1.0, rows.view(), rotation.view().t(), 0.0, turned.view_mut());
        };
        turn(&rotation, &mut turned);
        let learn = |points: &[f32], mut centres: Matrix, rounds: usize| {
            for _ in 0..rounds {
                ctx.check_cancelled()?;
                lloyd(points, &mut centres);
            }
            Ok(centres)
        };
        let mut books = ctx.try_map(parts, |s| {
            let points = part(&turned, s);
            let drawn = drawn_centres(&points, group(s).len(), CENTRES, seed, s as u32)?;
            learn(&points, drawn, FIRST)
        })?;
        let mut decoded = Matrix::<f32>::zeros(n, dim);
        for _ in 0..TURNS {
            let found = ctx.try_map(parts, |s| {
                let points = part(&turned, s);
                let centres = learn(&points, books[s].clone(), 1)?;
                let nearest = nearest_centres(&points, &centres);
                Ok((centres, nearest))
            })?;
            books.clear();
            for (s, (centres, nearest)) in found.into_iter().enumerate() {
                for (row, c) in decoded.as_mut_slice().chunks_exact_mut(dim).zip(nearest) {
                    row[group(s)].copy_from_slice(centres.row(c as usize));
                }
                books.push(centres);
            }
            // Σ‖R x − ŷ‖² is least where tr(R Σ x ŷᵀ) is greatest.
            let mut cross = Matrix::<f32>::zeros(dim, dim);
            matmul(ctx, 1.0, decoded.view().t(), rows.view(), 0.0, cross.view_mut());
            let wide = cross.as_slice().iter().map(|&v| v.into()).collect();
            rotation = narrow(&nearest_orthogonal(ctx, Matrix::new(dim, dim, wide)?)?)?;
            turn(&rotation, &mut turned);
        }
        let books = ctx.try_map(parts, |s| learn(&part(&turned, s), books[s].clone(), LAST))?;
        rotation.as_mut_slice().iter_mut().for_each(|v| *v /= size);
        let mut centres = Matrix::zeros(books[0].rows(), dim);
        for (c, row) in centres.as_mut_slice().chunks_exact_mut(dim).enumerate() {
            for (s, book) in books.iter().enumerate() {
                row[group(s)].copy_from_slice(book.row(c));
            }
        }
        Self::from_parts(metric, rotation, centres, parts)
    }

    /// A code of its parts: R, d × d, and the centres of all groups side by side, at most 256 × d.
    ///
    /// # Errors
    /// When they do not fit together.
    pub fn from_parts(
        metric: Metric,
        rotation: Matrix,
        centres: Matrix,
        bytes: usize,
    ) -> Result<Self> {
        let (dim, count) = (rotation.cols(), centres.rows());
        let fits = rotation.rows() == dim && centres.cols() == dim && (1..=dim).contains(&bytes);
        if !fits || !(1..=CENTRES).contains(&count) {
            let expected =
                "a rotation of d × d and up to 256 centres of d numbers, at most d groups";
            let got =
                format!("{} × {dim}, {count} × {} and {bytes}", rotation.rows(), centres.cols());
            return Err(Error::invalid("codes", expected, got));
        }
        let book = |s: usize| {
            let (from, to) = (start(s, dim, bytes), start(s + 1, dim, bytes));
            Matrix::new(count, to - from, columns(centres.as_slice(), dim, from, to - from))
        };
        let books = (0..bytes).map(book).collect::<Result<Vec<_>>>()?;
        let finders = books.iter().map(NearestCentre::new).collect();
        Ok(Self { metric, rotation, centres, books, finders })
    }

    /// R, d × d: y = R z. Its rows are orthogonal and of one length, 1 under cosine.
    #[must_use]
    pub fn rotation(&self) -> &Matrix {
        &self.rotation
    }

    /// The centres of all groups side by side, at most 256 × d.
    #[must_use]
    pub fn centres(&self) -> &Matrix {
        &self.centres
    }

    /// The centres of each group.
    pub(crate) fn books(&self) -> &[Matrix] {
        &self.books
    }

    /// Bytes of working memory that [`train`](Self::train) of `n` rows takes on so many threads, these rows
    /// among them.
    #[must_use]
    pub fn training_bytes(threads: usize, n: usize, dim: usize) -> usize {
        // Rows as they are, turned, decoded and by group; in f64 for their axes, or the rotation's.
        n * dim * (4 * 4 + 8) + 8 * 8 * dim * dim + threads * PER_THREAD
    }

    /// Multiplications that it takes, about.
    #[must_use]
    pub fn training_work(n: usize, dim: usize) -> f64 {
        let rounds = CENTRES * (FIRST + 2 * TURNS + LAST);
        (n * dim) as f64 * (rounds + (2 * TURNS + 2) * dim) as f64
    }

    /// d, the numbers of a row.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.rotation.cols()
    }

    /// Bytes of a row.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        self.books.len()
    }

    /// The metric that codes are compared by.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Writes the codes of rows, which under cosine are at length 1, on the calling thread.
    pub(crate) fn encode(&self, rows: &[f32], out: &mut [u8]) {
        let turned = self.turned(rows);
        let (dim, parts) = (self.dim(), self.books.len());
        let mut found = vec![0; rows.len() / dim];
        for (s, finder) in self.finders.iter().enumerate() {
            finder.find(&turned[start(s, dim, parts)..], dim, &mut found);
            for (code, &centre) in out[s..].iter_mut().step_by(parts).zip(&found) {
                *code = centre as u8;
            }
        }
    }

    /// Writes what a code stands for, turned.
    pub(crate) fn decode(&self, code: &[u8], out: &mut [f32]) {
        let mut rest = out;
        for (book, &code) in self.books.iter().zip(code) {
            let (own, others) = rest.split_at_mut(book.cols());
            // What names no centre is of another code, and stands for the last.
            own.copy_from_slice(book.row(usize::from(code).min(book.rows() - 1)));
            rest = others;
        }
    }

    /// Rows turned as decoded ones are, on the calling thread.
    pub(crate) fn turned(&self, rows: &[f32]) -> Vec<f32> {
        self.times(rows, self.rotation.view().t())
    }

    /// Rows turned back.
    pub(crate) fn turned_back(&self, rows: &[f32]) -> Vec<f32> {
        let square: f64 = self.rotation.row(0).iter().map(|&v| f64::from(v).powi(2)).sum();
        let size = (1.0 / square.sqrt()) as f32;
        let mut back = self.times(rows, self.rotation.view());
        // One after the other: their product may be beyond all floats.
        back.iter_mut().for_each(|v| *v = *v * size * size);
        back
    }

    fn times(&self, rows: &[f32], by: MatRef<'_, f32>) -> Vec<f32> {
        let dim = self.dim();
        let n = rows.len() / dim;
        let mut out = vec![0.0; rows.len()];
        matmul_here(1.0, MatRef::new(rows, n, dim), by, 0.0, MatMut::new(&mut out, n, dim));
        out
    }
}

/// About how long rows are: a power of two, by which division is exact; 1 under cosine.
fn size(metric: Metric, rows: &Matrix) -> f32 {
    if metric == Metric::Cosine {
        return 1.0;
    }
    let square = rows.as_slice().iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
    let mean = (square / rows.rows() as f64).sqrt();
    if mean > 0.0 { mean.log2().round().clamp(-100.0, 100.0).exp2() as f32 } else { 1.0 }
}

/// The principal axes of rows (not centred: with covariances up to .006 less is kept of WordNet, and no more
/// of Fashion-MNIST), as rows, dealt to groups of equal products of variances.
fn principal(ctx: &Context, rows: &Matrix, parts: usize) -> Result<Matrix> {
    let (n, dim) = (rows.rows(), rows.cols());
    let wide: Vec<f64> = rows.as_slice().iter().map(|&v| v.into()).collect();
    let mut second = Matrix::<f64>::zeros(dim, dim);
    gram(ctx, MatRef::new(&wide, n, dim).t(), 0.0, second.view_mut());
    let (values, axes) = symmetric_eigen(ctx, second)?;
    let order: Vec<usize> =
        deal(&values, parts, (CENTRES as f64).log2()).into_iter().flatten().collect();
    let dealt = order.iter().flat_map(|&axis| axes.row(axis)).map(|&v| v as f32);
    Matrix::new(dim, dim, dealt.collect())
}

fn narrow(wide: &Matrix<f64>) -> Result<Matrix> {
    Matrix::new(wide.rows(), wide.cols(), wide.as_slice().iter().map(|&v| v as f32).collect())
}
