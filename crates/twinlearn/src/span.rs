//! Rows of more numbers than there are rows, in coordinates of the space that they span.
//!
//! N rows lie in N of their D dimensions. With X = S U, S the lengths of the rows and U of length 1,
//! and Cholesky's factor L of UUᵀ, the rows of S L have the inner products of those of X: whatever is
//! learned by inner products, distances and cosines of rows can be learned from S L, with eigenproblems
//! of N × N for D × D. Weights W' of such rows are W = W' L⁻¹ U of rows x, as W' L⁻¹ U Xᵀ = W' (S L)ᵀ.

use std::ops::Range;

use twinlearn_core::context::{Context, runs};
use twinlearn_core::cost;
use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::{
    MatMut, MatRef, Matrix, cholesky, dot_here, gram, matmul, scale_to_unit, times_inverse,
};
use twinlearn_vectors::Vectors;

use crate::linear_map::LinearMap;

/// Coordinates that products are taken of at once.
const COLUMNS: usize = 1024;
/// Rows that are read at once.
const ROWS: usize = 64;

/// The rows of some sets, which together are fewer than their dimension.
pub(crate) struct Span {
    /// The rows at length 1.
    units: Matrix,
    lengths: Vec<f64>,
    /// Where each set begins, and the last ends.
    starts: Vec<usize>,
    /// L.
    lower: Matrix<f64>,
}

impl Span {
    /// Whether so many rows are to be seen in their span.
    pub(crate) fn pays(n_rows: usize, dim: usize) -> bool {
        n_rows < dim
    }

    /// Bytes of working memory of a span, what it keeps and one copy of its rows among them.
    pub(crate) fn bytes(n_rows: usize, dim: usize) -> usize {
        4 * n_rows * dim + 8 * n_rows * dim.min(COLUMNS) + (4 * 8 + 4) * n_rows * n_rows
    }

    /// About the seconds of one thread that [`of`](Self::of) takes.
    pub(crate) fn seconds(n_rows: usize, dim: usize) -> f64 {
        let n = n_rows as f64;
        // In f64, of which registers hold half as many: products, their triangle, and the factor.
        2.0 * cost::product(n * n * (dim as f64 / 2.0 + n / 6.0))
    }

    /// The span of the rows of `x`; none where working in it does not pay.
    pub(crate) fn over(ctx: &Context, x: &dyn Vectors) -> Result<Option<Self>> {
        match Self::pays(x.n_rows(), x.dim()) {
            true => Self::of(ctx, &[x]).map(Some),
            false => Ok(None),
        }
    }

    /// The span of all rows of these sets, which have one dimension.
    pub(crate) fn of(ctx: &Context, sets: &[&dyn Vectors]) -> Result<Self> {
        let (n, dim) = (sets.iter().copied().map(Vectors::n_rows).sum(), sets[0].dim());
        let mut units = Matrix::zeros(n, dim);
        let (mut lengths, mut starts) = (Vec::with_capacity(n), vec![0]);
        let mut rest = units.as_mut_slice();
        for x in sets {
            let rows = rest.split_off_mut(..x.n_rows() * dim).unwrap_or_default();
            ctx.try_for_each_chunk(rows, ROWS * dim, |c, out| x.read_rows(c * ROWS, out))?;
            lengths.extend(rows.chunks_exact_mut(dim).map(scale_to_unit));
            starts.push(lengths.len());
        }
        if let Some(bad) = lengths.iter().find(|length| !length.is_finite()) {
            return Err(Error::invalid("X", "values whose covariance is finite", bad));
        }
        let mut products = Matrix::<f64>::zeros(n, n);
        let mut some = Matrix::<f64>::zeros(n, dim.min(COLUMNS));
        for run in runs(dim, COLUMNS) {
            ctx.check_cancelled()?;
            gram(ctx, columns(ctx, &units, &run, &mut some), 1.0, products.view_mut());
        }
        // What is left of a row that lies among others is the rounding of these sums, which is made to be
        // a little more than nothing.
        let rounding = 16.0 * f64::EPSILON * (n as f64).sqrt();
        let lower = cholesky(ctx, products, rounding)?;
        Ok(Self { units, lengths, starts, lower })
    }

    /// The rows of one of the sets in coordinates of the span.
    pub(crate) fn rows(&self, set: usize) -> Matrix {
        let (start, end) = (self.starts[set], self.starts[set + 1]);
        let width = self.lower.cols();
        let mut rows = Matrix::zeros(end - start, width);
        for (i, out) in rows.as_mut_slice().chunks_exact_mut(width).enumerate() {
            // Their lengths are those of the rows, whatever was rounded.
            let row = self.lower.row(start + i);
            let length = self.lengths[start + i] / dot_here(row, row).sqrt();
            out.iter_mut().zip(row).for_each(|(o, v)| *o = (v * length) as f32);
        }
        rows
    }

    /// Weights of rows of X, d × D, that give what `weight`, d × N, gives of their coordinates.
    pub(crate) fn lift(&self, ctx: &Context, weight: &Matrix) -> Result<Matrix> {
        let wide = weight.as_slice().iter().map(|&w| w.into()).collect();
        let lifted = self.lift_wide(ctx, Matrix::new(weight.rows(), weight.cols(), wide)?);
        let data = lifted.as_slice().iter().map(|&w| w as f32).collect();
        Matrix::new(lifted.rows(), lifted.cols(), data)
    }

