//! The Barlow Twins loss (Zbontar et al., arXiv 2103.03230) and its gradient, two ways.
//!
//! Z₁, Z₂ (B × w) are the two views, each standardised per column over its batch, and
//! C = Z₁ᵀ Z₂ / B. With scale s and weight λ:
//!
//! ```text
//! L = s · [ Σᵢ (Cᵢᵢ − 1)² + λ Σ_{i≠j} Cᵢⱼ² ]
//! ```

use twinlearn_core::context::Context;
use twinlearn_core::linalg::{Matrix, Real, column_sums, dot, gram, matmul, vectorised};

use super::loss::{Input, Loss, LossParts};
use crate::nn::{standardise, standardise_backward};

/// How the loss is computed; the result is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Through C: 6 B w² flops.
    Primal,
    /// Through the Gram matrices G = Z Zᵀ of the views, as ‖C‖² = ⟨G₁, G₂⟩ / B²: 6 B² w flops,
    /// and no w × w matrix.
    Dual,
}

impl Form {
    /// The cheaper one for batches of `batch` rows of width `width`.
    pub(crate) fn cheaper(batch: usize, width: usize) -> Self {
        if width > batch { Self::Dual } else { Self::Primal }
    }
}

/// The loss with its buffers, for batches of one size.
pub(crate) struct BarlowTwins<T> {
    lambda: f64,
    scale: f64,
    batch: usize,
    form: Form,
    /// Both views, standardised: 2B × w.
    hat: Matrix<T>,
    /// C in the primal form; G₁ and G₂ in the dual.
    square: Vec<Matrix<T>>,
}

impl BarlowTwins<f32> {
    /// Bytes of [`new`](Self::new) in the cheaper form.
    pub(super) fn bytes(batch: usize, width: usize) -> usize {
        let square = match Form::cheaper(batch, width) {
            Form::Primal => width * width,
            Form::Dual => 2 * batch * batch,
        };
        size_of::<f32>() * (2 * batch * width + square)
    }
}

impl<T: Real> BarlowTwins<T> {
    pub(crate) fn new(lambda: f64, scale: f64, batch: usize, width: usize, form: Form) -> Self {
        let square = match form {
            Form::Primal => vec![Matrix::zeros(width, width)],
            Form::Dual => vec![Matrix::zeros(batch, batch), Matrix::zeros(batch, batch)],
        };
        Self { lambda, scale, batch, form, hat: Matrix::zeros(2 * batch, width), square }
    }

    /// The loss of `z`, the two views (B rows each) stacked; `z` is replaced by its gradient.
    fn of_views(&mut self, ctx: &Context, z: &mut Matrix<T>) -> LossParts {
        let stats = standardise(ctx, z, 2, &mut self.hat);
        let diagonal = self.diagonal(ctx);
        let squares: f64 = diagonal.iter().map(|c| c * c).sum();
        let total_squares = match self.form {
            Form::Primal => self.primal(ctx, z),
            Form::Dual => self.dual(ctx, &diagonal, z),
        };
        let on_diagonal = self.scale * diagonal.iter().map(|c| (c - 1.0).powi(2)).sum::<f64>();
        // Rounding may take a sum of squares that is zero below it.
        let off_diagonal = self.scale * self.lambda * (total_squares - squares).max(0.0);
        standardise_backward(ctx, &self.hat, &stats, z);
        LossParts { total: on_diagonal + off_diagonal, on_diagonal, off_diagonal }
    }

    /// The diagonal of C.
    fn diagonal(&self, ctx: &Context) -> Vec<f64> {
        let (b, hat) = (self.batch, &self.hat);
        let [sums] = column_sums(
            ctx,
            0..b,
            hat.cols(),
            #[inline(always)]
            |i, cols, [s]| {
                let (first, second) = (&hat.row(i)[cols.clone()], &hat.row(b + i)[cols]);
                for ((s, &x), &y) in s.iter_mut().zip(first).zip(second) {
                    *s += x.to_f64() * y.to_f64();
                }
            },
        );
        sums.iter().map(|s| s / b as f64).collect()
    }

    /// Writes the gradient by the standardised views to `z`; returns ‖C‖².
    fn primal(&mut self, ctx: &Context, z: &mut Matrix<T>) -> f64 {
        let (b, width) = (self.batch, self.hat.cols());
        let inverse = T::from_f64(1.0 / b as f64);
        let (first, second) = (self.hat.view_rows(0..b), self.hat.view_rows(b..2 * b));
        let c = &mut self.square[0];
        matmul(ctx, inverse, first.t(), second, T::default(), c.view_mut());
        let total = dot(ctx, c.as_slice(), c.as_slice());
        // C becomes dL/dC.
        let off = T::from_f64(2.0 * self.lambda * self.scale);
        let on = T::from_f64(2.0 * self.scale);
        ctx.for_each_chunk(c.as_mut_slice(), width, |i, row| {
            let diagonal = on * (row[i] - T::from_f64(1.0));
            row.iter_mut().for_each(|v| *v = off * *v);
            row[i] = diagonal;
        });
        matmul(ctx, inverse, second, c.view().t(), T::default(), z.view_rows_mut(0..b));
        matmul(ctx, inverse, first, c.view(), T::default(), z.view_rows_mut(b..2 * b));
        total
    }

