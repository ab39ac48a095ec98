//! The epochs: step, watch, keep the best moment, stop.

use std::ops::ControlFlow;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use twinlearn_core::context::Context;
use twinlearn_core::error::{Error, Result};
use twinlearn_core::progress::{EpochReport, Event, Stage, StepReport};

use super::Callbacks;
use super::checkpoint::Keeper;
use super::feed::{Batch, Feed, Source};
use super::finish::Finish;
use super::mean::{Mean, unwatched};
use super::race::Choice;
use super::setting::Setting;
use super::step::{Learner, Networks};
use super::validation::Watch;
use crate::model::TrainingRecord;
use crate::nn::Network;
use crate::objective::LossParts;
use crate::optimiser::OptimiserKind;
use crate::pairs::Pairs;
use crate::params::{Params, Recipe};
use crate::schedule::Schedule;

/// Looks at the held-out rows without a better recall after which training ends, once the learning
/// rate is low.
const PATIENCE: usize = 3;
/// The share of its peak from which on a learning rate is low.
const LOW: f64 = 0.3;
/// Looks at the held-out rows in a run whose epochs are not given, at most.
pub(super) const LOOKS: usize = 10;

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
    /// What was chosen before it began.
    pub(super) choice: Option<Choice>,
    /// Epochs that are done.
    epoch: usize,
    /// Whether it needs no more.
    ended: bool,
    steps: usize,
    last_epoch_loss: f64,
    /// The best recall, and after which epoch it was.
    peak: f64,
    peak_epoch: usize,
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

/// How long a run is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Length {
    pub(super) epochs: usize,
    pub(super) per_epoch: usize,
    warmup: usize,
    /// Epochs from one look at the held-out rows to the next.
    looks: usize,
}

impl Length {
    /// The length of a run of `n_rows` rows with `per_epoch` steps in an epoch.
    pub(super) fn new(params: &Params, n_rows: usize, per_epoch: usize) -> Self {
        let per_epoch = per_epoch.max(1);
        let least = params.least_steps(n_rows).div_ceil(per_epoch).max(MIN_EPOCHS);
        let epochs = params.epochs.unwrap_or(least);
        let steps = epochs * per_epoch;
        let warmup = params.warmup_epochs.map_or(steps / 10, |epochs| epochs * per_epoch);
        let looks = if params.epochs.is_some() { 1 } else { epochs.div_ceil(LOOKS) };
        Self { epochs, per_epoch, warmup: warmup.min(steps - 1), looks }
    }

    pub(super) fn steps(&self) -> usize {
        self.epochs * self.per_epoch
    }
}

/// The least that a run of no given length has.
const MIN_EPOCHS: usize = 8;
/// What the recall of one query differs by, about: on the whole training gains.
const SPREAD: f64 = 0.1;
/// The same of an encoder with hidden layers, which moves farther from where it begins.
const SPREAD_OF_HIDDEN: f64 = 0.3;

impl Progress {
    pub(super) fn steps(&self) -> usize {
        self.steps
    }
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