    /// A map of rows of X, to `n_components` numbers of which those beyond its own are 0.
    pub(crate) fn lift_map(
        &self,
        ctx: &Context,
        map: LinearMap,
        n_components: usize,
    ) -> Result<LinearMap> {
        let LinearMap { weight, bias } = map;
        Ok(LinearMap { weight: self.lift(ctx, &weight)?, bias }.padded(n_components))
    }

    /// [`lift`](Self::lift) in `f64`.
    pub(crate) fn lift_wide(&self, ctx: &Context, mut weight: Matrix<f64>) -> Matrix<f64> {
        let (d, n, dim) = (weight.rows(), self.units.rows(), self.units.cols());
        times_inverse(&mut weight, &self.lower);
        let mut lifted = Matrix::<f64>::zeros(d, dim);
        let mut part = Matrix::<f64>::zeros(d, dim.min(COLUMNS));
        let mut some = Matrix::<f64>::zeros(n, dim.min(COLUMNS));
        for run in runs(dim, COLUMNS) {
            let count = run.len();
            let some = columns(ctx, &self.units, &run, &mut some);
            let part = &mut part.as_mut_slice()[..d * count];
            matmul(ctx, 1.0, weight.view(), some, 0.0, MatMut::new(part, d, count));
            for (out, part) in lifted.as_mut_slice().chunks_exact_mut(dim).zip(part.chunks(count)) {
                out[run.clone()].copy_from_slice(part);
            }
        }
        lifted
    }
}

/// Some columns of a matrix in `f64`, in the place of `room`.
fn columns<'a>(
    ctx: &Context,
    from: &Matrix,
    columns: &Range<usize>,
    room: &'a mut Matrix<f64>,
) -> MatRef<'a, f64> {
    let (n, count) = (from.rows(), columns.len());
    let some = &mut room.as_mut_slice()[..n * count];
    ctx.for_each_chunk(some, count, |i, out| {
        let row = &from.row(i)[columns.clone()];
        out.iter_mut().zip(row).for_each(|(o, &v)| *o = v.into());
    });
    MatRef::new(some, n, count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pca::{Moments, Pca};

    fn wave(n: usize, dim: usize, phase: f32) -> Matrix {
        let value =
            |i: usize| ((i * i % 9973) as f32 * 0.37 + phase).sin() + (i % dim) as f32 * 0.01;
        Matrix::new(n, dim, (0..n * dim).map(value).collect()).unwrap()
    }

    #[test]
    fn products_are_those_of_the_rows_and_weights_give_the_same() {
        let ctx = Context::with_threads(2).unwrap();
        // Rows of very different size, and one twice.
        let (mut a, b) = (wave(20, 130, 0.1), wave(7, 130, 2.0));
        for (i, row) in a.as_mut_slice().chunks_exact_mut(130).enumerate() {
            row.iter_mut().for_each(|v| *v *= 0.2_f32.powi(i as i32));
        }
        a.as_mut_slice().copy_within(0..130, 130);
        let span = Span::of(&ctx, &[&a, &b]).unwrap();
        let (inside_a, inside_b) = (span.rows(0), span.rows(1));
        let weight = wave(3, 27, 0.5);
        let lifted = span.lift(&ctx, &weight).unwrap();
        for (i, x) in (0..20).map(|i| (a.row(i), inside_a.row(i))).enumerate() {
            for (j, y) in (0..7).map(|j| (b.row(j), inside_b.row(j))).enumerate() {
                let size = (dot_here(x.0, x.0) * dot_here(y.0, y.0)).sqrt();
                let (want, got) = (dot_here(x.0, y.0), dot_here(x.1, y.1));
                assert!((want - got).abs() < 1e-6 * size, "{i}, {j}: {got} for {want}");
            }
            for c in 0..3 {
                let (want, got) = (dot_here(weight.row(c), x.1), dot_here(lifted.row(c), x.0));
                let size = (dot_here(x.0, x.0) * dot_here(weight.row(c), weight.row(c))).sqrt();
                assert!((want - got).abs() < 1e-5 * size, "{i}, output {c}: {got} for {want}");
            }
        }
    }

    #[test]
    fn principal_components_are_those_of_the_whole() {
        let ctx = Context::with_threads(2).unwrap();
        let x = wave(30, 80, 0.3);
        let few = Pca::fit(&ctx, &x).unwrap().unwrap();
        let whole = Pca::of(&ctx, &Moments::of(&ctx, &x).unwrap(), None).unwrap().unwrap();
        assert_eq!((few.std().len(), whole.std().len()), (30, 80));
        for (few, whole) in few.std().iter().zip(whole.std()) {
            assert!((few - whole).abs() < 1e-6 * whole.max(1.0), "{few} for {whole}");
        }
        for (few, whole) in few.mean().iter().zip(whole.mean()) {
            assert!((few - whole).abs() < 1e-6, "{few} for {whole}");
        }
        let (few, whole) = (few.projection(12, 0.5).unwrap(), whole.projection(12, 0.5).unwrap());
        let (few, whole) = (few.transform(&ctx, &x).unwrap(), whole.transform(&ctx, &x).unwrap());
        for j in 0..12 {
            // Up to the sign of an axis.
            let cross: f64 =
                (0..30).map(|i| f64::from(few.row(i)[j]) * f64::from(whole.row(i)[j])).sum();
            let square: f64 = (0..30).map(|i| f64::from(whole.row(i)[j]).powi(2)).sum();
            assert!((cross.abs() - square).abs() < 1e-4 * square, "axis {j}: {cross} for {square}");
        }
    }
}
