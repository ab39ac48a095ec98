//! Rows held out of training, and what they say of an encoder.

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::context::{Context, Stage};
use crate::data::{Subset, Vectors};
use crate::error::Result;
use crate::evaluation::recall_at_k;
use crate::knn::{Metric, search_of_checked};
use crate::linalg::Matrix;
use crate::params::Params;
use crate::random::{Purpose, generator};

/// Neighbours of a held-out row that a reduction should keep.
const RECALL_K: usize = 10;

/// The rows of a set, split at random by the seed. Both lists rise.
pub(super) struct Split {
    pub(super) training: Vec<u32>,
    pub(super) held_out: Vec<u32>,
}

impl Split {
    pub(super) fn new(params: &Params, n_rows: usize) -> Self {
        // Two rows are the least that can train.
        let mut missing = params.n_validation(n_rows).min(n_rows.saturating_sub(2));
        let mut rng = generator(params.seed, Purpose::HoldOut, 0);
        let (mut training, mut held_out) = (Vec::new(), Vec::with_capacity(missing));
        // Selection sampling (Knuth, TAOCP 3.4.2, S): every subset of the size is equally likely.
        for id in 0..n_rows as u32 {
            let left = (n_rows - id as usize) as u64;
            let drawn = (u64::from(rng.next_u32()) * left) >> 32;
            if drawn < missing as u64 {
                missing -= 1;
                held_out.push(id);
            } else {
                training.push(id);
            }
        }
        Self { training, held_out }
    }

    /// Whether a row may be trained on.
    pub(super) fn trains(&self, id: u32) -> bool {
        self.held_out.binary_search(&id).is_err()
    }
}

/// recall@k of the original nearest training rows of the held-out rows, by the model's metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationReport {
    /// The number of held-out rows.
    pub n_rows: usize,
    /// k: 10, or fewer where there are fewer training rows.
    pub k: usize,
    /// Of the encoder.
    pub recall: f64,
    /// Of plain PCA at the same dimension, where it exists (d ≤ D and rows that differ).
    pub pca_recall: Option<f64>,
}

/// Measures reductions of the same rows against the original space.
pub(super) struct Watch<'a> {
    training: Subset<'a>,
    held_out: Subset<'a>,
    metric: Metric,
    k: usize,
}

/// A way to reduce vectors.
pub(super) type Reduce<'a> = dyn Fn(&Context, &dyn Vectors) -> Result<Matrix> + 'a;

impl<'a> Watch<'a> {
    /// Nothing when no row is held out.
    pub(super) fn new(
        x: &'a dyn Vectors,
        split: &'a Split,
        metric: Metric,
    ) -> Result<Option<Self>> {
        if split.held_out.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            training: Subset::new(x, &split.training)?,
            held_out: Subset::new(x, &split.held_out)?,
            metric,
            k: RECALL_K.min(split.training.len()),
        }))
    }

    pub(super) fn measure(
        &self,
        ctx: &Context,
        encoder: &Reduce<'_>,
        pca: Option<&Reduce<'_>>,
    ) -> Result<ValidationReport> {
        let n_rows = self.held_out.n_rows();
        ctx.stage(Stage::Evaluate, n_rows, || {
            let truth = self.neighbours(ctx, &self.held_out, &self.training)?;
            let recall = |reduce: &Reduce<'_>| {
                let queries = reduce(ctx, &self.held_out)?;
                let base = reduce(ctx, &self.training)?;
                recall_at_k(&truth, &self.neighbours(ctx, &queries, &base)?, self.k)
            };
            Ok(ValidationReport {
                n_rows,
                k: self.k,
                recall: recall(encoder)?,
                pca_recall: pca.map(recall).transpose()?,
            })
        })
    }

    fn neighbours(
        &self,
        ctx: &Context,
        queries: &dyn Vectors,
        base: &dyn Vectors,
    ) -> Result<Vec<u32>> {
        search_of_checked(ctx, queries, base, self.k, self.metric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_takes_every_row_once() {
        let params = Params::builder().validation_fraction(0.3).build().unwrap();
        let split = Split::new(&params, 1000);
        assert_eq!((split.training.len(), split.held_out.len()), (700, 300));
        let mut all = [split.training.clone(), split.held_out.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<u32>>());
        assert!(split.held_out.iter().all(|&id| !split.trains(id)));
        // Spread over the whole range, not its start: 150 expected, σ = 7.2.
        let early = split.held_out.iter().filter(|&&id| id < 500).count();
        assert!(early.abs_diff(150) < 36, "{early}");
    }

    #[test]
    fn two_rows_always_train() {
        let params = Params::builder().validation_fraction(0.9).build().unwrap();
        assert_eq!(Split::new(&params, 3).training.len(), 2);
    }
}
