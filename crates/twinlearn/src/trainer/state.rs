//! How far a run is, and what it has found.

use serde::{Deserialize, Serialize};

use super::step::Networks;
use crate::model::TrainingRecord;
use crate::params::Params;

/// The best moment so far; of the start, what another must keep more than.
#[derive(Clone, Debug)]
pub(super) struct Best {
    pub(super) networks: Networks,
    pub(super) recall: f64,
    pub(super) step: usize,
    pub(super) epoch: usize,
}

/// How far a run is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Epochs that are done.
    pub(super) epoch: usize,
    /// Whether it needs no more.
    pub(super) ended: bool,
    pub(super) steps: usize,
    pub(super) last_epoch_loss: f64,
    /// The best recall, and after which epoch it was.
    pub(super) peak: f64,
    pub(super) peak_epoch: usize,
    /// Steps that the mean is of.
    pub(super) averaged: usize,
}

/// What training leaves.
pub(super) struct Trained {
    /// The parameters with what was chosen.
    pub(super) params: Params,
    pub(super) networks: Networks,
    pub(super) record: TrainingRecord,
}
