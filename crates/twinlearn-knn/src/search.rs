//! The public face of neighbour search.

use serde::{Deserialize, Serialize};
use twinlearn_core::context::Context;
use twinlearn_core::error::{Error, Result};
use twinlearn_core::names::named;
use twinlearn_core::progress::{Event, Stage};
use twinlearn_vectors::{Centred, Vectors, check_vectors, far_origin};

use super::exact::{self, GraphSearch, near};
use super::graph::KnnGraph;
use super::metric::Metric;
use super::{descent, pq};

/// How the neighbours of a set are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KnnMethod {
    /// Exact while that takes minutes at most by estimate, else descent, or exact after all where
    /// descent finds too few; product quantisation where an approximation level is given.
    #[default]
    Auto,
    /// Every pair, by bounds where they pay. The result is brute force's in `f64`.
    Exact,
    /// NN-descent: approximate, for up to tens of millions of rows. Of 2000 rows or fewer every pair.
    Descent,
    /// Product quantisation: approximate, by codes of a few bytes a row.
    Pq,
}

/// How coarse product quantisation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KnnApproximation {
    /// 32 bytes a row.
    Low,
    /// 16 bytes a row.
    Medium,
    /// 8 bytes a row.
    High,
}

named!(
    KnnMethod,
    "knn_method",
    "auto, exact, descent or pq",
    Auto = "auto",
    Exact = "exact",
    Descent = "descent",
    Pq = "pq"
);
named!(
    KnnApproximation,
    "knn_approximation",
    "low, medium or high",
    Low = "low",
    Medium = "medium",
    High = "high"
);

/// The bytes of a row's code at a level; medium is the default.
fn pq_parts(level: Option<KnnApproximation>) -> usize {
    level.unwrap_or(KnnApproximation::Medium).n_subvectors()
}

impl KnnApproximation {
    fn n_subvectors(self) -> usize {
        match self {
            Self::Low => 32,
            Self::Medium => 16,
            Self::High => 8,
        }
    }
}

/// The largest exact search that `auto` does, in estimated nanoseconds of one thread of the
/// machine that the estimate was tuned on: some minutes. A fixed number, so that one set is
/// searched in one way everywhere.
const AUTO_EXACT: f64 = 240e9;
/// So many rows are always searched exactly: that takes less time than descent, which can miss what is
/// near where there are few rows to go over.
const FEW: usize = 2000;
/// Where descent finds too few, `auto` searches exactly if that is at most so many times as large.
const MOST: f64 = 10.0;

/// What neighbours are looked for, and how.
///
/// ```
/// use twinlearn_knn::{Context, KnnMethod, KnnParams, Matrix, Metric, knn_graph};
/// let x = Matrix::new(4, 1, vec![0.0, 1.0, 1.5, 9.0])?;
/// let params = KnnParams::new(2).metric(Metric::L2).method(KnnMethod::Exact);
/// let graph = knn_graph(&Context::new()?, &x, &params)?;
/// assert_eq!(graph.neighbors(3), [2, 1]);
/// # Ok::<(), twinlearn_knn::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnnParams {
    n_neighbors: usize,
    metric: Metric,
    method: KnnMethod,
    approximation: Option<KnnApproximation>,
    seed: u64,
}

impl KnnParams {
    /// `n_neighbors` neighbours, by cosine, method auto.
    #[must_use]
    pub fn new(n_neighbors: usize) -> Self {
        Self {
            n_neighbors,
            metric: Metric::default(),
            method: KnnMethod::default(),
            approximation: None,
            seed: 0,
        }
    }

    /// How near rows are; default cosine.
    #[must_use]
    pub fn metric(mut self, metric: Metric) -> Self {
        self.metric = metric;
        self
    }

    /// How neighbours are found; default [`KnnMethod::Auto`].
    #[must_use]
    pub fn method(mut self, method: KnnMethod) -> Self {
        self.method = method;
        self
    }

    /// The level of product quantisation; default none, which is medium for
    /// [`KnnMethod::Pq`].
    #[must_use]
    pub fn approximation(mut self, approximation: Option<KnnApproximation>) -> Self {
        self.approximation = approximation;
        self
    }

