//! Recall against dimension.

use std::collections::BTreeMap;

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;

use super::baselines::Baselines;
use super::data::{EvaluationData, Reduction};
use super::formats::{Format, Kept};
use super::results::{Curve, CurvePoint};
use super::sample::Sample;
use crate::closed::sees_more_than_rows;
use crate::estimate::Estimate;
use crate::linear_map::LinearMap;
use crate::pca::Pca;

/// The name of ours among the curves.
pub(super) const TLDR: &str = "TLDR";
/// The name of the best form of PCA at each dimension.
pub(super) const PCA: &str = "PCA";

/// Rows among which the form of PCA is chosen, of more than twice as many: a search among all rows for
/// each of a dozen forms at each dimension would take minutes.
pub(super) const PART: usize = 100_000;

/// Whether a baseline is one of the forms of PCA that solver pca has.
pub(super) fn is_form_of_pca(name: &str) -> bool {
    name.starts_with(PCA) && !sees_more_than_rows(name)
}

/// The form of PCA of d dimensions whose recall, as floats, is the most by `score` of all queries'.
pub(super) fn best_form(
    ctx: &Context,
    (data, sample): (&EvaluationData<'_>, &Sample),
    (baselines, d): (&Baselines, usize),
    score: impl Fn(&[f64]) -> f64,
) -> Result<(String, LinearMap)> {
    let mut best: Option<(f64, (String, LinearMap))> = None;
    for (name, map) in baselines.at(ctx, d)? {
        if is_form_of_pca(&name) {
            let score = score(&sample.recall(ctx, data, &Reduction::Map(&map))?);
            if best.as_ref().is_none_or(|best| score > best.0) {
                best = Some((score, (name, map)));
            }
        }
    }
    best.map(|(_, form)| form).ok_or_else(Pca::equal_rows)
}

/// Curves that grow as dimensions are measured.
pub(super) struct Curves<'a> {
    pub(super) ctx: &'a Context,
    pub(super) data: EvaluationData<'a>,
    pub(super) sample: &'a Sample,
    pub(super) seed: u64,
    /// Rows that are found, of which those that are neighbours count.
    count: usize,
    /// The same queries among some of many rows, to choose the form of PCA by.
    part: Option<Sample>,
    /// By name and dimension.
    points: BTreeMap<String, BTreeMap<usize, Estimate>>,
}

