//! What parameters that are not given become, and which may be given together.

use std::fmt::Display;

use twinlearn_core::error::{Error, Result};
use twinlearn_knn::Metric;

use super::{Hyperparameters, Init, Loss, NOISE, Optimizer, Params, ParamsBuilder, Recipe, Solver};
use crate::nn::{NetworkSpec, NormLayer};

/// The length of the lists of loss KL.
pub(super) const LIST: usize = 64;
/// λ of loss BT.
const LAMBDA: f64 = 3.9e-3;
/// s of loss BT.
const SCALE: f64 = 1.0 / 32.0;

fn default_neighbors(is_listed: bool) -> usize {
    if is_listed { LIST } else { 5 }
}

impl ParamsBuilder {
    /// What is not given is as in `params`, of a fit of `n_rows`.
    pub(crate) fn going_on(params: &Params, n_rows: usize) -> Self {
        let mut own = Hyperparameters::clone(params);
        // A list of all other rows may be shorter than it was to be: that says nothing of larger sets.
        if own.n_neighbors + 1 >= n_rows {
            own.n_neighbors = default_neighbors(own.is_listed());
        }
        Self { model: Some(Box::new(own)), ..Self::default() }
    }

    /// Whether this is about the Barlow Twins loss, though it does not say so.
    fn implies_bt(&self) -> bool {
        let other = |value: Option<f64>, default: f64| value.is_some_and(|v| v != default);
        self.recipe == Some(Recipe::Reference)
            || matches!(self.projector, Some(Some(_)))
            || other(self.lambd, LAMBDA)
            || other(self.scale_loss, SCALE)
    }

