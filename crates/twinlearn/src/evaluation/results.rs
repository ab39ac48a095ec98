//! What evaluations find.

use serde::{Deserialize, Serialize};
use twinlearn_knn::Metric;

use crate::estimate::Estimate;

/// What a method is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MethodKind {
    /// The original vectors.
    Full,
    /// A reduction that was given.
    Given,
    /// A reduction that was given, kept in another way than the one that is judged.
    OtherFormat,
    /// One of ours to compare with.
    Baseline,
}

/// What a reduction keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodEvaluation {
    /// What it is.
    pub kind: MethodKind,
    /// As it was given, or the baseline's. One that another has too is followed by a number.
    pub name: String,
    /// d.
    pub n_components: usize,
    /// How vectors are kept: `f32`; `int8`; codes of `sq1` to `sq8` or `pq:M`; `Hamming` is sq1 compared by
    /// Hamming distance, `signs` the same of whether numbers are above 0, `signs/f32` that with float queries.
    #[serde(default = "floats")]
    pub format: String,
    /// Bytes of a vector, what it has beside its numbers included.
    pub bytes_per_vector: usize,
    /// Bytes of what all vectors share: ranges, a mean, a rotation and centres.
    #[serde(default)]
    pub shared_bytes: usize,
    /// recall@k of the original neighbours.
    pub recall: Estimate,
    /// The same after [`candidates`](Evaluation::candidates) rows of each query are put in order by the full
    /// vectors.
    #[serde(default)]
    pub rescored: Option<Estimate>,
    /// The first reduction's recall minus this one's, query by query: an interval above 0 says that
    /// the first is better.
    pub recall_behind_first: Option<Estimate>,
    /// Accuracy of classification by the k neighbours, where there are labels.
    pub accuracy: Option<Estimate>,
    /// nDCG@10, where there are judgements.
    pub ndcg_at_10: Option<Estimate>,
    /// Mean average precision of the first 1000 answers.
    pub average_precision: Option<Estimate>,
    /// Share of the answers among the first 100.
    pub recall_at_100: Option<Estimate>,
    /// Whether neighbours in the reduced space are neighbours: 1 is best.
    pub trustworthiness: Estimate,
    /// Whether neighbours stay neighbours: 1 is best.
    pub continuity: Estimate,
    /// The number of axes that the reduced vectors use, between 1 and d; none for the full vectors.
    pub effective_rank: Option<Estimate>,
}

impl MethodEvaluation {
    /// Whether vectors are kept as other than 32-bit floats.
    pub(super) fn is_coded(&self) -> bool {
        self.format != floats()
    }
}

fn floats() -> String {
    "f32".to_owned()
}

/// What [`evaluate`](crate::evaluate()) found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Rows among which neighbours were looked for.
    pub n_rows: usize,
    /// D.
    pub n_features: usize,
    /// Rows whose neighbours they were.
    pub n_queries: usize,
    /// k.
    pub n_neighbors: usize,
    /// Candidates that were put in order by the full vectors, if any were.
    #[serde(default)]
    pub candidates: Option<usize>,
    /// How near rows are.
    pub metric: Metric,
    /// The seed of every sample and resample.
    pub seed: u64,
    /// The full vectors, the reductions as given, the baselines.
    pub methods: Vec<MethodEvaluation>,
    /// Whether nothing was fitted on the queries, as far as is known: only then is there a verdict.
    #[serde(default)]
    pub unseen: bool,
    /// The baseline that the verdict is about, where the fit of the first reduction chose it by other
    /// rows that it held out; else it is the one that keeps most here.
    #[serde(default)]
    pub rival: Option<String>,
    /// Recall of the baselines against dimension, where it was asked for.
    #[serde(default)]
    pub curves: Vec<Curve>,
    /// The nested sizes of the first reduction, where it is a model that has some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nested: Vec<NestedEvaluation>,
    /// What was sampled, in words.
    pub notes: Vec<String>,
}

impl Evaluation {
    /// The reductions that were given, in their order.
    pub fn given(&self) -> impl Iterator<Item = &MethodEvaluation> {
        self.methods.iter().filter(|method| method.kind == MethodKind::Given)
    }

