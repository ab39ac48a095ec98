//! The parameters of a run: an unchecked builder becomes validated parameters.

mod anchors;
mod builder;
mod hyperparameters;
mod options;
mod table;

use std::ops::Deref;

use serde::Serialize;
use twinlearn_codes::CodeSpec;
use twinlearn_core::error::{Error, Result};
use twinlearn_knn::{KnnParams, check_method};

use crate::nn::{NetworkKind, NetworkSpec};

pub(crate) use anchors::{Bounds, MOST_ANCHORS};
pub(crate) use hyperparameters::POWERS;
pub use hyperparameters::{Hyperparameters, ParamsBuilder};
pub use options::{Init, Loss, Optimizer, Recipe, Solver};
pub use table::{HyperparameterInfo, Value, ValueKind, ValueRange};

/// The steps of a fit with so few anchors, at least.
const STEPS_OF_MANY: usize = 2500;
/// The steps of any other.
const MIN_STEPS: usize = 1000;
/// Below so many rows none is held out by default.
const FEW_ROWS: usize = 100;
/// The default size of the noise of gaussian pairs.
const NOISE: f64 = 0.5;

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

/// Refuses a warm-up that is no shorter than the run.
pub(crate) fn check_warmup(warmup: Option<usize>, epochs: usize) -> Result<()> {
    match warmup {
        Some(warmup) if warmup >= epochs => {
            let expected = format!("fewer than epochs ({epochs})");
            Err(Error::invalid("warmup_epochs", expected, warmup))
        }
        _ => Ok(()),
    }
}

impl TryFrom<Hyperparameters> for Params {
    type Error = Error;

    fn try_from(h: Hyperparameters) -> Result<Self> {
        h.check_ranges()?;
        check_method(h.knn_method, h.knn_approximation)?;
        if let Some(epochs) = h.epochs {
            check_warmup(h.warmup_epochs, epochs)?;
        }
        match (h.loss, &h.projector) {
            (Loss::KL | Loss::Auto, Some(projector)) => {
                let expected = format!("none with loss {}", h.loss);
                return Err(Error::invalid("projector", expected, projector));
            }
            (Loss::MSE, None) if h.solver == Solver::Sgd => {
                let expected = "one that gives back the vectors with loss MSE";
                return Err(Error::invalid("projector", expected, "none"));
            }
            _ => {}
        }
        if h.whiten > 0.0 && h.retain_projector && h.projector.is_some() {
            return Err(Error::invalid(
                "whiten",
                "0 where the projector is retained (it was trained before it)",
                h.whiten,
            ));
        }
        match h.codes {
            Some(CodeSpec::Product(bytes)) if bytes <= h.n_components => {}
            Some(CodeSpec::Product(bytes)) => {
                let expected = format!("at most n_components ({}) bytes", h.n_components);
                return Err(Error::invalid("codes", expected, format_args!("pq:{bytes}")));
            }
            Some(scalar) => {
                let expected = "pq:M; scalar codes need no learning, transform makes them (bits)";
                return Err(Error::invalid("codes", expected, scalar));
            }
            None => {}
        }
        let listed = h.is_listed();
        if let Some(size) = h.nested.first() {
            let rises =
                h.nested.is_sorted_by(|a, b| a < b) && h.nested.last() < Some(&h.n_components);
            let sizes: Vec<String> = h.nested.iter().map(usize::to_string).collect();
            let sizes = sizes.join(", ");
            if *size == 0 || !rises {
                let expected = format!("sizes from 1 to {}, rising", h.n_components - 1);
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
        if h.solver != Solver::Sgd && h.encoder.kind() != NetworkKind::Linear {
            let expected = format!("linear with solver {}", h.solver);
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
            let expected = format!("that of solver {}", h.solver);
            return Err(Error::invalid("init", expected, h.init));
        }
        let bounds = Bounds::default();
        Ok(Self { all: h, batch_by_default: false, neighbors_by_default: false, bounds })
    }
}

#[cfg(test)]
mod tests;
