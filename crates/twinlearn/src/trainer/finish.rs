//! What follows training: the model, and what it is worth.

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_vectors::{Subset, Vectors};

use super::start::BestForm;
use super::validation::{Asking, Scores, Watch, mean};
use crate::estimate::Estimate;
use crate::model::{Model, NestedReport, QueryReport, RowsAlone, TrainingRecord, ValidationReport};
use crate::nn::{Network, encode};
use crate::params::Params;
use crate::span::Span;

/// What is said of a fit, by rows and queries by which nothing was chosen.
#[derive(Default)]
pub(super) struct Judged {
    pub(super) rows: Option<ValidationReport>,
    pub(super) queries: Option<QueryReport>,
}

/// The recall of every query by an encoder.
fn scores(ctx: &Context, judge: &Watch<'_>, encoder: &Network<f32>) -> Result<Scores> {
    let encoder = encoder.folded();
    judge.scores(ctx, &|ctx, x| encode(ctx, &encoder, x))
}

fn of(scores: &Scores, asking: Asking) -> Option<&[f64]> {
    scores.iter().find(|(of, _)| *of == asking).map(|(_, scores)| &scores[..])
}

/// The recall of every query by a closed form, where there is one.
fn closed_scores(
    ctx: &Context,
    judge: &Watch<'_>,
    best: Option<&BestForm>,
) -> Result<Option<Scores>> {
    let scores = best.map(|best| judge.scores(ctx, &|ctx, x| best.map.transform(ctx, x)));
    scores.transpose()
}

/// What an encoder is compared with.
pub(super) struct Rivals {
    /// Itself before training.
    pub(super) start: Network<f32>,
    /// The best closed form at d, if there is one.
    pub(super) best: Option<BestForm>,
    /// That of each nested size.
    pub(super) nested: Vec<(usize, Option<BestForm>)>,
    /// What the same fit gives on rows alone, where it was for queries.
    pub(super) rows_alone: Option<Network<f32>>,
}

/// What was kept beside all of these.
pub(super) fn judged(
    ctx: &Context,
    judge: &Watch<'_>,
    seed: u64,
    encoder: &Network<f32>,
    rivals: &Rivals,
) -> Result<Judged> {
    let Rivals { start, best, nested, rows_alone } = rivals;
    let (best, rows_alone) = (best.as_ref(), rows_alone.as_ref());
    let ours = scores(ctx, judge, encoder)?;
    let started = judge.scores_of(ctx, start)?;
    let closed = closed_scores(ctx, judge, best)?;
    let alone = rows_alone.map(|encoder| scores(ctx, judge, encoder)).transpose()?;
    let beside = |other: &Option<Scores>, asking| {
        let (ours, other) = (of(&ours, asking)?, of(other.as_ref()?, asking)?);
        Some((mean(other), Estimate::of_difference(ours, other, seed)))
    };
    let mut reports = Vec::new();
    for (size, best) in nested {
        reports.extend(nested_report(ctx, judge, seed, encoder, *size, best.as_ref())?);
    }
    let rows = of(&ours, Asking::Rows).map(|recall| {
        let closed = beside(&closed, Asking::Rows);
        ValidationReport {
            nested: reports,
            start_recall: of(&started, Asking::Rows).map(mean),
            closed_form: best.map(|best| best.name.clone()),
            pca_recall: closed.map(|(recall, _)| recall),
            gain: closed.map(|(_, gain)| gain),
            ..judge.report(mean(recall))
        }
    });
    let queries = of(&ours, Asking::Queries).map(|recall| {
        let closed = beside(&closed, Asking::Queries);
        let row = beside(&alone, Asking::Rows);
        QueryReport {
            n_queries: recall.len(),
            k: judge.k,
            recall: mean(recall),
            pca_recall: closed.map(|(recall, _)| recall),
            gain: closed.map(|(_, gain)| gain),
            rows_alone: beside(&alone, Asking::Queries).map(|(recall, gain)| RowsAlone {
                recall,
                gain,
                row_recall: row.map(|(recall, _)| recall),
                row_gain: row.map(|(_, gain)| gain),
            }),
        }
    });
    Ok(Judged { rows, queries })
}

/// What the first `size` numbers keep; none where there are no rows to tell by.
fn nested_report(
    ctx: &Context,
    judge: &Watch<'_>,
    seed: u64,
    encoder: &Network<f32>,
    size: usize,
    best: Option<&BestForm>,
) -> Result<Option<NestedReport>> {
    let ours = scores(ctx, judge, &encoder.first_outputs(size))?;
    let Some(ours) = of(&ours, Asking::Rows) else { return Ok(None) };
    let closed = closed_scores(ctx, judge, best)?;
    let closed = closed.as_ref().and_then(|scores| of(scores, Asking::Rows));
    Ok(Some(NestedReport {
        n_components: size,
        recall: mean(ours),
        pca_recall: closed.map(mean),
        closed_form: best.map(|best| best.name.clone()),
        gain: closed.map(|closed| Estimate::of_difference(ours, closed, seed)),
    }))
}

/// What makes a model of an encoder.
pub(super) struct Finish<'a> {
    pub(super) x: &'a dyn Vectors,
    /// In whose coordinates the rows of x are.
    pub(super) span: Option<&'a Span>,
    pub(super) origin: Option<&'a [f64]>,
    pub(super) base: &'a [u32],
}

impl Finish<'_> {
    /// The model, with its product code where that is wanted: it takes longer than the rest.
    pub(super) fn model(
        &self,
        ctx: &Context,
        params: Params,
        encoder: Network<f32>,
        projector: Option<Network<f32>>,
        record: TrainingRecord,
        with_codes: bool,
    ) -> Result<Model> {
        let rows = Subset::new(self.x, self.base)?;
        let model = Model::new(params, encoder, projector, record).with_ranges(ctx, &rows)?;
        let model = if with_codes { model.with_product(ctx, &rows)? } else { model };
        let model = match self.span {
            Some(span) => model.with_input(|weight| span.lift(ctx, weight))?,
            None => model,
        };
        Ok(model.of_origin(self.origin))
    }
}
