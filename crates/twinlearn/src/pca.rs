//! Principal components, and the linear maps they give: the baseline and the start of training.

use twinlearn_core::context::{Context, runs};
use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::{
    Effort, MatRef, Matrix, column_sums, gram, leading_bytes, leading_eigen, symmetric_eigen,
};
use twinlearn_core::progress::{Event, Stage};
use twinlearn_vectors::Vectors;

use crate::linear_map::{LinearMap, check_components};
use crate::params::POWERS;
use crate::span::Span;

/// Rows read at once: one product each.
const ROWS: usize = 1024;

/// The mean, the principal axes and the standard deviations along them of a set of vectors.
#[derive(Clone, Debug)]
pub struct Pca {
    mean: Vec<f64>,
    /// σ, falling.
    std: Vec<f64>,
    /// Row i is the unit eigenvector of the i-th largest eigenvalue: D × D, or as many as are known.
    axes: Matrix<f64>,
    /// σ up to which an axis is rounding.
    rounding: f64,
    /// The root mean square distance of the vectors from their mean.
    spread: f64,
}

impl Pca {
    /// The principal components of all rows of `x`: two passes over `x` and one D × D
    /// eigenproblem. The variance is the biased one (divided by N).
    ///
    /// Where there are fewer rows than dimensions the eigenproblem is N × N, and there are N
    /// components: the others have a standard deviation of 0.
    ///
    /// None where all rows are equal, so that no axis is before another.
    ///
    /// # Errors
    /// When a value is not finite, `x` cannot be read, or the work is cancelled.
    ///
    /// ```
    /// use twinlearn::{Context, Matrix, Pca};
    /// let x = Matrix::new(4, 2, vec![0.0, 0.0, 2.0, 2.0, 4.0, 4.0, 6.0, 6.0])?;
    /// let pca = Pca::fit(&Context::new()?, &x)?.ok_or_else(Pca::equal_rows)?;
    /// assert_eq!(pca.mean(), [3.0, 3.0]);
    /// assert!(pca.std()[1] < 1e-6 * pca.std()[0]);
    /// # Ok::<(), twinlearn::Error>(())
    /// ```
    pub fn fit(ctx: &Context, x: &dyn Vectors) -> Result<Option<Self>> {
        let Some(span) = Span::over(ctx, x)? else {
            return Self::of(ctx, &Moments::of(ctx, x)?, None);
        };
        let Some(inside) = Self::of(ctx, &Moments::of(ctx, &span.rows(0))?, None)? else {
            return Ok(None);
        };
        let mean = Matrix::new(1, inside.mean.len(), inside.mean)?;
        let mean = span.lift_wide(ctx, mean).into_vec();
        Ok(Some(Self { mean, axes: span.lift_wide(ctx, inside.axes), ..inside }))
    }

    /// The error of those who need axes of rows that have none.
    #[must_use]
    pub fn equal_rows() -> Error {
        Error::invalid("X", "at least two different rows", "only equal ones")
    }

    /// The principal components of vectors with these moments: the leading ones, if not all are wanted,
    /// sought from axes `near` them. None where all vectors are equal.
    pub(crate) fn of(
        ctx: &Context,
        moments: &Moments,
        leading: Option<(usize, Option<&Matrix<f64>>)>,
    ) -> Result<Option<Self>> {
        let covariance = moments.covariance.clone();
        let trace = (0..covariance.rows()).map(|i| covariance.row(i)[i]).sum::<f64>();
        let (values, axes) = match leading {
            None => symmetric_eigen(ctx, covariance)?,
            Some((p, near)) => leading_eigen(ctx, covariance, p, near, Effort::EXACT)?,
        };
        let std: Vec<f64> = values.iter().map(|v| v.max(0.0).sqrt()).collect();
        let variance = match leading {
            None => std.iter().map(|s| s * s).sum::<f64>(),
            Some(_) => trace,
        };
        // A mean that is rounded leaves as much where all rows are equal.
        if std[0] <= moments.n_rows as f64 * f64::EPSILON * moments.length {
            return Ok(None);
        }
        Ok(Some(Self {
            mean: moments.mean.clone(),
            rounding: moments.rounding(std[0]),
            std,
            axes,
            spread: variance.sqrt(),
        }))
    }

    /// The mean of the rows, D numbers.
    #[must_use]
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The standard deviation along each axis, largest first: D numbers, or N where that is less.
    #[must_use]
    pub fn std(&self) -> &[f64] {
        &self.std
    }

    /// The axes, as rows.
    pub(crate) fn axes(&self) -> &Matrix<f64> {
        &self.axes
    }

