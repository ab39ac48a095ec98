//! The epochs: step, watch, keep the best moment, stop.

use std::ops::ControlFlow;
use std::time::Instant;

use twinlearn_core::error::Result;
use twinlearn_core::progress::{EpochReport, Event, Stage, StepReport};

use super::checkpoint::Keeper;
use super::feed::{Feed, Source};
use super::mean::{Mean, unwatched};
use super::pace::{Length, schedule};
use super::run::Run;
use super::state::{Best, Progress, Trained};
use super::step::{Learner, Networks};
use crate::params::{Params, Recipe};
use crate::schedule::Schedule;

/// Looks at the held-out rows without a better recall after which training ends, once the learning
/// rate is low.
const PATIENCE: usize = 3;
/// The share of its peak from which on a learning rate is low.
const LOW: f64 = 0.3;
/// What the recall of one query differs by, about: on the whole training gains.
const SPREAD: f64 = 0.1;
/// The same of an encoder with hidden layers, which moves farther from where it begins.
const SPREAD_OF_HIDDEN: f64 = 0.3;

impl Run<'_> {
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
        let length = Length::new(params, self.record.n_rows, source.steps_per_epoch())?;
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
            None => Progress { peak: start_recall.unwrap_or_default(), ..Progress::default() },
        };
        let begins = Networks::clone(&start);
        if let (Some(best), false) = (&best, restores) {
            self.keep_best(&progress, best, best.recall - margin)?;
        }
        let mut learner = self.setting.learner(params, start, &source)?;
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
            let at = Epochs { run: self, length, source: &source };
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
        Ok(Trained { params: Params::clone(params), networks, record })
    }
}

/// The epochs of a run.
struct Epochs<'a> {
    run: &'a Run<'a>,
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
        schedule(self.run.params, self.source.batch, self.length.warmup, self.length.steps())
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
            let networks = learner.networks(run.ctx, run.params.retain_projector);
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
                run.keep_best(progress, best, found)?;
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
            keeper.save(run.params, progress, learner, mean, best.as_mut())?;
        }
        Ok(stops || progress.ended)
    }
}
