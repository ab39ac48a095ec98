//! The stages of a run, in order.

use std::time::{Duration, Instant};

use super::checkpoint::{Identity, Keeper, model_checksum};
use super::plan::FitPlan;
use super::run::{Run, Trained};
use super::step::Networks;
use super::validation::{Split, ValidationReport, Watch, whitened};
use super::{Trainer, start, starts};
use crate::context::{Context, Event, Stage};
use crate::data::{Subset, Vectors, check_vectors};
use crate::error::{Error, Result};
use crate::knn::{KnnGraph, Metric, graph_of_checked};
use crate::linalg::Matrix;
use crate::model::{Model, TrainingRecord};
use crate::nn::Network;
use crate::pairs::Pairs;
use crate::params::{Hyperparameters, Init, Loss, Params, Solver};
use crate::pca::{LinearMap, Pca};

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
    /// The neighbour graph of all rows; none with gaussian pairs.
    pub graph: Option<KnnGraph>,
    /// What the run did.
    pub report: FitReport,
    /// Rows of X that were held out of training, rising: those to judge the model by.
    pub held_out: Vec<u32>,
}

pub(super) fn fit(
    trainer: &Trainer,
    ctx: &Context,
    x: &dyn Vectors,
    graph: Option<KnnGraph>,
) -> Result<Fit> {
    let Trainer { params, model, callbacks, checkpoints, validation } = trainer;
    let held_out = match validation {
        Some(_) => 0,
        None => params.n_validation(x.n_rows()),
    };
    check_sizes(params, x, graph.as_ref(), model.as_ref(), validation.as_ref(), held_out)?;
    let n_watched = validation.as_ref().map_or(held_out, Matrix::rows);
    let plan = FitPlan::new(ctx, params, (x.n_rows(), x.dim()), n_watched);
    let [for_truth, for_training] = plan.rest(ctx)?;
    ctx.emit(&Event::Plan(&plan.to_string()));
    let mut clock = Clock::default();
    let needs_direction = params.metric == Metric::Cosine;
    let rows = clock.time(Stage::Check, || check_vectors(ctx, "X", x, needs_direction))?;
    let checked = |rows| check_vectors(&ctx.quiet(), "validation_rows", rows, needs_direction);
    let identity = Identity {
        n_rows: x.n_rows(),
        n_features: x.dim(),
        rows,
        graph: None,
        model: model.as_ref().map(model_checksum).transpose()?,
        validation: validation.as_ref().map(|rows| checked(rows)).transpose()?,
        hyperparameters: Hyperparameters::clone(params),
    };
    let keeper = checkpoints.as_ref().map(|options| Keeper::open(ctx, options, identity));
    let mut keeper = keeper.transpose()?;

    let given = graph.is_some();
    let graph = match graph {
        Some(graph) => Some(graph),
        None if params.gaussian => None,
        None => match keeper.as_ref().map(Keeper::graph).transpose()?.flatten() {
            Some(graph) => Some(graph),
            None => Some(clock.time(Stage::Knn, || graph_of_checked(ctx, x, &params.knn()))?),
        },
    };
    if let (Some(keeper), Some(graph)) = (&mut keeper, &graph) {
        keeper.set_graph(graph, given)?;
    }
    let split = Split::new(params.seed, held_out, x.n_rows());
    let pairs = match &graph {
        Some(graph) => Pairs::from_graph(graph, params.n_neighbors, |id| split.trains(id))?,
        None => Pairs::selves(&split.training),
    };

    let training_rows = Subset::new(x, &split.training)?;
    let pca = match clock.time(Stage::Pca, || Pca::fit(ctx, &training_rows)) {
        // Without a spread there is no PCA to start from or to compare with.
        Err(Error::Invalid { .. }) if params.init == Init::Random && !params.gaussian => None,
        pca => Some(pca?),
    };

    let base = split.watched();
    let held_out = Subset::new(x, &split.held_out)?;
    let watched: &dyn Vectors = match validation {
        Some(rows) => rows,
        None => &held_out,
    };
    let watch =
        clock.time(Stage::Evaluate, || Watch::new(&for_truth, x, &base, watched, params))?;
    let ctx = &for_training;
    let networks =
        |params: &Params| start::networks(params, ctx, x, &pairs, pca.as_ref(), model.as_ref());
    let recall = |encoder: &Network<f32>| {
        watch.as_ref().map(|watch| watch.recall_of(ctx, encoder)).transpose()
    };
    let mut begun: Option<(f64, Params, Networks)> = None;
    for params in starts(params) {
        let networks = match params.init {
            Init::Spectral => clock.time(Stage::Spectral, || networks(&params))?,
            _ => networks(&params)?,
        };
        let recall = match params.loss {
            Loss::Auto => recall(&networks.encoder)?.unwrap_or_default(),
            _ => 0.0,
        };
        if begun.as_ref().is_none_or(|best| recall > best.0) {
            begun = Some((recall, params, networks));
        }
    }
    let Some((_, chosen, networks)) = begun else { unreachable!("there is always a start") };
    let run = Run {
        params: &chosen,
        ctx,
        x,
        pairs: &pairs,
        pca: pca.as_ref(),
        watch: watch.as_ref(),
        callbacks,
        keeper: keeper.as_ref(),
    };
    let trained = match params.solver {
        Solver::Spectral => run.start(networks)?,
        Solver::Sgd => clock.time(Stage::Train, || run.train(networks))?,
    };
    let Trained { params, networks, mut record, start_recall, recall: kept } = trained;
    let Networks { mut encoder, projector } = networks;
    if params.whiten > 0.0 {
        let rows = Subset::new(x, &base)?;
        encoder = clock.time(Stage::Whiten, || whitened(ctx, &rows, encoder, params.whiten))?;
    }
    if let (Some(watch), Some(recall)) = (&watch, kept) {
        let plain = pca.as_ref().and_then(|p| p.projection(params.n_components, 0.0).ok());
        let pca_recall = clock.time(Stage::Evaluate, || {
            let recall = |map: &LinearMap| watch.recall(ctx, &|ctx, x| map.transform(ctx, x));
            let best = |map: LinearMap| Ok(recall(&map)?.max(recall(&map.without_bias())?));
            plain.map(best).transpose()
        })?;
        let (n_rows, k) = (watch.n_rows(), watch.k);
        record.validation = Some(ValidationReport { n_rows, k, recall, start_recall, pca_recall });
    }
    let projector = projector.filter(|_| params.retain_projector);
    let report = FitReport {
        n_rows: x.n_rows(),
        n_features: x.dim(),
        n_components: params.n_components,
        stages: clock.stages,
        validation: record.validation,
        training: record.clone(),
    };
    let rows = Subset::new(x, &base)?;
    let model = Model::new(params, encoder, projector, record).with_ranges(ctx, &rows)?;
    if let Some(keeper) = &keeper {
        keeper.save_model("final.safetensors", &model)?;
    }
    Ok(Fit { model, graph, report, held_out: split.held_out })
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
fn check_sizes(
    params: &Params,
    x: &dyn Vectors,
    graph: Option<&KnnGraph>,
    model: Option<&Model>,
    validation: Option<&Matrix>,
    held_out: usize,
) -> Result<()> {
    let (n_rows, dim, k) = (x.n_rows(), x.dim(), params.n_neighbors);
    if n_rows < 2 {
        return Err(Error::invalid("X", "at least 2 rows", n_rows));
    }
    match (params.init == Init::Model, model) {
        (true, None) => {
            return Err(Error::invalid("init", "a model to start from with init model", "none"));
        }
        (false, Some(_)) => {
            return Err(Error::invalid("init", "model where one is given", params.init));
        }
        (true, Some(model)) => start::check_model(params, dim, model)?,
        (false, None) => {}
    }
    if let Some(rows) = validation
        && (rows.rows() == 0 || rows.cols() != dim)
    {
        let got = format_args!("{} of dimension {}", rows.rows(), rows.cols());
        let expected = format_args!("at least 1 row of dimension {dim}, as X");
        return Err(Error::invalid("validation_rows", expected, got));
    }
    if params.loss == Loss::Auto && validation.is_none() && held_out == 0 {
        return Err(Error::invalid(
            "validation_fraction",
            "rows held out with loss auto, to choose by (by default from 100 rows on)",
            "none",
        ));
    }
    if params.gaussian && graph.is_some() {
        return Err(Error::invalid("knn_graph", "none with gaussian pairs", "one"));
    }
    if matches!(params.init, Init::Pca | Init::Spectral) && params.n_components > dim {
        return Err(Error::invalid(
            "n_components",
            format_args!("at most {dim} (the dimension of X) for init {}", params.init),
            params.n_components,
        ));
    }
    let Some(graph) = graph else {
        return if params.gaussian { Ok(()) } else { crate::knn::check_n_neighbors(k, n_rows) };
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