    /// The seed of approximate methods; default 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Bytes of working memory that [`knn_graph`] of `n` rows of dimension `dim` takes at least.
    #[must_use]
    pub fn least_bytes(&self, threads: usize, (n, dim): (usize, usize)) -> usize {
        let k = self.n_neighbors;
        let exact = || exact::least_search_bytes(threads, (n, n, dim), k);
        let descent = || descent::least_bytes(threads, (n, dim), k);
        match (self.method, self.approximation) {
            (KnnMethod::Exact, _) => exact(),
            (KnnMethod::Descent, _) if n > FEW => descent(),
            (KnnMethod::Pq, level) | (KnnMethod::Auto, level @ Some(_)) => {
                pq::least_bytes(threads, (n, dim), k, pq_parts(level))
            }
            // It begins with a plan of the exact one.
            (KnnMethod::Auto, None) if exact::most_cost(n, dim) > AUTO_EXACT => {
                exact().max(descent())
            }
            _ => exact(),
        }
    }
}

/// The nearest rows of `x` to each row of `x`, itself left out.
///
/// Row i of the result is sorted by distance, ties by the smaller index. Of equal rows each is
/// the other's neighbour. Exact unless the method says otherwise.
///
/// # Errors
/// When `n_neighbors` is 0 or not below the number of rows, a value is not finite, a row is all
/// zeros under [`Metric::Cosine`], an approximation level is given to another method than product
/// quantisation, the context's memory is too little, or the work is cancelled.
pub fn knn_graph(ctx: &Context, x: &dyn Vectors, params: &KnnParams) -> Result<KnnGraph> {
    check_n_neighbors(params.n_neighbors, x.n_rows())?;
    check_method(params.method, params.approximation)?;
    check_vectors(ctx, "X", x, params.metric == Metric::Cosine)?;
    graph_of_checked(ctx, x, params)
}

/// [`knn_graph`] of vectors that were checked before.
pub fn graph_of_checked(ctx: &Context, x: &dyn Vectors, params: &KnnParams) -> Result<KnnGraph> {
    let &KnnParams { n_neighbors: k, metric, method, approximation, seed } = params;
    check_n_neighbors(k, x.n_rows())?;
    let origin = origin_of(x, metric)?;
    let centred = origin.as_ref().map(|origin| Centred::new(x, origin));
    let x = centred.as_ref().map_or(x, |centred| centred);
    let ids = match (method, approximation) {
        (KnnMethod::Pq, level) | (KnnMethod::Auto, level @ Some(_)) => {
            pq::graph(ctx, x, k, metric, pq_parts(level), seed)
        }
        _ => ctx.stage(Stage::Knn, x.n_rows(), || match method {
            KnnMethod::Descent if x.n_rows() > FEW => {
                Ok(descent::search(ctx, x, k, metric, seed)?.reported(ctx))
            }
            KnnMethod::Exact | KnnMethod::Descent => GraphSearch::new(ctx, x, k, metric)?.run(k),
            _ => automatic(ctx, x, (k, metric, seed), AUTO_EXACT),
        }),
    }?;
    Ok(KnnGraph::new(x.n_rows(), ids))
}

/// Exact search where that costs at most `most_exact`, else descent, or exact after all where descent
/// finds too few.
fn automatic(
    ctx: &Context,
    x: &dyn Vectors,
    (k, metric, seed): (usize, Metric, u64),
    most_exact: f64,
) -> Result<Vec<u32>> {
    let search = GraphSearch::new(ctx, x, k, metric)?;
    let cost = search.cost();
    if cost <= most_exact {
        return search.run(k);
    }
    drop(search);
    ctx.emit(&Event::Note(&format!(
        "method auto: descent, as exact search would take about {:.0} minutes of one thread",
        cost / 60e9
    )));
    let found = descent::search(ctx, x, k, metric, seed)?;
    if found.is_enough() || cost > MOST * most_exact {
        return Ok(found.reported(ctx));
    }
    ctx.emit(&Event::Note("method auto: exact search, as descent found too few"));
    GraphSearch::new(ctx, x, k, metric)?.run(k)
}

