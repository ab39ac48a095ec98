//! What a run is told: an unchecked builder becomes validated parameters.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::knn::{KnnApproximation, KnnMethod, KnnParams, Metric, check_method};
use crate::names::named;
use crate::nn::{NetworkKind, NetworkSpec, NormLayer};

/// A set of defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recipe {
    /// Ours: a linear encoder starts from PCA, and few epochs refine it.
    #[default]
    Default,
    /// The paper's code: random start, batches of 1024, 100 epochs, neighbours by inner product.
    Reference,
}

/// Where the encoder starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// The first principal axes, each divided by σ^`pca_power`; for linear encoders.
    Pca,
    /// The first axes that rows share with their neighbours, each divided by s^(`pca_power`/2), s
    /// the covariance along it; for linear encoders.
    Spectral,
    /// Weights and biases uniform within ±1/√fan_in.
    Random,
}

/// What training minimises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Loss {
    /// Barlow Twins: the cross-correlation of the projected views should be the identity.
    #[default]
    BT,
    /// Neighbourhood KL: an anchor should see the batch in the reduced space as it sees it in the
    /// input space. No projector.
    KL,
}

/// What changes the weights by their gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// LARS, momentum 0.9. The learning rate is for a batch of 256 and scaled by the batch.
    #[default]
    Lars,
    /// AdamW. The learning rate is taken as it is.
    AdamW,
}

named!(Loss, "loss", "BT or KL", BT = "BT", KL = "KL");
named!(Optimizer, "optimizer", "lars or adamw", Lars = "lars", AdamW = "adamw");
named!(Recipe, "recipe", "default or reference", Default = "default", Reference = "reference");
/// How the encoder is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Solver {
    /// Stochastic gradient steps on the loss.
    #[default]
    Sgd,
    /// The closed form: a spectral start and no training; for linear encoders.
    Spectral,
}

named!(
    Init,
    "init",
    "pca, spectral or random",
    Pca = "pca",
    Spectral = "spectral",
    Random = "random"
);
named!(Solver, "solver", "sgd or spectral", Sgd = "sgd", Spectral = "spectral");

/// Everything that decides what is learned, as the model file records it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Hyperparameters {
    /// The defaults the others started from.
    pub recipe: Recipe,
    /// d, the dimension of the reduced vectors.
    pub n_components: usize,
    /// The neighbours a row may be paired with.
    pub n_neighbors: usize,
    /// How near two rows are.
    pub metric: Metric,
    /// How neighbours are found.
    #[serde(default)]
    pub knn_method: KnnMethod,
    /// The level of product quantisation, where that finds them.
    #[serde(default)]
    pub knn_approximation: Option<KnnApproximation>,
    /// The encoder, D → d.
    pub encoder: NetworkSpec,
    /// The projector that training puts after the encoder; none trains the encoder directly.
    pub projector: Option<NetworkSpec>,
    /// The normalisation in hidden layers.
    pub norm_layer: NormLayer,
    /// Where the encoder starts.
    pub init: Init,
    /// γ: a PCA start divides each column by σ^γ, a spectral one by s^(γ/2).
    pub pca_power: f64,
    /// How the encoder is found.
    #[serde(default)]
    pub solver: Solver,
    /// What is minimised.
    #[serde(default)]
    pub loss: Loss,
    /// What changes the weights.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// τ, the temperature of the KL loss's targets.
    #[serde(default = "default_tau")]
    pub tau: f64,
    /// Whether the KL loss's targets are cosines about the mean of the training rows.
    #[serde(default)]
    pub centre_target: bool,
    /// Passes over the anchors, at most.
    pub epochs: usize,
    /// Epochs over which the learning rate rises.
    pub warmup_epochs: usize,
    /// Anchors in a step; lowered, with a warning, where there are fewer.
    pub batch_size: usize,
    /// The learning rate; with LARS for a batch of 256, and scaled by the batch.
    pub learning_rate: f64,
    /// λ, the weight of the off-diagonal part of the loss.
    pub lambd: f64,
    /// s, the factor of the whole loss.
    pub scale_loss: f64,
    /// γ: the reduced vectors are turned to their principal axes and divided by σ^γ; 0 leaves them.
    #[serde(default)]
    pub whiten: f64,
    /// The share of rows held out of training, on which recall is measured; `None` holds out a
    /// tenth, 1000 at the most, and nothing below 100 rows.
    pub validation_fraction: Option<f64>,
    /// Whether the model keeps the projector, to go on training from it.
    pub retain_projector: bool,
    /// The seed of everything random.
    pub seed: u64,
}

