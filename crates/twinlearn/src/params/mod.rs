//! The parameters of a run: an unchecked builder becomes validated parameters.

mod anchors;
mod builder;
mod options;

use std::ops::Deref;

use serde::{Deserialize, Serialize};
use twinlearn_core::error::{Error, Result};
use twinlearn_knn::{KnnApproximation, KnnMethod, KnnParams, Metric, check_method};

use crate::nn::{NetworkKind, NetworkSpec, NormLayer};

pub(crate) use anchors::{Bounds, MOST_ANCHORS};
pub use builder::ParamsBuilder;
pub use options::{Init, Loss, Optimizer, Recipe, Solver};

/// The steps of a fit with so few anchors, at least.
const STEPS_OF_MANY: usize = 2500;
/// The steps of any other.
const MIN_STEPS: usize = 1000;
/// Below so many rows none is held out by default.
const FEW_ROWS: usize = 100;
/// The default size of the noise of gaussian pairs.
const NOISE: f64 = 0.5;

/// Everything that decides what is learned, as the model file records it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Hyperparameters {
    /// The defaults the others started from.
    pub recipe: Recipe,
    /// d, the dimension of the reduced vectors.
    pub n_components: usize,
    /// The neighbours a row may be paired with; with loss KL the length of its list.
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
    /// The projector that training puts after the encoder; none trains the encoder directly. With
    /// loss MSE its output has D dimensions, else as many as its last hidden layer (d if linear).
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
    #[serde(default = "loss_of_before")]
    pub loss: Loss,
    /// What changes the weights.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// τ, the temperature of the KL loss's targets: of cosines, or of inner products and halves of
    /// squared distances in units of the rows' mean square length (l2: about their mean). None is
    /// chosen by held-out recall.
    #[serde(default)]
    pub tau: Option<f64>,
    /// Whether the KL loss's targets are cosines about the mean of the training rows.
    #[serde(default)]
    pub centre_target: bool,
    /// Whether a row is paired with itself and noise, instead of with a neighbour.
    #[serde(default)]
    pub gaussian: bool,
    /// The root mean square length of that noise, in units of the rows' distance from their mean.
    #[serde(default = "default_noise")]
    pub noise: f64,
    /// Passes over the anchors, at most. None is as many as make 1000 steps, and at least 8.
    pub epochs: Option<usize>,
    /// Epochs over which the learning rate rises. None is a tenth of all steps.
    pub warmup_epochs: Option<usize>,
    /// Anchors in a step; lowered where there are fewer, with a warning unless it is the default.
    pub batch_size: usize,
    /// The learning rate; with LARS for a batch of 256, and scaled by the batch. None falls with d
    /// (loss KL with AdamW, whose weights begin with a root mean square of 1).
    pub learning_rate: Option<f64>,
    /// λ, the weight of the off-diagonal part of the loss.
    pub lambd: f64,
    /// s, the factor of the whole loss.
    pub scale_loss: f64,
    /// γ: the reduced vectors are turned to their principal axes and divided by σ^γ; 0 leaves them.
    #[serde(default)]
    pub whiten: f64,
    /// The share of rows held out of training, on which recall is measured; `None` holds out a
    /// tenth, 2000 at the most, and nothing below 100 rows. By half of them the best moment is chosen,
    /// by the others what was chosen is judged.
    pub validation_fraction: Option<f64>,
    /// The share of a step's anchors that are queries, where a fit is for queries; none is one half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_share: Option<f64>,
    /// Sizes below d, rising: the first so many numbers of a reduced vector are a good reduction of
    /// their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nested: Vec<usize>,
    /// Whether the model keeps the projector, to go on training from it.
    pub retain_projector: bool,
    /// The seed of everything random.
    pub seed: u64,
}

