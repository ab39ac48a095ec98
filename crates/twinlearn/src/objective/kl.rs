//! The neighbourhood-KL loss, ours: an anchor should see other rows in the reduced space as it sees
//! them in the input space.
//!
//! A batch has B anchors among its R rows (they are the first ones). With a similarity s of rows x
//! of the input and z of the output (the cosine, x·y, or −‖x − y‖²/2, by the metric) and weights
//! ω ≥ 0 that say how many rows of the whole set each row of the batch stands for,
//!
//! ```text
//! P ∝ ω exp(s(xᵢ, xⱼ) / τ),   Q ∝ ω exp(a · s(zᵢ, zⱼ)),
//! L = (1/B) Σᵢ Σⱼ Pᵢⱼ (log Pᵢⱼ − log Qᵢⱼ).
//! ```
//!
//! Only log ω is added to both logits, so it is an estimate of the loss over the softmax of all rows.
//! ω = 0 leaves a row out. a = 1/τ' is learned, as its logarithm. Anchors may be of several kinds
//! (rows and queries), each with a τ and an a of its own, and the loss may be the weighted sum of
//! those of several prefixes of z, each with an a of its own.

use twinlearn_core::context::Context;
use twinlearn_core::linalg::{
    LANES, MatMut, MatRef, Matrix, Real, column_sums, dot_here, matmul, scale_to_unit, vectorised,
};
use twinlearn_knn::Metric;

use super::loss::{Input, Loss, LossParts};

/// Anchors a task looks at.
const ROWS: usize = 8;

/// What the loss is of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Neighbourhoods {
    pub(crate) metric: Metric,
    /// What the numbers of input rows are multiplied by before they are compared.
    pub(crate) factors: Vec<f32>,
    /// What is then taken off.
    pub(crate) centre: Vec<f32>,
    /// The kinds of anchors, in the order in which they come in a batch: how many of each there
    /// are, and their τ.
    pub(crate) kinds: Vec<(usize, f64)>,
    /// Rows of a batch, anchors included.
    pub(crate) rows: usize,
    /// The prefixes of the output that are compared.
    pub(crate) prefixes: Vec<Prefix>,
}

/// A prefix of the output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Prefix {
    pub(crate) width: usize,
    /// Its part of the loss.
    pub(crate) share: f64,
    /// About what its similarities are at the start, where those of the input are 1.
    pub(crate) size: f64,
}

impl Neighbourhoods {
    /// Where the logarithms of a start, one for each kind of each prefix: 1/τ' = 1/τ, in units of
    /// the similarities.
    pub(super) fn initial_log_scales(&self) -> Vec<f32> {
        let kinds = |prefix: &Prefix| {
            let size = prefix.size;
            self.kinds.iter().map(move |&(_, tau)| -(tau * size).ln() as f32)
        };
        self.prefixes.iter().flat_map(kinds).collect()
    }
}

/// The loss with its buffers, for batches of one size.
pub(super) struct NeighbourhoodKl<T> {
    of: Neighbourhoods,
    factors: Vec<T>,
    centre: Vec<T>,
    /// Where none are given: every row but the anchor itself.
    weights: Matrix<T>,
    anchors: usize,
    /// Input rows as they are compared: R × D.
    input: Matrix<T>,
    /// Similarities of anchors with all rows of the input: B × R.
    targets: Matrix<T>,
    /// A prefix of the reduced rows as they are compared (R × its width), and their lengths.
    compared: Vec<T>,
    lengths: Vec<f64>,
    /// Similarities of anchors with all reduced rows, which become the gradient by them: B × R.
    similarities: Matrix<T>,
    /// The gradient by the prefix.
    gradient: Vec<T>,
}

impl<T: Real> NeighbourhoodKl<T> {
    /// For inputs of dimension `dim`.
    pub(super) fn new(of: Neighbourhoods, dim: usize) -> Self {
        let anchors = of.kinds.iter().map(|kind| kind.0).sum();
        let widest = of.prefixes.iter().map(|prefix| prefix.width).max().unwrap_or(0);
        let wide = |values: &[f32]| values.iter().map(|&v| T::from_f64(v.into())).collect();
        let mut weights = Matrix::zeros(anchors, of.rows);
        for (i, row) in weights.as_mut_slice().chunks_exact_mut(of.rows).enumerate() {
            row.fill(T::from_f64(1.0));
            row[i] = T::default();
        }
        Self {
            factors: wide(&of.factors),
            centre: wide(&of.centre),
            weights,
            anchors,
            input: Matrix::zeros(of.rows, dim),
            targets: Matrix::zeros(anchors, of.rows),
            compared: vec![T::default(); of.rows * widest],
            lengths: vec![0.0; of.rows],
            similarities: Matrix::zeros(anchors, of.rows),
            gradient: vec![T::default(); of.rows * widest],
            of,
        }
    }

