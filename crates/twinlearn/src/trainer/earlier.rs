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

/// Whether an earlier model may have seen what is held out now.
#[derive(Clone, Copy, Default)]
pub(super) struct SeenBefore {
    pub(super) rows: bool,
    pub(super) queries: bool,
    /// Whether it was made for queries that this fit does not know.
    pub(super) other_queries: bool,
}

impl SeenBefore {
    /// What `model` may have seen of so many rows and queries, known by their checksums. It is warned of.
    pub(super) fn of(
        ctx: &Context,
        params: &Params,
        model: &Model,
        (n_rows, checksum, held_out): (usize, u32, usize),
        queries: Option<(usize, u32)>,
    ) -> Self {
        let record = model.training();
        let is_for_queries = record.queries.is_some() || record.earlier_queries;
        let may_have_seen = |queries| may_have_seen_queries(ctx, params, model, queries);
        let of_queries = queries.filter(|_| is_for_queries).map(may_have_seen);
        Self {
            rows: may_have_seen_rows(ctx, params, model, (n_rows, checksum, held_out)),
            queries: of_queries == Some(true),
            other_queries: is_for_queries && of_queries != Some(false),
        }
    }
}

fn may_have_seen_rows(
    ctx: &Context,
    params: &Params,
    model: &Model,
    (n_rows, checksum, held_out): (usize, u32, usize),
) -> bool {
    let count = n_held_out(held_out, n_rows);
    if count == 0 {
        return false;
    }
    let (record, seed) = (model.training(), model.params().seed);
    let is_same = |then: &&HeldOut| record.n_rows == n_rows && then.rows == checksum;
    let told = match record.held_out.as_ref().filter(is_same) {
        Some(then) if !then.seen && then.count == count && seed == params.seed => return false,
        Some(then) if then.seen => {
            "the model to go on from was itself gone on to from one that may have \
                                    seen rows that are held out now: recall may be"
                .to_owned()
        }
        Some(then) => format!(
            "seed, validation_fraction: the model to go on from was made on these rows with seed {seed} \
             and {} of them held out; with seed {} and {count} it has seen rows that are held out now: \
             recall is",
            then.count, params.seed
        ),
        None => {
            "the model to go on from was made on other rows, and may have seen some that are held \
                 out now: recall may be"
                .to_owned()
        }
    };
    ctx.warn(&format!("{told} told too high, and there is no verdict"));
    true
}

fn may_have_seen_queries(
    ctx: &Context,
    params: &Params,
    model: &Model,
    (n_queries, checksum): (usize, u32),
) -> bool {
    let looked_at = n_queries.min(MOST_QUERIES);
    let count = n_held_out(params.n_held_out_queries(looked_at), looked_at);
    if count == 0 {
        return false;
    }
    let record = model.training();
    let has_held_out = |QueryRecord { n_queries: n, held_out, .. }: &QueryRecord| {
        (*n, held_out.rows, held_out.count) == (n_queries, checksum, count) && !held_out.seen
    };
    let is_same = record.queries.as_ref().is_some_and(has_held_out);
    if is_same && !record.earlier_queries && model.params().seed == params.seed {
        return false;
    }
    ctx.warn(
        "queries: the model to go on from was made for queries, and may have seen some that are held out \
         now: their recall may be told too high, and there is no verdict",
    );
    true
}
