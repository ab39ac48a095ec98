//! From closed forms to a trained encoder: start, coordinates, training, nested sizes.

use twinlearn_core::error::{Error, Result};
use twinlearn_core::progress::Stage;
use twinlearn_vectors::Subset;

use super::Callbacks;
use super::axes::{Similarity, gap};
use super::checkpoint::Keeper;
use super::finish::Finish;
use super::forms::Forms;
use super::nest::nested;
use super::outcome::Clock;
use super::prepare::Material;
use super::run::Run;
use super::setting::Setting;
use super::stages::Stages;
use super::start::{self, BestForm, BestForms, best_forms};
use super::state::Trained;
use super::step::Networks;
use super::tuner::tuned;
use super::validation::{Asking, whitened};
use crate::estimate::Estimate;
use crate::linear_map::LinearMap;
use crate::nn::{Network, NetworkSpec};
use crate::params::{Init, Params, Solver};

/// The share of neighbours that is taken for all.
const ALL: f64 = 0.999;

/// Whom training reports to, and where it is kept.
#[derive(Clone, Copy, Default)]
pub(super) struct Reporting<'a> {
    pub(super) callbacks: Option<&'a Callbacks>,
    pub(super) keeper: Option<&'a Keeper<'a>>,
}

/// What comes of it.
pub(super) struct Learned {
    /// The best closed form at d.
    pub(super) best: Option<BestForm>,
    /// The encoder before training.
    pub(super) begins: Network<f32>,
    pub(super) trained: Trained,
}

