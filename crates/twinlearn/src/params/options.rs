//! What can be chosen by name.

use serde::{Deserialize, Serialize};

use crate::names::named;

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
    /// The first principal axes, each divided by σ^`pca_power`. Encoders with hidden layers carry
    /// them through: they need batch norm and widths of at least d (`flinear`) or 2d (`mlp`, whose
    /// ReLUs pass x as max(x, 0) − max(−x, 0)).
    Pca,
    /// The first axes that rows share with their neighbours, each divided by s^(`pca_power`/2), s
    /// the covariance along it; for the same encoders.
    Spectral,
    /// Weights and biases uniform within ±1/√fan_in.
    Random,
    /// A model that is given: [`Trainer::warm_start`](crate::Trainer::warm_start).
    Model,
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
    /// Reconstruction: the share of the variance of X that the projector, here with an output of
    /// D dimensions, cannot give back from the reduced vectors.
    MSE,
    /// What is cheap, compared: KL at several temperatures from the better of a PCA and a spectral
    /// start. The model is the one with the best held-out recall.
    #[serde(rename = "auto")]
    Auto,
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

named!(Loss, "loss", "BT, KL, MSE or auto", BT = "BT", KL = "KL", MSE = "MSE", Auto = "auto");
named!(Optimizer, "optimizer", "lars or adamw", Lars = "lars", AdamW = "adamw");
named!(Recipe, "recipe", "default or reference", Default = "default", Reference = "reference");
named!(
    Init,
    "init",
    "pca, spectral, random or model",
    Pca = "pca",
    Spectral = "spectral",
    Random = "random",
    Model = "model"
);
named!(Solver, "solver", "sgd or spectral", Sgd = "sgd", Spectral = "spectral");
