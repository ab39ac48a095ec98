//! The mean of the weights over the last part of a run.

use twinlearn_core::context::Context;
use twinlearn_vectors::Named;

use super::state::Progress;
use super::step::{Learner, Networks};
use crate::nn::Network;

/// The mean of a linear encoder's weights in the coordinates of training. Of other encoders it would
/// be none of the functions that they were.
pub(super) struct Mean {
    /// Steps before it.
    from: usize,
    pub(super) encoder: Option<Network<f32>>,
}

impl Mean {
    /// The mean over the steps after the first `from`.
    pub(super) fn new(learner: &Learner, from: usize) -> Self {
        let encoder = learner.encoder();
        Self { from, encoder: encoder.as_linear().map(|_| encoder.clone()) }
    }

    /// Takes the weights after a step into account.
    pub(super) fn add(&mut self, learner: &Learner, progress: &mut Progress) {
        let Some(mean) = self.encoder.as_mut().filter(|_| progress.steps > self.from) else {
            return;
        };
        progress.averaged += 1;
        let share = 1.0 / progress.averaged as f32;
        for (mean, (_, _, now)) in
            mean.parameters_mut().into_iter().zip(learner.encoder().parameters())
        {
            mean.iter_mut().zip(now).for_each(|(m, &w)| *m += (w - *m) * share);
        }
    }

    /// Every array, for a checkpoint.
    pub(super) fn arrays_mut(&mut self) -> impl Iterator<Item = Named<&mut [f32]>> {
        let arrays = self.encoder.iter_mut().flat_map(Network::arrays_mut);
        arrays.map(|(name, shape, values)| (format!("mean.{name}"), shape, values))
    }
}

/// What is kept of a run that nobody watches: the mean where there is one.
pub(super) fn unwatched(
    ctx: &Context,
    learner: Learner,
    mean: Mean,
    progress: &Progress,
) -> Networks {
    match mean.encoder {
        Some(encoder) if progress.averaged > 0 => {
            learner.left(ctx, Networks { encoder, projector: None })
        }
        _ => learner.into_networks(ctx),
    }
}