    /// The mean of each output of a map over the vectors.
    pub(crate) fn means(&self, map: &LinearMap) -> Vec<f64> {
        let of = |i: usize| {
            let terms = map.weight.row(i).iter().zip(&self.mean).map(|(&w, m)| f64::from(w) * m);
            terms.sum::<f64>() + f64::from(map.bias[i])
        };
        (0..map.weight.rows()).map(of).collect()
    }

    /// The standard deviation up to which an axis is rounding.
    pub(crate) fn least_std(&self) -> f64 {
        self.rounding
    }

    /// The root mean square distance of the vectors from their mean.
    pub(crate) fn spread(&self) -> f64 {
        self.spread
    }

    /// The map to the first `n_components` axes, centred, each column divided by σ^`power`:
    /// `power` 0 is plain PCA, 1 whitens. Where `power` is above 0, axes whose σ is no more than
    /// rounding become 0, as in the pseudoinverse.
    ///
    /// # Errors
    /// When `n_components` is 0 or above D, or `power` is not from 0 to 4.
    pub fn projection(&self, n_components: usize, power: f64) -> Result<LinearMap> {
        let dim = self.mean.len();
        check_components(dim, n_components)?;
        POWERS.check_real("power", power)?;
        self.projection_about(&self.mean, n_components, power)
    }

    /// [`projection`](Self::projection) about another origin.
    pub(crate) fn projection_about(
        &self,
        origin: &[f64],
        n_components: usize,
        power: f64,
    ) -> Result<LinearMap> {
        let known = n_components.min(self.std.len());
        let gains = self.std[..known].iter().map(|&std| gain(std, self.rounding, power));
        LinearMap::along(&self.axes, origin, gains).map(|map| map.padded(n_components))
    }
}

/// σ^−`power`; 0 for an axis that is `rounding`, which must not be amplified.
pub(crate) fn gain(std: f64, rounding: f64, power: f64) -> f64 {
    match power {
        0.0 => 1.0,
        _ if std <= rounding => 0.0,
        _ => std.powf(-power),
    }
}

/// The mean and the covariance (about the mean, divided by N) of a set of vectors, in `f64`.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    pub(crate) mean: Vec<f64>,
    pub(crate) covariance: Matrix<f64>,
    n_rows: usize,
    /// The root mean square of the lengths.
    pub(crate) length: f64,
}

impl Moments {
    /// Two passes over `x`.
    ///
    /// # Errors
    /// When a sum is not finite, `x` cannot be read, or the work is cancelled.
    pub(crate) fn of(ctx: &Context, x: &dyn Vectors) -> Result<Self> {
        ctx.stage(Stage::Pca, x.n_rows(), || {
            let mean = mean(ctx, x)?;
            let covariance = covariance(ctx, x, &mean)?;
            if let Some(bad) = covariance.as_slice().iter().find(|v| !v.is_finite()) {
                return Err(Error::invalid("X", "values whose covariance is finite", bad));
            }
            let variance: f64 = (0..mean.len()).map(|i| covariance.row(i)[i]).sum();
            let length = (variance + mean.iter().map(|m| m * m).sum::<f64>()).sqrt();
            Ok(Self { mean, covariance, n_rows: x.n_rows(), length })
        })
    }

    /// S = E(xxᵀ), about the origin.
    pub(crate) fn second(&self) -> Matrix<f64> {
        self.about(&vec![0.0; self.mean.len()])
    }

    /// E(x − o)(x − o)ᵀ, about `origin` o.
    pub(crate) fn about(&self, origin: &[f64]) -> Matrix<f64> {
        let mut about = self.covariance.clone();
        let from: Vec<f64> = self.mean.iter().zip(origin).map(|(m, o)| m - o).collect();
        for (row, a) in about.as_mut_slice().chunks_exact_mut(from.len()).zip(&from) {
            row.iter_mut().zip(&from).for_each(|(v, b)| *v += a * b);
        }
        about
    }

    /// The standard deviation up to which an axis is rounding, `largest` being the greatest: that of
    /// the eigenproblem (in `f64`), and that of the rows themselves, whose numbers are `f32`.
    pub(crate) fn rounding(&self, largest: f64) -> f64 {
        let sides = self.n_rows.max(self.mean.len()) as f64;
        let of_axes = (sides * f64::EPSILON).sqrt() * largest;
        let of_rows = f64::from(f32::EPSILON) * self.length;
        of_axes.max(of_rows)
    }
}

/// Bytes of working memory that `p` principal components take.
pub(crate) fn pca_bytes(dim: usize, p: usize) -> usize {
    // Rows as they are read and in `f64`, the covariance, and its eigenproblem.
    ROWS * dim * (size_of::<f32>() + size_of::<f64>()) + 8 * dim * dim + leading_bytes(dim, p)
}

