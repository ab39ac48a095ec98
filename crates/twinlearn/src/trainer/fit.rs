//! The stages of a run, in order.

use std::time::{Duration, Instant};

use super::Trainer;
use super::checkpoint::{Identity, Keeper, model_checksum};
use super::coordinates::Coordinates;
use super::finish::{Finish, judged};
use super::plan::FitPlan;
use super::rows::{MOST_ROWS, Units, copied, far_origin, sample_of, samples};
use super::run::{Run, Trained};
use super::setting::{Axes, Setting, gap, moved, spread_ids};
use super::start::{self, best_form};
use super::step::Networks;
use super::validation::{Split, ValidationReport, Watch, halves, whitened};
use crate::closed::{ClosedForms, differences};
use crate::context::{Context, Event, Stage};
use crate::data::{Centred, Subset, Vectors, check_vectors};
use crate::error::{Error, Result};
use crate::knn::{KnnGraph, Metric, graph_of_checked};
use crate::linalg::Matrix;
use crate::model::{HeldOut, Model, TrainingRecord};
use crate::pairs::Pairs;
use crate::params::{Hyperparameters, Init, Params, Solver};
use crate::pca::Moments;

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
    let Trainer { params, model, checkpoints, validation, .. } = trainer;
    let longest = match &graph {
        Some(graph) if !graph.is_ragged() => graph.k(),
        _ => x.n_rows().saturating_sub(1),
    };
    let params = params.fitted_to(longest);
    let sampled = samples(&params, x.n_rows(), graph.is_some());
    let n_rows = if sampled { MOST_ROWS } else { x.n_rows() };
    let held_out = match validation {
        Some(_) => 0,
        None => params.n_validation(n_rows),
    };
    check_sizes(&params, x, graph.as_ref(), model.as_ref(), validation.as_ref())?;
    let n_watched = validation.as_ref().map_or(held_out, Matrix::rows);
    let plan = FitPlan::new(ctx, &params, (x.n_rows(), x.dim()), graph.is_some(), n_watched);
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
        hyperparameters: Hyperparameters::clone(&params),
    };
    let keeper = checkpoints.as_ref().map(|options| Keeper::open(ctx, options, identity));
    let keeper = keeper.transpose()?;

    let origin = match params.metric {
        Metric::L2 => far_origin(ctx, x)?,
        _ => None,
    };
    let centred = origin.as_ref().map(|origin| Centred::new(x, origin));
    let seen: &dyn Vectors = centred.as_ref().map_or(x, |centred| centred);
    let chosen = sampled.then(|| sample_of(params.seed, x.n_rows()));
    let sample = chosen.as_ref().map(|ids| Subset::new(seen, ids)).transpose()?;
    let held = match &sample {
        // Rows at random places are read once, where there is room.
        Some(sample) if plan.keeps_sample() => Some(copied(ctx, sample)?),
        _ => None,
    };
    let fitted: &dyn Vectors = match (&held, &sample) {
        (Some(rows), _) => rows,
        (None, Some(sample)) => sample,
        (None, None) => seen,
    };
    let validation = match (validation, &origin) {
        (Some(rows), Some(origin)) => {
            let mut moved = rows.clone();
            Centred::new(rows, origin).read_rows(0, moved.as_mut_slice())?;
            Some(moved)
        }
        (rows, _) => rows.clone(),
    };
    let stages = Stages {
        trainer,
        params,
        ctx: for_training,
        for_truth,
        n_rows: x.n_rows(),
        rows,
        is_sample: sampled,
        x: fitted,
        origin: origin.as_deref(),
        validation: validation.as_ref(),
        keeps_moved: plan.keeps_moved(),
    };
    let mut fit = stages.run(keeper, graph, held_out, clock)?;
    if let Some(ids) = &chosen {
        fit.graph = None;
        fit.held_out.iter_mut().for_each(|row| *row = ids[*row as usize]);
    }
    Ok(fit)
}

/// The closed forms of the training rows.
struct Forms {
    forms: ClosedForms,
    /// The standard deviation that is rounding.
    rounding: f64,
    /// Whether rows were brought to length 1.
    to_unit: bool,
}

