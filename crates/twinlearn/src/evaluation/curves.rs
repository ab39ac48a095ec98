//! Recall against dimension.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_knn::recall_scores;
use twinlearn_knn::search_of_checked;

use super::baselines::Baselines;
use super::data::{EvaluationData, Reduction};
use super::sample::Sample;
use crate::estimate::Estimate;

/// The name of ours among the curves.
pub(super) const TLDR: &str = "TLDR";
/// The name of the best form of PCA at each dimension.
pub(super) const PCA: &str = "PCA";

/// Recall at one dimension.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// d.
    pub n_components: usize,
    /// recall@k of the held-out rows' neighbours.
    pub recall: Estimate,
}

/// Recall against dimension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// `TLDR`, `PCA` (the best closed form at each d), or another baseline.
    pub name: String,
    /// By rising d.
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

/// Curves that grow as dimensions are measured.
pub(super) struct Curves<'a> {
    pub(super) ctx: &'a Context,
    pub(super) data: EvaluationData<'a>,
    pub(super) sample: &'a Sample,
    pub(super) seed: u64,
    /// By name and dimension.
    points: BTreeMap<String, BTreeMap<usize, Estimate>>,
}

impl<'a> Curves<'a> {
    pub(super) fn new(
        ctx: &'a Context,
        data: EvaluationData<'a>,
        sample: &'a Sample,
        seed: u64,
    ) -> Self {
        Self { ctx, data, sample, seed, points: BTreeMap::new() }
    }

    /// Measures every baseline at d, at most the most that they are for.
    pub(super) fn measure_baselines(&mut self, baselines: &Baselines, d: usize) -> Result<()> {
        for (name, baseline) in baselines.at(self.ctx, d)? {
            let name = if name.starts_with(PCA) { PCA } else { &name };
            self.measure(name, &Reduction::Map(&baseline))?;
        }
        Ok(())
    }

    /// Measures a reduction; of several under one name and dimension the best stays.
    pub(super) fn measure(&mut self, name: &str, reduction: &Reduction<'_>) -> Result<()> {
        let Sample { k, metric, .. } = *self.sample;
        let base = reduction.rows(self.ctx, self.data.x, &self.sample.base)?;
        let queries = reduction.queries(self.ctx, &self.data, &self.sample.queries)?;
        let found = search_of_checked(self.ctx, &*queries, &*base, k, metric)?;
        let recall = recall_scores(&self.sample.truth, &found, k)?;
        let recall = Estimate::of_mean(&recall, self.seed);
        let curve = self.points.entry(name.to_owned()).or_default();
        let kept = curve.entry(base.dim()).or_insert(recall);
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
        let point = |(n_components, recall)| CurvePoint { n_components, recall };
        let curve = |(name, points): (String, BTreeMap<usize, Estimate>)| Curve {
            name,
            points: points.into_iter().map(point).collect(),
        };
        let mut curves: Vec<Curve> = self.points.into_iter().map(curve).collect();
        let place = |name: &str| [TLDR, PCA].iter().position(|n| *n == name).unwrap_or(2);
        curves.sort_by_key(|curve| place(&curve.name));
        curves
    }
}
