//! The stages of a run, in order.

use std::time::{Duration, Instant};

use super::step::Learner;
use super::validation::{Split, ValidationReport, Watch};
use crate::context::{Context, Event, Stage, StepReport};
use crate::data::{Subset, Vectors, check_vectors};
use crate::error::{Error, Result};
use crate::knn::{KnnGraph, Metric, graph_of_checked};
use crate::model::{Model, TrainingRecord, encode};
use crate::nn::{InputFrame, Network};
use crate::objective::Objective;
use crate::optimiser::{LarsConfig, OptimiserKind};
use crate::pairs::Pairs;
use crate::params::{Init, Loss, Optimizer, Params, Recipe, Solver};
use crate::pca::{LinearMap, Pca};
use crate::random::{Purpose, generator};
use crate::schedule::Schedule;
use crate::spectral::neighbour_map;

/// Epochs without a better held-out recall after which training ends.
const PATIENCE: usize = 3;

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
    /// The neighbour graph of all rows.
    pub graph: KnnGraph,
    /// What the run did.
    pub report: FitReport,
}

pub(super) fn fit(
    params: &Params,
    ctx: &Context,
    x: &dyn Vectors,
    graph: Option<KnnGraph>,
) -> Result<Fit> {
    check_sizes(params, x, graph.as_ref())?;
    let mut clock = Clock::default();
    clock.time(Stage::Check, || check_vectors(ctx, "X", x, params.metric == Metric::Cosine))?;
    let graph = match graph {
        Some(graph) => graph,
        None => clock.time(Stage::Knn, || graph_of_checked(ctx, x, &params.knn()))?,
    };
    let split = Split::new(params, x.n_rows());
    let pairs = Pairs::from_graph(&graph, params.n_neighbors, |id| split.trains(id))?;

    let training_rows = Subset::new(x, &split.training)?;
    let pca = match clock.time(Stage::Pca, || Pca::fit(ctx, &training_rows)) {
        // Without a spread there is no PCA to start from or to compare with.
        Err(Error::Invalid { .. }) if params.init == Init::Random => None,
        pca => Some(pca?),
    };

    let base = split.watched();
    let watch = clock.time(Stage::Evaluate, || Watch::new(ctx, x, &base, &split, params.metric))?;
    let run = Run { params, ctx, x, pairs: &pairs, watch: watch.as_ref() };
    let start = || initial_networks(params, ctx, x, &pairs, pca.as_ref());
    let (encoder, projector) = match params.init {
        Init::Spectral => clock.time(Stage::Spectral, start)?,
        Init::Pca | Init::Random => start()?,
    };
    let trained = match params.solver {
        Solver::Spectral => run.start(encoder, projector)?,
        Solver::Sgd => clock.time(Stage::Train, || run.train(encoder, projector, pca.as_ref()))?,
    };
    let Trained { mut encoder, projector, mut record, start_recall, mut recall } = trained;
    if params.whiten > 0.0 {
        let rows = Subset::new(x, &base)?;
        encoder = clock.time(Stage::Whiten, || whitened(ctx, &rows, encoder, params.whiten))?;
        if let Some(watch) = &watch {
            recall = run.recall(watch, &encoder)?;
        }
    }
    if let Some(watch) = &watch {
        let plain = pca.as_ref().and_then(|p| p.projection(params.n_components, 0.0).ok());
        let pca_recall = clock.time(Stage::Evaluate, || {
            let recall = |map: LinearMap| watch.recall(ctx, &|ctx, x| map.transform(ctx, x));
            plain.map(recall).transpose()
        })?;
        record.validation = Some(ValidationReport {
            n_rows: watch.n_rows(),
            k: watch.k,
            recall,
            start_recall,
            pca_recall,
        });
    }
    let projector = projector.filter(|_| params.retain_projector);
    let model = Model::new(params.clone(), encoder, projector, record.clone());
    let report = FitReport {
        n_rows: x.n_rows(),
        n_features: x.dim(),
        n_components: params.n_components,
        stages: clock.stages,
        validation: record.validation,
        training: record,
    };
    Ok(Fit { model, graph, report })
}

/// Keeps how long each stage took in all.
#[derive(Default)]
struct Clock {
    stages: Vec<StageTime>,
}