    fn record(&self, batch_size: usize, progress: &Progress, best_step: usize) -> TrainingRecord {
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
    fn batch(&self) -> usize {
        let Self { params, pairs, .. } = self;
        if params.batch_by_default {
            // Small sets have some steps in an epoch too.
            let most =
                if params.is_listed() { pairs.len().div_ceil(4).max(2) } else { pairs.len() };
            return params.batch_size.min(most).min(pairs.len());
        }
        params.batch_size.min(pairs.len())
    }

    /// `start_recall` is that of the start.
    pub(super) fn train(&self, start: Networks, start_recall: Option<f64>) -> Result<Trained> {
        let Self { params, ctx, .. } = self;
        let batch = self.batch();
        if batch < params.batch_size && !params.batch_by_default {
            ctx.warn(&format!(
                "batch_size: lowered from {} to {batch}, the number of training rows",
                params.batch_size
            ));
        }
        let source = self.source(&start.encoder, batch);
        let length = Length::new(params, self.record.n_rows, source.steps_per_epoch());
        // The reference recipe takes what its last step leaves.
        let chooses = params.recipe == Recipe::Default;
        let spread = if params.encoder.hidden().is_empty() { SPREAD } else { SPREAD_OF_HIDDEN };
        let margin = self.watch.map_or(0.0, |watch| watch.margin(spread));
        let mut best = start_recall.filter(|_| chooses).map(|recall| Best {
            networks: self.kept(&start),
            recall: recall + margin,
            step: 0,
            epoch: 0,
        });
        let resumed = self.keeper.map(Keeper::progress).transpose()?.flatten();
        let restores = resumed.is_some();
        let mut progress = match resumed {
            // A run that is to be longer has not ended, and patience counts from here.
            Some(progress) if self.keeper.is_some_and(Keeper::is_lengthened) => {
                Progress { ended: false, peak_epoch: progress.epoch, ..progress }
            }
            Some(progress) => progress,
            None => Progress {
                choice: self.race(&source, &start, length)?,
                peak: start_recall.unwrap_or_default(),
                ..Progress::default()
            },
        };
        let params = match &progress.choice {
            Some(choice) => choice.taken(params),
            None => Params::clone(params),
        };
        let begins = Networks::clone(&start);
        if let (Some(best), false) = (&best, restores) {
            self.keep_best(&params, &progress, best, best.recall - margin)?;
        }
        let mut learner = self.setting.learner(&params, start, &source)?;
        let mut mean = Mean::new(&learner, length.steps() / 2);
        if let (true, Some(keeper)) = (restores, self.keeper)
            && let Some(kept) = keeper.restore(ctx, &mut learner, &mut mean)?
        {
            best = kept;
        }
        ctx.stage(Stage::Train, length.steps(), || {
            if progress.ended {
                return Ok(());
            }
            let at = Epochs { run: self, params: &params, length, source: &source };
            at.run(&mut learner, &mut mean, &mut progress, &mut best)
        })?;
        if let Some(best) = &mut best {
            self.consider_ends(&begins, &learner, &mean, &progress, best)?;
        }
        let (networks, step) = match best {
            Some(best) => (best.networks, best.step),
            None if chooses => (unwatched(ctx, learner, mean, &progress), progress.steps),
            None => (learner.into_networks(ctx), progress.steps),
        };
        let record = self.record(batch, &progress, step);
        Ok(Trained { params, networks, record })
    }

    /// What batches of so many anchors are made of.
    fn source(&self, encoder: &Network<f32>, batch: usize) -> Source<'_> {
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
    fn kept(&self, networks: &Networks) -> Networks {
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
    pub(super) fn keep_best(
        &self,
        params: &Params,
        progress: &Progress,
        best: &Best,
        recall: f64,
    ) -> Result<()> {
        let (Some(keeper), Some(watch)) = (self.keeper, self.watch) else { return Ok(()) };
        let mut record = self.record(self.batch(), progress, best.step);
        record.validation = Some(watch.report(recall));
        let Networks { encoder, projector } = best.networks.clone();
        let encoder = watch.whitened(self.ctx, encoder)?;
        let model = self.finish.model(self.ctx, params.clone(), encoder, projector, record)?;
        keeper.save_model("best.safetensors", &model)
    }
}

/// The epochs of a run.
struct Epochs<'a> {
    run: &'a Run<'a>,
    params: &'a Params,
    length: Length,
    source: &'a Source<'a>,
}

impl Epochs<'_> {
    fn run(
        &self,
        learner: &mut Learner,
        mean: &mut Mean,
        progress: &mut Progress,
        best: &mut Option<Best>,
    ) -> Result<()> {
        let schedule = self.schedule();
        let range = progress.epoch..self.length.epochs;
        self.source.feed(range.clone(), |feed| {
            for epoch in range {
                let flow = self.steps(&feed, epoch, &schedule, learner, mean, progress)?;
                if self.epoch(epoch + 1, flow, &schedule, learner, mean, progress, best)? {
                    break;
                }
            }
            Ok(())
        })
    }

    fn schedule(&self) -> Schedule {
        schedule(self.params, self.source.batch, self.length.warmup, self.length.steps())
    }

