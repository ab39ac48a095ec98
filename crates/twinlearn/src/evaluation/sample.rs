//! The rows that are looked at.

use twinlearn_core::context::Context;
use twinlearn_core::error::{Error, Result};
use twinlearn_core::random::sample;
use twinlearn_knn::{Metric, search_of_checked};
use twinlearn_vectors::{Subset, Vectors, ids_at};

use super::data::{EvaluationData, Reduction};
use super::formats::Kept;
use super::params::{DEFAULT_NEIGHBORS, EvaluationParams};
use super::unseen::Unseen;

/// What is drawn: rounds of the generator.
#[derive(Clone, Copy)]
pub(super) enum Draw {
    Rows,
    Queries,
    Paired,
    Fitted,
    Part,
}

/// `count` of the numbers below `n`, or all, rising.
fn drawn(seed: u64, what: Draw, n: usize, count: usize) -> Vec<u32> {
    sample(seed, what as u32, n, count)
}

/// Where rows are their own queries, at least so many are drawn (if there are four times as many rows).
const LEAST_QUERIES: usize = 100;

/// Rows among which neighbours are looked for, and queries. With judgements all rows are taken;
/// without queries of their own half of those that a fit held out and the others, or else a tenth of
/// the rows, as a fit holds out, but of few rows up to a quarter.
pub(super) fn sizes(
    data: &EvaluationData<'_>,
    params: &EvaluationParams,
    held_out: Option<usize>,
) -> [usize; 2] {
    let n = data.x.n_rows();
    let most = if data.qrels.is_some() { usize::MAX } else { params.max_rows };
    let (left, queries) = match (data.queries, held_out) {
        (Some(given), _) => (n, given.n_rows().min(params.n_queries)),
        (None, Some(count)) => (n - count, params.n_queries.min(count / 2)),
        (None, None) => {
            let queries = params.n_queries.min((n / 10).max(LEAST_QUERIES.min(n / 4)));
            (n - queries, queries)
        }
    };
    [left.min(most), queries]
}

/// Queries, and the nearest rows of each in the original space.
pub(super) struct Sample {
    seed: u64,
    pub(super) k: usize,
    pub(super) metric: Metric,
    /// Rows of X among which neighbours are looked for, rising.
    pub(super) base: Vec<u32>,
    /// All that might have been in it, where it is a part of them, rising.
    left: Option<Vec<u32>>,
    /// Rows of the queries, or of X where no queries are given.
    pub(super) queries: Vec<u32>,
    /// The k nearest of `base` to each query, by their places in it.
    pub(super) truth: Vec<u32>,
    /// What was drawn, in words.
    pub(super) note: String,
}

impl Sample {
    pub(super) fn new(
        ctx: &Context,
        data: &EvaluationData<'_>,
        params: &EvaluationParams,
        unseen: &Unseen,
    ) -> Result<Self> {
        let &EvaluationParams { n_neighbors: k, n_queries, metric, seed, .. } = params;
        if n_queries == 0 {
            return Err(Error::invalid("n_queries", "at least 1", n_queries));
        }
        let n = data.x.n_rows();
        let held_out: &[u32] = match unseen {
            Unseen::Rows { held_out, .. } => held_out,
            _ => &[],
        };
        let count = Some(held_out.len()).filter(|&count| count > 0);
        let [n_base, n_queries] = sizes(data, params, count);
        let (left, queries) = match data.queries {
            Some(given) => {
                let queries = match unseen {
                    Unseen::SomeQueries(some) => {
                        let places = drawn(seed, Draw::Queries, some.len(), n_queries);
                        ids_at(some, &places)
                    }
                    _ => drawn(seed, Draw::Queries, given.n_rows(), n_queries),
                };
                ((0..n as u32).collect(), queries)
            }
            None => {
                let queries = match unseen {
                    Unseen::Rows { judged, .. } => {
                        let places = drawn(seed, Draw::Queries, judged.len(), n_queries);
                        ids_at(judged, &places)
                    }
                    _ => drawn(seed, Draw::Queries, n, n_queries),
                };
                let is_left = |id: &u32| {
                    queries.binary_search(id).is_err() && held_out.binary_search(id).is_err()
                };
                ((0..n as u32).filter(is_left).collect::<Vec<u32>>(), queries)
            }
        };
        let (base, left) = match n_base < left.len() {
            true => (ids_at(&left, &drawn(seed, Draw::Rows, left.len(), n_base)), Some(left)),
            false => (left, None),
        };
        // Ranks beyond k must exist: n > 2k where every pair is compared.
        if k == 0 || base.len() <= 2 * k || queries.is_empty() {
            if n_base == params.max_rows && !queries.is_empty() && k > 0 {
                let expected = format!("more than {}, twice n_neighbors", 2 * k);
                return Err(Error::invalid("max_rows", expected, n_base));
            }
            if k == DEFAULT_NEIGHBORS {
                // Nobody may have given it.
                let expected =
                    format_args!("more than {} rows beside the queries, twice n_neighbors", 2 * k)
                        .to_string();
                return Err(Error::invalid("X", expected, base.len()));
            }
            let most = base.len().saturating_sub(1) / 2;
            let expected = format!("a number from 1 to {most} for {n} rows");
            return Err(Error::invalid("n_neighbors", expected, k));
        }
        let note = note(params, data, unseen, base.len(), queries.len());
        let truth = truth(ctx, data, (&queries, &base), k, metric)?;
        Ok(Self { seed, k, metric, base, left, queries, truth, note })
    }

