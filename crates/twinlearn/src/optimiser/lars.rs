//! LARS (You et al., arXiv 1708.03888), as the reference recipe uses it.

use super::{CHUNK, Parameter};
use crate::context::Context;
use crate::linalg::dot;

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

    pub(crate) fn step(&mut self, ctx: &Context, parameter: Parameter<'_>, learning_rate: f64) {
        let Parameter { index, is_matrix, values: parameter, gradient } = parameter;
        let LarsConfig { momentum, eta, weight_decay } = self.config;
        let q = if is_matrix {
            let decay = weight_decay as f32;
            ctx.for_each_chunk(gradient, CHUNK, |c, g| {
                let p = &parameter[c * CHUNK..][..g.len()];
                g.iter_mut().zip(p).for_each(|(g, p)| *g += decay * p);
            });
            let p_norm = dot(ctx, parameter, parameter).sqrt();
            let g_norm = dot(ctx, gradient, gradient).sqrt();
            if p_norm > 0.0 && g_norm > 0.0 { eta * p_norm / g_norm } else { 1.0 }
        } else {
            1.0
        };
        let (momentum, q, rate) = (momentum as f32, q as f32, learning_rate as f32);
        let m = &mut self.momenta[index][..];
        ctx.for_each_chunk(m, CHUNK, |c, m| {
            let g = &gradient[c * CHUNK..][..m.len()];
            m.iter_mut().zip(g).for_each(|(m, g)| *m = momentum * *m + q * g);
        });
        ctx.for_each_chunk(parameter, CHUNK, |c, p| {
            let m = &m[c * CHUNK..][..p.len()];
            p.iter_mut().zip(m).for_each(|(p, m)| *p -= rate * m);
        });
    }
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
        let parameter =
            Parameter { index: 0, is_matrix: true, values: &mut p, gradient: &mut [6.0, 8.0] };
        lars.step(&ctx, parameter, 1.0);
        assert!((p[0] - 2.7).abs() < 1e-6 && (p[1] - 3.6).abs() < 1e-6, "{p:?}");
        let mut p = [3.0, 4.0];
        let parameter =
            Parameter { index: 1, is_matrix: false, values: &mut p, gradient: &mut [6.0, 8.0] };
        lars.step(&ctx, parameter, 0.5);
        assert_eq!(p, [0.0, 0.0]);
        // The momentum goes on: m = 0.5 · (6, 8) + 0.
        let parameter =
            Parameter { index: 1, is_matrix: false, values: &mut p, gradient: &mut [0.0, 0.0] };
        lars.step(&ctx, parameter, 1.0);
        assert_eq!(p, [-3.0, -4.0]);
    }

    #[test]
    fn a_zero_norm_means_no_scaling() {
        let ctx = Context::with_threads(1).unwrap();
        let mut lars = Lars::new(LarsConfig::REFERENCE, [1].into_iter());
        let mut p = [0.0];
        let parameter =
            Parameter { index: 0, is_matrix: true, values: &mut p, gradient: &mut [2.0] };
        lars.step(&ctx, parameter, 0.25);
        assert_eq!(p, [-0.5]);
    }
}
