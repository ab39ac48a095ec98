//! The stages of a fit, in order: graph, hold out, closed forms, start, train, judge.

use std::sync::{Arc, OnceLock};

use twinlearn_core::context::Context;
use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::Matrix;
use twinlearn_core::progress::Stage;
use twinlearn_core::random::{Purpose, generator, subset};
use twinlearn_knn::{KnnGraph, Metric, graph_of_checked};
use twinlearn_vectors::{Subset, Vectors, ids_at, spread_ids};

use super::Trainer;
use super::checkpoint::Keeper;
use super::coordinates::Coordinates;
use super::earlier::{Known, SeenBefore};
use super::finish::{Finish, Judged, Rivals, judged};
use super::fit::{Clock, Fit, FitReport};
use super::learn::{Learned, Material, Reporting};
use super::neighbors;
use super::queries::Queries;
use super::rows::{Units, of_units};
use super::run::Trained;
use super::setting::{Axes, seen};
use super::start::{BestForm, best_form};
use super::step::Networks;
use super::validation::{Asking, Split, Watch, halves, whitened};
use crate::closed::{ClosedForms, Wanted, differences};
use crate::model::{HeldOut, TrainingRecord};
use crate::pairs::Pairs;
use crate::params::{Init, MOST_ANCHORS, Params, Solver};
use crate::pca::Moments;
use crate::span::Span;

/// The closed forms of the training rows.
pub(crate) struct Forms {
    pub(super) forms: ClosedForms,
    /// The standard deviation that is rounding.
    rounding: f64,
    /// Whether rows were brought to length 1.
    to_unit: bool,
}

/// The closed forms, at every d up to the most, of fits that differ in d alone, once one of them has
/// found them.
#[derive(Clone)]
pub(crate) struct SharedForms {
    most: usize,
    found: Arc<OnceLock<Arc<Forms>>>,
}

impl SharedForms {
    /// None yet, up to d = `most`.
    pub(crate) fn up_to(most: usize) -> Self {
        Self { most, found: Arc::default() }
    }
}

impl std::fmt::Debug for SharedForms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedForms")
            .field("most", &self.most)
            .field("found", &self.found.get().is_some())
            .finish()
    }
}

/// What the stages of a fit work with.
pub(super) struct Stages<'a> {
    pub(super) trainer: &'a Trainer,
    pub(super) params: Params,
    pub(super) ctx: Context,
    /// With the memory that is left for the search of the held-out rows' neighbours.
    pub(super) for_truth: Context,
    /// By which they are known again.
    pub(super) rows: u32,
    /// The rows that are watched beside these.
    pub(super) watched: Option<Known>,
    /// What the model that is gone on from may have been trained on.
    pub(super) seen_before: &'a SeenBefore,
    pub(super) x: &'a dyn Vectors,
    /// The same as they were given, less the origin.
    pub(super) searched: &'a dyn Vectors,
    /// In whose coordinates the rows of x are.
    pub(super) span: Option<&'a Span>,
    /// What was taken off the rows of x.
    pub(super) origin: Option<&'a [f64]>,
    pub(super) validation: Option<&'a Matrix>,
    /// Queries that are looked at, of how many, and by what all are known again.
    pub(super) queries: Option<(&'a dyn Vectors, usize, u32)>,
    /// Whether rows are moved to the coordinates of training, and kept there.
    pub(super) moves: bool,
    pub(super) keeps_moved: bool,
    pub(super) keeps_queries: bool,
}

