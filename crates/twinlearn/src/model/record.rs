//! What is recorded of the training that made a model.

use serde::{Deserialize, Serialize};

use crate::closed::sees_more_than_rows;
use crate::estimate::Estimate;

/// What the training of a model did, as its file records it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TrainingRecord {
    /// N, held-out rows included.
    pub n_rows: usize,
    /// Rows that were trained on.
    pub n_anchors: usize,
    /// Anchors in a step.
    pub batch_size: usize,
    /// Optimiser steps.
    pub steps: usize,
    /// The step whose weights the model has, 0 for the start; none in models of older versions.
    #[serde(default)]
    pub best_step: Option<usize>,
    /// The mean loss of the last epoch.
    pub final_loss: f64,
    /// Recall on the held-out rows.
    pub validation: Option<ValidationReport>,
    /// Which rows were held out; none in models of older versions.
    #[serde(default)]
    pub held_out: Option<HeldOut>,
    /// The queries that the fit was for, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queries: Option<QueryRecord>,
    /// The rows beside X that were watched, where some were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_rows: Option<HeldOut>,
    /// CRC-32 of the queries, other than these, of the models that it was gone on to from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_queries: Vec<u32>,
}

/// Rows that a model was not trained on, so that it can be judged by them again. The seed drew them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HeldOut {
    /// CRC-32 of all rows as `f32`.
    pub rows: u32,
    /// How many were held out.
    pub count: usize,
    /// Whether of a sample of the rows.
    pub of_sample: bool,
    /// Whether the model that it was gone on from may have been trained on some of them: they judge
    /// nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub seen: bool,
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
    /// recall@k of the encoder.
    pub recall: f64,
    /// recall@k of the encoder before training.
    #[serde(default)]
    pub start_recall: Option<f64>,
    /// recall@k of the best closed form at the same dimension (PCA and its kin), chosen by other
    /// held-out rows; none where there is no such form (d > D, or all rows equal).
    pub pca_recall: Option<f64>,
    /// Which form that is.
    #[serde(default)]
    pub closed_form: Option<String>,
    /// The encoder's recall less that of the closed form, row by row.
    #[serde(default)]
    pub gain: Option<Estimate>,
    /// The same of the first numbers of reduced vectors, for each nested size.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nested: Vec<NestedReport>,
}

impl ValidationReport {
    /// Whether [`closed_form`](Self::closed_form) is one that `solver` pca has: those of neighbours or
    /// queries it has not, since it looks at the rows alone.
    #[must_use]
    pub fn is_of_solver_pca(&self) -> bool {
        self.closed_form.as_ref().is_some_and(|name| !sees_more_than_rows(name))
    }

    /// It where the rows were seen by what the encoder began as: no other was, so nothing is compared.
    pub(crate) fn without_verdict(self) -> Self {
        let (pca_recall, closed_form, gain, nested) = (None, None, None, Vec::new());
        Self { pca_recall, closed_form, gain, nested, ..self }
    }
}

/// recall@k of the first numbers of reduced vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NestedReport {
    /// How many components are kept.
    pub n_components: usize,
    /// recall@k of the encoder.
    pub recall: f64,
    /// recall@k of the best closed form at that dimension, where there is one.
    pub pca_recall: Option<f64>,
    /// Which form that is.
    pub closed_form: Option<String>,
    /// The encoder's recall less that of the closed form, row by row.
    pub gain: Option<Estimate>,
}

impl ValidationReport {
    /// The report for the first `n_components` components, if there is one.
    pub(crate) fn of_prefix(self, n_components: usize) -> Option<Self> {
        let (n_rows, k) = (self.n_rows, self.k);
        let mut nested = self.nested;
        let place = nested.iter().position(|nested| nested.n_components == n_components)?;
        let NestedReport { recall, pca_recall, closed_form, gain, .. } = nested.swap_remove(place);
        nested.truncate(place);
        let start_recall = None;
        Some(Self { n_rows, k, recall, start_recall, pca_recall, closed_form, gain, nested })
    }
}

/// The queries of a fit, as its model records them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct QueryRecord {
    /// How many were given.
    pub n_queries: usize,
    /// How many were trained on.
    pub n_trained: usize,
    /// Which were not.
    pub held_out: HeldOut,
    /// Recall on those by which nothing was chosen; none where none was held out.
    pub validation: Option<QueryReport>,
}

/// recall@k of the original nearest training rows of held-out queries, by which nothing was chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct QueryReport {
    /// The number of queries.
    pub n_queries: usize,
    /// k: 10, or fewer where there are fewer training rows.
    pub k: usize,
    /// recall@k of the encoder.
    pub recall: f64,
    /// recall@k of the best closed form at the same dimension, where there is one.
    pub pca_recall: Option<f64>,
    /// The encoder's recall less that of the closed form, query by query.
    pub gain: Option<Estimate>,
    /// What the same fit gives on rows alone.
    pub rows_alone: Option<RowsAlone>,
}

/// An encoder that was trained on the rows alone, on the same held-out queries and rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RowsAlone {
    /// recall@k of the queries.
    pub recall: f64,
    /// What training on queries adds to that, query by query.
    pub gain: Estimate,
    /// recall@k of held-out rows, where there are some.
    pub row_recall: Option<f64>,
    /// What training on queries adds to that, row by row.
    pub row_gain: Option<Estimate>,
}

impl QueryReport {
    /// It where the queries may have been seen by what the encoder began as: no closed form has.
    pub(crate) fn without_verdict(self) -> Self {
        Self { pca_recall: None, gain: None, rows_alone: None, ..self }
    }

    /// It in words: what is kept, and what training on queries added for them and for rows.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let Self { n_queries, k, recall, .. } = self;
        let other = self.pca_recall.map_or(String::new(), |recall| format!(" (PCA {recall:.3})"));
        let mut kept = format!(
            "{recall:.3} of the {k} nearest training rows of {n_queries} held-out queries kept{other}"
        );
        if let Some(gain) = &self.gain {
            kept += &format!(": {}", gain.beside("the best reduction without training"));
        }
        let mut all = vec![kept];
        if let Some(alone) = &self.rows_alone {
            let other = |recall: f64| format!("training on rows alone ({recall:.3})");
            let gain = alone.gain.beside(&other(alone.recall));
            all.push(format!("of held-out queries: {gain}"));
            if let (Some(recall), Some(gain)) = (alone.row_recall, &alone.row_gain) {
                all.push(format!("of held-out rows: {}", gain.beside(&other(recall))));
                if alone.gain.low <= 0.0 && gain.high < 0.0 {
                    all.push(
                        "training on these queries did not help here: the fit without them keeps more \
                         (a few thousand queries tell more than a few hundred)"
                            .to_owned(),
                    );
                }
            }
        }
        all
    }
}
