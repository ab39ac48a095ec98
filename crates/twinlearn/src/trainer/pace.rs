//! How long a run is, and how fast it learns.

use twinlearn_core::error::Result;

use crate::optimiser::{LarsConfig, OptimiserKind};
use crate::params::{Loss, Optimizer, Params, check_warmup};
use crate::schedule::Schedule;

/// Looks at the held-out rows in a run whose epochs are not given, at most.
pub(super) const LOOKS: usize = 10;

/// The least epochs that a run of no given length has.
const MIN_EPOCHS: usize = 8;

/// How long a run is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Length {
    pub(super) epochs: usize,
    pub(super) per_epoch: usize,
    pub(super) warmup: usize,
    /// Epochs from one look at the held-out rows to the next.
    pub(super) looks: usize,
}

impl Length {
    /// The length of a run of `n_rows` rows with `per_epoch` steps in an epoch.
    ///
    /// # Errors
    /// When the warm-up is no shorter than a run whose epochs are not given.
    pub(super) fn new(params: &Params, n_rows: usize, per_epoch: usize) -> Result<Self> {
        let per_epoch = per_epoch.max(1);
        let least = params.least_steps(n_rows).div_ceil(per_epoch).max(MIN_EPOCHS);
        let epochs = params.epochs.unwrap_or(least);
        check_warmup(params.warmup_epochs, epochs)?;
        let steps = epochs * per_epoch;
        let warmup = params.warmup_epochs.map_or(steps / 10, |epochs| epochs * per_epoch);
        let looks = if params.epochs.is_some() { 1 } else { epochs.div_ceil(LOOKS) };
        Ok(Self { epochs, per_epoch, warmup, looks })
    }

    pub(super) fn steps(&self) -> usize {
        self.epochs * self.per_epoch
    }
}

/// The learning rate that is taken for reductions to `d` dimensions where none is given.
pub(super) fn rate(d: usize) -> f64 {
    (5.0 / d as f64).min(0.1)
}

/// What changes the weights.
pub(super) fn optimiser(params: &Params) -> OptimiserKind {
    match params.optimizer {
        Optimizer::Lars => OptimiserKind::Lars(LarsConfig::REFERENCE),
        // Similarities that are kept are kept in a space of any scale, which decay would change.
        Optimizer::AdamW => {
            let kl = params.loss == Loss::KL;
            OptimiserKind::AdamW { decay: if kl { 0.0 } else { 0.01 }, by_row: params.is_listed() }
        }
    }
}

/// The learning rate over the steps of a run.
pub(super) fn schedule(params: &Params, batch: usize, warmup: usize, steps: usize) -> Schedule {
    // It is chosen before any step is made.
    let rate = params.learning_rate.unwrap_or_else(|| rate(params.n_components));
    let base = match params.optimizer {
        Optimizer::Lars => rate * batch as f64 / 256.0,
        Optimizer::AdamW => rate,
    };
    Schedule::new(base, warmup, steps)
}
