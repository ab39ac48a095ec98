//! The neighbourhood-KL loss, ours: an anchor should see the batch in the reduced space as it sees
//! it in the input space.
//!
//! The batch is B anchors and a neighbour of each, stacked: 2B rows. For anchor i and every other
//! row j, with cosines of the (perhaps centred) input rows x and of the reduced rows z,
//!
//! ```text
//! P = softmax_j(cos(xᵢ, xⱼ) / τ),   Q = softmax_j(a · cos(zᵢ, zⱼ)),
//! L = (1/B) Σᵢ Σⱼ Pᵢⱼ (log Pᵢⱼ − log Qᵢⱼ).
//! ```
//!
//! a = 1/τ' is learned, as its logarithm.

use super::LossParts;
use crate::context::Context;
use crate::linalg::{LANES, Matrix, Real, dot_here, matmul, scale_to_unit, vectorised};

/// Anchors a task looks at.
const ROWS: usize = 8;

/// The loss with its buffers, for batches of one size.
pub(crate) struct NeighbourhoodKl<T> {
    tau: f64,
    batch: usize,
    /// What is taken off input rows before their cosines.
    centre: Vec<T>,
    /// Input rows, centred, of length 1: 2B × D.
    input: Matrix<T>,
    /// Reduced rows of length 1 (2B × d), and their lengths.
    unit: Matrix<T>,
    lengths: Vec<f64>,
    /// Cosines of anchors with all rows: of the input, and of the reduced rows, which become the
    /// gradient by them. B × 2B.
    targets: Matrix<T>,
    cosines: Matrix<T>,
}

impl<T: Real> NeighbourhoodKl<T> {
    /// For batches of `batch` anchors, inputs of dimension `dim` and reduced rows of `width`.
    pub(crate) fn new(tau: f64, batch: usize, dim: usize, width: usize, centre: Vec<T>) -> Self {
        let square = || Matrix::zeros(batch, 2 * batch);
        Self {
            tau,
            batch,
            centre,
            input: Matrix::zeros(2 * batch, dim),
            unit: Matrix::zeros(2 * batch, width),
            lengths: vec![0.0; 2 * batch],
            targets: square(),
            cosines: square(),
        }
    }

    /// Where log a starts: 1/τ' = 1/τ.
    pub(crate) fn initial_log_scale(tau: f64) -> f64 {
        -tau.ln()
    }

    /// The loss of reduced rows `z` of the input rows `x`; `z` is replaced by its gradient. Also
    /// returns the gradient by log a.
    pub(crate) fn loss_and_gradient(
        &mut self,
        ctx: &Context,
        x: &Matrix<T>,
        z: &mut Matrix<T>,
        log_scale: f64,
    ) -> (LossParts, f64) {
        let (b, dim, width) = (self.batch, self.input.cols(), z.cols());
        let (one, zero) = (T::from_f64(1.0), T::default());
        let centre = &self.centre;
        ctx.for_each_chunk(self.input.as_mut_slice(), dim, |i, out| {
            vectorised(
                #[inline(always)]
                || {
                    for ((v, &x), &c) in out.iter_mut().zip(x.row(i)).zip(centre) {
                        *v = x - c;
                    }
                    scale_to_unit(out);
                },
            );
        });
        let input = &self.input;
        matmul(ctx, one, input.view_rows(0..b), input.view().t(), zero, self.targets.view_mut());
        let mut rows: Vec<_> =
            self.unit.as_mut_slice().chunks_exact_mut(width).zip(&mut self.lengths).collect();
        ctx.for_each_chunk(&mut rows, 1, |i, row| {
            let (out, length) = &mut row[0];
            out.copy_from_slice(z.row(i));
            **length = vectorised(
                #[inline(always)]
                || scale_to_unit(out),
            );
        });
        let unit = &self.unit;
        matmul(ctx, one, unit.view_rows(0..b), unit.view().t(), zero, self.cosines.view_mut());

        let (mut losses, mut slopes) = (vec![0.0; b], vec![0.0; b]);
        let (targets, tau, scale) = (&self.targets, self.tau, log_scale.exp());
        let mut rows: Vec<_> = self
            .cosines
            .as_mut_slice()
            .chunks_exact_mut(2 * b)
            .zip(losses.iter_mut().zip(&mut slopes))
            .collect();
        ctx.for_each_chunk(&mut rows, ROWS, |c, rows| {
            let mut scratch = [vec![T::default(); 2 * b], vec![T::default(); 2 * b]];
            for (i, (cosines, (loss, slope))) in rows.iter_mut().enumerate() {
                let i = c * ROWS + i;
                (**loss, **slope) = vectorised(
                    #[inline(always)]
                    || divergence(i, targets.row(i), cosines, tau, scale, b, &mut scratch),
                );
            }
        });

        // Every row gets a gradient as one that anchors look at, anchors one for looking too.
        let by_cosine = self.cosines.view();
        matmul(ctx, one, by_cosine.t(), unit.view_rows(0..b), zero, z.view_mut());
        matmul(ctx, one, by_cosine, unit.view(), one, z.view_rows_mut(0..b));
        let lengths = &self.lengths;
        ctx.for_each_chunk(z.as_mut_slice(), width, |i, gradient| {
            let u = unit.row(i);
            let inverse = if lengths[i] > 0.0 { 1.0 / lengths[i] } else { 0.0 };
            vectorised(
                #[inline(always)]
                || {
                    let along = dot_here(gradient, u);
                    for (g, &u) in gradient.iter_mut().zip(u) {
                        *g = T::from_f64((g.to_f64() - along * u.to_f64()) * inverse);
                    }
                },
            );
        });
        let total = losses.iter().sum::<f64>();
        (LossParts { total, on_diagonal: 0.0, off_diagonal: 0.0 }, slopes.iter().sum())
    }
}