    /// Bytes of the buffers.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let matrices = [&self.weights, &self.input, &self.targets, &self.similarities];
        let others = [&self.factors, &self.centre, &self.compared, &self.gradient];
        let numbers = matrices.iter().map(|m| m.as_slice().len()).sum::<usize>()
            + others.iter().map(|v| v.len()).sum::<usize>();
        size_of::<T>() * numbers + size_of::<f64>() * self.lengths.len()
    }

    /// The loss of reduced rows `z` of the input rows `x`, with the weights ω (B × R; by default 1,
    /// and 0 for the anchor itself); `z` is replaced by its gradient. Writes the gradients by the logarithms of a to `slopes`.
    pub(super) fn loss_and_gradient(
        &mut self,
        ctx: &Context,
        x: &Matrix<T>,
        weights: Option<&Matrix<T>>,
        z: &mut Matrix<T>,
        log_scales: &[f32],
        slopes: &mut [f32],
    ) -> LossParts {
        let (one, zero) = (T::from_f64(1.0), T::default());
        let (b, dim, width) = (self.anchors, self.input.cols(), z.cols());
        let (metric, centre, factors) = (self.of.metric, &self.centre, &self.factors);
        let weights = weights.unwrap_or(&self.weights);
        ctx.for_each_chunk(self.input.as_mut_slice(), dim, |i, out| {
            vectorised(
                #[inline(always)]
                || {
                    let moves = factors.iter().zip(centre);
                    for ((v, &x), (&f, &c)) in out.iter_mut().zip(x.row(i)).zip(moves) {
                        *v = x * f - c;
                    }
                    if metric == Metric::Cosine {
                        scale_to_unit(out);
                    }
                },
            );
        });
        similarities(ctx, metric, self.input.as_slice(), dim, &mut self.targets);

        let mut total = 0.0;
        let reduced = z.clone();
        z.as_mut_slice().fill(zero);
        let n_kinds = self.of.kinds.len();
        for (p, &Prefix { width: prefix, share, .. }) in self.of.prefixes.iter().enumerate() {
            let compared = &mut self.compared[..self.of.rows * prefix];
            let mut rows: Vec<_> =
                compared.chunks_exact_mut(prefix).zip(&mut self.lengths).collect();
            ctx.for_each_chunk(&mut rows, ROWS, |c, rows| {
                for (i, (out, length)) in rows.iter_mut().enumerate() {
                    out.copy_from_slice(&reduced.row(c * ROWS + i)[..prefix]);
                    if metric == Metric::Cosine {
                        **length = vectorised(
                            #[inline(always)]
                            || scale_to_unit(out),
                        );
                    }
                }
            });
            similarities(ctx, metric, compared, prefix, &mut self.similarities);

            let scales = &log_scales[p * n_kinds..][..n_kinds];
            let (losses, by_scale) = divergences(
                ctx,
                &self.of.kinds,
                scales,
                weights,
                &self.targets,
                &mut self.similarities,
                share / b as f64,
            );
            total += losses;
            slopes[p * n_kinds..][..n_kinds].copy_from_slice(&by_scale);

            // Every row gets a gradient as one that anchors look at, anchors one for looking too.
            let gradient = &mut self.gradient[..self.of.rows * prefix];
            let all = MatRef::new(compared, self.of.rows, prefix);
            let anchors = MatRef::new(&compared[..b * prefix], b, prefix);
            let by = self.similarities.view();
            matmul(ctx, one, by.t(), anchors, zero, MatMut::new(gradient, self.of.rows, prefix));
            let looking = MatMut::new(&mut gradient[..b * prefix], b, prefix);
            matmul(ctx, one, by, all, one, looking);
            let (lengths, compared) = (&self.lengths, &*compared);
            let looked_at = match metric {
                // −‖x − y‖²/2 has −(y − x) as gradient by y; by x the sum over y is 0.
                Metric::L2 => {
                    let by = &self.similarities;
                    let [sums] = column_sums(ctx, 0..b, self.of.rows, |i, cols, [s]| {
                        for (s, &g) in s.iter_mut().zip(&by.row(i)[cols]) {
                            *s += g.to_f64();
                        }
                    });
                    sums
                }
                _ => Vec::new(),
            };
            let gradient = &*gradient;
            ctx.for_each_chunk(z.as_mut_slice(), width, |i, out| {
                let from = &gradient[i * prefix..][..prefix];
                let u = &compared[i * prefix..][..prefix];
                vectorised(
                    #[inline(always)]
                    || {
                        // What is taken off along u, and the factor of it all.
                        let (along, factor) = match metric {
                            Metric::Cosine if lengths[i] > 0.0 => {
                                (dot_here(from, u), 1.0 / lengths[i])
                            }
                            Metric::Cosine => (0.0, 0.0),
                            Metric::L2 => (looked_at[i], 1.0),
                            Metric::Ip => (0.0, 1.0),
                        };
                        for ((out, &g), &u) in out.iter_mut().zip(from).zip(u) {
                            *out += T::from_f64((g.to_f64() - along * u.to_f64()) * factor);
                        }
                    },
                );
            });
        }
        LossParts { total, on_diagonal: 0.0, off_diagonal: 0.0 }
    }
}

