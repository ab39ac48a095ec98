//! What a fit gives, and how long its stages took.

use std::time::{Duration, Instant};

use twinlearn_core::progress::Stage;
use twinlearn_knn::KnnGraph;

use crate::model::{Model, TrainingRecord, ValidationReport};

/// How long a stage took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StageTime {
    /// Which.
    pub stage: Stage,
    /// Wall time.
    pub elapsed: Duration,
}

/// What a run did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FitReport {
    /// N.
    pub n_rows: usize,
    /// D.
    pub n_features: usize,
    /// d.
    pub n_components: usize,
    /// The stages that ran, by when they began.
    pub stages: Vec<StageTime>,
    /// Steps and batch of the training, and the mean loss of its last epoch.
    pub training: TrainingRecord,
    /// Held-out recall; `None` when no row was held out.
    pub validation: Option<ValidationReport>,
}

/// A fitted model, the graph it learned from, and the report of the run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fit {
    /// The model.
    pub model: Model,
    /// The neighbour graph of all rows; none with gaussian pairs, or where a sample of many rows are
    /// anchors ([`Params::n_anchors`](crate::Params::n_anchors)).
    pub graph: Option<KnnGraph>,
    /// What the run did.
    pub report: FitReport,
    /// Rows of X that were held out of training, rising.
    pub held_out: Vec<u32>,
    /// Those of them by which nothing was chosen, rising: to judge the model by.
    pub judged: Vec<u32>,
}

/// Keeps how long each stage took in all.
#[derive(Default)]
pub(super) struct Clock {
    pub(super) stages: Vec<StageTime>,
}

impl Clock {
    pub(super) fn time<R>(&mut self, stage: Stage, work: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = work();
        let elapsed = start.elapsed();
        match self.stages.iter_mut().find(|time| time.stage == stage) {
            Some(time) => time.elapsed += elapsed,
            None => self.stages.push(StageTime { stage, elapsed }),
        }
        result
    }
}
