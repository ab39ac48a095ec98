//! A fit: what it is given, checked and made ready.

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_core::linalg::Matrix;
use twinlearn_core::progress::{Event, Stage};
use twinlearn_knn::{Metric, origin_of};
use twinlearn_vectors::{Centred, Subset, Vectors, check_vectors};

use super::check::check_sizes;
use super::checkpoint::{Identity, Keeper, model_checksum};
use super::earlier::{FitVectors, SeenBefore};
use super::outcome::{Clock, Fit};
use super::plan::{FitPlan, FitSizes, spans};
use super::stages::Stages;
use super::{FitData, Trainer, queries};
use crate::params::Hyperparameters;
use crate::span::Span;

pub(super) fn fit(trainer: &Trainer, ctx: &Context, data: FitData<'_>) -> Result<Fit> {
    let Trainer { params, model, checkpoints, validation, .. } = trainer;
    let x = data.x;
    let longest = match &data.graph {
        Some(graph) if !graph.is_ragged() => graph.k(),
        _ => x.n_rows().saturating_sub(1),
    };
    let params = params.fitted_to(longest);
    let held_out = match validation {
        Some(_) => 0,
        None => params.n_validation(x.n_rows()),
    };
    check_sizes(&params, &data, model.as_ref(), validation.as_ref())?;
    let sizes = FitSizes {
        n_rows: x.n_rows(),
        dim: x.dim(),
        has_graph: data.graph.is_some(),
        n_held_out: validation.as_ref().map_or(held_out, Matrix::rows),
        n_beside: validation.as_ref().map_or(0, Matrix::rows),
        n_queries: data.queries.map_or(0, Vectors::n_rows),
        has_model: model.is_some(),
    };
    let plan = FitPlan::new(ctx, &params, sizes)?;
    let [for_truth, for_training] = plan.rest(ctx)?;
    ctx.emit(&Event::Plan(&plan.report()));
    let mut clock = Clock::default();
    let needs_direction = params.metric == Metric::Cosine;
    let rows = clock.time(Stage::Check, || check_vectors(ctx, "X", x, needs_direction))?;
    let checked = |name, rows| check_vectors(&ctx.quiet(), name, rows, needs_direction);
    let queries = data.queries.map(|rows| checked("queries", rows)).transpose()?;
    let watched = validation.as_ref().map(|rows| checked("validation_rows", rows)).transpose()?;
    let now = FitVectors {
        rows: (x.n_rows(), rows),
        held_out,
        validation: validation.as_ref().map(Matrix::rows).zip(watched),
        queries: queries.map(|checksum| (sizes.n_queries, checksum)),
    };
    let seen_before = match &model {
        Some(model) => SeenBefore::of(ctx, &params, model, &now),
        None => SeenBefore::default(),
    };
    let identity = Identity {
        n_rows: x.n_rows(),
        n_features: x.dim(),
        rows,
        graph: None,
        model: model.as_ref().map(model_checksum).transpose()?,
        validation: watched,
        queries,
        hyperparameters: Hyperparameters::clone(&params),
    };
    let keeper = checkpoints.as_ref().map(|options| Keeper::open(ctx, options, identity));
    let keeper = keeper.transpose()?;

    let origin = origin_of(x, params.metric)?;
    let centred = origin.as_ref().map(|origin| Centred::new(x, origin));
    let seen: &dyn Vectors = centred.as_ref().map_or(x, |centred| centred);
    let validation = match (validation, &origin) {
        (Some(rows), Some(origin)) => {
            let mut moved = rows.clone();
            Centred::new(rows, origin).read_rows(0, moved.as_mut_slice())?;
            Some(moved)
        }
        (rows, _) => rows.clone(),
    };
    let asking = data.queries.zip(origin.as_ref()).map(|(x, origin)| Centred::new(x, origin));
    let asking = asking.as_ref().map(|queries| queries as &dyn Vectors).or(data.queries);
    let places = asking.and_then(|x| queries::sample_of(params.seed, x.n_rows()));
    let some = asking.zip(places.as_ref()).map(|(x, ids)| Subset::new(x, ids)).transpose()?;
    let asking = some.as_ref().map(|queries| queries as &dyn Vectors).or(asking);
    let sets: Vec<&dyn Vectors> =
        [Some(seen), validation.as_ref().map(|rows| rows as &dyn Vectors), asking]
            .into_iter()
            .flatten()
            .collect();
    let n_seen = sets.iter().copied().map(Vectors::n_rows).sum();
    let span = match spans(&params, model.is_some(), n_seen, x.dim()) {
        true => Some(clock.time(Stage::Pca, || Span::of(ctx, &sets))?),
        false => None,
    };
    let spanned: Vec<Matrix> =
        span.iter().flat_map(|span| (0..sets.len()).map(|set| span.rows(set))).collect();
    let mut inside = spanned.iter();
    let (fitted, validation, asking) = match inside.next() {
        Some(rows) => {
            let validation = validation.as_ref().and_then(|_| inside.next());
            (rows as &dyn Vectors, validation, asking.and(inside.next()).map(|x| x as &dyn Vectors))
        }
        None => (seen, validation.as_ref(), asking),
    };
    let stages = Stages {
        trainer,
        params,
        ctx: for_training,
        for_truth,
        rows,
        watched: now.validation,
        seen_before: &seen_before,
        x: fitted,
        searched: seen,
        span: span.as_ref(),
        origin: origin.as_deref(),
        validation,
        queries: asking.zip(queries).map(|(x, checksum)| (x, sizes.n_queries, checksum)),
        moves: plan.moves(),
        keeps_moved: plan.keeps_moved(),
        keeps_queries: plan.keeps_queries(),
    };
    stages.run(keeper, data.graph, held_out, clock)
}
