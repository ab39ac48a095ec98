//! What the first numbers of reduced vectors keep, at every nested size of a model.

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;

use super::baselines::Baselines;
use super::data::Reduction;
use super::judge::Judge;
use super::results::{NestedEvaluation, NestedMethod};
use super::unseen::Unseen;
use crate::estimate::Estimate;
use crate::model::Model;

/// Judges all nested sizes of the first reduction, if it is a model that has some. Nothing is compared
/// where it may have seen the queries.
pub(super) fn nested(
    ctx: &Context,
    judge: &Judge<'_>,
    reductions: &[(&str, Reduction<'_>)],
    (baselines, unseen): (Option<&Baselines>, &Unseen),
    seed: u64,
) -> Result<Vec<NestedEvaluation>> {
    let Some((_, Reduction::Model(first))) = reductions.first() else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for &size in &first.params().nested {
        let mut scores: Vec<(String, Vec<f64>)> = Vec::new();
        for (name, reduction) in reductions {
            let Reduction::Model(model) = reduction else { continue };
            let is_nested = model.params().nested.contains(&size);
            if is_nested || model.n_components() == size {
                let prefix = model.prefix(size)?;
                let recall = judge.recall(ctx, &Reduction::Model(&prefix))?;
                scores.push(((*name).to_owned(), recall));
            }
        }
        let mut maps = baselines.map(|b| b.at(ctx, size)).transpose()?.unwrap_or_default();
        if let Some(chosen) = chosen(first, size).filter(|_| matches!(unseen, Unseen::Rows { .. }))
            && let Some(place) = maps.iter().position(|(name, _)| *name == chosen)
        {
            maps = vec![maps.swap_remove(place)];
        }
        let mut best: Option<(f64, String, Vec<f64>)> = None;
        for (name, map) in maps {
            let recall = judge.recall(ctx, &Reduction::Map(&map))?;
            let sum = recall.iter().sum::<f64>();
            if best.as_ref().is_none_or(|best| sum > best.0) {
                best = Some((sum, name, recall));
            }
        }
        scores.extend(best.map(|(_, name, recall)| (name, recall)));
        let behind = |recall: &[f64]| Estimate::of_difference(&scores[0].1, recall, seed);
        let compares = !matches!(unseen, Unseen::Unknown);
        let methods = scores.iter().enumerate().map(|(i, (name, recall))| NestedMethod {
            name: name.clone(),
            recall: Estimate::of_mean(recall, seed),
            recall_behind_first: (i > 0 && compares).then(|| behind(recall)),
        });
        all.push(NestedEvaluation { n_components: size, methods: methods.collect() });
    }
    Ok(all)
}

/// The closed form of that size which the fit of a model chose.
fn chosen(model: &Model, size: usize) -> Option<String> {
    let report = model.training().validation.as_ref()?;
    let nested = report.nested.iter().find(|nested| nested.n_components == size)?;
    nested.closed_form.clone()
}