    /// The same queries among `count` of the rows.
    pub(super) fn part(
        &self,
        ctx: &Context,
        data: &EvaluationData<'_>,
        count: usize,
    ) -> Result<Self> {
        let (base, queries) = (self.some(Draw::Part, count), self.queries.clone());
        let truth = truth(ctx, data, (&queries, &base), self.k, self.metric)?;
        Ok(Self { base, left: None, queries, truth, note: String::new(), ..*self })
    }

    /// The `count` rows of `base`, what is kept of the rows, that are nearest to what stands for each
    /// query.
    pub(super) fn found(
        &self,
        ctx: &Context,
        data: &EvaluationData<'_>,
        kept: &Kept<'_>,
        (base, count): (&dyn Vectors, usize),
    ) -> Result<Vec<u32>> {
        let queries = kept.queries(ctx, data, &self.queries)?;
        search_of_checked(ctx, &*queries, base, count, self.metric)
    }

    /// The share of each query's neighbours that is among the first `first` of its `count` in `found`.
    pub(super) fn shares(&self, found: &[u32], count: usize, first: usize) -> Vec<f64> {
        let lists = self.truth.chunks_exact(self.k).zip(found.chunks_exact(count));
        let share = |(truth, found): (&[u32], &[u32])| {
            let hits = truth.iter().filter(|id| found[..first].contains(id)).count();
            hits as f64 / self.k as f64
        };
        lists.map(share).collect()
    }

    /// The recall of every query by a reduction.
    pub(super) fn recall(
        &self,
        ctx: &Context,
        data: &EvaluationData<'_>,
        reduction: &Reduction<'_>,
    ) -> Result<Vec<f64>> {
        self.kept_recall(ctx, data, &Kept::floats(*reduction), self.k)
    }

    /// The same of what is kept, among the `count` rows that it finds first.
    pub(super) fn kept_recall(
        &self,
        ctx: &Context,
        data: &EvaluationData<'_>,
        kept: &Kept<'_>,
        count: usize,
    ) -> Result<Vec<f64>> {
        let base = kept.rows(ctx, data.x, &self.base)?;
        let found = self.found(ctx, data, kept, (&*base, count))?;
        Ok(self.shares(&found, count, count))
    }

    /// `count` rows to fit baselines on: of all that are neither queries nor held out. Rows of a few
    /// that are searched would be those that they know best.
    pub(super) fn fitted(&self, count: usize) -> Vec<u32> {
        let left = self.left.as_ref().unwrap_or(&self.base);
        ids_at(left, &drawn(self.seed, Draw::Fitted, left.len(), count))
    }

    /// `count` of the rows among which neighbours are looked for, or all.
    pub(super) fn some(&self, what: Draw, count: usize) -> Vec<u32> {
        let places = drawn(self.seed, what, self.base.len(), count);
        ids_at(&self.base, &places)
    }
}

/// The k nearest of the rows `base` to each of `queries`.
fn truth(
    ctx: &Context,
    data: &EvaluationData<'_>,
    (queries, base): (&[u32], &[u32]),
    k: usize,
    metric: Metric,
) -> Result<Vec<u32>> {
    let source = data.queries.unwrap_or(data.x);
    let (from, among) = (Subset::new(source, queries)?, Subset::new(data.x, base)?);
    search_of_checked(ctx, &from, &among, k, metric)
}

fn note(
    &EvaluationParams { metric, seed, .. }: &EvaluationParams,
    data: &EvaluationData<'_>,
    unseen: &Unseen,
    n_base: usize,
    n_queries: usize,
) -> String {
    let n = data.x.n_rows();
    let queries = match data.queries {
        Some(_) if matches!(unseen, Unseen::SomeQueries(_)) => {
            format!("{n_queries} queries that were held out of the fit")
        }
        Some(given) if given.n_rows() > n_queries => {
            format!("{n_queries} of the {} queries, drawn with seed {seed},", given.n_rows())
        }
        Some(_) => format!("all {n_queries} queries"),
        None => match unseen {
            Unseen::Rows { .. } => format!("{n_queries} rows that were held out of the fit"),
            _ => format!("{n_queries} of the {n} rows, drawn with seed {seed},"),
        },
    };
    let (left, which) = match (data.queries, unseen) {
        (Some(_), _) => (n, "rows"),
        (None, Unseen::Rows { held_out, .. }) => (n - held_out.len(), "rows that were not"),
        (None, _) => (n - n_queries, "other rows"),
    };
    if n_base < left {
        format!(
            "Neighbours by {metric} of {queries} were looked for among {n_base} of the {left} {which}, \
             drawn too: recall among all is another, and the order of methods may be (max_rows)."
        )
    } else {
        format!("Neighbours by {metric} of {queries} were looked for among all {left} {which}.")
    }
}
