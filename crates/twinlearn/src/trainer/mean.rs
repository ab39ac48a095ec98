//! The mean of the weights over the last part of a run, and weights between the start and the end:
//! moments that no step had, and that may keep more neighbours than any.

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_vectors::Named;

use super::run::{Best, Progress, Run};
use super::step::{Learner, Networks};
use crate::nn::Network;

/// How far from the start to the end; above 1 is beyond it.
const BETWEEN: [f64; 3] = [0.3, 0.6, 1.4];

/// The mean of a linear encoder's weights in the coordinates of training. Of other encoders it would
/// be none of the functions that they were.
pub(super) struct Mean {
    /// Steps before it.
    from: usize,
    encoder: Option<Network<f32>>,
}

impl Mean {
    /// The mean over the steps after the first `from`.
    pub(super) fn new(learner: &Learner, from: usize) -> Self {
        let encoder = learner.encoder();
        Self { from, encoder: encoder.as_linear().map(|_| encoder.clone()) }
    }

    /// Takes the weights after a step into account.
    pub(super) fn add(&mut self, learner: &Learner, progress: &mut Progress) {
        let Some(mean) = self.encoder.as_mut().filter(|_| progress.steps() > self.from) else {
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

impl Run<'_> {
    /// Keeps the mean, or weights between the start and the end, where one of them is the best. Of
    /// linear encoders alone: between others lies nothing that is like them.
    pub(super) fn consider_ends(
        &self,
        start: &Networks,
        learner: &Learner,
        mean: &Mean,
        progress: &Progress,
        best: &mut Best,
    ) -> Result<()> {
        let Some(mean) = &mean.encoder else { return Ok(()) };
        if progress.steps() == 0 {
            return Ok(());
        }
        let start = learner.entered(self.ctx, start.clone()).encoder;
        let mut all = Vec::new();
        if progress.averaged > 0 {
            all.push(mean.clone());
        }
        all.extend(BETWEEN.map(|share| between(&start, learner.encoder(), share)));
        for encoder in all {
            let projector = None;
            let networks = learner.left(self.ctx, Networks { encoder, projector });
            let recall = self.recall(&networks.encoder)?.unwrap_or_default();
            if recall > best.recall {
                let (step, epoch) = (progress.steps(), best.epoch);
                *best = Best { networks, recall, step, epoch };
                self.keep_best(self.params, progress, best, best.recall)?;
            }
        }
        Ok(())
    }
}

/// (1 − share) · start/‖start‖ + share · end/‖end‖, times ‖end‖, of linear encoders.
fn between(start: &Network<f32>, end: &Network<f32>, share: f64) -> Network<f32> {
    let size = |network: &Network<f32>| {
        let weight = network.as_linear().map_or(&[][..], |(weight, _)| weight.as_slice());
        weight.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>().sqrt().max(f64::MIN_POSITIVE)
    };
    let factor = (1.0 - share) * size(end) / size(start);
    let mut out = end.clone();
    for (out, (_, _, start)) in out.parameters_mut().into_iter().zip(start.parameters()) {
        for (w, &s) in out.iter_mut().zip(start) {
            *w = (f64::from(*w) * share + f64::from(s) * factor) as f32;
        }
    }
    out
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
