//! Everything at once, beside baselines at the same d.

use serde::{Deserialize, Serialize};
use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_core::progress::{Event, Stage};
use twinlearn_knn::Metric;
use twinlearn_vectors::Subset;

use super::baselines::{Baselines, GRAPH_K};
use super::curves::{Curve, Curves, PART};
use super::data::{Checksums, EvaluationData, Reduction};
use super::judge::Judge;
use super::moved::{Moved, with_rows};
use super::nested::{NestedEvaluation, nested};
use super::params::EvaluationParams;
use super::plan::{EvaluationPlan, dimensions};
use crate::estimate::Estimate;
use crate::model::Model;
use crate::trainer::{held_out_rows, judged_queries};

/// What a method is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MethodKind {
    /// The original vectors.
    Full,
    /// A reduction that was given.
    Given,
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
    /// Bytes of a reduced vector as `f32`.
    pub bytes_per_vector: usize,
    /// recall@k of the original neighbours.
    pub recall: Estimate,
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

/// What [`evaluate`] found.
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
    /// the one that keeps most.
    #[must_use]
    pub fn best_baseline(&self) -> Option<&MethodEvaluation> {
        let is_baseline = |method: &&MethodEvaluation| method.kind == MethodKind::Baseline;
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
        Some(format!(
            "{} keeps {:.1} % of the {} nearest neighbours with {} of {} dimensions: {}.",
            first.name,
            100.0 * first.recall.value,
            self.n_neighbors,
            first.n_components,
            self.n_features,
            gap.beside(&format!("{} ({:.1} %)", best.name, 100.0 * best.recall.value)),
        ))
    }
}

/// Gives reductions whose name another method has, too, a name of their own.
fn tell_apart(methods: &mut [MethodEvaluation]) {
    for i in 0..methods.len() {
        if methods[i].kind != MethodKind::Given {
            continue;
        }
        let is_taken = |name: &str| {
            let mut others = methods.iter().enumerate();
            others
                .any(|(j, other)| other.name == name && (j < i || other.kind != MethodKind::Given))
        };
        let own = methods[i].name.clone();
        let numbered = (2..).map(|number| format!("{own} ({number})"));
        let free = std::iter::once(own.clone()).chain(numbered).find(|name| !is_taken(name));
        methods[i].name = free.unwrap_or(own);
    }
}

/// Which rows nothing was fitted on: queries that are given, or those that the models know they were
/// made without.
pub(super) enum Unseen {
    /// Nobody knows: models may have seen any row.
    Unknown,
    /// The given queries.
    Queries,
    /// Those of the given queries, for which models were made, that all models held out.
    SomeQueries(Vec<u32>),
    /// Rows that all models held out, and all rows that any held out.
    Rows { judged: Vec<u32>, held_out: Vec<u32> },
}