/// Validated hyper-parameters: only these can run. They are read through
/// [`Hyperparameters`] and cannot be changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Params(Hyperparameters);

impl Deref for Params {
    type Target = Hyperparameters;

    fn deref(&self) -> &Hyperparameters {
        &self.0
    }
}

impl Params {
    /// A builder; what is not set comes from the recipe.
    ///
    /// ```
    /// let params = twinlearn::Params::builder().n_components(64).n_neighbors(10).build()?;
    /// assert_eq!(params.n_components, 64);
    /// let error = twinlearn::Params::builder().n_components(0).build().unwrap_err();
    /// assert_eq!(error.to_string(), "n_components: expected at least 1, got 0");
    /// # Ok::<(), twinlearn::Error>(())
    /// ```
    #[must_use]
    pub fn builder() -> ParamsBuilder {
        ParamsBuilder::default()
    }

    /// The search for the neighbours of the rows.
    #[must_use]
    pub fn knn(&self) -> KnnParams {
        KnnParams::new(self.n_neighbors)
            .metric(self.metric)
            .method(self.knn_method)
            .approximation(self.knn_approximation)
            .seed(self.seed)
    }

    /// How many of `n_rows` rows are held out of training.
    #[must_use]
    pub fn n_validation(&self, n_rows: usize) -> usize {
        match self.validation_fraction {
            Some(share) => (n_rows as f64 * share) as usize,
            None if n_rows < 100 => 0,
            None => (n_rows / 10).min(1000),
        }
    }
}

impl TryFrom<Hyperparameters> for Params {
    type Error = Error;

    fn try_from(h: Hyperparameters) -> Result<Self> {
        at_least("n_components", h.n_components, 1)?;
        at_least("n_neighbors", h.n_neighbors, 1)?;
        check_method(h.knn_method, h.knn_approximation)?;
        at_least("epochs", h.epochs, 1)?;
        if h.warmup_epochs >= h.epochs {
            return Err(Error::invalid(
                "warmup_epochs",
                format_args!("fewer than epochs ({})", h.epochs),
                h.warmup_epochs,
            ));
        }
        at_least("batch_size", h.batch_size, 2)?;
        positive("learning_rate", h.learning_rate)?;
        positive("scale_loss", h.scale_loss)?;
        positive("tau", h.tau)?;
        if let (Loss::KL, Some(projector)) = (h.loss, &h.projector) {
            return Err(Error::invalid("projector", "none with loss KL", projector));
        }
        if !(h.lambd >= 0.0 && h.lambd.is_finite()) {
            return Err(Error::invalid("lambd", "a finite number from 0", h.lambd));
        }
        if !(0.0..=4.0).contains(&h.pca_power) {
            return Err(Error::invalid("pca_power", "a number from 0 to 4", h.pca_power));
        }
        if !(0.0..=4.0).contains(&h.whiten) {
            return Err(Error::invalid("whiten", "a number from 0 to 4", h.whiten));
        }
        if h.whiten > 0.0 && h.retain_projector && h.projector.is_some() {
            return Err(Error::invalid(
                "whiten",
                "0 where the projector is retained (it was trained before it)",
                h.whiten,
            ));
        }
        if let Some(share) = h.validation_fraction
            && !(0.0..=0.9).contains(&share)
        {
            return Err(Error::invalid("validation_fraction", "a number from 0 to 0.9", share));
        }
        if h.init != Init::Random && h.encoder.kind() != NetworkKind::Linear {
            return Err(Error::invalid(
                "init",
                format_args!(
                    "random for the encoder {} ({} starts linear ones)",
                    h.encoder, h.init
                ),
                h.init,
            ));
        }
        if h.solver == Solver::Spectral && h.init != Init::Spectral {
            return Err(Error::invalid("init", "spectral with solver spectral", h.init));
        }
        Ok(Self(h))
    }
}

fn default_tau() -> f64 {
    0.05
}

fn at_least(name: &str, value: usize, least: usize) -> Result<()> {
    if value < least {
        return Err(Error::invalid(name, format_args!("at least {least}"), value));
    }
    Ok(())
}

