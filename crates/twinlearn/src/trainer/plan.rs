//! What a run will take, before it begins: passes, steps, memory and time.

use std::fmt;

use super::validation::{MAX_WATCHED, RECALL_K};
use crate::context::Context;
use crate::cost::{self, beside, in_words, megabytes};
use crate::error::Result;
use crate::knn::check_search_memory;
use crate::nn::NetworkSpec;
use crate::params::{Init, Loss, Params, Solver};
use crate::pca::pca_bytes;

/// Copies of all weights while training: themselves, gradients, two moments, those of the best
/// moment, folded ones, and what is in the making.
const COPIES: usize = 8;
/// Matrices of a batch's width at each layer: outputs, normalised outputs, gradients of both.
const TAPES: usize = 5;

/// How a run is done.
pub(crate) struct FitPlan {
    n_rows: usize,
    dim: usize,
    n_components: usize,
    epochs: usize,
    steps: usize,
    batch: usize,
    n_held_out: usize,
    /// Of the graph, the pairs and the axes, which stay.
    held: usize,
    /// Of working memory in all, beside the vectors and the search for neighbours.
    bytes: usize,
    seconds: f64,
}

impl FitPlan {
    /// Of `n` rows of dimension `dim`, beside which so many are watched.
    pub(crate) fn new(
        ctx: &Context,
        params: &Params,
        (n, dim): (usize, usize),
        n_held_out: usize,
    ) -> Self {
        let d = params.n_components;
        let batch = params.batch_size.min(n).max(1);
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
        // The axes stay, and their standard deviations.
        let axes = 8 * dim * (dim + 1);
        let step = match steps {
            0 => 0,
            _ => weights * COPIES + 2 * batch * (4 * dim + TAPES * widths),
        };
        // The ranges of the output are of the same rows.
        let watch = n.min(MAX_WATCHED) * d * if n_held_out > 0 { 3 } else { 1 };
        let held = lists + axes;
        let finds_axes_again = params.solver == Solver::Spectral
            || params.init == Init::Spectral
            || params.loss == Loss::Auto;
        let starting = lists + pca_bytes(dim) + if finds_axes_again { axes } else { 0 };
        let bytes = starting.max(held + (step + watch) * float);

        // Forward and back, for both of a pair.
        let training = steps as f64 * (6 * batch) as f64 * weights as f64;
        let reading = cost::reading((4 + epochs) as f64 * (4 * n * dim) as f64);
        let work = cost::product(training) + reading + cost::axes(n, dim);
        let seconds = work / ctx.n_threads() as f64;
        Self {
            n_rows: n,
            dim,
            n_components: d,
            epochs,
            steps,
            batch,
            n_held_out,
            held,
            bytes,
            seconds,
        }
    }

    /// Bytes of working memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Seconds that it takes, about.
    pub(crate) fn seconds(&self) -> f64 {
        self.seconds
    }

    /// What the context's memory leaves for the search of the held-out rows' neighbours, and for
    /// those of their reductions while training.
    ///
    /// # Errors
    /// When there is too little.
    pub(super) fn rest(&self, ctx: &Context) -> Result<[Context; 2]> {
        let watched = self.n_rows.min(MAX_WATCHED);
        let rest = |bytes: usize, dim: usize| {
            if self.n_held_out > 0 {
                check_search_memory(ctx, (self.n_held_out, watched, dim), RECALL_K, bytes)?;
            }
            beside(ctx, bytes, "this fit")
        };
        Ok([rest(self.held, self.dim)?, rest(self.bytes, self.n_components)?])
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
        let mb = megabytes(self.bytes);
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
