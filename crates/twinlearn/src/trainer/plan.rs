//! What a run will take, before it begins: passes, steps, memory and time.

use std::fmt;

use super::validation::MAX_WATCHED;
use crate::context::{Context, in_words};
use crate::data::Vectors;
use crate::error::{Error, Result};
use crate::nn::NetworkSpec;
use crate::params::{Params, Solver};
use crate::pca;

/// D × D matrices of `f64` that live at once while axes are found.
const SQUARES: usize = 6;
/// Copies of all weights while training: themselves, gradients, two moments, those of the best
/// moment, folded ones, and what is in the making.
const COPIES: usize = 8;
/// Matrices of a batch's width at each layer: outputs, normalised outputs, gradients of both.
const TAPES: usize = 5;

/// Of one thread of the machine that this was measured on: multiplications in a second while
/// training, and of `f64` in the eigenproblem; bytes read and checked in a second.
const MULTIPLICATIONS: f64 = 30e9;
const EIGEN: f64 = 1e9;
const BYTES: f64 = 1e9;

/// How a run is done.
pub(super) struct FitPlan {
    n_rows: usize,
    dim: usize,
    n_components: usize,
    epochs: usize,
    steps: usize,
    batch: usize,
    /// Of working memory, beside the vectors and the search for neighbours.
    pub(super) bytes: usize,
    seconds: f64,
}

impl FitPlan {
    pub(super) fn new(ctx: &Context, params: &Params, x: &dyn Vectors) -> Self {
        let (n, dim, d) = (x.n_rows(), x.dim(), params.n_components);
        let batch = params.batch_size.min(n);
        let (epochs, steps) = match params.solver {
            Solver::Sgd => (params.epochs, params.epochs * (n / batch)),
            Solver::Spectral => (0, 0),
        };
        let (mut weights, mut widths) = layers(&params.encoder, dim, d);
        if let Some(projector) = &params.projector {
            let (more, wider) = layers(projector, d, params.projector_width(projector, dim));
            (weights, widths) = (weights + more, widths + wider);
        }
        let float = size_of::<f32>();
        let lists = n * (4 * (2 * params.n_neighbors + 2) + 24);
        let square = 8 * dim * dim;
        let axes = SQUARES * square + 3 * pca::ROWS * dim * float;
        let step = weights * COPIES + 2 * batch * (4 * dim + TAPES * widths);
        let watch = n.min(MAX_WATCHED) * d * 3;
        let bytes = lists + axes.max(square + (step + watch) * float);

        let (rows, threads) = (n as f64, ctx.threads() as f64);
        let dim_f = dim as f64;
        // Forward and back, for both of a pair.
        let training = steps as f64 * (6 * batch) as f64 * weights as f64;
        let products = (training + rows * dim_f * dim_f / 2.0) / (MULTIPLICATIONS * threads);
        let reading = (4 + epochs) as f64 * rows * dim_f * 4.0 / (BYTES * threads);
        let seconds = products + reading + 4.0 * dim_f.powi(3) / EIGEN / 4.0;
        Self { n_rows: n, dim, n_components: d, epochs, steps, batch, bytes, seconds }
    }

    /// Refuses what does not fit into the context's memory.
    pub(super) fn check(&self, ctx: &Context) -> Result<()> {
        match ctx.memory_limit() {
            Some(limit) if limit < self.bytes => Err(Error::invalid(
                "memory",
                format_args!(
                    "at least {} MB to work with beside the vectors that are held",
                    self.bytes.div_ceil(1_000_000)
                ),
                format_args!("{:.1} MB", limit as f64 / 1e6),
            )),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for FitPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { n_rows, dim, n_components, epochs, steps, batch, .. } = self;
        write!(f, "fit of {n_rows} rows, {dim} → {n_components} dimensions: ")?;
        match epochs {
            0 => f.write_str("a closed form")?,
            _ => write!(f, "at most {epochs} epochs, {steps} steps of {batch} pairs")?,
        }
        let mb = self.bytes.div_ceil(1_000_000);
        write!(f, "; {mb} MB of working memory, about {}", in_words(self.seconds))?;
        f.write_str(" beside the search for neighbours")
    }
}

/// Weights of a network, and the sum of its layers' widths.
fn layers(spec: &NetworkSpec, input: usize, output: usize) -> (usize, usize) {
    // What cannot be counted is far more than there is memory, and may still be multiplied.
    let weights = spec.n_weights(input, output).unwrap_or(usize::MAX / 256);
    (weights, spec.hidden().iter().sum::<usize>() + output)
}