/// Validated hyper-parameters: only these can run. They are read through
/// [`Hyperparameters`] and cannot be changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Params {
    all: Hyperparameters,
    /// Whether the batch size is the default, which is lowered without a warning.
    #[serde(skip)]
    pub(crate) batch_by_default: bool,
    /// The same of the number of neighbours.
    #[serde(skip)]
    pub(crate) neighbors_by_default: bool,
    #[serde(skip)]
    pub(crate) bounds: Bounds,
}

impl Hyperparameters {
    /// Whether anchors bring rows of their lists of neighbours (loss KL, but for gaussian pairs).
    pub(crate) fn is_listed(&self) -> bool {
        self.loss == Loss::KL && self.solver == Solver::Sgd && !self.gaussian
    }
}

/// Where what needs lists of neighbours may not be given.
pub(crate) const LISTED_ALONE: &str = "none but with loss KL, solver sgd and neighbours as pairs";

impl Deref for Params {
    type Target = Hyperparameters;

    fn deref(&self) -> &Hyperparameters {
        &self.all
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

    /// The output width of a projector, for inputs of `n_features` dimensions.
    pub(crate) fn projector_width(&self, projector: &NetworkSpec, n_features: usize) -> usize {
        match self.loss {
            Loss::MSE => n_features,
            _ => projector.projector_width(self.n_components),
        }
    }

    /// These parameters with changes; what they say must fit together as before.
    pub(crate) fn changed(&self, change: impl FnOnce(&mut Hyperparameters)) -> Self {
        let mut changed = self.clone();
        change(&mut changed.all);
        changed
    }

    /// The least steps of a fit of `n_rows` rows whose length is not given.
    pub(crate) fn least_steps(&self, n_rows: usize) -> usize {
        if self.is_listed() && n_rows > self.bounds.most_anchors {
            STEPS_OF_MANY
        } else {
            MIN_STEPS
        }
    }

    /// How many of `n_rows` rows are held out of training.
    #[must_use]
    pub fn n_validation(&self, n_rows: usize) -> usize {
        match self.validation_fraction {
            Some(share) => (n_rows as f64 * share) as usize,
            None if n_rows < FEW_ROWS => 0,
            None => (n_rows / 10).min(2000),
        }
    }

    /// Whether the start is kept as it is: there are so few rows that none is held out, unless that
    /// is asked for, and rows that are trained on cannot tell what training does to others.
    pub(crate) fn keeps_start(&self, n_rows: usize) -> bool {
        self.is_listed()
            && self.init == Init::Best
            && self.validation_fraction.is_none()
            && n_rows < FEW_ROWS
    }

    /// How many of `n_queries` queries that a fit is for are held out of training.
    pub(crate) fn n_held_out_queries(&self, n_queries: usize) -> usize {
        match self.validation_fraction {
            Some(share) => (n_queries as f64 * share) as usize,
            // Fewer cannot be split into queries to choose by and queries to judge by.
            None if n_queries < 20 => 0,
            None => (n_queries / 10).min(2000),
        }
    }

    /// These parameters for lists of at most `longest` rows: those that are as long as they are by
    /// default are no longer.
    pub(crate) fn fitted_to(&self, longest: usize) -> Self {
        let most = longest.max(1);
        match self.neighbors_by_default && self.n_neighbors > most {
            true => self.changed(|p| p.n_neighbors = most),
            false => self.clone(),
        }
    }
}

impl TryFrom<Hyperparameters> for Params {
    type Error = Error;