/// The loss in training, with the logarithms of a.
pub(super) struct Kl {
    loss: NeighbourhoodKl<f32>,
    log_scales: Vec<f32>,
}

impl Kl {
    /// Bytes of the buffers of `rows` rows of dimension `dim`, of which `anchors` are anchors, and
    /// which `width` numbers are made of; and of the copy of these in a step.
    pub(super) fn bytes(anchors: usize, rows: usize, dim: usize, width: usize) -> usize {
        let numbers = rows * (dim + 3 * width) + 3 * anchors * rows + 2 * dim;
        size_of::<f32>() * numbers + size_of::<f64>() * rows
    }

    /// For inputs of dimension `dim`.
    pub(super) fn new(of: Neighbourhoods, dim: usize) -> Self {
        let log_scales = of.initial_log_scales();
        Self { loss: NeighbourhoodKl::new(of, dim), log_scales }
    }
}

impl Loss for Kl {
    fn loss_and_gradient(
        &mut self,
        ctx: &Context,
        Input { rows, weights }: Input<'_>,
        z: &mut Matrix,
        slopes: &mut [f32],
    ) -> LossParts {
        self.loss.loss_and_gradient(ctx, rows, weights, z, &self.log_scales, slopes)
    }

    fn parameters_mut(&mut self) -> &mut [f32] {
        &mut self.log_scales
    }
}

/// Similarities of the first rows, as many as `out` has, with all of `rows`, which have length 1
/// where the metric is the cosine.
fn similarities<T: Real>(
    ctx: &Context,
    metric: Metric,
    rows: &[T],
    width: usize,
    out: &mut Matrix<T>,
) {
    let (b, n) = (out.rows(), out.cols());
    let anchors = MatRef::new(&rows[..b * width], b, width);
    let all = MatRef::new(rows, n, width);
    matmul(ctx, T::from_f64(1.0), anchors, all.t(), T::default(), out.view_mut());
    if metric == Metric::L2 {
        let squares: Vec<f64> = rows.chunks_exact(width).map(|row| dot_here(row, row)).collect();
        ctx.for_each_chunk(out.as_mut_slice(), n, |i, row| {
            for (s, &square) in row.iter_mut().zip(&squares) {
                *s = T::from_f64(s.to_f64() - 0.5 * (squares[i] + square));
            }
        });
    }
}

/// The loss of all anchors and the slopes by the logarithms of a; `similarities` become the gradient
/// by them, all times `share`.
fn divergences<T: Real>(
    ctx: &Context,
    kinds: &[(usize, f64)],
    log_scales: &[f32],
    weights: &Matrix<T>,
    targets: &Matrix<T>,
    similarities: &mut Matrix<T>,
    share: f64,
) -> (f64, Vec<f32>) {
    let (b, n) = (targets.rows(), targets.cols());
    let of_each: Vec<(usize, f64, f64)> = kinds
        .iter()
        .zip(log_scales)
        .enumerate()
        .flat_map(|(kind, (&(count, tau), &log))| {
            std::iter::repeat_n((kind, tau, f64::from(log).exp()), count)
        })
        .collect();
    let mut found = vec![(0.0, 0.0); b];
    let mut rows: Vec<_> =
        similarities.as_mut_slice().chunks_exact_mut(n).zip(&mut found).collect();
    ctx.for_each_chunk(&mut rows, ROWS, |c, rows| {
        let mut scratch = [vec![T::default(); n], vec![T::default(); n]];
        for (i, (similarities, found)) in rows.iter_mut().enumerate() {
            let i = c * ROWS + i;
            let (_, tau, scale) = of_each[i];
            **found = vectorised(
                #[inline(always)]
                || {
                    let logits = [1.0 / tau, scale];
                    let (weights, targets) = (weights.row(i), targets.row(i));
                    divergence(weights, targets, similarities, logits, share, &mut scratch)
                },
            );
        }
    });
    let mut slopes = vec![0.0; kinds.len()];
    for (&(kind, ..), (_, slope)) in of_each.iter().zip(&found) {
        slopes[kind] += slope;
    }
    (found.iter().map(|f| f.0).sum(), slopes.into_iter().map(|s| s as f32).collect())
}

