//! The stages of a fit, in order: prepare, watch, learn, judge, make the model.

use twinlearn_core::error::Result;
use twinlearn_core::progress::Stage;
use twinlearn_knn::KnnGraph;
use twinlearn_vectors::Subset;

use super::checkpoint::Keeper;
use super::finish::{Finish, Judged, Rivals, judged};
use super::forms::Forms;
use super::learn::{Learned, Reporting};
use super::outcome::{Clock, Fit, FitReport};
use super::prepare::Prepared;
use super::stages::Stages;
use super::start::{BestForm, BestForms, best_forms};
use super::state::Trained;
use super::step::Networks;
use super::validation::{Asking, Split, Watch, whitened};
use crate::nn::Network;

impl Stages<'_> {
    pub(super) fn run(
        &self,
        mut keeper: Option<Keeper<'_>>,
        graph: Option<KnnGraph>,
        held_out: usize,
        mut clock: Clock,
    ) -> Result<Fit> {
        let prepared = self.prepare(&mut keeper, graph, held_out, &mut clock)?;
        let watched = self.watched(&prepared, &mut clock)?;
        let watches = clock.time(Stage::Evaluate, || self.watches(&prepared, &watched));
        let [watch, judge] = watches?;
        let forms = prepared.forms.as_deref();
        let material = prepared.material(watch.as_ref());
        let callbacks = Some(&self.trainer.callbacks);
        let reporting = Reporting { callbacks, keeper: keeper.as_ref() };
        let Learned { best, begins, mut trained } =
            self.learn(&material, forms, reporting, &mut clock)?;
        let rows_alone = match &judge {
            Some(judge) if judge.n_queries(Asking::Queries) > 0 => {
                Some(clock.time(Stage::Compare, || self.rows_alone(&material, forms))?)
            }
            _ => None,
        };
        if trained.params.whiten > 0.0 {
            let (rows, power) = (Subset::new(self.x, &prepared.base)?, trained.params.whiten);
            let encoder = trained.networks.encoder;
            let encoder = clock.time(Stage::Whiten, || whitened(&self.ctx, &rows, encoder, power));
            trained.networks.encoder = encoder?;
        }
        let judged = match &judge {
            Some(judge) => clock.time(Stage::Evaluate, || {
                let nested = self.nested_rivals(forms, watch.as_ref())?;
                let rivals = Rivals { start: begins, best, nested, rows_alone };
                self.judged(judge, &trained.networks.encoder, &rivals)
            })?,
            None => Judged::default(),
        };
        self.finish(prepared, trained, judged, keeper.as_ref(), clock)
    }

    /// What the encoder keeps beside its rivals; without a verdict where an earlier model may have
    /// seen those it is judged by.
    fn judged(&self, judge: &Watch<'_>, encoder: &Network<f32>, rivals: &Rivals) -> Result<Judged> {
        let Judged { rows, queries } = judged(&self.ctx, judge, self.params.seed, encoder, rivals)?;
        let seen = self.seen_before;
        Ok(Judged {
            rows: rows.map(|report| match seen.rows || seen.validation {
                true => report.without_verdict(),
                false => report,
            }),
            queries: queries.map(|report| match seen.queries {
                true => report.without_verdict(),
                false => report,
            }),
        })
    }

    /// The model, kept where the fit is, and the report.
    fn finish(
        &self,
        prepared: Prepared<'_>,
        trained: Trained,
        judged: Judged,
        keeper: Option<&Keeper<'_>>,
        clock: Clock,
    ) -> Result<Fit> {
        let Trained { params, networks: Networks { encoder, projector }, mut record } = trained;
        record.validation = judged.rows;
        if let Some(record) = &mut record.queries {
            record.validation = judged.queries;
        }
        let projector = projector.filter(|_| params.retain_projector);
        let report = FitReport {
            n_rows: self.x.n_rows(),
            n_features: self.searched.dim(),
            n_components: params.n_components,
            stages: clock.stages,
            validation: record.validation.clone(),
            training: record.clone(),
        };
        let Self { x, span, origin, .. } = *self;
        let finish = Finish { x, span, origin, base: &prepared.base };
        let model = finish.model(&self.ctx, params, encoder, projector, record, true)?;
        if let Some(keeper) = keeper {
            let is_other = model.params().encoder != self.params.encoder;
            if is_other || report.training.steps == 0 || model.params().codes.is_some() {
                // Another took the place of what was watched, nothing was, or codes have been learned.
                keeper.save_model("best.safetensors", &model)?;
            }
            keeper.save_model("final.safetensors", &model)?;
        }
        let Prepared { split: Split { held_out, judged, .. }, graph, is_of_anchors, .. } = prepared;
        let graph = graph.filter(|_| !is_of_anchors);
        Ok(Fit { model, graph, report, held_out, judged })
    }

    /// The best closed form at every nested size.
    fn nested_rivals(
        &self,
        forms: Option<&Forms>,
        watch: Option<&Watch<'_>>,
    ) -> Result<Vec<(usize, Option<BestForm>)>> {
        let best = |&size: &usize| {
            let forms = forms.filter(|_| size <= self.x.dim());
            let best = forms.map(|forms| best_forms(&self.ctx, &forms.forms, size, watch));
            Ok((size, best.transpose()?.map(BestForms::best)))
        };
        self.params.nested.iter().map(best).collect()
    }
}