    /// Fills in the recipe's defaults and checks everything.
    ///
    /// # Errors
    /// When a value is out of range, two of them contradict each other, or one has no effect beside
    /// the others; the message names the parameter, what was expected and what came.
    pub fn build(self) -> Result<Params> {
        let recipe = self.recipe.unwrap_or_default();
        let reference = recipe == Recipe::Reference;
        let model = self.model.as_deref();
        let encoder = self.encoder.clone().or_else(|| model.map(|m| m.encoder.clone()));
        let encoder = encoder.unwrap_or_else(NetworkSpec::linear);
        let n_components = self.n_components.or(model.map(|m| m.n_components)).unwrap_or(32);
        let norm_layer = self.norm_layer.or(model.map(|m| m.norm_layer)).unwrap_or_default();
        let solver = self.solver.unwrap_or_default();
        let trains = solver == Solver::Sgd;
        let by_default = match (self.implies_bt(), model) {
            (true, _) => Loss::BT,
            (false, Some(model)) => model.loss,
            (false, None) => Loss::KL,
        };
        let asked = self.loss.unwrap_or(by_default);
        let loss = if asked == Loss::Auto { Loss::KL } else { asked };
        // What a model was made with matters where the loss is the same.
        let model_of_loss = model.filter(|m| m.loss == loss);
        let gaussian =
            self.gaussian.or(model_of_loss.map(|m| m.gaussian)).unwrap_or(false) && trains;
        self.check_effects(asked, loss, gaussian, &encoder)?;

        let linear = encoder.hidden().is_empty();
        let default_init = match solver {
            _ if model.is_some() => Init::Model,
            Solver::Spectral => Init::Spectral,
            _ if self.pca_power.is_some() => Init::Pca,
            Solver::Pca => Init::Best,
            Solver::Sgd if reference => Init::Random,
            Solver::Sgd if linear => Init::Best,
            Solver::Sgd if encoder.carries(n_components, norm_layer) => match loss {
                Loss::KL if !gaussian => Init::Best,
                _ => Init::Pca,
            },
            Solver::Sgd => Init::Random,
        };
        let optimizer = self.optimizer.or(model_of_loss.map(|m| m.optimizer));
        let optimizer = optimizer.unwrap_or(match loss {
            Loss::BT => Optimizer::Lars,
            _ => Optimizer::AdamW,
        });
        let default_projector = if reference { "mlp-2-2048" } else { "mlp-1-256" };
        let projector = match (self.projector.clone(), model_of_loss) {
            (Some(projector), _) => projector,
            (None, Some(model)) => model.projector.clone(),
            (None, None) if loss == Loss::KL || !trains => None,
            (None, None) => Some(default_projector.parse()?),
        };
        let epochs = match (self.epochs, loss) {
            (Some(epochs), _) => Some(epochs),
            (None, _) if reference => Some(100),
            (None, Loss::KL) => None,
            (None, _) => Some(8),
        };
        let warmup_epochs = match (self.warmup_epochs, epochs) {
            (Some(warmup), _) => Some(warmup),
            (None, Some(epochs)) if reference => Some(10.min(epochs.saturating_sub(1))),
            (None, _) if loss == Loss::KL => None,
            (None, epochs) => Some(usize::from(epochs > Some(1))),
        };
        let learning_rate = match (self.learning_rate, optimizer, loss) {
            (Some(rate), ..) => Some(rate),
            (None, Optimizer::Lars, _) => Some(0.2),
            (None, Optimizer::AdamW, Loss::KL) if !gaussian => None,
            (None, Optimizer::AdamW, Loss::KL) => Some(0.01),
            (None, Optimizer::AdamW, _) => Some(0.001),
        };
        // A model's own are for its d.
        let own = model_of_loss.filter(|m| m.n_components == n_components && trains && !gaussian);
        let mut nested = self.nested.or(own.map(|m| m.nested.clone())).unwrap_or_default();
        // The whole may be named at their end.
        if nested.len() > 1 && nested.last() == Some(&n_components) {
            nested.pop();
        }
        let own_codes = model.filter(|m| m.n_components == n_components).and_then(|m| m.codes);
        let listed = loss == Loss::KL && trains && !gaussian;
        let metric = self.metric.or(model.map(|m| m.metric));
        let alike = model_of_loss.filter(|m| m.solver == solver && m.gaussian == gaussian);
        let n_neighbors = self.n_neighbors.or(alike.map(|m| m.n_neighbors));
        let batch_size = self.batch_size.or(alike.map(|m| m.batch_size));
        let knn_method = self.knn_method.or(model.map(|m| m.knn_method));
        let approximation = model.and_then(|m| m.knn_approximation);
        let all = Hyperparameters {
            recipe,
            n_components,
            n_neighbors: n_neighbors.unwrap_or(default_neighbors(listed)),
            metric: metric.unwrap_or(if reference { Metric::Ip } else { Metric::Cosine }),
            knn_method: knn_method.unwrap_or_default(),
            knn_approximation: self.knn_approximation.or(approximation),
            init: self.init.unwrap_or(default_init),
            encoder,
            projector,
            norm_layer,
            pca_power: self.pca_power.unwrap_or(match (loss, solver) {
                (Loss::BT, Solver::Sgd) => 0.25,
                _ => 0.5,
            }),
            epochs,
            warmup_epochs,
            batch_size: batch_size.unwrap_or(match (recipe, loss) {
                (Recipe::Reference, _) => 1024,
                (Recipe::Default, Loss::BT) => 512,
                (Recipe::Default, Loss::KL) if listed => 128,
                (Recipe::Default, _) => 256,
            }),
            solver,
            loss,
            optimizer,
            tau: self.tau.or(model_of_loss.and_then(|m| m.tau)),
            centre_target: self
                .centre_target
                .or(model_of_loss.map(|m| m.centre_target))
                .unwrap_or(false),
            gaussian,
            noise: self.noise.or(model_of_loss.map(|m| m.noise)).unwrap_or(NOISE),
            learning_rate,
            lambd: self.lambd.or(model_of_loss.map(|m| m.lambd)).unwrap_or(LAMBDA),
            scale_loss: self.scale_loss.or(model_of_loss.map(|m| m.scale_loss)).unwrap_or(SCALE),
            whiten: self.whiten.or(model.map(|m| m.whiten)).unwrap_or(0.0),
            validation_fraction: self
                .validation_fraction
                .or(model.and_then(|m| m.validation_fraction)),
            query_share: self.query_share,
            nested,
            codes: self.codes.or(own_codes),
            retain_projector: self.retain_projector.unwrap_or(false),
            seed: self.seed.or(model.map(|m| m.seed)).unwrap_or(0),
        };
        Ok(Params {
            batch_by_default: self.batch_size.is_none(),
            neighbors_by_default: self.n_neighbors.is_none(),
            ..Params::try_from(all)?
        })
    }