fn unseen(
    data: &EvaluationData<'_>,
    reductions: &[(&str, Reduction<'_>)],
    checksums: Checksums,
) -> Unseen {
    let models = reductions.iter().map(|(_, reduction)| match reduction {
        Reduction::Model(model) => Some(*model),
        Reduction::Map(_) | Reduction::Reduced { .. } => None,
    });
    if let (Some(queries), Some(checksum)) = (data.queries, checksums.queries) {
        // A model that was not made for them has seen none.
        let judged = |model: &Model| judged_queries(model, queries.n_rows(), checksum);
        return match common(models.flatten().filter_map(judged)) {
            None => Unseen::Queries,
            Some(some) if some.is_empty() => Unseen::Unknown,
            Some(some) => Unseen::SomeQueries(some),
        };
    }
    let held_out = |model: Option<&Model>| held_out_rows(model?, data.x.n_rows(), checksums.rows);
    let Some(all) = models.map(held_out).collect::<Option<Vec<_>>>() else {
        return Unseen::Unknown;
    };
    let mut held_out: Vec<u32> = all.iter().flat_map(|rows| rows.all.iter().copied()).collect();
    held_out.sort_unstable();
    held_out.dedup();
    match common(all.into_iter().map(|rows| rows.judged)) {
        Some(judged) if !judged.is_empty() => Unseen::Rows { judged, held_out },
        _ => Unseen::Unknown,
    }
}

/// How many rows the models may have held out of X, by what they say.
fn may_be_held_out(
    data: &EvaluationData<'_>,
    reductions: &[(&str, Reduction<'_>)],
) -> Option<usize> {
    let counts = reductions.iter().map(|(_, reduction)| match reduction {
        Reduction::Model(model) if model.training().n_rows == data.x.n_rows() => model
            .training()
            .held_out
            .as_ref()
            .filter(|rows| rows.count > 1 && !rows.seen)
            .map(|rows| rows.count),
        _ => None,
    });
    counts.collect::<Option<Vec<usize>>>()?.into_iter().max()
}

/// What is in all of some rising lists.
fn common(mut lists: impl Iterator<Item = Vec<u32>>) -> Option<Vec<u32>> {
    let first = lists.next()?;
    Some(lists.fold(first, |common, list| {
        common.into_iter().filter(|id| list.binary_search(id).is_ok()).collect()
    }))
}

/// Judges reductions, all on the same rows, and baselines at the first one's d.
///
/// # Errors
/// When sizes do not fit, a value is not finite, there are too few rows for k, or the work is
/// cancelled.
///
/// ```
/// use twinlearn::{Context, EvaluationData, EvaluationParams, LinearMap, Matrix, Reduction, evaluate};
/// let data = (0..200 * 6).map(|i| (i as f32 * 0.7).sin() * (1 + i % 6) as f32).collect();
/// let x = Matrix::new(200, 6, data)?;
/// let map = LinearMap::truncation(6, 3)?;
/// let reductions = [("first three", Reduction::Map(&map))];
/// let params = EvaluationParams::default();
/// let found = evaluate(&Context::new()?, &EvaluationData::new(&x), &reductions, &params)?;
/// assert_eq!(found.methods[0].recall.value, 1.0);
/// assert_eq!(found.methods[1].recall, found.methods[2].recall); // the baseline is the same map
/// # Ok::<(), twinlearn::Error>(())
/// ```
pub fn evaluate(
    ctx: &Context,
    data: &EvaluationData<'_>,
    reductions: &[(&str, Reduction<'_>)],
    params: &EvaluationParams,
) -> Result<Evaluation> {
    data.check_sizes()?;
    for (name, reduction) in reductions {
        reduction.check_sizes(name, data)?;
    }
    let d = reductions.first().map(|(_, reduction)| reduction.n_components());
    let d = d.filter(|&d| params.baselines && d <= data.x.dim());
    let widths: Vec<usize> = reductions.iter().map(|(_, r)| r.n_components()).collect();
    let held_out = may_be_held_out(data, reductions);
    let plan = EvaluationPlan::new(ctx, data, params, (&widths, d), held_out)?;
    let rest = plan.rest(ctx)?;
    ctx.emit(&Event::Plan(&plan.to_string()));
    let checksums = data.check_values(ctx, params.metric)?;
    for (name, reduction) in reductions {
        reduction.check_values(ctx, name)?;
    }
    let unseen = unseen(data, reductions, checksums);
    let moved = Moved::new(data.x, params.metric, reductions)?;
    let x = moved.as_ref().map(|moved| moved.rows(data.x));
    let queries = moved.as_ref().zip(data.queries).map(|(moved, queries)| moved.rows(queries));
    let data = &with_rows(data, x.as_ref(), queries.as_ref());
    let owned = moved.as_ref().map(|moved| moved.reductions(reductions));
    let reductions = owned.as_deref().unwrap_or(reductions);
    let total = plan.n_judged;
    ctx.stage(Stage::Evaluate, total, || {
        let quiet = &rest.quiet();
        let mut judge = Judge::new(quiet, data, params, &unseen)?;
        let full = Reduction::Reduced { x: data.x, queries: data.queries };
        let mut methods = Vec::with_capacity(total);
        let mut add =
            |judge: &mut Judge<'_>, kind: MethodKind, name: &str, reduction: &Reduction<'_>| {
                methods.push(judge.judge(quiet, (kind, name), reduction)?);
                ctx.emit(&Event::StageProgress { stage: Stage::Evaluate, done: methods.len() });
                Result::Ok(())
            };
        add(&mut judge, MethodKind::Full, "full vectors", &full)?;
        for (name, reduction) in reductions {
            add(&mut judge, MethodKind::Given, name, reduction)?;
        }
        let (mut notes, mut curves) = (judge.notes(), Vec::new());
        let mut baselines = None;
        if let Some(d) = d {
            let ids = judge.sample.fitted(params.fit_rows);
            let rows = Subset::new(data.x, &ids)?;
            let graph = Baselines::graph(quiet, &rows, GRAPH_K, params.metric, params.seed)?;
            let picture = if params.curves { dimensions(d, data.x.dim()) } else { Vec::new() };
            let most = picture.iter().chain(&widths).copied().fold(d, usize::max);
            let with = (params.metric, params.seed);
            let baselines = baselines.insert(Baselines::new(quiet, &rows, &graph, with, most)?);
            for (name, baseline) in baselines.at(quiet, d)? {
                add(&mut judge, MethodKind::Baseline, &name, &Reduction::Map(&baseline))?;
            }
            if params.curves {
                let mut measured = Curves::new(quiet, *data, (&judge.sample, PART), params.seed)?;
                for d in picture {
                    measured.measure_baselines(baselines, d)?;
                }
                curves = measured.finish();
            }
            notes
                .push(format!("Baselines were fitted on {} rows, without the queries.", ids.len()));
        }
        tell_apart(&mut methods);
        let nested = nested(quiet, &judge, reductions, (baselines.as_ref(), &unseen), params.seed)?;
        let rival = match (&unseen, reductions.first()) {
            (Unseen::Rows { .. }, Some((_, Reduction::Model(model)))) => {
                model.training().validation.as_ref().and_then(|report| report.closed_form.clone())
            }
            _ => None,
        };
        if let Some(rival) = rival.as_ref().filter(|_| d.is_some()) {
            notes.push(format!("{rival} was chosen by other rows that the fit held out."));
        }
        Ok(Evaluation {
            n_rows: judge.sample.base.len(),
            n_features: data.x.dim(),
            n_queries: judge.sample.queries.len(),
            n_neighbors: params.n_neighbors,
            metric: params.metric,
            seed: params.seed,
            unseen: !matches!(unseen, Unseen::Unknown),
            rival,
            methods,
            curves,
            nested,
            notes,
        })
    })
}