    fn try_from(h: Hyperparameters) -> Result<Self> {
        at_least("n_components", h.n_components, 1)?;
        if h.n_components > MOST_COMPONENTS {
            let expected = format_args!("at most {MOST_COMPONENTS}");
            return Err(Error::invalid("n_components", expected, h.n_components));
        }
        at_least("n_neighbors", h.n_neighbors, 1)?;
        check_method(h.knn_method, h.knn_approximation)?;
        at_least("epochs", h.epochs.unwrap_or(1), 1)?;
        if let (Some(warmup), Some(epochs)) = (h.warmup_epochs, h.epochs)
            && warmup >= epochs
        {
            let expected = format_args!("fewer than epochs ({epochs})");
            return Err(Error::invalid("warmup_epochs", expected, warmup));
        }
        at_least("batch_size", h.batch_size, 2)?;
        positive("learning_rate", h.learning_rate.unwrap_or(1.0))?;
        positive("scale_loss", h.scale_loss)?;
        positive("tau", h.tau.unwrap_or(1.0))?;
        positive("noise", h.noise)?;
        match (h.loss, &h.projector) {
            (Loss::KL | Loss::Auto, Some(projector)) => {
                let expected = format_args!("none with loss {}", h.loss);
                return Err(Error::invalid("projector", expected, projector));
            }
            (Loss::MSE, None) if h.solver == Solver::Sgd => {
                let expected = "one that gives back the vectors with loss MSE";
                return Err(Error::invalid("projector", expected, "none"));
            }
            _ => {}
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
        let listed = h.is_listed();
        if let Some(size) = h.nested.first() {
            let rises =
                h.nested.is_sorted_by(|a, b| a < b) && h.nested.last() < Some(&h.n_components);
            let sizes: Vec<String> = h.nested.iter().map(usize::to_string).collect();
            let sizes = sizes.join(", ");
            if *size == 0 || !rises {
                let expected = format_args!("sizes from 1 to {}, rising", h.n_components - 1);
                return Err(Error::invalid("nested", expected, sizes));
            }
            if !listed {
                return Err(Error::invalid("nested", LISTED_ALONE, sizes));
            }
            if h.whiten > 0.0 {
                let expected = "0 with nested sizes (it would turn them away)";
                return Err(Error::invalid("whiten", expected, h.whiten));
            }
        }
        if let Some(share) = h.query_share
            && !(share > 0.0 && share < 1.0)
        {
            return Err(Error::invalid("query_share", "a share between 0 and 1", share));
        }
        if h.solver != Solver::Sgd && h.encoder.kind() != NetworkKind::Linear {
            let expected = format_args!("linear with solver {}", h.solver);
            return Err(Error::invalid("encoder", expected, h.encoder));
        }
        let carried = match h.init {
            Init::Pca | Init::Spectral => true,
            Init::Best => listed && h.encoder.kind() != NetworkKind::Linear,
            Init::Random | Init::Model => false,
        };
        if carried && !h.encoder.carries(h.n_components, h.norm_layer) {
            return Err(Error::invalid(
                "init",
                format_args!(
                    "random for the encoder {} with {} and d = {} (batch norm and wider hidden \
                     layers would carry a {} start)",
                    h.encoder, h.norm_layer, h.n_components, h.init
                ),
                h.init,
            ));
        }
        if h.init == Init::Best && h.encoder.kind() != NetworkKind::Linear && !listed {
            let expected =
                "pca, spectral, random or model for hidden layers without neighbourhood KL";
            return Err(Error::invalid("init", expected, h.init));
        }
        if h.gaussian && h.init == Init::Spectral {
            let expected = "best, pca, random or model with gaussian pairs";
            return Err(Error::invalid("init", expected, h.init));
        }
        let fits = match h.solver {
            Solver::Sgd => true,
            Solver::Spectral => h.init == Init::Spectral,
            Solver::Pca => matches!(h.init, Init::Best | Init::Pca),
        };
        if !fits {
            let expected = format_args!("that of solver {}", h.solver);
            return Err(Error::invalid("init", expected, h.init));
        }
        let bounds = Bounds::default();
        Ok(Self { all: h, batch_by_default: false, neighbors_by_default: false, bounds })
    }
}

/// That of models which do not say.
fn loss_of_before() -> Loss {
    Loss::BT
}

fn default_noise() -> f64 {
    NOISE
}

/// Far more than anybody reduces to, and few enough for sizes to be multiplied.
const MOST_COMPONENTS: usize = 1 << 20;

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

#[cfg(test)]
mod tests;