impl Clock {
    fn time<R>(&mut self, stage: Stage, work: impl FnOnce() -> R) -> R {
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

/// What can be refused before any row is read.
fn check_sizes(params: &Params, x: &dyn Vectors, graph: Option<&KnnGraph>) -> Result<()> {
    let (n_rows, dim, k) = (x.n_rows(), x.dim(), params.n_neighbors);
    if n_rows < 2 {
        return Err(Error::invalid("X", "at least 2 rows", n_rows));
    }
    if params.init != Init::Random && params.n_components > dim {
        return Err(Error::invalid(
            "n_components",
            format_args!("at most {dim} (the dimension of X) for init {}", params.init),
            params.n_components,
        ));
    }
    let Some(graph) = graph else {
        return crate::knn::check_n_neighbors(k, n_rows);
    };
    if graph.n_rows() != n_rows {
        return Err(Error::invalid(
            "knn_graph",
            format_args!("{n_rows} rows, one for each of X"),
            graph.n_rows(),
        ));
    }
    if !graph.is_ragged() && graph.k() < k {
        return Err(Error::invalid(
            "knn_graph",
            format_args!("at least n_neighbors ({k}) columns"),
            graph.k(),
        ));
    }
    Ok(())
}

fn initial_networks(
    params: &Params,
    ctx: &Context,
    x: &dyn Vectors,
    pairs: &Pairs,
    pca: Option<&Pca>,
) -> Result<(Network<f32>, Option<Network<f32>>)> {
    let mut rng = generator(params.seed, Purpose::Init, 0);
    let d = params.n_components;
    let mut encoder = Network::random(&params.encoder, params.norm_layer, x.dim(), d, &mut rng);
    if let (Some(pca), Some(block)) = (pca, encoder.single_block_mut()) {
        let map = match params.init {
            Init::Random => None,
            Init::Pca => Some(pca.projection(d, params.pca_power)?),
            Init::Spectral => Some(neighbour_map(ctx, x, pairs, pca.mean(), d, params.pca_power)?),
        };
        if let Some(map) = map {
            (block.weight, block.bias) = (map.weight, Some(map.bias));
        }
    }
    let projector = params.projector.as_ref().map(|spec| {
        let mut rng = generator(params.seed, Purpose::Init, 1);
        Network::random(spec, params.norm_layer, d, spec.projector_width(d), &mut rng)
    });
    Ok((encoder, projector))
}

/// The encoder with its output turned to the principal axes of reduced `rows` and divided by
/// σ^`power`. The origin stays: cosines are about it.
fn whitened(
    ctx: &Context,
    rows: &dyn Vectors,
    encoder: Network<f32>,
    power: f64,
) -> Result<Network<f32>> {
    ctx.stage(Stage::Whiten, rows.n_rows(), || {
        let reduced = encode(ctx, &encoder.folded(), rows)?;
        let axes = Pca::fit(&ctx.quiet(), &reduced)?.projection(reduced.cols(), power)?;
        Ok(encoder.mapped(axes.weight))
    })
}

struct Trained {
    encoder: Network<f32>,
    projector: Option<Network<f32>>,
    record: TrainingRecord,
    start_recall: Option<f64>,
    recall: f64,
}

/// What a training run works with.
struct Run<'a> {
    params: &'a Params,
    ctx: &'a Context,
    x: &'a dyn Vectors,
    pairs: &'a Pairs,
    watch: Option<&'a Watch<'a>>,
}

/// The best moment so far.
struct Best {
    encoder: Network<f32>,
    projector: Option<Network<f32>>,
    recall: f64,
    step: usize,
    epoch: usize,
}

impl Run<'_> {
    /// The start as it is.
    fn start(&self, encoder: Network<f32>, projector: Option<Network<f32>>) -> Result<Trained> {
        let recall = self.watch.map(|watch| self.recall(watch, &encoder)).transpose()?;
        let record = self.record(0, 0, 0, 0.0);
        let (start_recall, recall) = (recall, recall.unwrap_or(0.0));
        Ok(Trained { encoder, projector, record, start_recall, recall })
    }

    fn record(
        &self,
        batch_size: usize,
        steps: usize,
        best: usize,
        final_loss: f64,
    ) -> TrainingRecord {
        TrainingRecord {
            n_rows: self.x.n_rows(),
            n_anchors: self.pairs.len(),
            batch_size,
            steps,
            best_step: Some(best),
            final_loss,
            validation: None,
        }
    }