/// One anchor's share of the loss and of its slope by log a; `cosines` become the gradient by them.
#[inline(always)]
fn divergence<T: Real>(
    anchor: usize,
    targets: &[T],
    cosines: &mut [T],
    tau: f64,
    scale: f64,
    batch: usize,
    [p, q]: &mut [Vec<T>; 2],
) -> (f64, f64) {
    let p_sum = weights(targets, anchor, 1.0 / tau, p);
    let q_sum = weights(cosines, anchor, scale, q);
    // log P − log Q = (s − 1)/τ − (c − 1)·a − between; for the anchor itself P = 0.
    let between = p_sum.ln() - q_sum.ln();
    let share = 1.0 / batch as f64;
    let (by_p, by_q) = (T::from_f64(1.0 / p_sum), T::from_f64(1.0 / q_sum));
    let [one, inverse_tau, a, shift, by_cosine] =
        [1.0, 1.0 / tau, scale, between, share * scale].map(T::from_f64);
    let (mut losses, mut slopes) = ([0.0; LANES], [0.0; LANES]);
    let mut each = |lane: usize, s: T, c: &mut T, p: T, q: T| {
        let (p, q) = (p * by_p, q * by_q);
        let excess = (s - one) * inverse_tau - (*c - one) * a - shift;
        losses[lane] += p.to_f64() * excess.to_f64();
        slopes[lane] += (q - p).to_f64() * c.to_f64();
        *c = (q - p) * by_cosine;
    };
    let ((s, s_tail), (c, c_tail)) =
        (targets.as_chunks::<LANES>(), cosines.as_chunks_mut::<LANES>());
    let ((p, p_tail), (q, q_tail)) = (p.as_chunks::<LANES>(), q.as_chunks::<LANES>());
    for (((s, c), p), q) in s.iter().zip(c).zip(p).zip(q) {
        for i in 0..LANES {
            each(i, s[i], &mut c[i], p[i], q[i]);
        }
    }
    for (i, (((s, c), p), q)) in s_tail.iter().zip(c_tail).zip(p_tail).zip(q_tail).enumerate() {
        each(i, *s, c, *p, *q);
    }
    (losses.iter().sum::<f64>() * share, slopes.iter().sum::<f64>() * share * scale)
}

