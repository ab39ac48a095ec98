//! Moments that no step had, and that may keep more neighbours than any: the mean of the weights, and
//! weights between the start and the end.

use twinlearn_core::error::Result;

use super::mean::Mean;
use super::run::Run;
use super::state::{Best, Progress};
use super::step::{Learner, Networks};
use crate::nn::Network;

/// How far from the start to the end; above 1 is beyond it.
const BETWEEN: [f64; 3] = [0.3, 0.6, 1.4];

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
        if progress.steps == 0 {
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
                let (step, epoch) = (progress.steps, best.epoch);
                *best = Best { networks, recall, step, epoch };
                self.keep_best(progress, best, best.recall)?;
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
