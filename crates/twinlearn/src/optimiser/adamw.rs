//! AdamW (Loshchilov and Hutter, arXiv 1711.05101) with its usual constants.

use twinlearn_core::context::Context;
use twinlearn_core::linalg::{dot_here, vectorised};

use super::parameter::{CHUNK, Parameter};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f32 = 1e-8;

/// m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²; with m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ) at
/// step t, p ← p − lr · (m̂ / (√v̂ + ε) + decay · p). Vectors (biases, norm parameters) have no
/// decay.
///
/// Where rows share one v, it is of the mean of g² over the row: a step is then the same in whatever
/// orthonormal coordinates the input is.
#[derive(Debug)]
pub(crate) struct AdamW {
    /// m and v of each parameter.
    moments: Vec<[Vec<f32>; 2]>,
    /// t.
    step: u32,
    decay: f64,
    by_row: bool,
}

impl AdamW {
    /// State for parameters of the given sizes.
    pub(crate) fn new(decay: f64, by_row: bool, sizes: impl Iterator<Item = usize>) -> Self {
        let moments = sizes.map(|n| [vec![0.0; n], vec![0.0; n]]).collect();
        Self { moments, step: 0, decay, by_row }
    }

    /// t, and m and v of each parameter.
    pub(super) fn state_mut(&mut self) -> (&mut u32, impl Iterator<Item = &mut Vec<f32>>) {
        (&mut self.step, self.moments.iter_mut().flatten())
    }

    pub(crate) fn step(&mut self, ctx: &Context, parameter: Parameter<'_>, learning_rate: f64) {
        let Parameter { index, row, values: parameter, gradient } = parameter;
        self.step += u32::from(index == 0);
        let correction = |beta: f64| (1.0 / (1.0 - beta.powf(f64::from(self.step)))) as f32;
        let (first, second) = (correction(BETA1), correction(BETA2));
        let decay = if row.is_some() { (learning_rate * self.decay) as f32 } else { 0.0 };
        let rate = learning_rate as f32;
        let (b1, b2) = (BETA1 as f32, BETA2 as f32);
        let [m, v] = &mut self.moments[index];
        // A row that shares one v uses the first.
        let shared = row.filter(|_| self.by_row);
        let chunk = shared.unwrap_or(CHUNK);
        let moments = m.chunks_mut(chunk).zip(v.chunks_mut(chunk));
        let mut pieces: Vec<_> = parameter.chunks_mut(chunk).zip(moments).collect();
        ctx.for_each_chunk(&mut pieces, CHUNK.div_ceil(chunk), |c, pieces| {
            for (i, (parameter, (m, v))) in pieces.iter_mut().enumerate() {
                let first_of = (c * CHUNK.div_ceil(chunk) + i) * chunk;
                let gradient = &gradient[first_of..][..parameter.len()];
                vectorised(
                    #[inline(always)]
                    || {
                        if shared.is_some() {
                            let square = dot_here(gradient, gradient) / gradient.len() as f64;
                            v[0] = b2 * v[0] + (1.0 - b2) * square as f32;
                            let by = 1.0 / ((v[0] * second).sqrt() + EPSILON);
                            for ((p, m), &g) in parameter.iter_mut().zip(m.iter_mut()).zip(gradient)
                            {
                                *m = b1 * *m + (1.0 - b1) * g;
                                *p -= rate * (*m * first) * by + decay * *p;
                            }
                            return;
                        }
                        for ((p, (m, v)), &g) in
                            parameter.iter_mut().zip(m.iter_mut().zip(v.iter_mut())).zip(gradient)
                        {
                            *m = b1 * *m + (1.0 - b1) * g;
                            *v = b2 * *v + (1.0 - b2) * g * g;
                            let direction = (*m * first) / ((*v * second).sqrt() + EPSILON);
                            *p -= rate * direction + decay * *p;
                        }
                    },
                );
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_the_formula() {
        follow(false);
        follow(true);
    }

    fn follow(by_row: bool) {
        let ctx = Context::with_threads(1).unwrap();
        let mut adam = AdamW::new(0.01, by_row, [2, 1].into_iter());
        let (mut matrix, mut vector) = ([1.0_f32, -2.0], [0.5_f32]);
        // By the formula, in f64.
        let gradients = [[0.3, -0.1, 4.0], [0.2, 0.0, -1.0]];
        let mut want = [1.0_f64, -2.0, 0.5];
        let (mut m, mut v) = ([0.0_f64; 3], [0.0_f64; 3]);
        for (t, g) in gradients.iter().enumerate() {
            let parameter = Parameter {
                index: 0,
                row: Some(2),
                values: &mut matrix,
                gradient: &[g[0] as f32, g[1] as f32],
            };
            adam.step(&ctx, parameter, 0.1);
            let parameter =
                Parameter { index: 1, row: None, values: &mut vector, gradient: &[g[2] as f32] };
            adam.step(&ctx, parameter, 0.1);
            let t = t as i32 + 1;
            for i in 0..3 {
                m[i] = 0.9 * m[i] + 0.1 * g[i];
                let of_row = f64::midpoint(g[0] * g[0], g[1] * g[1]);
                let square = if by_row && i < 2 { of_row } else { g[i] * g[i] };
                v[i] = 0.999 * v[i] + 0.001 * square;
                let (m, v) = (m[i] / (1.0 - 0.9_f64.powi(t)), v[i] / (1.0 - 0.999_f64.powi(t)));
                let decay = if i < 2 { 0.01 * want[i] } else { 0.0 };
                want[i] -= 0.1 * (m / (v.sqrt() + 1e-8) + decay);
            }
            let got = [matrix[0], matrix[1], vector[0]];
            for (got, want) in got.iter().zip(want) {
                assert!((f64::from(*got) - want).abs() < 1e-5, "{got} {want}");
            }
        }
    }
}