/// What the stages of a fit work with.
struct Stages<'a> {
    trainer: &'a Trainer,
    params: Params,
    ctx: Context,
    /// With the memory that is left for the search of the held-out rows' neighbours.
    for_truth: Context,
    /// N, rows that are not fitted on included.
    n_rows: usize,
    /// By which they are known again.
    rows: u32,
    is_sample: bool,
    x: &'a dyn Vectors,
    /// What was taken off the rows of x.
    origin: Option<&'a [f64]>,
    validation: Option<&'a Matrix>,
    keeps_moved: bool,
}

impl Stages<'_> {
    fn run(
        &self,
        mut keeper: Option<Keeper<'_>>,
        graph: Option<KnnGraph>,
        held_out: usize,
        mut clock: Clock,
    ) -> Result<Fit> {
        let Self { trainer, params, x, ctx, .. } = self;
        let (x, model) = (*x, trainer.model.as_ref());
        let given = graph.is_some();
        let needs_graph = params.is_listed()
            || params.init == Init::Spectral
            || params.solver == Solver::Sgd && !params.gaussian;
        let graph = match graph {
            Some(graph) => Some(graph),
            None if !needs_graph => None,
            None => match keeper.as_ref().map(Keeper::graph).transpose()?.flatten() {
                Some(graph) => Some(graph),
                None => Some(
                    clock
                        .time(Stage::Knn, || graph_of_checked(&self.for_truth, x, &params.knn()))?,
                ),
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
        let forms = match clock.time(Stage::Pca, || self.forms(&split, &pairs)) {
            // Without a spread there is no closed form to start from or to compare with.
            Err(Error::Invalid { .. }) if params.init == Init::Random && !params.gaussian => None,
            forms => Some(forms?),
        };
        let to_unit = forms.as_ref().is_some_and(|forms| forms.to_unit);
        let forms = forms.as_ref().map(|found| (&found.forms, found.rounding));

        let base_ids = split.base();
        let base = || Subset::new(x, &base_ids);
        let (watched_ids, judged_ids) = match self.validation {
            Some(rows) => {
                let [watched, judged] = halves(&(0..rows.rows() as u32).collect::<Vec<_>>());
                (watched, judged)
            }
            None => (split.watched.clone(), split.judged.clone()),
        };
        let source: &dyn Vectors = match self.validation {
            Some(rows) => rows,
            None => x,
        };
        let watch = |ids, own| Watch::new(&self.for_truth, base()?, ids, own, params);
        let own_places = spread_ids(base_ids.len(), OWN_WATCHED);
        let own_ids: Vec<u32> = own_places.iter().map(|&i| base_ids[i as usize]).collect();
        let [watch, judge] = clock.time(Stage::Evaluate, || {
            Result::Ok(match watched_ids.is_empty() {
                true if params.solver == Solver::Spectral => [None, None],
                // With no row held out, some that are trained on show what is lost.
                true => [watch(Subset::new(x, &own_ids)?, Some(own_places.clone()))?, None],
                false => [
                    watch(Subset::new(source, &watched_ids)?, None)?,
                    watch(Subset::new(source, &judged_ids)?, None)?,
                ],
            })
        })?;

        let d = params.n_components;
        let comparable = forms.filter(|_| d <= x.dim());
        let best = comparable
            .map(|(forms, _)| {
                clock.time(Stage::Evaluate, || best_form(ctx, forms, d, watch.as_ref()))
            })
            .transpose()?;
        let pca = forms.map(|(forms, _)| forms.pca());
        let starts = || {
            let forms = forms.map(|(forms, _)| forms);
            start::networks(params, ctx, x, &pairs, forms, best.as_ref(), model)
        };
        let networks = match params.init {
            Init::Spectral => clock.time(Stage::Spectral, starts)?,
            _ => starts()?,
        };
        let start = networks.encoder.clone();
        let start_recall = match (params.init, &best) {
            (Init::Best, Some(best)) if params.whiten == 0.0 => best.recall,
            _ => watch.as_ref().map(|watch| watch.recall_of(ctx, &start)).transpose()?,
        };

        let axes = match forms {
            Some((forms, rounding)) if params.is_listed() => {
                Some(self.axes(forms, rounding, to_unit, &networks, graph.as_ref())?)
            }
            _ => None,
        };
        let gap = match &axes {
            Some(axes) => gap(&*axes.rows, &pairs, &axes.factors(), params.metric)?,
            None => 1.0,
        };
        let setting = Setting { ctx, x, pca, axes, queries: None, gap };
        let finish = Finish { x, origin: self.origin, base: &base_ids };
        let run = Run {
            params,
            ctx,
            n_rows: self.n_rows,
            pairs: &pairs,
            setting: &setting,
            watch: watch.as_ref(),
            callbacks: &trainer.callbacks,
            keeper: keeper.as_ref(),
            finish: &finish,
        };
        let trained = match params.solver {
            Solver::Spectral | Solver::Pca => run.start(networks),
            Solver::Sgd => clock.time(Stage::Train, || run.train(networks, start_recall))?,
        };
        let Trained { params, networks, mut record } = trained;
        record.held_out = Some(HeldOut {
            rows: self.rows,
            count: split.held_out.len(),
            of_sample: self.is_sample,
        });
        let Networks { mut encoder, projector } = networks;
        if params.whiten > 0.0 {
            let rows = base()?;
            encoder = clock.time(Stage::Whiten, || whitened(ctx, &rows, encoder, params.whiten))?;
        }
        if let Some(judge) = &judge {
            record.validation = Some(clock.time(Stage::Evaluate, || {
                judged(ctx, judge, &params, &encoder, &start, best.as_ref())
            })?);
        }
        let projector = projector.filter(|_| params.retain_projector);
        let report = FitReport {
            n_rows: self.n_rows,
            n_features: x.dim(),
            n_components: params.n_components,
            stages: clock.stages,
            validation: record.validation.clone(),
            training: record.clone(),
        };
        let model = finish.model(ctx, params, encoder, projector, record)?;
        if let Some(keeper) = &keeper {
            keeper.save_model("final.safetensors", &model)?;
        }
        Ok(Fit { model, graph, report, held_out: split.held_out })
    }

    /// Whether closed forms and coordinates are about the mean.
    fn is_centred(&self) -> bool {
        self.params.metric == Metric::L2 || self.params.centre_target
    }

    /// Whether rows are brought to length 1, where only their direction matters.
    fn to_unit(&self) -> bool {
        let params = &self.params;
        let closed = params.solver == Solver::Pca;
        params.metric == Metric::Cosine
            && !params.centre_target
            && params.encoder.hidden().is_empty()
            && (params.is_listed() || closed)
    }

    /// The closed forms of the training rows.
    fn forms(&self, split: &Split, pairs: &Pairs) -> Result<Forms> {
        let to_unit = self.to_unit();
        match self.forms_of(split, pairs, to_unit) {
            // All rows have one direction: what differs are their lengths.
            Err(Error::Invalid { .. }) if to_unit => self.forms_of(split, pairs, false),
            forms => forms,
        }
    }

    fn forms_of(&self, split: &Split, pairs: &Pairs, to_unit: bool) -> Result<Forms> {
        let Self { params, ctx, x, .. } = self;
        let units = Units { x: *x, to_unit };
        let rows = Subset::new(&units, &split.training)?;
        let moments = Moments::of(ctx, &rows)?;
        let l = match pairs.has_lists() {
            true => Some(differences(ctx, &units, pairs, params.seed)?),
            false => None,
        };
        let forms = ClosedForms::new(ctx, &moments, l.as_ref(), self.is_centred())?;
        let rounding = moments.rounding(forms.pca().std()[0]);
        Ok(Forms { forms, rounding, to_unit })
    }

    /// The rows in the coordinates of loss KL.
    fn axes(
        &self,
        forms: &ClosedForms,
        rounding: f64,
        to_unit: bool,
        networks: &Networks,
        graph: Option<&KnnGraph>,
    ) -> Result<Axes<'_>> {
        let (values, axes) = forms.second();
        let dim = values.len();
        let centred = self.is_centred() && networks.encoder.shifts();
        let mean = if centred { forms.pca().mean().to_vec() } else { vec![0.0; dim] };
        let coordinates = Coordinates::new(&values, axes, rounding, mean, to_unit)?;
        let length = values.iter().map(|v| v.max(0.0)).sum::<f64>().sqrt();
        let rows = moved(&self.ctx, self.x, &coordinates, self.keeps_moved)?;
        let is_sorted = graph.is_none_or(|graph| !graph.is_ragged());
        Ok(Axes { coordinates, rows, length, is_sorted })
    }
}

/// Rows that are trained on of which the recall is watched where none are held out, at most.
const OWN_WATCHED: usize = 500;

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
    if params.gaussian && graph.is_some() {
        return Err(Error::invalid("knn_graph", "none with gaussian pairs", "one"));
    }
    if matches!(params.init, Init::Best | Init::Pca | Init::Spectral) && params.n_components > dim {
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
