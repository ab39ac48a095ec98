//! Batch and layer normalisation, and the plain standardisation that the loss uses.
//!
//! With x̂ = (x − μ) / √(σ² + ε), y = scale · x̂ + shift, and g = dL/dy, batch norm has
//!
//! ```text
//! dL/dx = scale / √(σ² + ε) · (g − mean(g) − x̂ · mean(g · x̂))
//! ```
//!
//! with means over the rows of a view, as μ and σ² are. In layer norm all of them run over a row,
//! and `scale`, which varies along it, goes inside the means.

use std::ops::Range;

use twinlearn_core::context::Context;
use twinlearn_core::linalg::{Matrix, Real, column_sums, vectorised};

/// Added to every variance.
pub(super) const EPS: f64 = 1e-5;
/// Weight of the newest batch in the running statistics.
const MOMENTUM: f64 = 0.1;
/// Elements a task handles at once in element-wise passes.
const CHUNK: usize = 1 << 14;

/// What is normalised over what.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NormKind<T> {
    /// Each column over the rows of a view; running statistics for inference.
    Batch { running_mean: Vec<T>, running_var: Vec<T> },
    /// Each row over its columns.
    Layer,
}

/// A norm layer: parameters and, for batch norm, running statistics.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Norm<T> {
    pub(crate) kind: NormKind<T>,
    pub(crate) scale: Vec<T>,
    pub(crate) shift: Vec<T>,
}

/// Means and inverse standard deviations: of the columns of each view (batch), or of all rows
/// (layer).
#[derive(Clone, Debug, Default)]
pub(crate) struct Stats<T> {
    mean: Vec<T>,
    inv_std: Vec<T>,
}

impl<T: Real> Norm<T> {
    /// Scale 1, shift 0; running mean 0 and variance 1.
    pub(super) fn new(layer: super::NormLayer, width: usize) -> Self {
        let one = T::from_f64(1.0);
        let kind = match layer {
            super::NormLayer::Layer => NormKind::Layer,
            super::NormLayer::Batch => NormKind::Batch {
                running_mean: vec![T::default(); width],
                running_var: vec![one; width],
            },
        };
        Self { kind, scale: vec![one; width], shift: vec![T::default(); width] }
    }

    /// `out = relu?(norm(x))`, with the statistics that the backward pass needs.
    pub(super) fn forward(
        &mut self,
        ctx: &Context,
        x: &Matrix<T>,
        views: usize,
        relu: bool,
        out: &mut Matrix<T>,
    ) -> Vec<Stats<T>> {
        let stats = match &mut self.kind {
            NormKind::Layer => vec![row_stats(ctx, x)],
            NormKind::Batch { running_mean, running_var } => (0..views)
                .map(|v| {
                    let rows = view_rows(x.rows(), views, v);
                    let (mean, var) = mean_var(ctx, x, rows.clone());
                    // The running variance is the unbiased one, as in inference the batch is a
                    // sample; a batch of one row has none.
                    let n = rows.len() as f64;
                    let unbiased = if n > 1.0 { n / (n - 1.0) } else { 1.0 };
                    blend(running_mean, &mean, 1.0);
                    blend(running_var, &var, unbiased);
                    Stats { mean: cast(&mean), inv_std: inverse_std(&var) }
                })
                .collect(),
        };
        self.apply(ctx, x, &stats, relu, out);
        stats
    }

    fn apply(
        &self,
        ctx: &Context,
        x: &Matrix<T>,
        stats: &[Stats<T>],
        relu: bool,
        out: &mut Matrix<T>,
    ) {
        let rows = x.rows();
        each_row(
            ctx,
            out,
            0..rows,
            #[inline(always)]
            |i, out| {
                self.for_each_output(i, x, stats, |j, y| {
                    out[j] = if relu && y < T::default() { T::default() } else { y };
                });
            },
        );
    }

