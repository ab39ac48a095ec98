//! The queries that a fit is for: which of them train, and their lists among the rows.
//!
//! Queries are often distributed otherwise than the rows (short questions, long passages), and the
//! rows that are near each other need not tell apart the rows that a query is near. Where queries are
//! given, a share of a step's anchors are queries, each with rows of its list and a temperature of
//! its own; one encoder serves both. Some are held out: half of them to choose the best moment by,
//! together with held-out rows, half to judge it by.

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_core::random::{Purpose, generator, subset};
use twinlearn_knn::Metric;
use twinlearn_vectors::Vectors;

use super::axes::{Axes, Similarity, gap};
use super::neighbors;
use super::validation::Split;
use crate::model::{HeldOut, Model, QueryRecord};
use crate::pairs::Pairs;
use crate::params::Params;

/// Queries that are looked at, at most: of more, a sample drawn by the seed.
pub(super) const MOST_QUERIES: usize = 100_000;
/// The share of anchors that are queries, where none is given.
const SHARE: f64 = 0.5;

/// Which queries of so many are looked at; all, where they are not too many.
pub(super) fn sample_of(seed: u64, n_queries: usize) -> Option<Vec<u32>> {
    (n_queries > MOST_QUERIES)
        .then(|| subset(&mut generator(seed, Purpose::Queries, u32::MAX), n_queries, MOST_QUERIES))
}

/// The queries that a model was judged by when it was made for these, as places in them, rising: not
/// one, where it held none out or may have seen them before. None where it was made for others.
pub(crate) fn judged_queries(model: &Model, n_queries: usize, checksum: u32) -> Option<Vec<u32>> {
    let is_for_these =
        |record: &&QueryRecord| record.n_queries == n_queries && record.held_out.rows == checksum;
    let training = model.training();
    let Some(record) = training.queries.as_ref().filter(is_for_these) else {
        return training.earlier_queries.contains(&checksum).then(Vec::new);
    };
    if record.held_out.seen {
        return Some(Vec::new());
    }
    let seed = model.params().seed;
    let (count, sample) = (record.held_out.count, sample_of(seed, n_queries));
    let split = Split::of_queries(seed, count, sample.as_ref().map_or(n_queries, Vec::len));
    Some(split.places(sample.as_deref()).judged)
}

/// The queries of a fit.
pub(super) struct Queries<'a> {
    /// Those that are looked at.
    pub(super) x: &'a dyn Vectors,
    pub(super) split: Split,
    /// The lists of those that train.
    pub(super) pairs: Pairs,
    /// The share of anchors that they are.
    pub(super) share: f64,
    record: QueryRecord,
}

impl<'a> Queries<'a> {
    /// `x` are those that are looked at, of `n_queries` known again by `checksum`. Their lists are
    /// of the rows for which `trains` holds.
    pub(super) fn new(
        ctx: &Context,
        params: &Params,
        (x, n_queries, checksum): (&'a dyn Vectors, usize, u32),
        rows: &dyn Vectors,
        (n_training, trains): (usize, &dyn Fn(u32) -> bool),
    ) -> Result<Self> {
        let n = x.n_rows();
        let split = Split::of_queries(params.seed, params.n_held_out_queries(n), n);
        let (anchors, lists) = neighbors::of_queries(ctx, params, (x, &split.training), rows)?;
        let pairs = Pairs::of_queries(&anchors, &lists, params.n_neighbors, n_training, trains)?;
        let of_sample = n < n_queries;
        let count = split.held_out.len();
        let held_out = HeldOut { rows: checksum, count, of_sample, seen: false };
        let record = QueryRecord { n_queries, n_trained: pairs.len(), held_out, validation: None };
        let share = params.query_share.unwrap_or(SHARE);
        Ok(Self { x, split, pairs, share, record })
    }

    /// What the model records; `seen` tells whether an earlier model may have seen those held out.
    pub(super) fn record(&self, seen: bool) -> QueryRecord {
        let mut record = self.record.clone();
        record.held_out.seen = seen;
        record
    }

    /// In the coordinates of training; `gap_of_rows` is that of rows as anchors.
    pub(super) fn inside<'b>(
        &'b self,
        ctx: &Context,
        axes: &Axes<'_>,
        (metric, gap_of_rows): (Metric, f64),
        keeps: bool,
    ) -> Result<Asked<'b>> {
        let Self { x, pairs, share, .. } = self;
        let x = axes.seen(ctx, *x, keeps)?;
        let factors = axes.factors();
        let similarity = Similarity { metric, factors: &factors };
        let gap = gap(&*x, &*axes.rows, pairs, &similarity)?;
        let warmth = gap.map_or(1.0, |gap| gap / gap_of_rows);
        Ok(Asked { x, pairs, share: *share, warmth })
    }
}

/// Queries in the coordinates of training.
pub(super) struct Asked<'a> {
    pub(super) x: Box<dyn Vectors + 'a>,
    pub(super) pairs: &'a Pairs,
    pub(super) share: f64,
    /// Their τ in units of that of rows: how much nearer queries are to their neighbours than to
    /// other rows, beside how much rows are.
    pub(super) warmth: f64,
}

impl Asked<'_> {
    /// How many of so many anchors are queries.
    pub(super) fn batch(&self, anchors: usize) -> usize {
        ((self.share * anchors as f64).round() as usize).clamp(1, anchors.saturating_sub(1).max(1))
    }
}

#[cfg(test)]
mod tests {
    use crate::estimate::Estimate;
    use crate::model::{QueryReport, RowsAlone};

    #[test]
    fn queries_that_do_not_help_are_told() {
        let estimate = |low: f64, high: f64| Estimate { value: low.midpoint(high), low, high };
        let report = |queries: Estimate, rows: Estimate| QueryReport {
            n_queries: 25,
            k: 10,
            recall: 0.656,
            pca_recall: None,
            gain: None,
            rows_alone: Some(RowsAlone {
                recall: 0.68,
                gain: queries,
                row_recall: Some(0.643),
                row_gain: Some(rows),
            }),
        };
        let (less, even, more) =
            (estimate(-0.033, -0.005), estimate(-0.056, 0.008), estimate(0.01, 0.05));
        for (queries, rows, reported) in
            [(even, less, 4), (less, less, 4), (more, less, 3), (even, even, 3)]
        {
            let sentences = report(queries, rows).sentences();
            assert_eq!(sentences.len(), reported, "{sentences:?}");
        }
    }
}
