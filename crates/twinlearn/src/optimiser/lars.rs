//! LARS (You et al., arXiv 1708.03888), as the reference recipe uses it.

use twinlearn_core::context::{Context, runs};
use twinlearn_core::linalg::{LANES, vectorised};

use super::parameter::{CHUNK, Parameter};

/// LARS's constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LarsConfig {
    pub(crate) momentum: f64,
    /// η, the trust coefficient.
    pub(crate) eta: f64,
    pub(crate) weight_decay: f64,
}

impl LarsConfig {
    pub(crate) const REFERENCE: Self = Self { momentum: 0.9, eta: 1e-3, weight_decay: 1e-6 };
}

/// For a matrix p with gradient g: g ← g + decay · p; q = η‖p‖ / ‖g‖ where both norms are above
/// zero, else 1; m ← momentum · m + q · g; p ← p − lr · m. For vectors (biases, norm parameters)
/// there is no decay and q = 1.
#[derive(Debug)]
pub(crate) struct Lars {
    config: LarsConfig,
    /// m, one for each parameter.
    momenta: Vec<Vec<f32>>,
}

impl Lars {
    /// State for parameters of the given sizes.
    pub(crate) fn new(config: LarsConfig, sizes: impl Iterator<Item = usize>) -> Self {
        Self { config, momenta: sizes.map(|n| vec![0.0; n]).collect() }
    }

    /// m of each parameter.
    pub(super) fn state_mut(&mut self) -> impl Iterator<Item = &mut Vec<f32>> {
        self.momenta.iter_mut()
    }

    pub(crate) fn step(&mut self, ctx: &Context, parameter: Parameter<'_>, learning_rate: f64) {
        let Parameter { index, row, values: parameter, gradient } = parameter;
        let LarsConfig { momentum, eta, weight_decay } = self.config;
        let decay = if row.is_some() { weight_decay as f32 } else { 0.0 };
        let q = if row.is_some() {
            let [p, g] = norms(ctx, parameter, gradient, decay);
            if p > 0.0 && g > 0.0 { eta * p / g } else { 1.0 }
        } else {
            1.0
        };
        let (momentum, q, rate) = (momentum as f32, q as f32, learning_rate as f32);
        let momenta = self.momenta[index].chunks_mut(CHUNK);
        let mut pieces: Vec<_> = parameter.chunks_mut(CHUNK).zip(momenta).collect();
        ctx.for_each_chunk(&mut pieces, 1, |c, piece| {
            let (parameter, momenta) = &mut piece[0];
            let gradient = &gradient[c * CHUNK..][..parameter.len()];
            vectorised(
                #[inline(always)]
                || {
                    for ((p, m), &g) in parameter.iter_mut().zip(momenta.iter_mut()).zip(gradient) {
                        *m = momentum * *m + q * (g + decay * *p);
                        *p -= rate * *m;
                    }
                },
            );
        });
    }
}

/// ‖p‖ and ‖g + decay · p‖, in an order fixed by the length.
fn norms(ctx: &Context, parameter: &[f32], gradient: &[f32], decay: f32) -> [f64; 2] {
    let mut parts = vec![[[0.0; LANES]; 2]; parameter.len().div_ceil(CHUNK)];
    let chunks: Vec<_> = runs(parameter.len(), CHUNK).collect();
    ctx.for_each_chunk(&mut parts, 1, |c, part| {
        let (p, g) = (&parameter[chunks[c].clone()], &gradient[chunks[c].clone()]);
        let [of_p, of_g] = &mut part[0];
        vectorised(
            #[inline(always)]
            || {
                let mut add = |i: usize, p: f32, g: f32| {
                    let g = f64::from(g + decay * p);
                    of_p[i] += f64::from(p) * f64::from(p);
                    of_g[i] += g * g;
                };
                let ((p, p_tail), (g, g_tail)) = (p.as_chunks::<LANES>(), g.as_chunks::<LANES>());
                for (p, g) in p.iter().zip(g) {
                    for i in 0..LANES {
                        add(i, p[i], g[i]);
                    }
                }
                for (i, (&p, &g)) in p_tail.iter().zip(g_tail).enumerate() {
                    add(i, p, g);
                }
            },
        );
    });
    [0, 1].map(|k| parts.iter().flat_map(|part| part[k]).sum::<f64>().sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_are_scaled_and_vectors_are_not() {
        let ctx = Context::with_threads(1).unwrap();
        let config = LarsConfig { momentum: 0.5, eta: 0.1, weight_decay: 0.0 };
        let mut lars = Lars::new(config, [2, 2].into_iter());
        // ‖p‖ = 5, ‖g‖ = 10: q = 0.05.
        let mut p = [3.0, 4.0];
        let parameter = Parameter { index: 0, row: Some(1), values: &mut p, gradient: &[6.0, 8.0] };
        lars.step(&ctx, parameter, 1.0);
        assert!((p[0] - 2.7).abs() < 1e-6 && (p[1] - 3.6).abs() < 1e-6, "{p:?}");
        let mut p = [3.0, 4.0];
        let parameter = Parameter { index: 1, row: None, values: &mut p, gradient: &[6.0, 8.0] };
        lars.step(&ctx, parameter, 0.5);
        assert_eq!(p, [0.0, 0.0]);
        // The momentum goes on: m = 0.5 · (6, 8) + 0.
        let parameter = Parameter { index: 1, row: None, values: &mut p, gradient: &[0.0, 0.0] };
        lars.step(&ctx, parameter, 1.0);
        assert_eq!(p, [-3.0, -4.0]);
    }

    #[test]
    fn a_zero_norm_means_no_scaling() {
        let ctx = Context::with_threads(1).unwrap();
        let mut lars = Lars::new(LarsConfig::REFERENCE, [1].into_iter());
        let mut p = [0.0];
        let parameter = Parameter { index: 0, row: Some(1), values: &mut p, gradient: &[2.0] };
        lars.step(&ctx, parameter, 0.25);
        assert_eq!(p, [-0.5]);
    }
}