/// The `n_neighbors` nearest rows of `base` to each row of `queries`; exact. The rows of the graph are
/// the queries, its indices are rows of the base.
///
/// # Errors
/// When the dimensions differ, `n_neighbors` is 0 or above the number of base rows, the method is
/// an approximate one, a value is not finite, a row is all zeros under [`Metric::Cosine`], the
/// context's memory is too little, or the work is cancelled.
///
/// ```
/// use twinlearn_knn::{Context, KnnParams, Matrix, Metric, knn_search};
/// let base = Matrix::new(3, 1, vec![0.0, 5.0, 9.0])?;
/// let queries = Matrix::new(2, 1, vec![8.0, 2.0])?;
/// let params = KnnParams::new(2).metric(Metric::L2);
/// let found = knn_search(&Context::new()?, &queries, &base, &params)?;
/// assert_eq!([found.neighbors(0), found.neighbors(1)], [[2, 1], [0, 1]]);
/// # Ok::<(), twinlearn_knn::Error>(())
/// ```
pub fn knn_search(
    ctx: &Context,
    queries: &dyn Vectors,
    base: &dyn Vectors,
    params: &KnnParams,
) -> Result<KnnGraph> {
    let &KnnParams { n_neighbors: k, metric, method, approximation, .. } = params;
    if queries.dim() != base.dim() {
        return Err(Error::invalid(
            "queries",
            format_args!("vectors of dimension {}", base.dim()),
            queries.dim(),
        ));
    }
    if k == 0 || k > base.n_rows() {
        let expected = format!("a number from 1 to {}", base.n_rows()).to_string();
        return Err(Error::invalid("n_neighbors", expected, k));
    }
    if !matches!(method, KnnMethod::Auto | KnnMethod::Exact) || approximation.is_some() {
        let actual = approximation.map_or(method.to_string(), |level| level.to_string());
        return Err(Error::invalid("knn_method", "auto or exact for a search of queries", actual));
    }
    check_vectors(ctx, "queries", queries, metric == Metric::Cosine)?;
    check_vectors(ctx, "base", base, metric == Metric::Cosine)?;
    let ids = search_of_checked(ctx, queries, base, k, metric)?;
    Ok(KnnGraph::new(queries.n_rows(), ids))
}

/// The indices of [`knn_search`], row after row, for finite vectors of one dimension. Rows of zeros are taken under every metric:
/// what an encoder gives may hold some.
pub fn search_of_checked(
    ctx: &Context,
    queries: &dyn Vectors,
    base: &dyn Vectors,
    k: usize,
    metric: Metric,
) -> Result<Vec<u32>> {
    about_origin(queries, base, metric, |queries, base| {
        exact::search(ctx, queries, base, k, metric, exact::Options::default())
    })
}

/// The `k` nearest rows of `base` other than itself to each query, a row of it too: `own` are their
/// places in it.
pub fn others_of_checked(
    ctx: &Context,
    (queries, own): (&dyn Vectors, &[u32]),
    base: &dyn Vectors,
    k: usize,
    metric: Metric,
) -> Result<Vec<u32>> {
    let found = search_of_checked(ctx, queries, base, k + 1, metric)?;
    Ok(without_own(&found, own, k))
}

/// [`search_of_checked`], approximately where that is much less work: each query looks at the clusters of
/// the base that are nearest to it, so many that they hold 95 % of the neighbours of a sample of queries,
/// but at `most_pairs` rows in all. None where these hold less than 80 %.
pub fn near_search_of_checked(
    ctx: &Context,
    queries: &dyn Vectors,
    base: &dyn Vectors,
    k: usize,
    metric: Metric,
    most_pairs: f64,
) -> Result<Option<Vec<u32>>> {
    about_origin(queries, base, metric, |queries, base| {
        near::search(ctx, queries, base, (k, metric), most_pairs)
    })
}

/// A search of queries and a base less the [origin](origin_of) of the base.
fn about_origin<T>(
    queries: &dyn Vectors,
    base: &dyn Vectors,
    metric: Metric,
    search: impl FnOnce(&dyn Vectors, &dyn Vectors) -> Result<T>,
) -> Result<T> {
    let Some(origin) = origin_of(base, metric)? else { return search(queries, base) };
    let [queries, base] = [queries, base].map(|rows| Centred::new(rows, &origin));
    search(&queries, &base)
}

