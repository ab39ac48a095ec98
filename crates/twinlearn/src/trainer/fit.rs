//! The stages of a run, in order.

use std::time::{Duration, Instant};

use super::step::Learner;
use super::validation::{Reduce, Split, ValidationReport, Watch};
use crate::context::{Context, Event, Stage, StepReport};
use crate::data::{Subset, Vectors, check_vectors};
use crate::error::{Error, Result};
use crate::knn::{KnnGraph, Metric, graph_of_checked};
use crate::model::{Model, TrainingRecord};
use crate::nn::Network;
use crate::optimiser::LarsConfig;
use crate::pairs::Pairs;
use crate::params::{Init, Params};
use crate::pca::Pca;
use crate::random::{Purpose, generator};
use crate::schedule::Schedule;

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
    /// The stages that ran, in order.
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

    let (encoder, projector) = initial_networks(params, x.dim(), pca.as_ref())?;
    let trained = clock.time(Stage::Train, || train(params, ctx, x, &pairs, encoder, projector))?;

    let mut record = trained.record;
    let mut model = Model::new(params.clone(), trained.encoder, trained.projector, record.clone());

    if let Some(watch) = Watch::new(x, &split, params.metric)? {
        let plain = pca.as_ref().and_then(|p| p.projection(params.n_components, 0.0).ok());
        let encoder: &Reduce<'_> = &|ctx, x| model.transform(ctx, x, false);
        let baseline = plain.map(|map| move |ctx: &Context, x: &dyn Vectors| map.transform(ctx, x));
        let baseline = baseline.as_ref().map(|b| b as &Reduce<'_>);
        let report = clock.time(Stage::Evaluate, || watch.measure(ctx, encoder, baseline))?;
        record.validation = Some(report);
    }
    model.set_training_record(record.clone());
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

/// Keeps how long each stage took.
#[derive(Default)]
struct Clock {
    stages: Vec<StageTime>,
}

impl Clock {
    fn time<R>(&mut self, stage: Stage, work: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = work();
        self.stages.push(StageTime { stage, elapsed: start.elapsed() });
        result
    }
}

/// What can be refused before any row is read.
fn check_sizes(params: &Params, x: &dyn Vectors, graph: Option<&KnnGraph>) -> Result<()> {
    let (n_rows, dim, k) = (x.n_rows(), x.dim(), params.n_neighbors);
    if n_rows < 2 {
        return Err(Error::invalid("X", "at least 2 rows", n_rows));
    }
    if params.init == Init::Pca && params.n_components > dim {
        return Err(Error::invalid(
            "n_components",
            format_args!("at most {dim} (the dimension of X) for init pca"),
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
    dim: usize,
    pca: Option<&Pca>,
) -> Result<(Network<f32>, Option<Network<f32>>)> {
    let mut rng = generator(params.seed, Purpose::Init, 0);
    let d = params.n_components;
    let mut encoder = Network::random(&params.encoder, params.norm_layer, dim, d, &mut rng);
    if let (Init::Pca, Some(pca), Some(block)) = (params.init, pca, encoder.single_block_mut()) {
        let map = pca.projection(d, params.pca_power)?;
        (block.weight, block.bias) = (map.weight, Some(map.bias));
    }
    let projector = params.projector.as_ref().map(|spec| {
        let mut rng = generator(params.seed, Purpose::Init, 1);
        Network::random(spec, params.norm_layer, d, spec.projector_width(d), &mut rng)
    });
    Ok((encoder, projector))
}

struct Trained {
    encoder: Network<f32>,
    projector: Option<Network<f32>>,
    record: TrainingRecord,
}

fn train(
    params: &Params,
    ctx: &Context,
    x: &dyn Vectors,
    pairs: &Pairs,
    encoder: Network<f32>,
    projector: Option<Network<f32>>,
) -> Result<Trained> {
    let batch = params.batch_size.min(pairs.len());
    if batch < params.batch_size {
        ctx.warn(&format!(
            "batch_size: lowered from {} to {batch}, the number of training rows",
            params.batch_size
        ));
    }
    let steps_per_epoch = pairs.len() / batch;
    let total = steps_per_epoch * params.epochs;
    let base = params.learning_rate * batch as f64 / 256.0;
    let schedule = Schedule::new(base, steps_per_epoch * params.warmup_epochs, total);
    let (lambda, scale) = (params.lambd, params.scale_loss);
    let mut learner = Learner::new(encoder, projector, batch, lambda, scale, LarsConfig::REFERENCE);

    let mut last_epoch_loss = 0.0;
    ctx.stage(Stage::Train, total, || {
        let mut step = 0;
        for epoch in 0..params.epochs {
            last_epoch_loss = 0.0;
            for chosen in pairs.epoch(params.seed, epoch).chunks_exact(batch) {
                ctx.check_cancelled()?;
                let start = Instant::now();
                let rate = schedule.at(step);
                let loss = learner.step(ctx, x, chosen, rate)?;
                step += 1;
                if !loss.total.is_finite() {
                    return Err(Error::invalid(
                        "training",
                        "a finite loss (a lower learning_rate may help)",
                        format_args!("{} at step {step}", loss.total),
                    ));
                }
                last_epoch_loss += loss.total / steps_per_epoch as f64;
                ctx.emit(&Event::Step(&StepReport {
                    step,
                    epoch,
                    loss: loss.total,
                    on_diagonal: loss.on_diagonal,
                    off_diagonal: loss.off_diagonal,
                    learning_rate: rate,
                    rows_per_second: batch as f64 / start.elapsed().as_secs_f64(),
                }));
                ctx.emit(&Event::StageProgress { stage: Stage::Train, done: step });
            }
        }
        Ok(())
    })?;
    Ok(Trained {
        encoder: learner.encoder,
        projector: learner.projector.filter(|_| params.retain_projector),
        record: TrainingRecord {
            n_rows: x.n_rows(),
            n_anchors: pairs.len(),
            batch_size: batch,
            steps: total,
            final_loss: last_epoch_loss,
            validation: None,
        },
    })
}
