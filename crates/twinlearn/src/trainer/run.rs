//! The epochs: step, watch, keep the best moment, stop.

use std::ops::ControlFlow;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::checkpoint::Keeper;
use super::feed::Source;
use super::step::{Learner, Networks};
use super::validation::{ValidationReport, Watch};
use super::{Callbacks, candidates};
use crate::context::{Context, EpochReport, Event, Stage, StepReport};
use crate::data::Vectors;
use crate::error::{Error, Result};
use crate::linalg::Matrix;
use crate::model::{Model, TrainingRecord};
use crate::nn::{InputFrame, Network};
use crate::objective::{LossParts, Objective};
use crate::optimiser::{LarsConfig, OptimiserKind};
use crate::pairs::Pairs;
use crate::params::{Loss, Optimizer, Params, Recipe};
use crate::pca::Pca;
use crate::schedule::Schedule;

/// Epochs without a better held-out recall after which training ends.
const PATIENCE: usize = 3;

/// What a training run works with.
pub(super) struct Run<'a> {
    pub(super) params: &'a Params,
    pub(super) ctx: &'a Context,
    pub(super) x: &'a dyn Vectors,
    pub(super) pairs: &'a Pairs,
    pub(super) pca: Option<&'a Pca>,
    pub(super) watch: Option<&'a Watch<'a>>,
    pub(super) callbacks: &'a Callbacks,
    pub(super) keeper: Option<&'a Keeper<'a>>,
}

/// The best moment so far.
#[derive(Clone, Debug)]
pub(super) struct Best {
    pub(super) networks: Networks,
    pub(super) recall: f64,
    pub(super) candidate: usize,
    /// Steps of all candidates before it.
    pub(super) step: usize,
    /// Epochs of its candidate before it.
    pub(super) epoch: usize,
}

/// How far a run is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Which of the parameter sets that are tried is trained.
    pub(super) candidate: usize,
    /// Its epochs that are done.
    epoch: usize,
    /// Whether it needs no more.
    ended: bool,
    /// Steps of all candidates.
    steps: usize,
    last_epoch_loss: f64,
    /// The best recall of this candidate, and after which epoch it was.
    peak: f64,
    peak_epoch: usize,
}

/// What training leaves.
pub(super) struct Trained {
    /// The parameters that won.
    pub(super) params: Params,
    pub(super) networks: Networks,
    pub(super) record: TrainingRecord,
    pub(super) start_recall: Option<f64>,
    pub(super) recall: Option<f64>,
}

/// Whether a run goes on after an epoch.
enum Next {
    Epoch,
    Candidate,
    End,
}

