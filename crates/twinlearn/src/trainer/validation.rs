//! Rows held out of training, and what they say of an encoder.

use serde::{Deserialize, Serialize};

use crate::context::{Context, Stage};
use crate::data::{Subset, Vectors};
use crate::error::Result;
use crate::evaluation::{Estimate, recall_scores};
use crate::knn::{Metric, search_of_checked};
use crate::linalg::{Matrix, matmul};
use crate::nn::{Network, encode};
use crate::params::Params;
use crate::pca::Pca;
use crate::random::{Purpose, generator, subset};

/// Neighbours of a held-out row that a reduction should keep.
pub(super) const RECALL_K: usize = 10;
/// The most training rows among which they are looked for: enough to tell encoders apart.
pub(super) const MAX_WATCHED: usize = 100_000;

/// The rows of a set, split at random by the seed. All lists rise.
pub(super) struct Split {
    pub(super) training: Vec<u32>,
    pub(super) held_out: Vec<u32>,
    /// Those held out by which moments are chosen, and those by which what was chosen is judged.
    pub(super) watched: Vec<u32>,
    pub(super) judged: Vec<u32>,
}

impl Split {
    pub(super) fn new(seed: u64, count: usize, n_rows: usize) -> Self {
        // Two rows are the least that can train.
        let count = count.min(n_rows.saturating_sub(2));
        let held_out = subset(&mut generator(seed, Purpose::HoldOut, 0), n_rows, count);
        let trains = |id: &u32| held_out.binary_search(id).is_err();
        let training = (0..n_rows as u32).filter(trains).collect();
        let [watched, judged] = halves(&held_out);
        Self { training, held_out, watched, judged }
    }

    /// The training rows among which a held-out row's neighbours are looked for: all, or an even
    /// sample of many.
    pub(super) fn base(&self) -> Vec<u32> {
        let n = self.training.len();
        let count = n.min(MAX_WATCHED);
        (0..count).map(|i| self.training[i * n / count]).collect()
    }

    /// Whether a row may be trained on.
    pub(super) fn trains(&self, id: u32) -> bool {
        self.held_out.binary_search(&id).is_err()
    }
}

/// Every second row from the first on, and the others.
pub(super) fn halves(rows: &[u32]) -> [Vec<u32>; 2] {
    [0, 1].map(|first| rows.iter().skip(first).step_by(2).copied().collect())
}

/// recall@k of the original nearest training rows of held-out rows, by the model's metric. The rows
/// are those by which nothing was chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationReport {
    /// The number of rows.
    pub n_rows: usize,
    /// k: 10, or fewer where there are fewer training rows.
    pub k: usize,
    /// Of the encoder.
    pub recall: f64,
    /// Of the encoder before training.
    #[serde(default)]
    pub start_recall: Option<f64>,
    /// Of the best closed form at the same dimension (PCA and its kin), chosen by other held-out
    /// rows; where there is one (d ≤ D and rows that differ).
    pub pca_recall: Option<f64>,
    /// Which form that is.
    #[serde(default)]
    pub closed_form: Option<String>,
    /// The encoder's recall less that of the closed form, row by row.
    #[serde(default)]
    pub gain: Option<Estimate>,
}

/// Measures reductions of the same rows against the original space.
pub(super) struct Watch<'a> {
    base: Subset<'a>,
    queries: Subset<'a>,
    /// Where the queries are rows of the base, their places in it.
    own: Option<Vec<u32>>,
    metric: Metric,
    /// γ of the output.
    whiten: f64,
    pub(super) k: usize,
    truth: Vec<u32>,
}

/// A way to reduce vectors.
pub(super) type Reduce<'a> = dyn Fn(&Context, &dyn Vectors) -> Result<Matrix> + 'a;

impl<'a> Watch<'a> {
    /// Nothing when there are no queries. `base` are the rows of `x` among which neighbours are
    /// looked for; `own` are the places of the queries in it, where they are some of them.
    pub(super) fn new(
        ctx: &Context,
        base: Subset<'a>,
        queries: Subset<'a>,
        own: Option<Vec<u32>>,
        params: &Params,
    ) -> Result<Option<Self>> {
        let (metric, whiten) = (params.metric, params.whiten);
        let others = base.n_rows() - usize::from(own.is_some());
        if queries.n_rows() == 0 || others == 0 {
            return Ok(None);
        }
        let k = RECALL_K.min(others);
        let mut watch = Self { base, queries, own, metric, whiten, k, truth: Vec::new() };
        watch.truth = watch.nearest(&ctx.quiet(), &watch.queries, &watch.base)?;
        Ok(Some(watch))
    }

    /// A report of a moment, without anything that it is compared with.
    pub(super) fn report(&self, recall: f64) -> ValidationReport {
        ValidationReport {
            n_rows: self.queries.n_rows(),
            k: self.k,
            recall,
            start_recall: None,
            pca_recall: None,
            closed_form: None,
            gain: None,
        }
    }