fn positive(name: &str, value: f64) -> Result<()> {
    if !(value > 0.0 && value.is_finite()) {
        return Err(Error::invalid(name, "a finite number above 0", value));
    }
    Ok(())
}

macro_rules! builder {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)+) => {
        /// Parameters not yet checked; [`build`](Self::build) checks them.
        #[derive(Clone, Debug, Default)]
        pub struct ParamsBuilder {
            $($field: Option<$type>,)+
        }

        impl ParamsBuilder {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $field(mut self, $field: $type) -> Self {
                    self.$field = Some($field);
                    self
                }
            )+
        }
    };
}

builder! {
    /// The defaults for everything else; default: [`Recipe::Default`].
    recipe: Recipe,
    /// d; default 32.
    n_components: usize,
    /// k; default 5.
    n_neighbors: usize,
    /// Default: cosine; inner product in the reference recipe.
    metric: Metric,
    /// Default: auto.
    knn_method: KnnMethod,
    /// Default: none.
    knn_approximation: KnnApproximation,
    /// Default: `linear`.
    encoder: NetworkSpec,
    /// Default: `mlp-1-2048`; `mlp-2-2048` in the reference recipe; none with loss KL. `None`
    /// trains without one.
    projector: Option<NetworkSpec>,
    /// Default: sgd.
    solver: Solver,
    /// Default: BT.
    loss: Loss,
    /// Default: lars; adamw with loss KL.
    optimizer: Optimizer,
    /// τ; default 0.05.
    tau: f64,
    /// Default: false.
    centre_target: bool,
    /// Default: BN.
    norm_layer: NormLayer,
    /// Default: pca for a linear encoder, spectral with solver spectral; random for others and in
    /// the reference recipe.
    init: Init,
    /// γ of a PCA or spectral start; default 0.5.
    pca_power: f64,
    /// Default 8; 100 in the reference recipe.
    epochs: usize,
    /// Default 1 (0 when there is only one epoch); 10 in the reference recipe.
    warmup_epochs: usize,
    /// Default 256; 1024 in the reference recipe.
    batch_size: usize,
    /// Default 0.2 with LARS, for a batch of 256; 0.01 with AdamW.
    learning_rate: f64,
    /// λ; default 3.9e-3.
    lambd: f64,
    /// s; default 1/32.
    scale_loss: f64,
    /// γ of the output; default 0.
    whiten: f64,
    /// See [`Hyperparameters::validation_fraction`].
    validation_fraction: f64,
    /// Default: false.
    retain_projector: bool,
    /// Default 0.
    seed: u64,
}