/// One anchor's share of the loss and of its slope by log a; `similarities` become the gradient by
/// them. The factors of the logits are 1/τ and a.
#[inline(always)]
fn divergence<T: Real>(
    weights: &[T],
    targets: &[T],
    similarities: &mut [T],
    [inverse_tau, a]: [f64; 2],
    share: f64,
    [p, q]: &mut [Vec<T>; 2],
) -> (f64, f64) {
    let (p_peak, p_sum) = softmax(weights, targets, inverse_tau, p);
    let (q_peak, q_sum) = softmax(weights, similarities, a, q);
    if p_sum == 0.0 || q_sum == 0.0 {
        // An anchor that looks at nothing.
        similarities.fill(T::default());
        return (0.0, 0.0);
    }
    // log P − log Q = (s − peak)/τ − (c − peak)·a − between, for rows that P > 0 leaves in.
    let between = p_sum.ln() - q_sum.ln();
    let (by_p, by_q) = (T::from_f64(1.0 / p_sum), T::from_f64(1.0 / q_sum));
    let [inverse_tau, a_, shift, by_similarity] =
        [inverse_tau, a, between, share * a].map(T::from_f64);
    let (mut losses, mut slopes) = ([0.0; LANES], [0.0; LANES]);
    let mut each = |lane: usize, s: T, c: &mut T, p: T, q: T| {
        let (p, q) = (p * by_p, q * by_q);
        let (s, near) = (s - p_peak, *c - q_peak);
        let excess = s * inverse_tau - near * a_ - shift;
        losses[lane] += p.to_f64() * excess.to_f64();
        slopes[lane] += (q - p).to_f64() * near.to_f64();
        *c = (q - p) * by_similarity;
    };
    let ((s, s_tail), (c, c_tail)) =
        (targets.as_chunks::<LANES>(), similarities.as_chunks_mut::<LANES>());
    let ((p, p_tail), (q, q_tail)) = (p.as_chunks::<LANES>(), q.as_chunks::<LANES>());
    for (((s, c), p), q) in s.iter().zip(c).zip(p).zip(q) {
        for i in 0..LANES {
            each(i, s[i], &mut c[i], p[i], q[i]);
        }
    }
    for (i, (((s, c), p), q)) in s_tail.iter().zip(c_tail).zip(p_tail).zip(q_tail).enumerate() {
        each(i, *s, c, *p, *q);
    }
    (losses.iter().sum::<f64>() * share, slopes.iter().sum::<f64>() * share * a)
}

/// Writes ω exp((v − peak) · `factor`) of every value, the peak being the largest of those with
/// ω > 0; returns peak and sum. Nothing overflows, and what underflows is negligible.
#[inline(always)]
fn softmax<T: Real>(weights: &[T], values: &[T], factor: f64, out: &mut [T]) -> (T, f64) {
    let least = T::from_f64(f64::from(f32::MIN));
    let mut peaks = [least; LANES];
    let included = |w: T, v: T| if w > T::default() { v } else { least };
    let ((w, w_tail), (v, v_tail)) = (weights.as_chunks::<LANES>(), values.as_chunks::<LANES>());
    for (w, v) in w.iter().zip(v) {
        for i in 0..LANES {
            let v = included(w[i], v[i]);
            peaks[i] = if v > peaks[i] { v } else { peaks[i] };
        }
    }
    let tail = w_tail.iter().zip(v_tail).map(|(&w, &v)| included(w, v));
    let peak = peaks.into_iter().chain(tail).fold(least, |a, b| if b > a { b } else { a });
    let scale = T::from_f64(factor);
    for ((out, &w), &v) in out.iter_mut().zip(weights).zip(values) {
        // Above the peak are only values that are left out.
        let above = (v - peak) * scale;
        let above = if above > T::default() { T::default() } else { above };
        *out = w * above.exp();
    }
    let mut lanes = [0.0; LANES];
    let (whole, tail) = out.as_chunks::<LANES>();
    for chunk in whole {
        for i in 0..LANES {
            lanes[i] += chunk[i].to_f64();
        }
    }
    (peak, lanes.iter().sum::<f64>() + tail.iter().map(|w| w.to_f64()).sum::<f64>())
}