    /// The k nearest rows of the base, a query itself left out.
    fn nearest(
        &self,
        ctx: &Context,
        queries: &dyn Vectors,
        base: &dyn Vectors,
    ) -> Result<Vec<u32>> {
        let Some(own) = &self.own else {
            return search_of_checked(ctx, queries, base, self.k, self.metric);
        };
        let found = search_of_checked(ctx, queries, base, self.k + 1, self.metric)?;
        let lists = found.chunks_exact(self.k + 1).zip(own);
        Ok(lists
            .flat_map(|(list, own)| list.iter().filter(move |&id| id != own).take(self.k))
            .copied()
            .collect())
    }

    /// recall@k by an encoder, whose output is then whitened where that is asked for.
    pub(super) fn recall_of(&self, ctx: &Context, encoder: &Network<f32>) -> Result<f64> {
        self.scores_of(ctx, encoder).map(mean)
    }

    /// [`recall_of`](Self::recall_of) of every query.
    pub(super) fn scores_of(&self, ctx: &Context, encoder: &Network<f32>) -> Result<Vec<f64>> {
        let ctx = &ctx.quiet();
        let encoder = encoder.folded();
        let (mut base, mut queries) =
            (encode(ctx, &encoder, &self.base)?, encode(ctx, &encoder, &self.queries)?);
        if let Some(axes) = whitening(ctx, &base, self.whiten)? {
            base = turned(ctx, &base, &axes);
            queries = turned(ctx, &queries, &axes);
        }
        self.found(ctx, &queries, &base)
    }

    /// The encoder as the user gets it, where its output is whitened.
    pub(super) fn whitened(&self, ctx: &Context, encoder: Network<f32>) -> Result<Network<f32>> {
        whitened(&ctx.quiet(), &self.base, encoder, self.whiten)
    }

    /// recall@k of every query after a reduction.
    pub(super) fn scores(&self, ctx: &Context, reduce: &Reduce<'_>) -> Result<Vec<f64>> {
        let ctx = &ctx.quiet();
        self.found(ctx, &reduce(ctx, &self.queries)?, &reduce(ctx, &self.base)?)
    }

    fn found(&self, ctx: &Context, queries: &Matrix, base: &Matrix) -> Result<Vec<f64>> {
        recall_scores(&self.truth, &self.nearest(ctx, queries, base)?, self.k)
    }
}

/// The mean of scores.
pub(super) fn mean(scores: Vec<f64>) -> f64 {
    scores.iter().sum::<f64>() / scores.len().max(1) as f64
}

/// The encoder with its output turned to the principal axes of reduced `rows` and divided by
/// σ^`power`. The origin stays: cosines are about it.
pub(super) fn whitened(
    ctx: &Context,
    rows: &dyn Vectors,
    encoder: Network<f32>,
    power: f64,
) -> Result<Network<f32>> {
    ctx.stage(Stage::Whiten, rows.n_rows(), || {
        let ctx = &ctx.quiet();
        let axes = whitening(ctx, &encode(ctx, &encoder.folded(), rows)?, power)?;
        Ok(match axes {
            Some(axes) => encoder.mapped(axes),
            None => encoder,
        })
    })
}

/// The map of reduced rows to their principal axes, divided by σ^`power`; none for power 0.
fn whitening(ctx: &Context, reduced: &Matrix, power: f64) -> Result<Option<Matrix>> {
    if power == 0.0 {
        return Ok(None);
    }
    Ok(Some(Pca::fit(ctx, reduced)?.projection(reduced.cols(), power)?.weight))
}

fn turned(ctx: &Context, rows: &Matrix, axes: &Matrix) -> Matrix {
    let mut out = Matrix::zeros(rows.rows(), axes.rows());
    matmul(ctx, 1.0, rows.view(), axes.view().t(), 0.0, out.view_mut());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_takes_every_row_once() {
        let split = Split::new(0, 300, 1000);
        assert_eq!((split.training.len(), split.held_out.len()), (700, 300));
        let mut all = [split.training.clone(), split.held_out.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<u32>>());
        assert!(split.held_out.iter().all(|&id| !split.trains(id)));
        let mut held_out = [split.watched.clone(), split.judged.clone()].concat();
        held_out.sort_unstable();
        assert_eq!((held_out, split.judged.len()), (split.held_out.clone(), 150));
        // Spread over the whole range, not its start: 150 expected, σ = 7.2.
        let early = split.held_out.iter().filter(|&&id| id < 500).count();
        assert!(early.abs_diff(150) < 36, "{early}");
    }

    #[test]
    fn two_rows_always_train() {
        assert_eq!(Split::new(0, 3, 3).training.len(), 2);
    }
}