    /// Refuses what was given and would do nothing.
    fn check_effects(
        &self,
        asked: Loss,
        loss: Loss,
        gaussian: bool,
        encoder: &NetworkSpec,
    ) -> Result<()> {
        fn given<T: Display + PartialEq>(value: &Option<T>, default: Option<T>) -> Option<String> {
            // The default itself changes nothing and may be written down.
            value.as_ref().filter(|v| default.as_ref() != Some(v)).map(ToString::to_string)
        }
        let solver = self.solver.unwrap_or_default();
        let trains = solver == Solver::Sgd;
        let refuse = |name: &str, value: Option<String>, applies: bool, where_: String| match value
        {
            Some(value) if !applies => {
                Err(Error::invalid(name, format_args!("none with {where_}"), value))
            }
            _ => Ok(()),
        };
        let with_solver = || format!("solver {solver}, which does not train");
        let projector = match &self.projector {
            Some(Some(projector)) => Some(projector.to_string()),
            _ => None,
        };
        for (name, value) in [
            ("loss", given(&self.loss, None)),
            ("optimizer", given(&self.optimizer, None)),
            ("projector", projector.clone()),
            ("epochs", given(&self.epochs, None)),
            ("warmup_epochs", given(&self.warmup_epochs, None)),
            ("batch_size", given(&self.batch_size, None)),
            ("learning_rate", given(&self.learning_rate, None)),
            ("tau", given(&self.tau, None)),
            ("gaussian", given(&self.gaussian, Some(false))),
            ("noise", given(&self.noise, None)),
            ("query_share", given(&self.query_share, None)),
            ("lambd", given(&self.lambd, Some(LAMBDA))),
            ("scale_loss", given(&self.scale_loss, Some(SCALE))),
            ("retain_projector", given(&self.retain_projector, Some(false))),
            ("recipe", given(&self.recipe, Some(Recipe::Default))),
        ] {
            refuse(name, value, trains, with_solver())?;
        }
        let centre_target = given(&self.centre_target, Some(false));
        let metric = self.metric.or(self.model.as_ref().map(|m| m.metric));
        let about_the_mean = "metric l2, which is about the mean anyway".to_owned();
        refuse("centre_target", centre_target.clone(), metric != Some(Metric::L2), about_the_mean)?;
        if !trains {
            let norm = given(&self.norm_layer, Some(NormLayer::default()));
            refuse("norm_layer", norm, false, with_solver())?;
            for (name, value) in [
                ("n_neighbors", given(&self.n_neighbors, None)),
                ("knn_method", given(&self.knn_method, None)),
                ("knn_approximation", given(&self.knn_approximation, None)),
            ] {
                let needs = solver != Solver::Pca;
                refuse(name, value, needs, "solver pca, which looks for no neighbours".to_owned())?;
            }
            let init = given(&self.init, None).filter(|init| *init != solver.to_string());
            return refuse("init", init, false, format!("solver {solver}"));
        }
        if asked == Loss::Auto {
            let chooses = || "loss auto, which chooses it".to_owned();
            refuse("tau", given(&self.tau, None), false, chooses())?;
            refuse("init", given(&self.init, None), false, chooses())?;
        }
        let with_loss = || format!("loss {asked}");
        let (kl, bt) = (loss == Loss::KL, loss == Loss::BT);
        refuse("tau", given(&self.tau, None), kl, with_loss())?;
        refuse("centre_target", centre_target, kl, with_loss())?;
        refuse("lambd", given(&self.lambd, Some(LAMBDA)), bt, with_loss())?;
        refuse("scale_loss", given(&self.scale_loss, Some(SCALE)), bt, with_loss())?;
        refuse("query_share", given(&self.query_share, None), kl && !gaussian, with_loss())?;
        refuse("projector", projector, !kl, with_loss())?;
        refuse("noise", given(&self.noise, None), gaussian, "neighbours as pairs".to_owned())?;
        for (name, value) in [
            ("n_neighbors", given(&self.n_neighbors, None)),
            ("knn_method", given(&self.knn_method, None)),
            ("knn_approximation", given(&self.knn_approximation, None)),
        ] {
            refuse(name, value, !gaussian, "gaussian pairs, which need no neighbours".to_owned())?;
        }
        let starts_there = |init: Init| matches!(init, Init::Pca | Init::Spectral);
        if let Some(init) = self.init {
            let power = given(&self.pca_power, None);
            refuse("pca_power", power, starts_there(init), format!("init {init}"))?;
        } else if self.model.is_some() {
            let from = "a model to go on from".to_owned();
            refuse("pca_power", given(&self.pca_power, None), false, from)?;
        }
        let norms = !encoder.hidden().is_empty() || !kl;
        let norm = given(&self.norm_layer, Some(NormLayer::default()));
        refuse("norm_layer", norm, norms, "no hidden layer".to_owned())?;
        let projects = match &self.projector {
            Some(projector) => projector.is_some(),
            None => !kl,
        };
        let retained = given(&self.retain_projector, Some(false));
        refuse("retain_projector", retained, projects, "no projector".to_owned())
    }
}
