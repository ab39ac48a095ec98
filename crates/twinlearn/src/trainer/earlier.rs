//! What a model that is gone on from may have been trained on.
//!
//! Rows and queries that it has seen are kept better than new ones are, and no closed form has seen them:
//! they can judge nothing. A model is known to be without those that are held out now only where it held
//! out the same of the same; of other rows nobody knows which they share.

use twinlearn_core::context::Context;

use super::queries::MOST_QUERIES;
use super::validation::n_held_out;
use crate::model::{HeldOut, Model, QueryRecord};
use crate::params::Params;

/// How many vectors there are, and their checksum.
pub(super) type Known = (usize, u32);

/// The vectors of a fit.
pub(super) struct FitVectors {
    pub(super) rows: Known,
    /// How many of them are held out.
    pub(super) held_out: usize,
    /// Those that are watched beside them.
    pub(super) validation: Option<Known>,
    pub(super) queries: Option<Known>,
}

/// Which of the vectors that judge a fit an earlier model may have seen.
#[derive(Clone, Default)]
pub(super) struct SeenBefore {
    pub(super) rows: bool,
    pub(super) validation: bool,
    pub(super) queries: bool,
    /// Checksums of queries that it was made for, but for those of this fit.
    pub(super) earlier_queries: Vec<u32>,
}

impl SeenBefore {
    /// What `model` may have seen of `now`. It is warned of.
    pub(super) fn of(ctx: &Context, params: &Params, model: &Model, now: &FitVectors) -> Self {
        let record = model.training();
        let has_same_queries = now.queries.is_some_and(|queries| holds_out(model, params, queries));
        let mut earlier_queries = record.earlier_queries.clone();
        if let Some(queries) = record.queries.as_ref().filter(|_| !has_same_queries) {
            earlier_queries.push(queries.held_out.rows);
        }
        earlier_queries.sort_unstable();
        earlier_queries.dedup();
        let rows = may_have_seen_rows(params, model, now);
        let validation = now.validation.is_some_and(|(count, rows)| {
            let same = HeldOut { rows, count, of_sample: false, seen: false };
            record.validation_rows != Some(same)
        });
        // Where it was made on other rows, these may be queries now.
        let queries = now.queries.is_some_and(|(n, _)| n_held_out_queries(params, n) > 0)
            && !has_same_queries
            && !(earlier_queries.is_empty() && has_same_rows(model, now));
        let seen_rows = rows.is_some();
        let reported = [
            rows,
            validation.then(|| {
                "validation_rows: the model to go on from may have seen some: recall may be".to_owned()
            }),
            queries.then(|| {
                "queries: the model to go on from may have seen some that are held out now: their recall \
                 may be"
                    .to_owned()
            }),
        ];
        for what in reported.into_iter().flatten() {
            ctx.warn(&format!(
                "{what} overstated, and there is no verdict (eval with new queries gives one)"
            ));
        }
        Self { rows: seen_rows, validation, queries, earlier_queries }
    }
}

fn n_held_out_queries(params: &Params, n_queries: usize) -> usize {
    let looked_at = n_queries.min(MOST_QUERIES);
    n_held_out(params.n_held_out_queries(looked_at), looked_at)
}

/// Whether the model was made on the same rows.
fn has_same_rows(model: &Model, now: &FitVectors) -> bool {
    let record = model.training();
    record.held_out.as_ref().is_some_and(|then| (record.n_rows, then.rows) == now.rows)
}

/// Whether the model was made for these queries, without those that are held out now.
fn holds_out(model: &Model, params: &Params, (n, checksum): Known) -> bool {
    let is_same = |QueryRecord { n_queries, held_out, .. }: &QueryRecord| {
        (*n_queries, held_out.rows, held_out.seen) == (n, checksum, false)
            && held_out.count == n_held_out_queries(params, n)
    };
    model.params().seed == params.seed && model.training().queries.as_ref().is_some_and(is_same)
}

/// Whether rows are held out that the model may have seen, and why.
fn may_have_seen_rows(params: &Params, model: &Model, now: &FitVectors) -> Option<String> {
    let count = n_held_out(now.held_out, now.rows.0);
    if count == 0 {
        return None;
    }
    let seed = model.params().seed;
    let then = model.training().held_out.as_ref().filter(|_| has_same_rows(model, now));
    match then {
        Some(then) if !then.seen && then.count == count && seed == params.seed => None,
        Some(then) if then.seen => Some(
            "the model to go on from was itself gone on to from one that may have seen rows that are held \
             out now: recall may be"
                .to_owned(),
        ),
        Some(then) => Some(format!(
            "seed, validation_fraction: the model to go on from was made on these rows with seed {seed} \
             and {} of them held out; with seed {} and {count} it has seen rows that are held out now: \
             recall is",
            then.count, params.seed
        )),
        None => Some(
            "the model to go on from was made on other rows, and may have seen some that are held out \
             now: recall may be"
                .to_owned(),
        ),
    }
}