    fn train(
        &self,
        encoder: Network<f32>,
        projector: Option<Network<f32>>,
        pca: Option<&Pca>,
    ) -> Result<Trained> {
        let Self { params, ctx, pairs, watch, .. } = self;
        let batch = params.batch_size.min(pairs.len());
        if batch < params.batch_size {
            ctx.warn(&format!(
                "batch_size: lowered from {} to {batch}, the number of training rows",
                params.batch_size
            ));
        }
        let steps_per_epoch = pairs.len() / batch;
        let total = steps_per_epoch * params.epochs;
        let schedule = schedule(params, batch, steps_per_epoch);
        let start_recall = watch.map(|watch| self.recall(watch, &encoder)).transpose()?;
        // The reference recipe takes what its last step leaves.
        let chooses = params.recipe == Recipe::Default;
        let mut best = start_recall.filter(|_| chooses).map(|recall| Best {
            encoder: encoder.clone(),
            projector: projector.clone(),
            recall,
            step: 0,
            epoch: 0,
        });
        let (objective, frame) = objective(params, &encoder, pca);
        let kind = match params.optimizer {
            Optimizer::Lars => OptimiserKind::Lars(LarsConfig::REFERENCE),
            Optimizer::AdamW => OptimiserKind::AdamW,
        };
        let mut learner = Learner::new(encoder, projector, batch, objective, kind, frame);
        let mut last_epoch_loss = 0.0;
        let mut step = 0;
        ctx.stage(Stage::Train, total, || {
            for epoch in 0..params.epochs {
                last_epoch_loss = 0.0;
                for chosen in pairs.epoch(params.seed, epoch).chunks_exact(batch) {
                    let loss = self.step(&mut learner, chosen, schedule.at(step), step, epoch)?;
                    step += 1;
                    last_epoch_loss += loss / steps_per_epoch as f64;
                }
                if let (Some(watch), Some(best)) = (watch, &mut best) {
                    let encoder = learner.encoder();
                    let recall = self.recall(watch, &encoder)?;
                    if recall > best.recall {
                        let projector = learner.projector.clone();
                        *best = Best { encoder, projector, recall, step, epoch: epoch + 1 };
                    } else if epoch + 1 >= best.epoch + PATIENCE {
                        break;
                    }
                }
            }
            Ok(())
        })?;
        let (encoder, projector, recall, best_step) = match best {
            Some(best) => (best.encoder, best.projector, best.recall, best.step),
            None => {
                let encoder = learner.encoder();
                let recall = watch.map(|watch| self.recall(watch, &encoder)).transpose()?;
                (encoder, learner.projector, recall.unwrap_or(0.0), step)
            }
        };
        let record = self.record(batch, step, best_step, last_epoch_loss);
        Ok(Trained { encoder, projector, record, start_recall, recall })
    }

    /// One step, told; returns its loss.
    fn step(
        &self,
        learner: &mut Learner,
        pairs: &[(u32, u32)],
        rate: f64,
        step: usize,
        epoch: usize,
    ) -> Result<f64> {
        self.ctx.check_cancelled()?;
        let start = Instant::now();
        let loss = learner.step(self.ctx, self.x, pairs, rate)?;
        let step = step + 1;
        if !loss.total.is_finite() {
            return Err(Error::invalid(
                "training",
                "a finite loss (a lower learning_rate may help)",
                format_args!("{} at step {step}", loss.total),
            ));
        }
        self.ctx.emit(&Event::Step(&StepReport {
            step,
            epoch,
            loss: loss.total,
            on_diagonal: loss.on_diagonal,
            off_diagonal: loss.off_diagonal,
            learning_rate: rate,
            rows_per_second: pairs.len() as f64 / start.elapsed().as_secs_f64(),
        }));
        self.ctx.emit(&Event::StageProgress { stage: Stage::Train, done: step });
        Ok(loss.total)
    }

    fn recall(&self, watch: &Watch<'_>, encoder: &Network<f32>) -> Result<f64> {
        let encoder = encoder.folded();
        watch.recall(self.ctx, &|ctx, x| encode(ctx, &encoder, x))
    }
}

/// The objective, and the coordinates in which it is trained.
fn objective(
    params: &Params,
    encoder: &Network<f32>,
    pca: Option<&Pca>,
) -> (Objective, Option<InputFrame>) {
    match params.loss {
        Loss::BT => {
            (Objective::BarlowTwins { lambda: params.lambd, scale: params.scale_loss }, None)
        }
        Loss::KL => {
            let nowhere = vec![0.0; encoder.in_width()];
            let mean = pca.map_or(&nowhere[..], Pca::mean);
            let spread = pca.map_or(1.0, |pca| pca.std().iter().map(|s| s * s).sum::<f64>().sqrt());
            let frame = InputFrame::new(encoder, mean, spread);
            // Cosines about the mean or about the origin, in the frame's coordinates.
            let origin = if params.centre_target { mean } else { &nowhere };
            let centre = origin.iter().zip(&frame.mean).map(|(o, m)| ((o - m) / spread) as f32);
            (Objective::Kl { tau: params.tau, centre: centre.collect() }, Some(frame))
        }
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