    fn steps(
        &self,
        feed: &Feed,
        epoch: usize,
        schedule: &Schedule,
        learner: &mut Learner,
        mean: &mut Mean,
        progress: &mut Progress,
    ) -> Result<ControlFlow<()>> {
        let Run { ctx, callbacks, .. } = self.run;
        let per_epoch = self.length.per_epoch;
        let mut flow = ControlFlow::Continue(());
        let (mut loss, mut steps) = (0.0, 0);
        while steps < per_epoch && flow.is_continue() {
            let begun = Instant::now();
            let batch = feed.next()?;
            let (step, rate) = (progress.steps + 1, schedule.at(epoch * per_epoch + steps));
            let parts = self.run.step(learner, &batch, step, rate)?;
            let report = StepReport {
                step,
                epoch,
                loss: parts.total,
                on_diagonal: parts.on_diagonal,
                off_diagonal: parts.off_diagonal,
                learning_rate: rate,
                rows_per_second: self.source.batch as f64 / begun.elapsed().as_secs_f64(),
            };
            ctx.emit(&Event::Step(&report));
            ctx.emit(&Event::StageProgress { stage: Stage::Train, done: step });
            feed.give_back(batch);
            loss += report.loss;
            steps += 1;
            progress.steps += 1;
            mean.add(learner, progress);
            flow = callbacks.map_or(flow, |callbacks| callbacks.step(&report));
        }
        progress.last_epoch_loss = loss / steps as f64;
        Ok(flow)
    }

    /// What follows an epoch (counted from 1), which a callback may have cut short. Returns whether
    /// the run ends.
    #[expect(clippy::too_many_arguments, reason = "the state of a run")]
    fn epoch(
        &self,
        epoch: usize,
        flow: ControlFlow<()>,
        schedule: &Schedule,
        learner: &mut Learner,
        mean: &mut Mean,
        progress: &mut Progress,
        best: &mut Option<Best>,
    ) -> Result<bool> {
        let (run, Length { epochs, per_epoch, looks, .. }) = (self.run, self.length);
        let mut recall = None;
        let mut is_best = false;
        let looks = flow.is_break() || epoch == epochs || epoch.is_multiple_of(looks);
        // The reference recipe is not watched while it trains.
        if let Some(best) = best.as_mut().filter(|_| looks) {
            let networks = learner.networks(run.ctx, self.params.retain_projector);
            recall = run.recall(&networks.encoder)?;
            let found = recall.unwrap_or_default();
            // Before the rate is low nothing is held against a run.
            if found > progress.peak || !schedule.is_low(epoch * per_epoch, LOW) {
                progress.peak = progress.peak.max(found);
                progress.peak_epoch = epoch;
            }
            if found > best.recall {
                is_best = true;
                *best = Best { networks, recall: found, step: progress.steps, epoch };
                run.keep_best(self.params, progress, best, found)?;
            }
        }
        let broken_off = flow.is_break();
        let report = EpochReport {
            epoch,
            step: progress.steps,
            loss: progress.last_epoch_loss,
            recall,
            is_best,
        };
        run.ctx.emit(&Event::Epoch(&report));
        let answer = run.callbacks.map(|callbacks| callbacks.epoch(&report));
        let stops = answer.is_some_and(|flow| flow.is_break()) || broken_off;
        let waits = PATIENCE * self.length.looks;
        let gives_up = best.is_some() && epoch >= progress.peak_epoch + waits;
        progress.epoch = epoch;
        progress.ended = gives_up || epoch == epochs;
        // Within an epoch there is no state to go on from: the one of the epoch before stays.
        if let Some(keeper) = run.keeper
            && !broken_off
            && (progress.ended || stops || keeper.is_due(epoch))
        {
            keeper.save(progress, learner, mean, best.as_mut())?;
        }
        Ok(stops || progress.ended)
    }
}

pub(super) fn optimiser(params: &Params) -> OptimiserKind {
    use crate::optimiser::LarsConfig;
    use crate::params::{Loss, Optimizer};
    match params.optimizer {
        Optimizer::Lars => OptimiserKind::Lars(LarsConfig::REFERENCE),
        // Similarities that are kept are kept in a space of any scale, which decay would change.
        Optimizer::AdamW => {
            let kl = params.loss == Loss::KL;
            OptimiserKind::AdamW { decay: if kl { 0.0 } else { 0.01 }, by_row: params.is_listed() }
        }
    }
}

pub(super) fn schedule(params: &Params, batch: usize, warmup: usize, steps: usize) -> Schedule {
    use crate::params::Optimizer;
    // It is chosen before any step is made.
    let rate = params.learning_rate.unwrap_or_else(|| super::race::rate(params.n_components));
    let base = match params.optimizer {
        Optimizer::Lars => rate * batch as f64 / 256.0,
        Optimizer::AdamW => rate,
    };
    Schedule::new(base, warmup, steps)
}