    /// Writes the gradient by the standardised views to `z`; returns ‖C‖².
    fn dual(&mut self, ctx: &Context, diagonal: &[f64], z: &mut Matrix<T>) -> f64 {
        let b = self.batch;
        let views = [0..b, b..2 * b];
        for (g, rows) in self.square.iter_mut().zip(&views) {
            gram(ctx, self.hat.view_rows(rows.clone()), T::default(), g.view_mut());
        }
        let [g1, g2] = &self.square[..] else { unreachable!("the dual form has two squares") };
        let inverse = 1.0 / b as f64;
        let total = dot(ctx, g1.as_slice(), g2.as_slice()) * inverse * inverse;
        // dL/dẐ₁ = (2λs/B²) G₂ Ẑ₁ + (s/B) Ẑ₂ · diag(2(c − 1) − 2λc), and the same with 1 and 2
        // changed: the diagonal term is written first and the product added to it.
        let factor: Vec<T> = diagonal
            .iter()
            .map(|c| self.scale * inverse * 2.0 * (c - 1.0 - self.lambda * c))
            .map(T::from_f64)
            .collect();
        let hat = &self.hat;
        ctx.for_each_chunk(z.as_mut_slice(), hat.cols(), |i, row| {
            let other = hat.row((i + b) % (2 * b));
            vectorised(
                #[inline(always)]
                || {
                    for ((v, &o), &f) in row.iter_mut().zip(other).zip(&factor) {
                        *v = o * f;
                    }
                },
            );
        });
        let alpha = T::from_f64(2.0 * self.lambda * self.scale * inverse * inverse);
        for (g, rows) in [g2, g1].into_iter().zip(views) {
            let own = hat.view_rows(rows.clone());
            matmul(ctx, alpha, g.view(), own, T::from_f64(1.0), z.view_rows_mut(rows));
        }
        total
    }
}

impl Loss for BarlowTwins<f32> {
    fn loss_and_gradient(
        &mut self,
        ctx: &Context,
        _: Input<'_>,
        z: &mut Matrix,
        _: &mut [f32],
    ) -> LossParts {
        self.of_views(ctx, z)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn views(batch: usize, width: usize, phase: f64) -> Matrix<f64> {
        let noise = |i: usize| (i as f64 * 1.7 + phase).sin() + (i as f64 * 0.31).cos();
        let data = (0..2 * batch * width).map(noise).collect();
        Matrix::new(2 * batch, width, data).unwrap()
    }

    fn run(form: Form, z: &Matrix<f64>) -> (LossParts, Matrix<f64>) {
        let ctx = Context::with_threads(2).unwrap();
        let batch = z.rows() / 2;
        let mut loss = BarlowTwins::new(3.9e-3, 1.0 / 32.0, batch, z.cols(), form);
        let mut grad = z.clone();
        (loss.of_views(&ctx, &mut grad), grad)
    }

    /// The loss by its definition.
    fn naive(z: &Matrix<f64>) -> f64 {
        let (b, w) = (z.rows() / 2, z.cols());
        let column = |first: usize, j: usize| -> Vec<f64> {
            let x: Vec<f64> = (first..first + b).map(|i| z.row(i)[j]).collect();
            let mean = x.iter().sum::<f64>() / b as f64;
            let var = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / b as f64;
            x.iter().map(|v| (v - mean) / (var + 1e-5).sqrt()).collect()
        };
        let mut loss = 0.0;
        for i in 0..w {
            for j in 0..w {
                let (x, y) = (column(0, i), column(b, j));
                let c = x.iter().zip(&y).map(|(x, y)| x * y).sum::<f64>() / b as f64;
                loss += if i == j { (c - 1.0).powi(2) } else { 3.9e-3 * c * c };
            }
        }
        loss / 32.0
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn primal_and_dual_agree(batch in 2usize..40, width in 1usize..60, phase in 0.0..9.0) {
            let z = views(batch, width, phase);
            let ((lp, gp), (ld, gd)) = (run(Form::Primal, &z), run(Form::Dual, &z));
            prop_assert!((lp.total - ld.total).abs() < 1e-10 * lp.total.max(1.0));
            prop_assert!((lp.off_diagonal - ld.off_diagonal).abs() < 1e-10);
            for (p, d) in gp.as_slice().iter().zip(gd.as_slice()) {
                prop_assert!((p - d).abs() < 1e-10, "{p} against {d}");
            }
            prop_assert!((lp.total - naive(&z)).abs() < 1e-10 * lp.total.max(1.0));
        }
    }

    #[test]
    fn gradients_equal_central_differences() {
        for form in [Form::Primal, Form::Dual] {
            let z = views(7, 5, 0.4);
            let (_, grad) = run(form, &z);
            let h = 1e-5;
            for i in 0..z.as_slice().len() {
                let at = |step: f64| {
                    let mut z = z.clone();
                    z.as_mut_slice()[i] += step;
                    run(form, &z).0.total
                };
                let want = (at(h) - at(-h)) / (2.0 * h);
                let got = grad.as_slice()[i];
                assert!((got - want).abs() < 1e-5 * want.abs().max(1e-3), "{form:?} {got} {want}");
            }
        }
    }

    #[test]
    fn bytes_are_those_of_the_buffers() {
        for (batch, width) in [(40, 12), (12, 40)] {
            let form = Form::cheaper(batch, width);
            let made = BarlowTwins::<f32>::new(1.0, 1.0, batch, width, form);
            let squares: usize = made.square.iter().map(|m| m.as_slice().len()).sum();
            let numbers = made.hat.as_slice().len() + squares;
            assert_eq!(BarlowTwins::bytes(batch, width), 4 * numbers);
        }
    }

    #[test]
    fn the_cheaper_form_is_the_smaller_square() {
        assert_eq!(Form::cheaper(1024, 1024), Form::Primal);
        assert_eq!(Form::cheaper(1024, 1025), Form::Dual);
    }
}
