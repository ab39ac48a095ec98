//! Everything at once, beside baselines at the same d.

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_core::progress::{Event, Stage};
use twinlearn_vectors::Subset;

use super::baselines::{Baselines, GRAPH_K};
use super::coded::{self, Formats, MOST_OPQ};
use super::curves::{Curves, PART};
use super::data::{EvaluationData, Reduction};
use super::formats::Kept;
use super::judge::Judge;
use super::moved::{Moved, with_rows};
use super::nested::nested;
use super::params::EvaluationParams;
use super::plan::{EvaluationPlan, dimensions};
use super::results::{Evaluation, MethodKind, tell_apart};
use super::unseen::{Unseen, may_be_held_out, unseen};

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
    params.check()?;
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
    ctx.emit(&Event::Plan(&plan.report()));
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
        let mut add = |judge: &mut Judge<'_>, kind: MethodKind, name: &str, kept: &Kept<'_>| {
            methods.push(judge.judge(quiet, (kind, name), kept)?);
            ctx.emit(&Event::StageProgress { stage: Stage::Evaluate, done: methods.len() });
            Result::Ok(())
        };
        add(&mut judge, MethodKind::Full, "full vectors", &Kept::floats(full))?;
        let (mut notes, mut curves) = (judge.notes(), Vec::new());
        let is_coded = params.is_coded();
        let formats = is_coded.then(|| Formats::new(quiet, *data, &judge.sample, params));
        let given = match &formats {
            Some(formats) => formats.given(reductions)?,
            None => {
                let floats = |(name, reduction): &(&str, _)| {
                    (MethodKind::Given, (*name).to_owned(), Kept::floats(*reduction))
                };
                reductions.iter().map(floats).collect()
            }
        };
        for (kind, name, kept) in &given {
            add(&mut judge, *kind, name, kept)?;
        }
        if let (true, Some((.., first))) = (params.is_coded(), given.first()) {
            notes.extend(coded::notes(first, params.candidates));
        }
        let mut baselines = None;
        if let Some(d) = d {
            let ids = judge.sample.fitted(params.fit_rows);
            let rows = Subset::new(data.x, &ids)?;
            let graph = Baselines::graph(quiet, &rows, GRAPH_K, params.metric, params.seed)?;
            let picture =
                if params.has_picture() { dimensions(d, data.x.dim()) } else { Vec::new() };
            let most = picture.iter().chain(&widths).copied().fold(d, usize::max);
            let most = if params.is_coded() { most.max(MOST_OPQ.min(data.x.dim())) } else { most };
            let with = (params.metric, params.seed);
            let baselines = baselines.insert(Baselines::new(quiet, &rows, &graph, with, most)?);
            match (&formats, given.first()) {
                (Some(formats), Some((.., first))) => {
                    let [pca, leading] = formats.forms(&judge.sample, baselines, d)?;
                    for (kind, name, kept) in formats.baselines(first, full, [&pca, &leading])? {
                        add(&mut judge, kind, &name, &kept)?;
                    }
                }
                _ => {
                    for (name, map) in baselines.at(quiet, d)? {
                        let kept = Kept::floats(Reduction::Map(&map));
                        add(&mut judge, MethodKind::Baseline, &name, &kept)?;
                    }
                }
            }
            if params.has_picture() {
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
        let nested = match params.is_coded() {
            true => Vec::new(),
            false => nested(quiet, &judge, reductions, (baselines.as_ref(), &unseen), params.seed)?,
        };
        let rival = match (&unseen, reductions.first()) {
            (Unseen::Rows { .. }, Some((_, Reduction::Model(model)))) if !params.is_coded() => {
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
            candidates: params.candidates,
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
