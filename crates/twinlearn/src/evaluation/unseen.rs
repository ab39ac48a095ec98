//! Which rows can judge models: those that none of them has seen.

use super::data::{Checksums, EvaluationData, Reduction};
use crate::model::Model;
use crate::trainer::{held_out_rows, judged_queries};

/// Which rows nothing was fitted on: queries that are given, or those that the models know they were
/// made without.
pub(super) enum Unseen {
    /// Nobody knows: models may have seen any row.
    Unknown,
    /// The given queries.
    Queries,
    /// Those of the given queries, for which models were made, that all models held out.
    SomeQueries(Vec<u32>),
    /// Rows that all models held out, and all rows that any held out.
    Rows { judged: Vec<u32>, held_out: Vec<u32> },
}

/// Which rows that is, for these reductions.
pub(super) fn unseen(
    data: &EvaluationData<'_>,
    reductions: &[(&str, Reduction<'_>)],
    checksums: Checksums,
) -> Unseen {
    let models = reductions.iter().map(|(_, reduction)| match reduction {
        Reduction::Model(model) => Some(*model),
        Reduction::Map(_) | Reduction::Reduced { .. } => None,
    });
    if let (Some(queries), Some(checksum)) = (data.queries, checksums.queries) {
        // A model that was not made for them has seen none.
        let judged = |model: &Model| judged_queries(model, queries.n_rows(), checksum);
        return match common(models.flatten().filter_map(judged)) {
            None => Unseen::Queries,
            Some(some) if some.is_empty() => Unseen::Unknown,
            Some(some) => Unseen::SomeQueries(some),
        };
    }
    let held_out = |model: Option<&Model>| held_out_rows(model?, data.x.n_rows(), checksums.rows);
    let Some(all) = models.map(held_out).collect::<Option<Vec<_>>>() else {
        return Unseen::Unknown;
    };
    let mut held_out: Vec<u32> = all.iter().flat_map(|rows| rows.all.iter().copied()).collect();
    held_out.sort_unstable();
    held_out.dedup();
    match common(all.into_iter().map(|rows| rows.judged)) {
        Some(judged) if !judged.is_empty() => Unseen::Rows { judged, held_out },
        _ => Unseen::Unknown,
    }
}

/// How many rows the models may have held out of X, by what they say.
pub(super) fn may_be_held_out(
    data: &EvaluationData<'_>,
    reductions: &[(&str, Reduction<'_>)],
) -> Option<usize> {
    let counts = reductions.iter().map(|(_, reduction)| match reduction {
        Reduction::Model(model) if model.training().n_rows == data.x.n_rows() => model
            .training()
            .held_out
            .as_ref()
            .filter(|rows| rows.count > 1 && !rows.seen)
            .map(|rows| rows.count),
        _ => None,
    });
    counts.collect::<Option<Vec<usize>>>()?.into_iter().max()
}

/// What is in all of some rising lists.
fn common(mut lists: impl Iterator<Item = Vec<u32>>) -> Option<Vec<u32>> {
    let first = lists.next()?;
    Some(lists.fold(first, |common, list| {
        common.into_iter().filter(|id| list.binary_search(id).is_ok()).collect()
    }))
}