impl ParamsBuilder {
    /// Fills in the recipe's defaults and checks everything.
    ///
    /// # Errors
    /// When a value is out of range or two of them contradict each other; the message names the
    /// parameter, what was expected and what came.
    pub fn build(self) -> Result<Params> {
        let recipe = self.recipe.unwrap_or_default();
        let reference = recipe == Recipe::Reference;
        let encoder = self.encoder.unwrap_or_else(NetworkSpec::linear);
        let linear = encoder.kind() == NetworkKind::Linear;
        let epochs = self.epochs.unwrap_or(if reference { 100 } else { 8 });
        let default_projector = if reference { "mlp-2-2048" } else { "mlp-1-2048" };
        let loss = self.loss.unwrap_or_default();
        let solver = self.solver.unwrap_or_default();
        let default_init = match solver {
            Solver::Spectral => Init::Spectral,
            Solver::Sgd if linear && !reference => Init::Pca,
            Solver::Sgd => Init::Random,
        };
        let optimizer = self.optimizer.unwrap_or(match loss {
            Loss::BT => Optimizer::Lars,
            Loss::KL => Optimizer::AdamW,
        });
        let projector = match self.projector {
            Some(projector) => projector,
            None if loss == Loss::KL => None,
            None => Some(default_projector.parse()?),
        };
        Hyperparameters {
            recipe,
            n_components: self.n_components.unwrap_or(32),
            n_neighbors: self.n_neighbors.unwrap_or(5),
            metric: self.metric.unwrap_or(if reference { Metric::Ip } else { Metric::Cosine }),
            knn_method: self.knn_method.unwrap_or_default(),
            knn_approximation: self.knn_approximation,
            init: self.init.unwrap_or(default_init),
            encoder,
            projector,
            norm_layer: self.norm_layer.unwrap_or_default(),
            pca_power: self.pca_power.unwrap_or(0.5),
            epochs,
            warmup_epochs: self.warmup_epochs.unwrap_or(match recipe {
                Recipe::Reference => 10,
                Recipe::Default => usize::from(epochs > 1),
            }),
            batch_size: self.batch_size.unwrap_or(if reference { 1024 } else { 256 }),
            solver,
            loss,
            optimizer,
            tau: self.tau.unwrap_or(default_tau()),
            centre_target: self.centre_target.unwrap_or(false),
            learning_rate: self.learning_rate.unwrap_or(match optimizer {
                Optimizer::Lars => 0.2,
                Optimizer::AdamW => 0.01,
            }),
            lambd: self.lambd.unwrap_or(3.9e-3),
            scale_loss: self.scale_loss.unwrap_or(1.0 / 32.0),
            whiten: self.whiten.unwrap_or(0.0),
            validation_fraction: self.validation_fraction,
            retain_projector: self.retain_projector.unwrap_or(false),
            seed: self.seed.unwrap_or(0),
        }
        .try_into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_recipe_is_the_papers() {
        let p = Params::builder().recipe(Recipe::Reference).build().unwrap();
        assert_eq!((p.n_components, p.n_neighbors, p.batch_size, p.epochs), (32, 5, 1024, 100));
        assert_eq!((p.warmup_epochs, p.learning_rate, p.lambd), (10, 0.2, 3.9e-3));
        assert_eq!((p.init, p.metric, p.scale_loss), (Init::Random, Metric::Ip, 1.0 / 32.0));
        assert_eq!(p.encoder.to_string(), "linear");
        assert_eq!(p.projector.as_ref().unwrap().to_string(), "mlp-2-2048");
    }

    #[test]
    fn losses_bring_their_own_defaults() {
        let p = Params::builder().loss(Loss::KL).build().unwrap();
        assert_eq!((p.optimizer, p.learning_rate, p.batch_size), (Optimizer::AdamW, 0.01, 256));
        assert_eq!((&p.projector, p.init, p.tau), (&None, Init::Pca, 0.05));
        let p = Params::builder().solver(Solver::Spectral).build().unwrap();
        assert_eq!((p.init, p.loss), (Init::Spectral, Loss::BT));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |b: ParamsBuilder| b.build().unwrap_err().to_string();
        let b = Params::builder;
        assert_eq!(error(b().batch_size(1)), "batch_size: expected at least 2, got 1");
        assert_eq!(
            error(b().epochs(3).warmup_epochs(3)),
            "warmup_epochs: expected fewer than epochs (3), got 3"
        );
        assert_eq!(
            error(b().learning_rate(f64::NAN)),
            "learning_rate: expected a finite number above 0, got NaN"
        );
        assert_eq!(
            error(b().encoder("mlp-1-8".parse().unwrap()).init(Init::Pca)),
            "init: expected random for the encoder mlp-1-8 (pca starts linear ones), got pca"
        );
        let projector = Some("mlp-1-8".parse().unwrap());
        assert_eq!(
            error(b().loss(Loss::KL).projector(projector.clone())),
            "projector: expected none with loss KL, got mlp-1-8"
        );
        assert_eq!(
            error(b().solver(Solver::Spectral).init(Init::Pca)),
            "init: expected spectral with solver spectral, got pca"
        );
        assert_eq!(error(b().tau(0.0)), "tau: expected a finite number above 0, got 0");
        assert_eq!(error(b().whiten(-1.0)), "whiten: expected a number from 0 to 4, got -1");
        assert_eq!(
            error(b().whiten(0.5).projector(projector).retain_projector(true)),
            "whiten: expected 0 where the projector is retained (it was trained before it), got 0.5"
        );
        assert_eq!(
            "x".parse::<Init>().unwrap_err().to_string(),
            "init: expected pca, spectral or random, got \"x\""
        );
    }

    #[test]
    fn held_out_rows_are_a_tenth_up_to_a_thousand() {
        let p = Params::builder().build().unwrap();
        assert_eq!([99, 100, 5000, 50_000].map(|n| p.n_validation(n)), [0, 10, 500, 1000]);
        let p = Params::builder().validation_fraction(0.25).build().unwrap();
        assert_eq!(p.n_validation(50), 12);
    }
}
