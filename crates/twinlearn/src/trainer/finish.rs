//! What follows training: the model, and what it is worth.

use super::start::BestForm;
use super::validation::{ValidationReport, Watch, mean};
use crate::context::Context;
use crate::data::{Subset, Vectors};
use crate::error::Result;
use crate::evaluation::Estimate;
use crate::model::{Model, TrainingRecord};
use crate::nn::{Network, encode};
use crate::params::Params;

/// What was kept, the start and the best closed form on rows by which none of them was chosen.
pub(super) fn judged(
    ctx: &Context,
    judge: &Watch<'_>,
    params: &Params,
    encoder: &Network<f32>,
    start: &Network<f32>,
    best: Option<&BestForm>,
) -> Result<ValidationReport> {
    let quiet = &ctx.quiet();
    let by = |network: &Network<f32>| {
        let network = network.folded();
        judge.scores(quiet, &move |ctx, x| encode(ctx, &network, x))
    };
    let ours = by(encoder)?;
    let mut report = ValidationReport {
        start_recall: Some(judge.recall_of(ctx, start)?),
        ..judge.report(mean(ours.clone()))
    };
    if let Some(best) = best {
        let closed = judge.scores(quiet, &|ctx, x| best.map.transform(ctx, x))?;
        let gains: Vec<f64> = ours.iter().zip(&closed).map(|(a, b)| a - b).collect();
        report.closed_form = Some(best.name.clone());
        report.pca_recall = Some(mean(closed));
        report.gain = Some(Estimate::of_mean(&gains, params.seed));
    }
    Ok(report)
}

/// What makes a model of an encoder.
pub(super) struct Finish<'a> {
    pub(super) x: &'a dyn Vectors,
    pub(super) origin: Option<&'a [f64]>,
    pub(super) base: &'a [u32],
}

impl Finish<'_> {
    pub(super) fn model(
        &self,
        ctx: &Context,
        params: Params,
        encoder: Network<f32>,
        projector: Option<Network<f32>>,
        record: TrainingRecord,
    ) -> Result<Model> {
        let rows = Subset::new(self.x, self.base)?;
        let model = Model::new(params, encoder, projector, record).with_ranges(ctx, &rows)?;
        Ok(model.of_origin(self.origin))
    }
}
