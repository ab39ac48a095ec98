//! One way of judging for all reductions: the same rows, the same queries, the same resamples.

use twinlearn_core::context::Context;
use twinlearn_core::error::{Error, Result};
use twinlearn_knn::search_of_checked;
use twinlearn_vectors::{Subset, Vectors, copied};

use super::data::{EvaluationData, Reduction};
use super::formats::Kept;
use super::neighbours::accuracy_scores;
use super::params::EvaluationParams;
use super::ranking::{DEPTH, RankingScores};
use super::results::{MethodEvaluation, MethodKind};
use super::sample::{Draw, Sample};
use super::structure::{Orders, effective_rank};
use super::unseen::Unseen;
use crate::estimate::Estimate;

/// Rows of which every pair is compared, at most.
const PAIRED_ROWS: usize = 1000;

/// How many rows are compared in pairs, at most: ranks beyond k must exist.
pub(super) fn n_paired(k: usize) -> usize {
    PAIRED_ROWS.max(2 * k + 1)
}

/// The rows that are looked at, and what is known of them.
pub(super) struct Judge<'a> {
    data: EvaluationData<'a>,
    seed: u64,
    /// Whether the queries may have been seen.
    is_seen: bool,
    pub(super) sample: Sample,
    /// Rows of X of which every pair is compared.
    paired: Vec<u32>,
    orders: Orders,
    /// Candidates that are put in order by the full vectors, where that is judged too.
    candidates: Option<usize>,
    /// The recall of every query by the first reduction.
    first: Option<Vec<f64>>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        ctx: &Context,
        data: &EvaluationData<'a>,
        params: &EvaluationParams,
        unseen: &Unseen,
    ) -> Result<Self> {
        let (k, metric, seed) = (params.n_neighbors, params.metric, params.seed);
        let sample = Sample::new(ctx, data, params, unseen)?;
        let paired = sample.some(Draw::Paired, n_paired(k));
        let orders = Orders::new(ctx, &copied(ctx, &Subset::new(data.x, &paired)?)?, metric)?;
        let is_seen = matches!(unseen, Unseen::Unknown);
        params.n_found(sample.base.len())?;
        let candidates = params.candidates;
        Ok(Self { data: *data, seed, is_seen, sample, paired, orders, candidates, first: None })
    }

    /// What was sampled, in words.
    pub(super) fn notes(&self) -> Vec<String> {
        let paired = self.paired.len();
        let mut notes = vec![
            self.sample.note.clone(),
            format!("Trustworthiness, continuity and effective rank are of {paired} rows."),
        ];
        if self.is_seen {
            let what = match self.data.queries {
                Some(_) => "were trained on by what is judged",
                None => "are rows of X, which what is judged may have been fitted on",
            };
            notes.push(format!(
                "The queries {what} while baselines were not: there is no verdict. Give other queries \
                 for one."
            ));
        }
        notes
    }

    /// Everything about one reduction. The first after the full vectors is the one that others are
    /// compared with.
    pub(super) fn judge(
        &mut self,
        ctx: &Context,
        (kind, name): (MethodKind, &str),
        kept: &Kept<'_>,
    ) -> Result<MethodEvaluation> {
        let (k, seed, metric) = (self.sample.k, self.seed, self.sample.metric);
        let is_full = kind == MethodKind::Full;
        let base = kept.rows(ctx, self.data.x, &self.sample.base)?;
        let count = if is_full { k } else { self.candidates.unwrap_or(k) };
        let found = if is_full {
            self.sample.truth.clone()
        } else {
            self.sample.found(ctx, &self.data, kept, (&*base, count))?
        };
        let recall = self.sample.shares(&found, count, k);
        let rescored = self.candidates.map(|_| self.sample.shares(&found, count, count));
        let nearest: Vec<u32> = found.chunks_exact(count).flat_map(|f| &f[..k]).copied().collect();
        let accuracy = self.accuracy(&nearest)?;
        let ranking = self.ranking(ctx, kept, &*base)?;
        let (structure, effective_rank) = if is_full {
            (self.orders.compare(ctx, &self.orders, k)?, None)
        } else {
            let paired = copied(ctx, &*kept.rows(ctx, self.data.x, &self.paired)?)?;
            let structure = self.orders.compare(ctx, &Orders::new(ctx, &paired, metric)?, k)?;
            (structure, Some(effective_rank(ctx, &paired)?))
        };
        let estimate = |scores: &[f64]| Estimate::of_mean(scores, seed);
        let first = self.first.as_ref();
        let behind = first.map(|first| Estimate::of_difference(first, &recall, seed));
        let evaluation = MethodEvaluation {
            name: name.to_owned(),
            n_components: base.dim(),
            format: kept.format.name(),
            bytes_per_vector: kept.row_bytes(),
            shared_bytes: kept.format.shared_bytes(),
            kind,
            recall: estimate(&recall),
            rescored: rescored.as_deref().map(estimate),
            recall_behind_first: behind,
            accuracy: accuracy.as_deref().map(estimate),
            ndcg_at_10: ranking.as_ref().map(|r| estimate(&r.ndcg)),
            average_precision: ranking.as_ref().map(|r| estimate(&r.average_precision)),
            recall_at_100: ranking.as_ref().map(|r| estimate(&r.recall)),
            trustworthiness: estimate(&structure.trustworthiness),
            continuity: estimate(&structure.continuity),
            effective_rank,
        };
        if !is_full {
            self.first.get_or_insert(recall);
        }
        Ok(evaluation)
    }

    /// The recall of every query by one reduction.
    pub(super) fn recall(&self, ctx: &Context, reduction: &Reduction<'_>) -> Result<Vec<f64>> {
        self.sample.recall(ctx, &self.data, reduction)
    }

    fn accuracy(&self, found: &[u32]) -> Result<Option<Vec<f64>>> {
        let Some(labels) = self.data.labels else { return Ok(None) };
        let of = |labels: &[i64], ids: &[u32]| -> Vec<i64> {
            ids.iter().map(|&id| labels[id as usize]).collect()
        };
        let own = of(self.data.query_labels.unwrap_or(labels), &self.sample.queries);
        let labels = of(labels, &self.sample.base);
        accuracy_scores(found, self.sample.k, &labels, &own).map(Some)
    }

    /// The answers to all queries that have some. `base` are all rows, reduced.
    fn ranking(
        &self,
        ctx: &Context,
        kept: &Kept<'_>,
        base: &dyn Vectors,
    ) -> Result<Option<RankingScores>> {
        let Some(qrels) = self.data.qrels else { return Ok(None) };
        let ids: Vec<u32> = qrels.answered().map(|(query, _)| query).collect();
        if ids.is_empty() {
            return Err(Error::invalid("qrels", "an answer to at least one query", "none"));
        }
        let depth = DEPTH.min(base.n_rows());
        let queries = kept.queries(ctx, &self.data, &ids)?;
        let ranked = search_of_checked(ctx, &*queries, base, depth, self.sample.metric)?;
        let mut scores = RankingScores::default();
        for ((_, judged), ranked) in qrels.answered().zip(ranked.chunks_exact(depth)) {
            scores.add(judged, ranked);
        }
        Ok(Some(scores))
    }
}