    /// The norm's outputs for row `i`: the one expression that forward and the ReLU mask of
    /// backward share, so that they agree to the bit.
    #[inline(always)]
    fn for_each_output(
        &self,
        i: usize,
        x: &Matrix<T>,
        stats: &[Stats<T>],
        mut f: impl FnMut(usize, T),
    ) {
        let params = self.scale.iter().zip(&self.shift);
        match self.kind {
            NormKind::Layer => {
                let (mean, inv_std) = (stats[0].mean[i], stats[0].inv_std[i]);
                for (j, (&x, (&scale, &shift))) in x.row(i).iter().zip(params).enumerate() {
                    f(j, (x - mean) * inv_std * scale + shift);
                }
            }
            NormKind::Batch { .. } => {
                let Stats { mean, inv_std } = &stats[i / (x.rows() / stats.len())];
                let stats = mean.iter().zip(inv_std);
                for (j, ((&x, (&mean, &inv_std)), (&scale, &shift))) in
                    x.row(i).iter().zip(stats).zip(params).enumerate()
                {
                    f(j, (x - mean) * inv_std * scale + shift);
                }
            }
        }
    }

    /// Turns `grad` from the gradient by the output into the one by `x`, and returns those by
    /// scale and shift.
    pub(super) fn backward(
        &self,
        ctx: &Context,
        x: &Matrix<T>,
        stats: &[Stats<T>],
        relu: bool,
        grad: &mut Matrix<T>,
    ) -> [Vec<T>; 2] {
        let [shift, scale] = match self.kind {
            NormKind::Layer => {
                if relu {
                    self.mask(ctx, x, stats, grad);
                }
                self.backward_rows(ctx, x, &stats[0], grad)
            }
            NormKind::Batch { .. } => {
                let mut sums = [vec![0.0; x.cols()], vec![0.0; x.cols()]];
                for (v, stats) in views(x.rows(), stats) {
                    let gain: Vec<T> =
                        stats.inv_std.iter().zip(&self.scale).map(|(&a, &b)| a * b).collect();
                    let columns =
                        Columns { x, stats, gain: &gain, output: [&self.scale, &self.shift] };
                    let of_view = match relu {
                        true => columns.backward::<true>(ctx, v, grad),
                        false => columns.backward::<false>(ctx, v, grad),
                    };
                    for (total, part) in sums.iter_mut().zip(&of_view) {
                        total.iter_mut().zip(part).for_each(|(t, p)| *t += p);
                    }
                }
                sums
            }
        };
        [cast(&scale), cast(&shift)]
    }

    /// No gradient where a ReLU let nothing through. At zero there is none, as in PyTorch.
    fn mask(&self, ctx: &Context, x: &Matrix<T>, stats: &[Stats<T>], grad: &mut Matrix<T>) {
        let rows = grad.rows();
        each_row(ctx, grad, 0..rows, |i, g| {
            self.for_each_output(i, x, stats, |j, y| {
                g[j] = if y > T::default() { g[j] } else { T::default() };
            });
        });
    }

    /// Layer norm's backward pass; returns the gradients by shift and scale.
    fn backward_rows(
        &self,
        ctx: &Context,
        x: &Matrix<T>,
        stats: &Stats<T>,
        grad: &mut Matrix<T>,
    ) -> [Vec<f64>; 2] {
        let hat = |i: usize, x: T| (x - stats.mean[i]) * stats.inv_std[i];
        let sums = column_sums(ctx, 0..x.rows(), x.cols(), |i, cols, [s, d]| {
            let (g, x) = (&grad.row(i)[cols.clone()], &x.row(i)[cols]);
            for (((s, d), &g), &x) in s.iter_mut().zip(d).zip(g).zip(x) {
                *s += g.to_f64();
                *d += g.to_f64() * hat(i, x).to_f64();
            }
        });
        let n = x.cols() as f64;
        each_row(ctx, grad, 0..x.rows(), |i, g| {
            let (mut mean, mut dot) = (0.0, 0.0);
            for ((g, &x), &scale) in g.iter_mut().zip(x.row(i)).zip(&self.scale) {
                *g = *g * scale;
                mean += g.to_f64();
                dot += g.to_f64() * hat(i, x).to_f64();
            }
            let (mean, dot) = (T::from_f64(mean / n), T::from_f64(dot / n));
            for (g, &x) in g.iter_mut().zip(x.row(i)) {
                *g = stats.inv_std[i] * (*g - mean - hat(i, x) * dot);
            }
        });
        sums
    }

    /// Layer norm of a row in place, for inference. Batch norm is folded away before.
    pub(super) fn infer(&self, row: &mut [T]) {
        let (mean, inv_std) = row_stat(row);
        for ((v, &scale), &shift) in row.iter_mut().zip(&self.scale).zip(&self.shift) {
            *v = (*v - mean) * inv_std * scale + shift;
        }
    }
}