    /// The baseline that the verdict is about, where baselines were judged: [`rival`](Self::rival), or
    /// of those that take no more bytes than the first reduction the one that keeps most.
    #[must_use]
    pub fn best_baseline(&self) -> Option<&MethodEvaluation> {
        let most = self.given().next().map_or(usize::MAX, |first| first.bytes_per_vector);
        let is_baseline = |method: &&MethodEvaluation| {
            method.kind == MethodKind::Baseline && method.bytes_per_vector <= most
        };
        let baselines = || self.methods.iter().filter(is_baseline);
        let chosen = self.rival.as_ref();
        let chosen = chosen.and_then(|name| baselines().find(|method| method.name == *name));
        chosen.or_else(|| baselines().max_by(|a, b| a.recall.value.total_cmp(&b.recall.value)))
    }

    /// How the first reduction does beside the best baseline, in one sentence; none without baselines,
    /// and none where the first may have seen the queries, which no baseline has.
    #[must_use]
    pub fn sentence(&self) -> Option<String> {
        let (first, best) = (self.given().next()?, self.best_baseline()?);
        if !self.unseen {
            return None;
        }
        let gap = best.recall_behind_first?;
        let (size, rival) = match first.is_coded() {
            false => {
                let (d, dim) = (first.n_components, self.n_features);
                (format!("with {d} of {dim} dimensions"), best.name.clone())
            }
            true => {
                let rival = format!("{} as {}", best.name, best.format);
                (format!("in {} bytes ({})", first.bytes_per_vector, first.format), rival)
            }
        };
        Some(format!(
            "{} keeps {:.1} % of the {} nearest neighbours {size}: {}.",
            first.name,
            100.0 * first.recall.value,
            self.n_neighbors,
            gap.beside(&format!("{rival} ({:.1} %)", 100.0 * best.recall.value)),
        ))
    }
}

/// Gives reductions whose name another method has, too, a name of their own.
pub(super) fn tell_apart(methods: &mut [MethodEvaluation]) {
    for i in 0..methods.len() {
        if methods[i].kind != MethodKind::Given {
            continue;
        }
        let is_taken = |name: &str| {
            let mut others = methods.iter().enumerate().filter(|(_, other)| other.name == name);
            others.any(|(j, other)| match other.kind {
                MethodKind::Given | MethodKind::OtherFormat => j < i,
                _ => true,
            })
        };
        let own = methods[i].name.clone();
        let numbered = (2..).map(|number| format!("{own} ({number})"));
        let free = std::iter::once(own.clone()).chain(numbered).find(|name| !is_taken(name));
        let name = free.unwrap_or(own);
        methods[i].name.clone_from(&name);
        let others = methods[i + 1..].iter_mut();
        let others = others.take_while(|method| method.kind == MethodKind::OtherFormat);
        others.for_each(|method| method.name.clone_from(&name));
    }
}

/// Recall at one dimension.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// d.
    pub n_components: usize,
    /// Bytes of a vector.
    #[serde(default)]
    pub bytes_per_vector: usize,
    /// recall@k of the held-out rows' neighbours.
    pub recall: Estimate,
}

/// Recall against dimension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// `TLDR`, `PCA` (the best form of it that solver pca has, at each d), or another baseline.
    pub name: String,
    /// How vectors are kept: `f32`, `int8`, `signs`, `sq1` to `sq8`, or `pq`, product codes.
    #[serde(default = "floats")]
    pub format: String,
    /// By rising bytes.
    pub points: Vec<CurvePoint>,
}

impl Curve {
    /// The dimension at which `of` its points reaches `share`, by linear interpolation; at D (`dim`)
    /// all is kept.
    pub(super) fn reaches(&self, share: f64, dim: usize, of: fn(&Estimate) -> f64) -> usize {
        let mut before: Option<(usize, f64)> = None;
        let measured = self.points.iter().map(|point| (point.n_components, of(&point.recall)));
        for (d, kept) in measured.chain([(dim, 1.0)]) {
            if kept >= share {
                let Some((low, below)) = before else { return d };
                let part = (share - below) / (kept - below);
                return low + ((d - low) as f64 * part).round() as usize;
            }
            before = Some((d, kept));
        }
        dim
    }
}

/// Reductions to one of the nested sizes of the first model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NestedEvaluation {
    /// The size.
    pub n_components: usize,
    /// The first numbers of the first model's reduced vectors; then models of that size, or with that
    /// nested size, in their order; then the baseline that keeps most, or the one that the fit of the
    /// first chose by other rows that it held out.
    pub methods: Vec<NestedMethod>,
}

/// What one of them keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NestedMethod {
    /// As it was given, or the baseline's.
    pub name: String,
    /// recall@k of the original neighbours.
    pub recall: Estimate,
    /// The first one's recall minus this one's, query by query; none where the first may have seen the
    /// queries.
    pub recall_behind_first: Option<Estimate>,
}