impl<'a> Curves<'a> {
    /// `part` is of how many rows some are looked at to choose the form of PCA by, where there are more
    /// than twice as many.
    pub(super) fn new(
        ctx: &'a Context,
        data: EvaluationData<'a>,
        (sample, part): (&'a Sample, usize),
        seed: u64,
    ) -> Result<Self> {
        let part = match sample.base.len() > 2 * part {
            true => Some(sample.part(ctx, &data, part)?),
            false => None,
        };
        Ok(Self { ctx, data, sample, seed, count: sample.k, part, points: BTreeMap::new() })
    }

    /// Recall is among the first `count` rows that are found.
    pub(super) fn among(self, count: usize) -> Self {
        Self { count, ..self }
    }

    /// Among how many rows the form of PCA is chosen, if not among all.
    pub(super) fn n_chosen_by(&self) -> Option<usize> {
        self.part.as_ref().map(|part| part.base.len())
    }

    /// Measures every baseline at d, at most the most that they are for.
    pub(super) fn measure_baselines(&mut self, baselines: &Baselines, d: usize) -> Result<()> {
        let (forms, others): (Vec<_>, Vec<_>) =
            baselines.at(self.ctx, d)?.into_iter().partition(|(name, _)| is_form_of_pca(name));
        for (name, map) in others {
            self.measure(&name, &Reduction::Map(&map))?;
        }
        let forms = forms.into_iter().map(|(_, map)| map);
        for map in self.worth_measuring(forms.collect())? {
            self.measure(PCA, &Reduction::Map(&map))?;
        }
        Ok(())
    }

    /// The forms of PCA that may keep most: all, or of many rows the one that keeps most among some.
    fn worth_measuring(&self, forms: Vec<LinearMap>) -> Result<Vec<LinearMap>> {
        let Some(part) = &self.part else { return Ok(forms) };
        let recall = |map: LinearMap| {
            let scores = part.recall(self.ctx, &self.data, &Reduction::Map(&map))?;
            Ok((scores.iter().sum::<f64>(), map))
        };
        let measured = forms.into_iter().map(recall).collect::<Result<Vec<_>>>()?;
        let best = measured.into_iter().max_by(|a, b| a.0.total_cmp(&b.0));
        Ok(best.into_iter().map(|(_, map)| map).collect())
    }

    /// Measures a reduction; of several under one name and dimension the best stays.
    pub(super) fn measure(&mut self, name: &str, reduction: &Reduction<'_>) -> Result<()> {
        let kept = Kept::floats(*reduction);
        let scores = self.sample.kept_recall(self.ctx, &self.data, &kept, self.count)?;
        let recall = Estimate::of_mean(&scores, self.seed);
        let curve = self.points.entry(name.to_owned()).or_default();
        let kept = curve.entry(reduction.n_components()).or_insert(recall);
        if recall.value > kept.value {
            *kept = recall;
        }
        Ok(())
    }

    /// The measured points of a curve.
    pub(super) fn of(&self, name: &str) -> &BTreeMap<usize, Estimate> {
        const NONE: &BTreeMap<usize, Estimate> = &BTreeMap::new();
        self.points.get(name).unwrap_or(NONE)
    }

    /// Ours first, then PCA's.
    pub(super) fn finish(self) -> Vec<Curve> {
        let point = |(n_components, recall)| CurvePoint {
            n_components,
            bytes_per_vector: Format::Floats.row_bytes(n_components),
            recall,
        };
        let curve = |(name, points): (String, BTreeMap<usize, Estimate>)| Curve {
            name,
            format: Format::Floats.name(),
            points: points.into_iter().map(point).collect(),
        };
        let mut curves: Vec<Curve> = self.points.into_iter().map(curve).collect();
        let place = |name: &str| [TLDR, PCA].iter().position(|n| *n == name).unwrap_or(2);
        curves.sort_by_key(|curve| place(&curve.name));
        curves
    }
}

#[cfg(test)]
mod tests {
    use twinlearn_core::linalg::Matrix;
    use twinlearn_knn::Metric;

    use super::*;
    use crate::evaluation::EvaluationParams;
    use crate::evaluation::unseen::Unseen;

    /// The form is chosen among a part of the rows; its recall is measured among all of them.
    #[test]
    fn the_form_of_pca_is_chosen_among_some_of_many_rows() {
        let ctx = Context::with_threads(2).unwrap();
        let value = |i: usize| ((i * 7919 % 9973) as f32 * 0.37).sin() / (1 + i % 12) as f32;
        let x = Matrix::new(900, 12, (0..900 * 12).map(value).collect()).unwrap();
        let data = EvaluationData::new(&x);
        let sample =
            Sample::new(&ctx, &data, &EvaluationParams::default(), &Unseen::Unknown).unwrap();
        let (n, metric) = (sample.base.len(), Metric::Cosine);
        let graph = Baselines::graph(&ctx, &x, 5, metric, 0).unwrap();
        let baselines = Baselines::new(&ctx, &x, &graph, (metric, 0), 12).unwrap();
        let reported = |part: usize, d: usize| {
            let mut curves = Curves::new(&ctx, data, (&sample, part), 0).unwrap();
            curves.measure_baselines(&baselines, d).unwrap();
            let reported = curves.of(PCA)[&d].value;
            (reported, curves.n_chosen_by())
        };
        for d in [2, 4, 6] {
            let forms = baselines.at(&ctx, d).unwrap();
            let of_form = |(name, map): &(String, LinearMap)| {
                let recall = |sample: &Sample| {
                    let scores = sample.recall(&ctx, &data, &Reduction::Map(map)).unwrap();
                    scores.iter().sum::<f64>() / scores.len() as f64
                };
                let part = sample.part(&ctx, &data, 100).unwrap();
                let is_form = name.starts_with(PCA) && name != "PCA with neighbours";
                is_form.then(|| (recall(&part), recall(&sample)))
            };
            let recalls: Vec<(f64, f64)> = forms.iter().filter_map(of_form).collect();
            let best = recalls.iter().map(|r| r.1).fold(0.0, f64::max);
            assert_eq!(reported(n, d), (best, None));
            let chosen = recalls.iter().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
            assert_eq!(reported(100, d), (chosen.1, Some(100)));
        }
    }
}
