//! What a training run works with, and what its parts have in common.

use twinlearn_core::context::Context;
use twinlearn_core::error::{Error, Result};

use super::Callbacks;
use super::checkpoint::Keeper;
use super::feed::{Batch, Source};
use super::finish::Finish;
use super::setting::Setting;
use super::state::{Best, Progress, Trained};
use super::step::{Learner, Networks};
use super::validation::Watch;
use crate::model::TrainingRecord;
use crate::nn::Network;
use crate::objective::LossParts;
use crate::pairs::Pairs;
use crate::params::Params;

/// What a training run works with.
pub(super) struct Run<'a> {
    pub(super) params: &'a Params,
    pub(super) ctx: &'a Context,
    /// What a model of it records of the data.
    pub(super) record: &'a TrainingRecord,
    pub(super) pairs: &'a Pairs,
    pub(super) setting: &'a Setting<'a>,
    pub(super) watch: Option<&'a Watch<'a>>,
    pub(super) callbacks: Option<&'a Callbacks>,
    pub(super) keeper: Option<&'a Keeper<'a>>,
    pub(super) finish: &'a Finish<'a>,
}

impl Run<'_> {
    pub(super) fn recall(&self, encoder: &Network<f32>) -> Result<Option<f64>> {
        self.watch.map(|watch| watch.recall_of(self.ctx, encoder)).transpose()
    }

    /// The start as it is.
    pub(super) fn start(&self, networks: Networks) -> Trained {
        let record = self.record(0, &Progress::default(), 0);
        Trained { params: self.params.clone(), networks, record }
    }

    pub(super) fn record(
        &self,
        batch_size: usize,
        progress: &Progress,
        best_step: usize,
    ) -> TrainingRecord {
        TrainingRecord {
            n_anchors: self.pairs.len(),
            batch_size,
            steps: progress.steps,
            best_step: Some(best_step),
            final_loss: progress.last_epoch_loss,
            ..self.record.clone()
        }
    }

    /// Anchors in a batch.
    pub(super) fn batch(&self) -> usize {
        let Self { params, pairs, .. } = self;
        if params.batch_by_default {
            // Small sets have some steps in an epoch too.
            let most =
                if params.is_listed() { pairs.len().div_ceil(4).max(2) } else { pairs.len() };
            return params.batch_size.min(most).min(pairs.len());
        }
        params.batch_size.min(pairs.len())
    }

    /// What batches of so many anchors are made of.
    pub(super) fn source(&self, encoder: &Network<f32>, batch: usize) -> Source<'_> {
        let kind = self.setting.kind(self.params, encoder, batch);
        Source {
            ctx: self.ctx,
            x: self.setting.rows(),
            pairs: self.pairs,
            kind,
            batch,
            seed: self.params.seed,
        }
    }

    /// What is kept of networks: the projector only where it is wanted.
    pub(super) fn kept(&self, networks: &Networks) -> Networks {
        let projector = networks.projector.as_ref().filter(|_| self.params.retain_projector);
        Networks { encoder: networks.encoder.clone(), projector: projector.cloned() }
    }

    /// One step, which must leave a finite loss.
    pub(super) fn step(
        &self,
        learner: &mut Learner,
        batch: &Batch,
        step: usize,
        learning_rate: f64,
    ) -> Result<LossParts> {
        self.ctx.check_cancelled()?;
        let loss = learner.step(self.ctx, batch, learning_rate);
        if loss.total.is_finite() {
            return Ok(loss);
        }
        Err(Error::invalid(
            "training",
            "a finite loss (a lower learning_rate may help)",
            format_args!("{} at step {step}", loss.total),
        ))
    }

    /// Writes the model of the best moment, of this recall.
    pub(super) fn keep_best(&self, progress: &Progress, best: &Best, recall: f64) -> Result<()> {
        let (Some(keeper), Some(watch)) = (self.keeper, self.watch) else { return Ok(()) };
        let mut record = self.record(self.batch(), progress, best.step);
        record.validation = Some(watch.report(recall));
        let Networks { encoder, projector } = best.networks.clone();
        let encoder = watch.whitened(self.ctx, encoder)?;
        let model =
            self.finish.model(self.ctx, self.params.clone(), encoder, projector, record, false)?;
        keeper.save_model("best.safetensors", &model)
    }
}
