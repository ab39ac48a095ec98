//! How it is measured.

use twinlearn_codes::Bits;
use twinlearn_core::error::{Error, Result};
use twinlearn_knn::Metric;

use crate::params::Params;

/// k where none is given.
pub(super) const DEFAULT_NEIGHBORS: usize = 10;

/// How reductions are judged, and dimensions tried.
///
/// ```
/// use twinlearn::{EvaluationParams, Metric};
/// let params = EvaluationParams::default().metric(Metric::L2).n_neighbors(5).seed(1);
/// # let _ = params;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvaluationParams {
    pub(super) metric: Metric,
    pub(super) n_neighbors: usize,
    pub(super) n_queries: usize,
    pub(super) max_rows: usize,
    pub(super) fit_rows: usize,
    pub(super) baselines: bool,
    pub(super) curves: bool,
    pub(super) bits: Option<Bits>,
    pub(super) codes: bool,
    pub(super) candidates: Option<usize>,
    pub(super) seed: u64,
}

impl Default for EvaluationParams {
    fn default() -> Self {
        Self {
            metric: Metric::default(),
            n_neighbors: DEFAULT_NEIGHBORS,
            n_queries: 1000,
            max_rows: 1_000_000,
            fit_rows: 50_000,
            baselines: true,
            curves: false,
            bits: None,
            codes: false,
            candidates: None,
            seed: 0,
        }
    }
}

impl EvaluationParams {
    /// How near rows are, before and after; default cosine.
    #[must_use]
    pub fn metric(mut self, metric: Metric) -> Self {
        self.metric = metric;
        self
    }

    /// k of recall, accuracy, trustworthiness and continuity; default 10.
    #[must_use]
    pub fn n_neighbors(mut self, n_neighbors: usize) -> Self {
        self.n_neighbors = n_neighbors;
        self
    }

    /// Queries that are looked at, at most; default 1000.
    #[must_use]
    pub fn n_queries(mut self, n_queries: usize) -> Self {
        self.n_queries = n_queries;
        self
    }

    /// Rows among which neighbours are looked for, at most; default 1,000,000. Among fewer than all
    /// the recall of every method is another, and their order may be. With relevance judgements all
    /// rows are taken.
    #[must_use]
    pub fn max_rows(mut self, max_rows: usize) -> Self {
        self.max_rows = max_rows;
        self
    }

    /// Rows that baselines, and what [`advise`](crate::advise) tries, are fitted on, at most; default
    /// 50,000.
    #[must_use]
    pub fn fit_rows(mut self, fit_rows: usize) -> Self {
        self.fit_rows = fit_rows;
        self
    }

    /// Whether baselines at the same d are judged too; default true.
    #[must_use]
    pub fn baselines(mut self, baselines: bool) -> Self {
        self.baselines = baselines;
        self
    }

    /// Whether the baselines' recall is measured at other dimensions too, for a picture; default
    /// false.
    #[must_use]
    pub fn curves(mut self, curves: bool) -> Self {
        self.curves = curves;
        self
    }

    /// What is judged are codes of so many bits a number of what reductions give, beside int8, Hamming
    /// distance, sign bits, and codes of as many bytes of others: all by their bytes; default none.
    #[must_use]
    pub fn bits(mut self, bits: Option<Bits>) -> Self {
        self.bits = bits;
        self
    }

    /// The same with the product code that models were fitted with; default false.
    #[must_use]
    pub fn codes(mut self, codes: bool) -> Self {
        self.codes = codes;
        self
    }

    /// Recall is also reported of so many candidates once they are put in order by the full vectors: of the
    /// neighbours that are among them; default none.
    #[must_use]
    pub fn candidates(mut self, candidates: Option<usize>) -> Self {
        self.candidates = candidates;
        self
    }

    /// The seed of what is drawn: queries, samples, the random projection, resamples; default 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

impl EvaluationParams {
    /// Whether codes are what is judged.
    pub(super) fn is_coded(&self) -> bool {
        self.bits.is_some() || self.codes
    }

    /// Whether recall is measured at other dimensions: codes have other bytes at each.
    pub(super) fn has_picture(&self) -> bool {
        self.curves && !self.is_coded()
    }

    /// Rows that are found of `n` for each query: the candidates, or k.
    pub(super) fn n_found(&self, n: usize) -> Result<usize> {
        let k = self.n_neighbors;
        match self.candidates {
            None => Ok(k),
            Some(count) if (k..=n).contains(&count) => Ok(count),
            Some(count) => {
                let expected = format!("a number from n_neighbors ({k}) to {n}, the rows searched");
                Err(Error::invalid("candidates", expected, count))
            }
        }
    }

    /// What can be refused before any row is read.
    pub(super) fn check(&self) -> Result<()> {
        match (self.bits, self.codes) {
            (Some(bits), true) => {
                Err(Error::invalid("bits", "none beside codes, the other kind", bits.get()))
            }
            _ => Ok(()),
        }
    }
}

/// What advice fits at each dimension.
pub(super) fn tldr(d: usize, metric: Metric, seed: u64) -> Result<Params> {
    Params::builder().n_components(d).metric(metric).seed(seed).build()
}