/// Rows `start..start + n`, read on all threads.
fn read_block(ctx: &Context, x: &dyn Vectors, start: usize, n: usize) -> Result<Matrix> {
    const PIECE: usize = 128;
    let mut rows = Matrix::zeros(n, x.dim());
    ctx.try_for_each_chunk(rows.as_mut_slice(), PIECE * x.dim(), |c, out| {
        x.read_rows(start + c * PIECE, out)
    })?;
    Ok(rows)
}

/// The mean of all rows.
pub(crate) fn mean(ctx: &Context, x: &dyn Vectors) -> Result<Vec<f64>> {
    let mut total = vec![0.0; x.dim()];
    for run in runs(x.n_rows(), ROWS) {
        ctx.check_cancelled()?;
        let rows = read_block(ctx, x, run.start, run.len())?;
        let [sums] = column_sums(ctx, 0..rows.rows(), x.dim(), |i, cols, [s]| {
            for (s, &v) in s.iter_mut().zip(&rows.row(i)[cols]) {
                *s += f64::from(v);
            }
        });
        total.iter_mut().zip(sums).for_each(|(t, s)| *t += s);
    }
    total.iter_mut().for_each(|t| *t /= x.n_rows() as f64);
    Ok(total)
}

/// The covariance about `mean`, in `f64`: in `f32` its small axes would drown beside a large one.
fn covariance(ctx: &Context, x: &dyn Vectors, mean: &[f64]) -> Result<Matrix<f64>> {
    let dim = x.dim();
    let mut total = Matrix::<f64>::zeros(dim, dim);
    let mut moved = Matrix::<f64>::zeros(ROWS.min(x.n_rows()), dim);
    for run in runs(x.n_rows(), ROWS) {
        ctx.check_cancelled()?;
        let rows = read_block(ctx, x, run.start, run.len())?;
        let moved = moved.rows_slice_mut(0..run.len());
        ctx.for_each_chunk(moved, dim, |i, out| {
            for ((out, &v), m) in out.iter_mut().zip(rows.row(i)).zip(mean) {
                *out = f64::from(v) - m;
            }
        });
        gram(ctx, MatRef::new(moved, run.len(), dim).t(), 1.0, total.view_mut());
        ctx.emit(&Event::StageProgress { stage: Stage::Pca, done: run.end });
    }
    let n = x.n_rows() as f64;
    total.as_mut_slice().iter_mut().for_each(|t| *t /= n);
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points on known axes: (3, 4)/5 with σ = 10 and (−4, 3)/5 with σ = 1, about (7, −2).
    fn known() -> Matrix {
        let data = (0..4000)
            .flat_map(|i| {
                let angle = f64::from(i) * std::f64::consts::TAU / 4000.0;
                let (a, b) = (10.0 * 2f64.sqrt() * angle.cos(), 2f64.sqrt() * angle.sin());
                [0.6 * a - 0.8 * b + 7.0, 0.8 * a + 0.6 * b - 2.0]
            })
            .map(|v| v as f32)
            .collect();
        Matrix::new(4000, 2, data).unwrap()
    }

    #[test]
    fn known_axes_are_found() {
        let ctx = Context::with_threads(2).unwrap();
        let pca = Pca::fit(&ctx, &known()).unwrap().unwrap();
        assert!((pca.mean()[0] - 7.0).abs() < 1e-6 && (pca.mean()[1] + 2.0).abs() < 1e-6);
        assert!((pca.std()[0] - 10.0).abs() < 1e-5 && (pca.std()[1] - 1.0).abs() < 1e-5);
        assert!((pca.axes.row(0)[0] - 0.6).abs() < 1e-6);
        assert!((pca.axes.row(0)[1] - 0.8).abs() < 1e-6);
    }

    #[test]
    fn whitened_columns_are_centred_with_unit_variance() {
        let ctx = Context::with_threads(2).unwrap();
        let x = known();
        let pca = Pca::fit(&ctx, &x).unwrap().unwrap();
        let z = pca.projection(2, 1.0).unwrap().transform(&ctx, &x).unwrap();
        let z = Pca::fit(&ctx, &z).unwrap().unwrap();
        assert!(z.mean().iter().all(|m| m.abs() < 1e-6), "{:?}", z.mean());
        assert!(z.std().iter().all(|s| (s - 1.0).abs() < 1e-5), "{:?}", z.std());
    }

    #[test]
    fn equal_rows_have_no_axes() {
        let ctx = Context::with_threads(1).unwrap();
        let x = Matrix::new(3, 2, vec![1.0, 2.0, 1.0, 2.0, 1.0, 2.0]).unwrap();
        assert!(Pca::fit(&ctx, &x).unwrap().is_none());
    }
}