impl Stages<'_> {
    pub(super) fn run(
        &self,
        mut keeper: Option<Keeper<'_>>,
        graph: Option<KnnGraph>,
        held_out: usize,
        mut clock: Clock,
    ) -> Result<Fit> {
        let Self { trainer, params, x, ctx, .. } = self;
        let x = *x;
        let split = Split::new(params.seed, held_out, x.n_rows());
        let anchors = self.anchors(&split, graph.is_some());
        let graph = self.graph(&mut keeper, graph, anchors.as_deref(), &mut clock)?;
        let pairs = match &graph {
            Some(graph) => Pairs::from_graph(graph, params.n_neighbors, |id| split.trains(id))?,
            None => Pairs::selves(&split.training),
        };
        let pairs = pairs.some(params.seed, params.most_anchors());
        let queries = self.queries.map(|queries| {
            let trains = |id| split.trains(id);
            clock.time(Stage::Knn, || {
                Queries::new(&self.for_truth, params, queries, x, (pairs.n_rows(), &trains))
            })
        });
        let queries = queries.transpose()?;
        let asking = queries.as_ref();
        let forms = match clock.time(Stage::Pca, || self.forms(&split, &pairs, asking)) {
            // Without a spread there is no closed form to start from or to compare with.
            Err(Error::Invalid { .. }) if params.init == Init::Random && !params.gaussian => None,
            forms => Some(forms?),
        };

        let base_ids = split.base();
        let base = || Subset::new(x, &base_ids);
        let is_large = base_ids.len() < split.training.len();
        let (watched_ids, judged_ids) = match self.validation {
            Some(rows) => {
                let [watched, judged] = halves(&(0..rows.rows() as u32).collect::<Vec<_>>());
                (watched, judged)
            }
            None => (split.watched.clone(), split.judged.clone()),
        };
        // Every look at them takes as long as there are rows of them.
        let most = if is_large { MOST_ASKED } else { usize::MAX };
        let asked = |ids: &[u32]| ids_at(ids, &spread_ids(ids.len(), most));
        let [watched_ids, judged_ids] = [asked(&watched_ids), asked(&judged_ids)];
        let [watched_queries, judged_queries] = queries
            .as_ref()
            .map_or_else(Default::default, |q| [asked(&q.split.watched), asked(&q.split.judged)]);
        let source: &dyn Vectors = match self.validation {
            Some(rows) => rows,
            None => x,
        };
        let own_places = spread_ids(base_ids.len(), OWN_WATCHED);
        let own_ids = ids_at(&base_ids, &own_places);
        let share = queries.as_ref().map_or(0.0, |queries| queries.share);
        let of_rows = (Asking::Rows, 1.0 - share);
        let of_queries = (Asking::Queries, share);
        let truth = &self.for_truth;
        let own_queries = |ids| queries.as_ref().map(|queries| Subset::new(queries.x, ids));
        let near_ids = match is_large && !(watched_ids.is_empty() && watched_queries.is_empty()) {
            true => clock.time(Stage::Evaluate, || {
                let asking =
                    [Some(Subset::new(source, &watched_ids)), own_queries(&watched_queries)];
                let asking = asking.into_iter().flatten().collect::<Result<Vec<_>>>()?;
                split.near_base(truth, x, &asking, params.metric)
            })?,
            false => base_ids.clone(),
        };
        let [watch, judge] = clock.time(Stage::Evaluate, || {
            let mut watch = Watch::new(Subset::new(x, &near_ids)?, params);
            let all = if is_large { &split.training } else { &base_ids };
            let mut judge = Watch::new(Subset::new(x, all)?, params);
            if !watched_ids.is_empty() {
                watch = watch.watching(truth, of_rows, Subset::new(source, &watched_ids)?, None)?;
                judge = judge.watching(truth, of_rows, Subset::new(source, &judged_ids)?, None)?;
            } else if params.solver != Solver::Spectral {
                // With no row held out, some that are trained on show what is lost.
                let own = Subset::new(x, &own_ids)?;
                watch = watch.watching(truth, of_rows, own, Some(&own_places))?;
            }
            if let Some(asking) = own_queries(&watched_queries) {
                watch = watch.watching(truth, of_queries, asking?, None)?;
            }
            if let Some(asking) = own_queries(&judged_queries) {
                judge = judge.watching(truth, of_queries, asking?, None)?;
            }
            Result::Ok([watch.if_any(), judge.if_any()])
        })?;

        let forms = forms.as_deref();
        let (queries, watch) = (queries.as_ref(), watch.as_ref());
        let material = Material {
            graph: graph.as_ref(),
            split: &split,
            pairs: &pairs,
            queries,
            watch,
            base: &base_ids,
        };
        let reporting = Reporting { callbacks: Some(&trainer.callbacks), keeper: keeper.as_ref() };
        let Learned { best, begins, trained } =
            self.learn(&material, forms, reporting, &mut clock)?;
        let judges_queries =
            judge.as_ref().is_some_and(|judge| judge.n_queries(Asking::Queries) > 0);
        let alone = match judges_queries {
            true => Some(clock.time(Stage::Compare, || self.rows_alone(&material, forms))?),
            false => None,
        };
        let Trained { params, networks, mut record } = trained;
        let Networks { mut encoder, projector } = networks;
        if params.whiten > 0.0 {
            let rows = base()?;
            encoder = clock.time(Stage::Whiten, || whitened(ctx, &rows, encoder, params.whiten))?;
        }
        let judged = match &judge {
            Some(judge) => clock.time(Stage::Evaluate, || {
                let nested = self.nested_rivals(forms, watch)?;
                let rivals = Rivals { start: begins, best, nested, rows_alone: alone };
                judged(ctx, judge, params.seed, &encoder, &rivals)
            })?,
            None => Judged::default(),
        };
        let SeenBefore { rows, validation, queries: seen_queries, .. } = *self.seen_before;
        record.validation = judged.rows.map(|report| match rows || validation {
            true => report.without_verdict(),
            false => report,
        });
        if let Some(record) = &mut record.queries {
            record.validation = judged.queries.map(|report| match seen_queries {
                true => report.without_verdict(),
                false => report,
            });
        }
        let projector = projector.filter(|_| params.retain_projector);
        let report = FitReport {
            n_rows: x.n_rows(),
            n_features: self.searched.dim(),
            n_components: params.n_components,
            stages: clock.stages,
            validation: record.validation.clone(),
            training: record.clone(),
        };
        let finish = Finish { x, span: self.span, origin: self.origin, base: &base_ids };
        let model = finish.model(ctx, params, encoder, projector, record)?;
        if let Some(keeper) = &keeper {
            if model.params().encoder != self.params.encoder || report.training.steps == 0 {
                // Another took the place of what was watched, or nothing was.
                keeper.save_model("best.safetensors", &model)?;
            }
            keeper.save_model("final.safetensors", &model)?;
        }
        let Split { held_out, judged, .. } = split;
        let graph = graph.filter(|_| anchors.is_none());
        Ok(Fit { model, graph, report, held_out, judged })
    }

    /// The graph: the one given, that of a resumed run, or found.
    fn graph(
        &self,
        keeper: &mut Option<Keeper<'_>>,
        graph: Option<KnnGraph>,
        anchors: Option<&[u32]>,
        clock: &mut Clock,
    ) -> Result<Option<KnnGraph>> {
        let params = &self.params;
        let given = graph.is_some();
        let needs_graph = params.is_listed()
            || params.init == Init::Spectral
            || params.solver == Solver::Sgd && !params.gaussian;
        let search = || match anchors {
            None => graph_of_checked(&self.for_truth, self.searched, &params.knn()),
            Some(anchors) => neighbors::of_rows(&self.for_truth, params, anchors, self.searched),
        };
        let graph = match graph {
            Some(graph) => Some(graph),
            None if !needs_graph => None,
            None => {
                let kept = |anchors| match &keeper {
                    Some(keeper) => keeper.graph(anchors),
                    None => Ok(None),
                };
                // Fewer anchors have lists where more would find too few neighbours.
                let fewer = anchors.map(|all| neighbors::fewer(params, all, self.searched));
                let graph = match (kept(anchors)?, &fewer) {
                    (None, Some(fewer)) => kept(Some(fewer))?,
                    (graph, _) => graph,
                };
                match graph {
                    Some(graph) => Some(graph),
                    None => Some(clock.time(Stage::Knn, search)?),
                }
            }
        };
        if let (Some(keeper), Some(graph)) = (keeper, &graph) {
            keeper.set_graph(graph, given)?;
        }
        Ok(graph)
    }

    /// The rows whose neighbours are learned from, where they are a sample; of a graph of all rows it
    /// is drawn later.
    fn anchors(&self, split: &Split, has_graph: bool) -> Option<Vec<u32>> {
        let (params, n_rows) = (&self.params, self.searched.n_rows());
        if has_graph || params.needs_whole_graph(n_rows) {
            return None;
        }
        let (all, count) = (&split.training, params.n_anchors(n_rows, self.searched.dim()));
        let mut rng = generator(params.seed, Purpose::Anchors, 0);
        Some(ids_at(all, &subset(&mut rng, all.len(), count)))
    }

    /// A record of what later tells by which rows and queries a model of this fit can be judged.
    pub(super) fn record(&self, split: &Split, queries: Option<&Queries<'_>>) -> TrainingRecord {
        let SeenBefore { rows, validation, queries: seen, earlier_queries } = self.seen_before;
        let held_out = |(count, rows), seen| HeldOut { rows, count, of_sample: false, seen };
        TrainingRecord {
            n_rows: self.x.n_rows(),
            held_out: Some(held_out((split.held_out.len(), self.rows), *rows)),
            validation_rows: self.watched.map(|watched| held_out(watched, *validation)),
            queries: queries.map(|queries| queries.record(*seen)),
            earlier_queries: earlier_queries.clone(),
            ..TrainingRecord::default()
        }
    }

    /// The best closed form at every nested size.
    fn nested_rivals(
        &self,
        forms: Option<&Forms>,
        watch: Option<&Watch<'_>>,
    ) -> Result<Vec<(usize, Option<BestForm>)>> {
        let best = |&size: &usize| {
            let forms = forms.filter(|_| size <= self.x.dim());
            let best = forms.map(|forms| best_form(&self.ctx, &forms.forms, size, watch));
            Ok((size, best.transpose()?))
        };
        self.params.nested.iter().map(best).collect()
    }

    /// Whether nothing is trained.
    pub(super) fn keeps_start(&self) -> bool {
        let told = self.validation.is_some() || self.queries.is_some();
        !told && self.params.keeps_start(self.x.n_rows())
    }

    /// Whether rows are watched that are not trained on.
    pub(super) fn holds_out(&self, split: &Split) -> bool {
        self.validation.is_some() || !split.watched.is_empty()
    }

    /// Whether closed forms and coordinates are about the mean.
    fn is_centred(&self) -> bool {
        self.params.metric == Metric::L2 || self.params.centre_target
    }

    /// Whether rows are brought to length 1, where only their direction matters.
    pub(super) fn to_unit(&self) -> bool {
        let params = &self.params;
        let closed = params.solver == Solver::Pca;
        params.metric == Metric::Cosine
            && !params.centre_target
            && params.encoder.hidden().is_empty()
            && (params.is_listed() || closed)
    }

    /// The closed forms of the training rows.
    pub(super) fn forms(
        &self,
        split: &Split,
        pairs: &Pairs,
        queries: Option<&Queries<'_>>,
    ) -> Result<Arc<Forms>> {
        let d = self.params.n_components.min(self.x.dim());
        let shared = self.trainer.shared.as_ref().filter(|shared| shared.most >= d);
        if let Some(forms) = shared.and_then(|shared| shared.found.get()) {
            return Ok(forms.clone());
        }
        let forms = |to_unit| self.forms_of(split, pairs, queries, to_unit);
        let forms = Arc::new(of_units(self.to_unit(), forms)?.0);
        if let Some(shared) = shared {
            // Where fits run at the same time the first result stays; all are alike.
            let _ = shared.found.set(forms.clone());
        }
        Ok(forms)
    }

    fn forms_of(
        &self,
        split: &Split,
        pairs: &Pairs,
        queries: Option<&Queries<'_>>,
        to_unit: bool,
    ) -> Result<Forms> {
        let Self { params, ctx, x, .. } = self;
        let units = Units { x: *x, to_unit };
        let places = spread_ids(split.training.len(), MOST_ANCHORS);
        let ids = ids_at(&split.training, &places);
        let rows = Subset::new(&units, &ids)?;
        let moments = Moments::of(ctx, &rows)?;
        let l = match pairs.has_lists() {
            true => Some(differences(ctx, &units, pairs, params.seed)?),
            false => None,
        };
        let mut wanted = Wanted::of(params, x.dim());
        if let Some(shared) = &self.trainer.shared {
            wanted.most = wanted.most.max(shared.most.min(x.dim()));
        }
        let mut forms = ClosedForms::new(ctx, &moments, l.as_ref(), self.is_centred(), wanted)?;
        if let Some(Queries { x, split, .. }) = queries {
            let units = Units { x: *x, to_unit };
            let asking = Moments::of(ctx, &Subset::new(&units, &split.training)?)?;
            forms = forms.for_queries(ctx, &moments, &asking)?;
        }
        let rounding = moments.rounding(forms.pca().std()[0]);
        Ok(Forms { forms, rounding, to_unit })
    }

    /// The rows in the coordinates of loss KL.
    pub(super) fn axes(
        &self,
        Forms { forms, rounding, to_unit }: &Forms,
        networks: &Networks,
        graph: Option<&KnnGraph>,
    ) -> Result<Axes<'_>> {
        let (values, axes) = forms.second();
        let dim = values.len();
        let centred = self.is_centred() && networks.encoder.shifts();
        let mean = if centred { forms.pca().mean().to_vec() } else { vec![0.0; dim] };
        let coordinates = Coordinates::new(&values, axes, *rounding, mean, *to_unit)?;
        let length = values.iter().map(|v| v.max(0.0)).sum::<f64>().sqrt();
        let is_moved = self.moves;
        let rows = seen(&self.ctx, self.x, &coordinates, is_moved, self.keeps_moved)?;
        let is_sorted = graph.is_none_or(|graph| !graph.is_ragged());
        Ok(Axes { coordinates, rows, is_moved, length, is_sorted })
    }
}

/// Rows that are trained on of which the recall is watched where none are held out, at most.
const OWN_WATCHED: usize = 500;
/// Held-out rows, and as many queries, that are looked at among more rows than are all looked at.
const MOST_ASKED: usize = 2500;