impl Stages<'_> {
    pub(super) fn learn(
        &self,
        material: &Material<'_>,
        forms: Option<&Forms>,
        reporting: Reporting<'_>,
        clock: &mut Clock,
    ) -> Result<Learned> {
        let Self { params, ctx, x, .. } = self;
        let Material { graph, pairs, queries, watch, base, .. } = *material;
        let (best, networks) = self.start(material, forms, clock)?;
        let linear = params.encoder.hidden().is_empty();
        let start_recall = match (params.init, &best) {
            (Init::Best, Some(best)) if linear && params.whiten == 0.0 => best.start.recall,
            _ => watch.map(|watch| watch.recall_of(ctx, &networks.encoder)).transpose()?,
        };
        // Training cannot be seen to better a closed form that keeps all watched neighbours.
        let is_perfect = params.is_listed()
            && params.init == Init::Best
            && linear
            && start_recall >= Some(ALL)
            && queries.is_none()
            && self.holds_out(material.split);
        let trains = params.solver == Solver::Sgd && !self.keeps_start() && !is_perfect;
        // Rows are moved to the coordinates of training, which takes as long as a search.
        let moves = params.is_listed() && (trains || !params.nested.is_empty());
        let axes = match forms {
            Some(forms) if moves => Some(self.axes(forms, &networks, graph)?),
            _ => None,
        };
        let gap = match &axes {
            Some(axes) => {
                let factors = axes.factors();
                let similarity = Similarity { metric: params.metric, factors: &factors };
                gap(&*axes.rows, &*axes.rows, pairs, &similarity)?.unwrap_or(1.0)
            }
            None => 1.0,
        };
        let asked = queries.zip(axes.as_ref()).map(|(queries, axes)| {
            queries.inside(ctx, axes, (params.metric, gap), self.keeps_queries)
        });
        let asked = asked.transpose()?;
        let pca = forms.map(|forms| forms.forms.pca());
        let (axes, asked) = (axes.as_ref(), asked.as_ref());
        let setting = Setting { ctx, x: *x, pca, axes, queries: asked, nested: &[], gap };
        let finish = Finish { x: *x, span: self.span, origin: self.origin, base };
        let record = self.record(material.split, queries);
        let run = Run {
            params,
            ctx,
            record: &record,
            pairs,
            setting: &setting,
            watch,
            callbacks: reporting.callbacks,
            keeper: reporting.keeper,
            finish: &finish,
        };
        let begins = networks.encoder.clone();
        let trained = match trains {
            true => clock.time(Stage::Train, || {
                let params = match reporting.keeper.and_then(|keeper| keeper.params(params)) {
                    Some(params) => params,
                    None => tuned(&run, &networks)?,
                };
                Run { params: &params, ..run }.train(networks, start_recall)
            })?,
            false => run.start(networks),
        };
        let trained = match params.nested.is_empty() {
            true => trained,
            false => clock.time(Stage::Nest, || nested(&run, trained))?,
        };
        let centred = best.as_ref().and_then(|best| best.centred.as_ref());
        let begins_best = params.init == Init::Best && linear && params.nested.is_empty();
        let keeps_best = params.is_listed() || params.solver == Solver::Pca;
        let trained = match centred.filter(|_| begins_best && keeps_best) {
            Some(form) => clock.time(Stage::Evaluate, || or_centred(&run, trained, form))?,
            None => trained,
        };
        let learned = Learned { best: best.map(BestForms::best), begins, trained };
        match forms.is_some() && self.cannot_begin_linear() {
            true => clock.time(Stage::Linear, || self.or_linear(learned, material, forms)),
            false => Ok(learned),
        }
    }

    /// The best closed forms, and the networks before training.
    fn start(
        &self,
        material: &Material<'_>,
        forms: Option<&Forms>,
        clock: &mut Clock,
    ) -> Result<(Option<BestForms>, Networks)> {
        let Self { params, ctx, x, .. } = self;
        let Material { pairs, watch, .. } = *material;
        let (all_forms, forms) = (forms, forms.map(|forms| &forms.forms));
        let d = params.n_components;
        if self.cannot_begin_linear() {
            ctx.warn(&format!(
                "encoder: {} with norm_layer {} cannot begin as a linear encoder to {d} dimensions \
                 (an mlp needs batch norm and {} units in each hidden layer): it begins at random",
                params.encoder,
                params.norm_layer,
                2 * d
            ));
        }
        let best = forms
            .filter(|_| d <= x.dim())
            .map(|forms| clock.time(Stage::Evaluate, || best_forms(ctx, forms, d, watch)));
        let best = best.transpose()?;
        let map = match (params.init, params.encoder.hidden().is_empty()) {
            (Init::Best, true) => best.as_ref().map(|best| best.start.map.clone()),
            (Init::Best, false) => {
                let linear = || self.linear(material, all_forms, &[]);
                let encoder = clock.time(Stage::Linear, linear)?.trained.networks.encoder;
                let Some((weight, bias)) = encoder.as_linear() else {
                    return Err(Error::invalid("encoder", "a linear one", "another"));
                };
                let bias = bias.map_or_else(|| vec![0.0; weight.rows()], <[f32]>::to_vec);
                Some(LinearMap { weight: weight.clone(), bias })
            }
            _ => None,
        };
        let model = self.trainer.model.as_ref();
        let starts = || start::networks(params, ctx, *x, pairs, forms, map, model);
        let networks = match params.init {
            Init::Spectral => clock.time(Stage::Spectral, starts)?,
            _ => starts()?,
        };
        Ok((best, networks))
    }

    /// Whether the encoder has hidden layers that cannot carry a linear map, and begins at random.
    fn cannot_begin_linear(&self) -> bool {
        let params = &self.params;
        params.is_listed()
            && params.init == Init::Random
            && !params.encoder.carries(params.n_components, params.norm_layer)
    }

    /// What was trained from a random start, where held-out rows say that it keeps more than the
    /// linear encoder of the same fit, beyond their noise; else that.
    fn or_linear(
        &self,
        learned: Learned,
        material: &Material<'_>,
        forms: Option<&Forms>,
    ) -> Result<Learned> {
        let linear = self.linear(material, forms, &self.params.nested)?;
        // Rows that were trained on say nothing.
        let given = self.validation.is_some() || self.queries.is_some();
        let watch = material.watch.filter(|_| given || !material.split.watched.is_empty());
        let gain = watch.map(|watch| {
            let [ours, theirs] = [&learned, &linear].map(|learned| {
                let scores = watch.scores_of(&self.ctx, &learned.trained.networks.encoder)?;
                Result::Ok(scores.into_iter().flat_map(|(_, scores)| scores).collect::<Vec<f64>>())
            });
            Result::Ok(Estimate::of_difference(&ours?, &theirs?, self.params.seed))
        });
        let gain = gain.transpose()?;
        if gain.is_some_and(|gain| gain.low > 0.0) {
            return Ok(learned);
        }
        let reported = match gain {
            Some(Estimate { low, high, .. }) => {
                format!(
                    "by held-out rows (95 %: {:+.1} to {:+.1} points)",
                    100.0 * low,
                    100.0 * high
                )
            }
            None => "as no rows were held out to tell".to_owned(),
        };
        self.ctx.warn(&format!(
            "encoder: {} is not ahead of the linear encoder of the same fit, {reported}: the linear one is \
             the model",
            self.params.encoder
        ));
        Ok(Learned { best: learned.best, ..linear })
    }

    /// The linear encoder that the same fit gives.
    fn linear(
        &self,
        material: &Material<'_>,
        forms: Option<&Forms>,
        nested: &[usize],
    ) -> Result<Learned> {
        self.ctx.stage(Stage::Linear, 1, || {
            let params = self.params.changed(|p| {
                p.encoder = NetworkSpec::linear();
                p.init = Init::Best;
                p.nested = nested.to_vec();
            });
            let linear = self.with(params);
            // Linear encoders may see rows of length 1 where others see them as they are.
            let own = match linear.to_unit() == self.to_unit() {
                true => None,
                false => linear.forms(material.split, material.pairs, material.queries)?,
            };
            let (forms, mut clock) = (own.as_deref().or(forms), Clock::default());
            linear.learn(material, forms, Reporting::default(), &mut clock)
        })
    }

    /// The encoder that the same fit gives without its queries.
    pub(super) fn rows_alone(
        &self,
        material: &Material<'_>,
        forms: Option<&Forms>,
    ) -> Result<Network<f32>> {
        self.ctx.stage(Stage::Compare, 1, || {
            let watch = material.watch.and_then(|watch| watch.only(Asking::Rows));
            let material = Material { queries: None, watch: watch.as_ref(), ..*material };
            let alone = self.with(self.params.changed(|p| p.nested.clear()));
            let learned =
                alone.learn(&material, forms, Reporting::default(), &mut Clock::default())?;
            let encoder = learned.trained.networks.encoder;
            let rows = Subset::new(self.x, material.base)?;
            whitened(&alone.ctx, &rows, encoder, self.params.whiten)
        })
    }

    /// The same stages for other parameters, without events.
    fn with(&self, params: Params) -> Stages<'_> {
        Stages { params, ctx: self.ctx.quiet(), for_truth: self.for_truth.quiet(), ..*self }
    }
}

/// What was trained, or the closed form that takes the mean off, where that keeps more.
fn or_centred(run: &Run<'_>, trained: Trained, form: &BestForm) -> Result<Trained> {
    let Some(watch) = run.watch else { return Ok(trained) };
    let centred = form.map.network();
    let recall = |encoder| watch.recall_of(run.ctx, encoder);
    if recall(&centred)? <= recall(&trained.networks.encoder)? {
        return Ok(trained);
    }
    Ok(run.start(Networks { encoder: centred, projector: None }))
}
