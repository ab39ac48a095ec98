//! The number of rows whose neighbours are found.

use twinlearn_knn::KnnMethod;

use super::Params;

/// Rows whose lists of neighbours loss KL learns from, at most.
pub(crate) const MOST_ANCHORS: usize = 202_000;
/// For how many times as many pairs there are anchors where each looks at the rows near it.
const NEAR: f64 = 3.0;
/// Up to so many dimensions; where rows are longer there are fewer anchors.
const MOST_DIM: usize = 768;

/// The work of finding neighbours, at most. Only tests have others than these.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) most_anchors: usize,
    /// So many anchors there are at least.
    pub(crate) least_anchors: usize,
    /// Pairs of an anchor and a row that are compared, about, where there are more rows than anchors.
    pub(crate) most_pairs: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { most_anchors: MOST_ANCHORS, least_anchors: 20_000, most_pairs: 3e10 }
    }
}

impl Bounds {
    /// Anchors of `times` as many pairs with `n_rows` rows of `dim` numbers.
    fn anchors(&self, times: f64, n_rows: usize, dim: usize) -> usize {
        let share = MOST_DIM as f64 / dim.max(MOST_DIM) as f64;
        let count = (times * self.most_pairs * share / n_rows as f64) as usize;
        count.clamp(self.least_anchors, self.most_anchors)
    }
}

impl Params {
    /// How many of `n_rows` rows of `dim` numbers are anchors, whose neighbours among all rows a fit
    /// learns from: all, but with loss KL and more than 202,000 rows a sample drawn by the seed.
    ///
    /// It is 9 · 10¹⁰ / `n_rows` (times 768 / `dim` where rows are longer), 20,000 at least. Each looks at the
    /// rows in the clusters nearest to it, which hold about 95 % of its neighbours, 3 · 10¹⁰ rows in all at
    /// most. With `knn_method` exact, and where those hold less than 80 % of its neighbours, each looks at
    /// all rows, and there are a third as many. Where a graph of all rows is given, or is made because
    /// `knn_method` is descent or pq, 202,000 rows of it are anchors.
    #[must_use]
    pub fn n_anchors(&self, n_rows: usize, dim: usize) -> usize {
        match self.looks_near(n_rows) {
            true => self.bounds.anchors(NEAR, n_rows, dim),
            false => self.n_exact_anchors(n_rows, dim),
        }
    }

    /// How many there are that look at all rows.
    pub(crate) fn n_exact_anchors(&self, n_rows: usize, dim: usize) -> usize {
        match self.is_listed() && n_rows > self.bounds.most_anchors {
            true => self.bounds.anchors(1.0, n_rows, dim),
            false => n_rows,
        }
    }

    /// Whether anchors among `n_rows` rows look at the rows near them alone.
    pub(crate) fn looks_near(&self, n_rows: usize) -> bool {
        self.is_listed() && n_rows > self.bounds.most_anchors && self.knn_method != KnnMethod::Exact
    }

    /// How many rows of a graph of all of them are anchors, at most.
    pub(crate) fn most_anchors(&self) -> usize {
        if self.is_listed() { self.bounds.most_anchors } else { usize::MAX }
    }

    /// Whether the neighbours of all `n_rows` rows are found, and not of a sample of anchors alone.
    #[must_use]
    pub fn needs_whole_graph(&self, n_rows: usize) -> bool {
        let exact = matches!(self.knn_method, KnnMethod::Auto | KnnMethod::Exact);
        !self.is_listed()
            || n_rows <= self.bounds.most_anchors
            || !exact
            || self.knn_approximation.is_some()
    }
}