/// Writes each view's standardised columns to `out` and returns each view's statistics.
pub(crate) fn standardise<T: Real>(
    ctx: &Context,
    x: &Matrix<T>,
    views: usize,
    out: &mut Matrix<T>,
) -> Vec<Stats<T>> {
    (0..views)
        .map(|v| {
            let rows = view_rows(x.rows(), views, v);
            let (mean, var) = mean_var(ctx, x, rows.clone());
            let stats = Stats { mean: cast(&mean), inv_std: inverse_std(&var) };
            each_row(
                ctx,
                out,
                rows,
                #[inline(always)]
                |i, out| {
                    let stats = stats.mean.iter().zip(&stats.inv_std);
                    for ((o, &x), (&mean, &inv_std)) in out.iter_mut().zip(x.row(i)).zip(stats) {
                        *o = (x - mean) * inv_std;
                    }
                },
            );
            stats
        })
        .collect()
}

/// Turns `grad`, the gradient by the standardised columns `hat`, into the gradient by what
/// [`standardise`] made them from.
pub(crate) fn standardise_backward<T: Real>(
    ctx: &Context,
    hat: &Matrix<T>,
    stats: &[Stats<T>],
    grad: &mut Matrix<T>,
) {
    let width = hat.cols();
    let identity =
        Stats { mean: vec![T::default(); width], inv_std: vec![T::from_f64(1.0); width] };
    for (rows, stats) in views(hat.rows(), stats) {
        let gain = &stats.inv_std[..];
        let columns = Columns { x: hat, stats: &identity, gain, output: [gain, gain] };
        columns.backward::<false>(ctx, rows, grad);
    }
}

/// The standardisation of columns in the backward pass: x̂ = (x − mean) · inv_std by `stats`.
struct Columns<'a, T> {
    x: &'a Matrix<T>,
    stats: &'a Stats<T>,
    gain: &'a [T],
    /// Scale and shift of x̂, as the ReLU saw it, if there is one.
    output: [&'a [T]; 2],
}

impl<T: Real> Columns<'_, T> {
    /// `grad = gain · (g − mean(g) − x̂ · mean(g · x̂))` over the rows of one view, where g is
    /// `grad`, with `RELU` only where scale · x̂ + shift > 0. Returns the sums of g and of g · x̂.
    fn backward<const RELU: bool>(
        &self,
        ctx: &Context,
        rows: Range<usize>,
        grad: &mut Matrix<T>,
    ) -> [Vec<f64>; 2] {
        let Self { x, stats: Stats { mean, inv_std }, gain, output: [scale, shift] } = self;
        // The expression of the forward pass, so that both agree to the bit where the ReLU cut.
        let through = |g: T, hat: T, scale: T, shift: T| {
            if !RELU || hat * scale + shift > T::default() { g } else { T::default() }
        };
        let n = rows.len() as f64;
        let sums = column_sums(
            ctx,
            rows.clone(),
            x.cols(),
            #[inline(always)]
            |i, cols, [s, d]| {
                let (g, x) = (&grad.row(i)[cols.clone()], &x.row(i)[cols.clone()]);
                let stats = mean[cols.clone()].iter().zip(&inv_std[cols.clone()]);
                let output = scale[cols.clone()].iter().zip(&shift[cols]);
                for (((((s, d), &g), &x), (&mean, &inv_std)), (&scale, &shift)) in
                    s.iter_mut().zip(d).zip(g).zip(x).zip(stats).zip(output)
                {
                    let hat = (x - mean) * inv_std;
                    let g = through(g, hat, scale, shift);
                    *s += g.to_f64();
                    *d += g.to_f64() * hat.to_f64();
                }
            },
        );
        let [grad_mean, grad_dot] =
            [0, 1].map(|k| sums[k].iter().map(|s| T::from_f64(s / n)).collect::<Vec<T>>());
        each_row(
            ctx,
            grad,
            rows,
            #[inline(always)]
            |i, g| {
                let means = grad_mean.iter().zip(&grad_dot);
                let stats = mean.iter().zip(inv_std).zip(*gain);
                let output = scale.iter().zip(*shift);
                for ((((g, &x), (&gm, &gd)), ((&mean, &inv_std), &gain)), (&scale, &shift)) in
                    g.iter_mut().zip(x.row(i)).zip(means).zip(stats).zip(output)
                {
                    let hat = (x - mean) * inv_std;
                    *g = gain * (through(*g, hat, scale, shift) - gm - hat * gd);
                }
            },
        );
        sums
    }
}