impl Run<'_> {
    fn recall(&self, encoder: &Network<f32>) -> Result<Option<f64>> {
        self.watch.map(|watch| watch.recall_of(self.ctx, encoder)).transpose()
    }

    /// The start as it is.
    pub(super) fn start(&self, networks: Networks) -> Result<Trained> {
        let recall = self.recall(&networks.encoder)?;
        let record = self.record(0, &Progress::default(), 0);
        let params = self.params.clone();
        Ok(Trained { params, networks, record, start_recall: recall, recall })
    }

    fn record(&self, batch_size: usize, progress: &Progress, best_step: usize) -> TrainingRecord {
        TrainingRecord {
            n_rows: self.x.n_rows(),
            n_anchors: self.pairs.len(),
            batch_size,
            steps: progress.steps,
            best_step: Some(best_step),
            final_loss: progress.last_epoch_loss,
            validation: None,
        }
    }

    pub(super) fn train(&self, start: Networks) -> Result<Trained> {
        let Self { params, ctx, pairs, .. } = self;
        let batch = params.batch_size.min(pairs.len());
        if batch < params.batch_size && !params.batch_by_default {
            ctx.warn(&format!(
                "batch_size: lowered from {} to {batch}, the number of training rows",
                params.batch_size
            ));
        }
        let start_recall = self.recall(&start.encoder)?;
        // The reference recipe takes what its last step leaves.
        let chooses = params.recipe == Recipe::Default;
        let mut best = start_recall.filter(|_| chooses).map(|recall| Best {
            networks: self.kept(&start),
            recall,
            candidate: 0,
            step: 0,
            epoch: 0,
        });
        let fresh = Progress { peak: start_recall.unwrap_or_default(), ..Progress::default() };
        let candidates = candidates(params);
        let resumed = self.keeper.map(|keeper| keeper.progress(candidates.len())).transpose()?;
        let resumed = resumed.flatten();
        let mut restores = resumed.is_some();
        let mut progress = resumed.unwrap_or_else(|| fresh.clone());
        let total = candidates.len() * params.epochs * (pairs.len() / batch);
        let (mut start, mut last) = (Some(start), None);
        ctx.stage(Stage::Train, total, || {
            while let Some(params) = candidates.get(progress.candidate) {
                let is_last = progress.candidate + 1 == candidates.len();
                // Projectors may be large: only what another candidate needs is copied.
                let begins = if is_last { start.take() } else { start.clone() };
                let Some(begins) = begins else { break };
                let (objective, frame) = objective(params, &begins.encoder, self.pca);
                let kind = optimiser(params.optimizer);
                let mut learner = Learner::new(begins, batch, objective, kind, frame);
                if let (true, Some(keeper)) = (restores, self.keeper)
                    && let Some(kept) = keeper.restore(&mut learner)?
                {
                    best = kept;
                }
                restores = false;
                let next = self.candidate(params, batch, &mut learner, &mut progress, &mut best)?;
                if matches!(next, Next::End) || is_last {
                    last = best.is_none().then(|| learner.into_networks());
                    break;
                }
                let Progress { candidate, steps, last_epoch_loss, .. } = progress;
                progress =
                    Progress { candidate: candidate + 1, steps, last_epoch_loss, ..fresh.clone() };
            }
            Ok(())
        })?;
        let (params, networks, recall, step) = match (best, last) {
            (Some(best), _) => {
                let params = candidates[best.candidate].clone();
                (params, best.networks, Some(best.recall), best.step)
            }
            (None, Some(networks)) => {
                let recall = self.recall(&networks.encoder)?;
                (candidates[progress.candidate].clone(), networks, recall, progress.steps)
            }
            (None, None) => unreachable!("a candidate was trained"),
        };
        let record = self.record(batch, &progress, step);
        Ok(Trained { params, networks, record, start_recall, recall })
    }

    /// What is kept of networks: the projector only where it is wanted.
    fn kept(&self, networks: &Networks) -> Networks {
        let projector = networks.projector.as_ref().filter(|_| self.params.retain_projector);
        Networks { encoder: networks.encoder.clone(), projector: projector.cloned() }
    }

    /// The epochs of one set of parameters that are not done yet.
    fn candidate(
        &self,
        params: &Params,
        batch: usize,
        learner: &mut Learner,
        progress: &mut Progress,
        best: &mut Option<Best>,
    ) -> Result<Next> {
        if progress.ended {
            return Ok(Next::Candidate);
        }
        let spread = self.pca.map_or(1.0, Pca::spread);
        let noise = params.noise * spread / (self.x.dim() as f64).sqrt();
        let source = Source {
            ctx: self.ctx,
            x: self.x,
            pairs: self.pairs,
            frame: learner.frame().cloned(),
            noise: params.gaussian.then_some(noise),
            batch,
            seed: params.seed,
        };
        let per_epoch = source.steps_per_epoch();
        let schedule = schedule(params, batch, per_epoch);
        source.feed(progress.epoch..params.epochs, |feed| {
            for epoch in progress.epoch..params.epochs {
                let mut flow = ControlFlow::Continue(());
                let (mut loss, mut steps) = (0.0, 0);
                while steps < per_epoch && flow.is_continue() {
                    let begun = Instant::now();
                    let rows = feed.next()?;
                    let (step, rate) = (progress.steps + 1, schedule.at(epoch * per_epoch + steps));
                    let parts = self.step(learner, &rows, step, rate)?;
                    let report = StepReport {
                        step,
                        epoch,
                        loss: parts.total,
                        on_diagonal: parts.on_diagonal,
                        off_diagonal: parts.off_diagonal,
                        learning_rate: rate,
                        rows_per_second: batch as f64 / begun.elapsed().as_secs_f64(),
                    };
                    self.ctx.emit(&Event::Step(&report));
                    self.ctx.emit(&Event::StageProgress { stage: Stage::Train, done: step });
                    feed.give_back(rows);
                    loss += report.loss;
                    steps += 1;
                    progress.steps += 1;
                    flow = self.callbacks.step(&report);
                }
                progress.last_epoch_loss = loss / steps as f64;
                match self.epoch(params, epoch + 1, flow, learner, progress, best)? {
                    Next::Epoch => {}
                    next => return Ok(next),
                }
            }
            Ok(Next::Candidate)
        })
    }

    fn step(
        &self,
        learner: &mut Learner,
        rows: &Matrix,
        step: usize,
        learning_rate: f64,
    ) -> Result<LossParts> {
        self.ctx.check_cancelled()?;
        let loss = learner.step(self.ctx, rows, learning_rate);
        if loss.total.is_finite() {
            return Ok(loss);
        }
        Err(Error::invalid(
            "training",
            "a finite loss (a lower learning_rate may help)",
            format_args!("{} at step {step}", loss.total),
        ))
    }

    /// What follows an epoch (counted from 1), which a callback may have broken off.
    fn epoch(
        &self,
        params: &Params,
        epoch: usize,
        flow: ControlFlow<()>,
        learner: &mut Learner,
        progress: &mut Progress,
        best: &mut Option<Best>,
    ) -> Result<Next> {
        let mut recall = None;
        let mut is_best = false;
        // The reference recipe is not watched while it trains.
        if let Some(best) = best {
            let networks = learner.networks(params.retain_projector);
            recall = self.recall(&networks.encoder)?;
            let found = recall.unwrap_or_default();
            if found > progress.peak {
                (progress.peak, progress.peak_epoch) = (found, epoch);
            }
            if found > best.recall {
                is_best = true;
                let (candidate, step) = (progress.candidate, progress.steps);
                *best = Best { networks, recall: found, candidate, step, epoch };
                self.keep_best(params, progress, best)?;
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
        self.ctx.emit(&Event::Epoch(&report));
        let stops = self.callbacks.epoch(&report).is_break() || broken_off;
        let gives_up = best.is_some() && epoch >= progress.peak_epoch + PATIENCE;
        progress.epoch = epoch;
        progress.ended = gives_up || epoch == params.epochs;
        // Within an epoch there is no state to go on from: the one of the epoch before stays.
        if let Some(keeper) = self.keeper
            && !broken_off
            && (progress.ended || stops || keeper.is_due(epoch))
        {
            keeper.save(progress, learner, best.as_mut())?;
        }
        Ok(match (stops, progress.ended) {
            (true, _) => Next::End,
            (false, true) => Next::Candidate,
            (false, false) => Next::Epoch,
        })
    }

    /// Writes the model of the best moment.
    fn keep_best(&self, params: &Params, progress: &Progress, best: &Best) -> Result<()> {
        let (Some(keeper), Some(watch)) = (self.keeper, self.watch) else { return Ok(()) };
        let mut record = self.record(params.batch_size.min(self.pairs.len()), progress, best.step);
        record.validation = Some(ValidationReport {
            n_rows: watch.n_rows(),
            k: watch.k,
            recall: best.recall,
            start_recall: None,
            pca_recall: None,
        });
        let Networks { encoder, projector } = best.networks.clone();
        let encoder = watch.whitened(self.ctx, encoder)?;
        let model = Model::new(params.clone(), encoder, projector, record);
        let model = model.with_ranges(self.ctx, watch.base())?;
        keeper.save_model("best.safetensors", &model)
    }
}

/// The objective, and the coordinates in which it is trained.
fn objective(
    params: &Params,
    encoder: &Network<f32>,
    pca: Option<&Pca>,
) -> (Objective, Option<InputFrame>) {
    let nowhere = vec![0.0; encoder.in_width()];
    let mean = pca.map_or(&nowhere[..], Pca::mean);
    let spread = pca.map_or(1.0, Pca::spread);
    let frame = InputFrame::new(encoder, mean, spread);
    match params.loss {
        Loss::BT => {
            let objective =
                Objective::BarlowTwins { lambda: params.lambd, scale: params.scale_loss };
            // LARS moves matrices in proportion to their size: it needs no frame.
            (objective, Some(frame).filter(|_| params.optimizer == Optimizer::AdamW))
        }
        Loss::MSE => (Objective::Reconstruction, Some(frame)),
        Loss::KL | Loss::Auto => {
            // Cosines about the mean or about the origin, in the frame's coordinates.
            let origin = if params.centre_target { mean } else { &nowhere };
            let centre = origin.iter().zip(&frame.mean).map(|(o, m)| ((o - m) / spread) as f32);
            (Objective::Kl { tau: params.tau, centre: centre.collect() }, Some(frame))
        }
    }
}

fn optimiser(optimizer: Optimizer) -> OptimiserKind {
    match optimizer {
        Optimizer::Lars => OptimiserKind::Lars(LarsConfig::REFERENCE),
        Optimizer::AdamW => OptimiserKind::AdamW,
    }
}

fn schedule(params: &Params, batch: usize, steps_per_epoch: usize) -> Schedule {
    let base = match params.optimizer {
        Optimizer::Lars => params.learning_rate * batch as f64 / 256.0,
        Optimizer::AdamW => params.learning_rate,
    };
    let (warmup, total) = (params.warmup_epochs, params.epochs);
    Schedule::new(base, steps_per_epoch * warmup, steps_per_epoch * total)
}