/// Lists of k + 1 without the row that each is of, or without the last where that is not in it: more
/// than k rows are equal to it.
#[must_use]
pub fn without_own(found: &[u32], own: &[u32], k: usize) -> Vec<u32> {
    let lists = found.chunks_exact(k + 1).zip(own);
    lists
        .flat_map(|(list, own)| list.iter().filter(move |&id| id != own).take(k))
        .copied()
        .collect()
}

/// What is taken off rows before they are compared, in `f64`: under l2 distances do not depend on
/// where the origin is, but digits do where it is far.
pub fn origin_of(x: &dyn Vectors, metric: Metric) -> Result<Option<Vec<f64>>> {
    match metric {
        Metric::L2 => far_origin(x),
        _ => Ok(None),
    }
}

/// Rows are numbered in 32 bits, of which descent uses one as a flag.
const MAX_ROWS: usize = i32::MAX as usize;

/// Refuses a k that a set of rows does not have.
///
/// # Errors
/// When `k` is 0 or not below `n_rows`.
pub fn check_n_neighbors(k: usize, n_rows: usize) -> Result<()> {
    if n_rows < 2 {
        return Err(Error::invalid("X", "at least 2 rows", n_rows));
    }
    if n_rows > MAX_ROWS {
        return Err(Error::invalid("X", format_args!("at most {MAX_ROWS} rows"), n_rows));
    }
    if k == 0 || k >= n_rows {
        return Err(Error::invalid(
            "n_neighbors",
            format_args!("a number from 1 to {} (one less than the rows)", n_rows - 1),
            k,
        ));
    }
    Ok(())
}

/// An approximation level is product quantisation's.
pub fn check_method(method: KnnMethod, approximation: Option<KnnApproximation>) -> Result<()> {
    match (method, approximation) {
        (KnnMethod::Exact | KnnMethod::Descent, Some(level)) => Err(Error::invalid(
            "knn_approximation",
            format_args!("none with knn_method {method} (it is for pq and auto)"),
            level,
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use rand::Rng;

    use super::*;
    use twinlearn_core::context::lock;
    use twinlearn_core::linalg::Matrix;
    use twinlearn_core::progress::Observer;
    use twinlearn_core::random::{Purpose, generator};

    /// What was planned and warned of.
    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Observer for Told {
        fn on_event(&self, event: &Event<'_>) {
            match event {
                Event::Plan(plan) => lock(&self.0).push(plan.to_string()),
                Event::Note(text) | Event::Warning(text) => lock(&self.0).push((*text).to_owned()),
                _ => {}
            }
        }
    }

    #[test]
    fn auto_searches_exactly_where_descent_finds_too_few() {
        // Without any structure neighbours of neighbours are like all other rows.
        let (n, dim, k) = (6000, 300, 3);
        let mut rng = generator(0, Purpose::Sample, 0);
        let data = (0..n * dim).map(|_| rng.next_u32() as f32 / u32::MAX as f32 - 0.5).collect();
        let x = Matrix::new(n, dim, data).unwrap();
        let reported = Arc::new(Told::default());
        let ctx = Context::with_threads(2).unwrap().observer(reported.clone());
        let cost = GraphSearch::new(&ctx, &x, k, Metric::L2).unwrap().cost();
        let run = |most_exact| {
            lock(&reported.0).clear();
            let ids = automatic(&ctx, &x, (k, Metric::L2, 0), most_exact).unwrap();
            (ids, lock(&reported.0).join("\n"))
        };
        let (exact, plans) = run(cost);
        assert!(plans.starts_with("exact neighbours of "), "{plans}");
        let (found, plans) = run(cost / 2.0);
        assert_eq!(found, exact);
        assert!(plans.contains("method auto: exact search, as descent found too few"), "{plans}");
        let (found, plans) = run(cost / (2.0 * MOST));
        assert_ne!(found, exact);
        assert!(plans.contains(" rows only; knn_method exact finds all"), "{plans}");
    }
}