/// The rows of view `v` when `rows` are `views` views stacked on each other.
fn view_rows(rows: usize, views: usize, v: usize) -> Range<usize> {
    let n = rows / views;
    v * n..(v + 1) * n
}

/// Each view's rows and statistics.
fn views<T>(rows: usize, stats: &[Stats<T>]) -> impl Iterator<Item = (Range<usize>, &Stats<T>)> {
    stats.iter().enumerate().map(move |(v, s)| (view_rows(rows, stats.len(), v), s))
}

/// Mean and biased variance of each column over `rows`, from sums in `f64` of the distances from
/// the first row: only a spread below 1e-8 of that distance would be lost.
fn mean_var<T: Real>(ctx: &Context, x: &Matrix<T>, rows: Range<usize>) -> (Vec<f64>, Vec<f64>) {
    let n = rows.len() as f64;
    let origin = x.row(rows.start);
    let [sum, squares] = column_sums(
        ctx,
        rows,
        x.cols(),
        #[inline(always)]
        |i, cols, [s, q]| {
            let (row, origin) = (&x.row(i)[cols.clone()], &origin[cols]);
            for (((s, q), &v), &o) in s.iter_mut().zip(q).zip(row).zip(origin) {
                let d = v.to_f64() - o.to_f64();
                *s += d;
                *q += d * d;
            }
        },
    );
    let about = |(s, o): (&f64, &T)| o.to_f64() + s / n;
    let spread = |(q, s): (&f64, &f64)| (q / n - (s / n) * (s / n)).max(0.0);
    let mean = sum.iter().zip(origin).map(about).collect();
    (mean, squares.iter().zip(&sum).map(spread).collect())
}

/// Mean and inverse standard deviation of every row.
fn row_stats<T: Real>(ctx: &Context, x: &Matrix<T>) -> Stats<T> {
    let mut pairs = vec![(T::default(), T::default()); x.rows()];
    ctx.for_each_chunk(&mut pairs, (CHUNK / x.cols()).max(1), |c, chunk| {
        let first = c * (CHUNK / x.cols()).max(1);
        for (i, pair) in chunk.iter_mut().enumerate() {
            *pair = row_stat(x.row(first + i));
        }
    });
    let (mean, inv_std) = pairs.into_iter().unzip();
    Stats { mean, inv_std }
}

fn row_stat<T: Real>(row: &[T]) -> (T, T) {
    let n = row.len() as f64;
    let mean = row.iter().map(|v| v.to_f64()).sum::<f64>() / n;
    let var = row.iter().map(|v| (v.to_f64() - mean).powi(2)).sum::<f64>() / n;
    (T::from_f64(mean), T::from_f64(1.0 / (var + EPS).sqrt()))
}

/// Runs `f(row number, row)` over a run of rows of `x`, in parallel.
fn each_row<T: Real>(
    ctx: &Context,
    x: &mut Matrix<T>,
    rows: Range<usize>,
    f: impl Fn(usize, &mut [T]) + Send + Sync,
) {
    let cols = x.cols();
    let per_task = (CHUNK / cols).max(1);
    let first = rows.start;
    ctx.for_each_chunk(x.rows_slice_mut(rows), per_task * cols, |c, chunk| {
        vectorised(
            #[inline(always)]
            || {
                for (i, row) in chunk.chunks_exact_mut(cols).enumerate() {
                    f(first + c * per_task + i, row);
                }
            },
        );
    });
}

fn blend<T: Real>(running: &mut [T], new: &[f64], factor: f64) {
    for (r, n) in running.iter_mut().zip(new) {
        *r = T::from_f64((1.0 - MOMENTUM) * r.to_f64() + MOMENTUM * factor * n);
    }
}

fn inverse_std<T: Real>(var: &[f64]) -> Vec<T> {
    var.iter().map(|v| T::from_f64(1.0 / (v + EPS).sqrt())).collect()
}

fn cast<T: Real>(x: &[f64]) -> Vec<T> {
    x.iter().map(|&v| T::from_f64(v)).collect()
}
