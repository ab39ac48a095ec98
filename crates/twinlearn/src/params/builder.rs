//! Parameters not yet checked, and the defaults of the recipes.

use super::{Hyperparameters, Init, Loss, NOISE, Optimizer, Params, Recipe, Solver, TAU};
use crate::error::Result;
use crate::knn::{KnnApproximation, KnnMethod, Metric};
use crate::nn::{NetworkSpec, NormLayer};

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
    /// Default: `mlp-1-256`; `mlp-2-2048` in the reference recipe; none with losses KL and auto.
    /// `None` trains without one.
    projector: Option<NetworkSpec>,
    /// Default: sgd.
    solver: Solver,
    /// Default: BT.
    loss: Loss,
    /// Default: lars with loss BT, else adamw.
    optimizer: Optimizer,
    /// τ; default 0.05.
    tau: f64,
    /// Default: false.
    centre_target: bool,
    /// Default: false.
    gaussian: bool,
    /// Default: 0.5.
    noise: f64,
    /// Default: BN.
    norm_layer: NormLayer,
    /// Default: pca where the encoder can carry it, spectral with solver spectral; else random, as
    /// in the reference recipe.
    init: Init,
    /// γ of a PCA or spectral start; default 0.25 with loss BT, 0.5 with others and with solver
    /// spectral.
    pca_power: f64,
    /// Default 8; 100 in the reference recipe.
    epochs: usize,
    /// Default 1 (0 when there is only one epoch); 10 in the reference recipe.
    warmup_epochs: usize,
    /// Default 256; 512 with loss BT; 1024 in the reference recipe.
    batch_size: usize,
    /// Default 0.2 with LARS, for a batch of 256; with AdamW 0.01 for losses KL and auto, else
    /// 0.001.
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
        let epochs = self.epochs.unwrap_or(if reference { 100 } else { 8 });
        let default_projector = if reference { "mlp-2-2048" } else { "mlp-1-256" };
        let n_components = self.n_components.unwrap_or(32);
        let norm_layer = self.norm_layer.unwrap_or_default();
        let loss = self.loss.unwrap_or_default();
        let solver = self.solver.unwrap_or_default();
        let default_init = match solver {
            Solver::Spectral => Init::Spectral,
            Solver::Sgd if encoder.carries(n_components, norm_layer) && !reference => Init::Pca,
            Solver::Sgd => Init::Random,
        };
        let optimizer = self.optimizer.unwrap_or(match loss {
            Loss::BT => Optimizer::Lars,
            Loss::KL | Loss::MSE | Loss::Auto => Optimizer::AdamW,
        });
        let projector = match self.projector {
            Some(projector) => projector,
            None if matches!(loss, Loss::KL | Loss::Auto) => None,
            None => Some(default_projector.parse()?),
        };
        let batch_by_default = self.batch_size.is_none();
        let all = Hyperparameters {
            recipe,
            n_components,
            n_neighbors: self.n_neighbors.unwrap_or(5),
            metric: self.metric.unwrap_or(if reference { Metric::Ip } else { Metric::Cosine }),
            knn_method: self.knn_method.unwrap_or_default(),
            knn_approximation: self.knn_approximation,
            init: self.init.unwrap_or(default_init),
            encoder,
            projector,
            norm_layer,
            pca_power: self.pca_power.unwrap_or(match (loss, solver) {
                (Loss::BT, Solver::Sgd) => 0.25,
                _ => 0.5,
            }),
            epochs,
            warmup_epochs: self.warmup_epochs.unwrap_or(match recipe {
                Recipe::Reference => 10,
                Recipe::Default => usize::from(epochs > 1),
            }),
            batch_size: self.batch_size.unwrap_or(match (recipe, loss) {
                (Recipe::Reference, _) => 1024,
                (Recipe::Default, Loss::BT) => 512,
                (Recipe::Default, _) => 256,
            }),
            solver,
            loss,
            optimizer,
            tau: self.tau.unwrap_or(TAU),
            centre_target: self.centre_target.unwrap_or(false),
            gaussian: self.gaussian.unwrap_or(false),
            noise: self.noise.unwrap_or(NOISE),
            learning_rate: self.learning_rate.unwrap_or(match (optimizer, loss) {
                (Optimizer::Lars, _) => 0.2,
                (Optimizer::AdamW, Loss::KL | Loss::Auto) => 0.01,
                (Optimizer::AdamW, Loss::BT | Loss::MSE) => 0.001,
            }),
            lambd: self.lambd.unwrap_or(3.9e-3),
            scale_loss: self.scale_loss.unwrap_or(1.0 / 32.0),
            whiten: self.whiten.unwrap_or(0.0),
            validation_fraction: self.validation_fraction,
            retain_projector: self.retain_projector.unwrap_or(false),
            seed: self.seed.unwrap_or(0),
        };
        Ok(Params { batch_by_default, ..Params::try_from(all)? })
    }
}