/// Writes exp((v − 1) · `factor`) of every value, 0 for the anchor's own; returns their sum. Cosines
/// are at most 1, so nothing overflows, and what underflows is negligible.
#[inline(always)]
fn weights<T: Real>(values: &[T], anchor: usize, factor: f64, weights: &mut [T]) -> f64 {
    let (factor, one) = (T::from_f64(factor), T::from_f64(1.0));
    for (w, &v) in weights.iter_mut().zip(values) {
        *w = ((v - one) * factor).exp();
    }
    weights[anchor] = T::default();
    let mut lanes = [0.0; LANES];
    let (whole, tail) = weights.as_chunks::<LANES>();
    for chunk in whole {
        for i in 0..LANES {
            lanes[i] += chunk[i].to_f64();
        }
    }
    lanes.iter().sum::<f64>() + tail.iter().map(|w| w.to_f64()).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAU: f64 = 0.3;

    fn waves(rows: usize, cols: usize, phase: f64) -> Matrix<f64> {
        let value = |i: usize| (i as f64 * 1.7 + phase).sin() + (i as f64 * 0.31).cos();
        Matrix::new(rows, cols, (0..rows * cols).map(value).collect()).unwrap()
    }

    fn run(x: &Matrix<f64>, z: &Matrix<f64>, log_scale: f64) -> (f64, Matrix<f64>, f64) {
        let ctx = Context::with_threads(2).unwrap();
        let centre = vec![0.2; x.cols()];
        let mut loss = NeighbourhoodKl::new(TAU, x.rows() / 2, x.cols(), z.cols(), centre);
        let mut gradient = z.clone();
        let (parts, slope) = loss.loss_and_gradient(&ctx, x, &mut gradient, log_scale);
        (parts.total, gradient, slope)
    }

    /// The loss by its definition.
    fn naive(x: &Matrix<f64>, z: &Matrix<f64>, log_scale: f64) -> f64 {
        let cosine = |a: &[f64], b: &[f64]| {
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        };
        let centred = |i: usize| x.row(i).iter().map(|v| v - 0.2).collect::<Vec<f64>>();
        let b = x.rows() / 2;
        let softmax = |logits: Vec<f64>| {
            let sum: f64 = logits.iter().map(|l| l.exp()).sum();
            logits.into_iter().map(move |l| l.exp() / sum).collect::<Vec<f64>>()
        };
        let mut loss = 0.0;
        for i in 0..b {
            let others: Vec<usize> = (0..2 * b).filter(|&j| j != i).collect();
            let p =
                softmax(others.iter().map(|&j| cosine(&centred(i), &centred(j)) / TAU).collect());
            let scale = log_scale.exp();
            let q = softmax(others.iter().map(|&j| cosine(z.row(i), z.row(j)) * scale).collect());
            loss += p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum::<f64>() / b as f64;
        }
        loss
    }

    #[test]
    fn the_loss_is_its_definition() {
        let (x, z) = (waves(14, 9, 0.1), waves(14, 3, 0.8));
        assert!((run(&x, &z, 1.3).0 - naive(&x, &z, 1.3)).abs() < 1e-12);
        // Nothing is left when the reduced rows are the input's.
        let centred = x.as_slice().iter().map(|v| v - 0.2).collect();
        let same = Matrix::new(14, 9, centred).unwrap();
        let (loss, gradient, slope) =
            run(&x, &same, NeighbourhoodKl::<f64>::initial_log_scale(TAU));
        assert!(loss.abs() < 1e-12 && slope.abs() < 1e-12);
        assert!(gradient.as_slice().iter().all(|g| g.abs() < 1e-12));
    }

    #[test]
    fn gradients_equal_central_differences() {
        let (x, z) = (waves(10, 6, 0.4), waves(10, 4, 0.9));
        let (_, gradient, slope) = run(&x, &z, 0.7);
        let h = 1e-5;
        for i in 0..z.as_slice().len() {
            let at = |step: f64| {
                let mut z = z.clone();
                z.as_mut_slice()[i] += step;
                run(&x, &z, 0.7).0
            };
            let want = (at(h) - at(-h)) / (2.0 * h);
            assert!((gradient.as_slice()[i] - want).abs() < 1e-8, "{i}");
        }
        let want = (run(&x, &z, 0.7 + h).0 - run(&x, &z, 0.7 - h).0) / (2.0 * h);
        assert!((slope - want).abs() < 1e-8, "{slope} {want}");
    }

    #[test]
    fn rows_of_zeros_have_no_gradient() {
        let (x, mut z) = (waves(8, 5, 0.4), waves(8, 3, 0.9));
        z.as_mut_slice()[3..6].fill(0.0);
        let (loss, gradient, _) = run(&x, &z, 0.7);
        assert!(loss.is_finite() && gradient.as_slice()[3..6] == [0.0; 3]);
        assert!(gradient.as_slice().iter().all(|g| g.is_finite()));
    }
}
