//! What can be chosen by name.

use serde::{Deserialize, Serialize};
use twinlearn_core::names::named;

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
    /// The closed form that keeps most neighbours of held-out rows: principal axes divided by σ^γ for
    /// four γ, without centring, and axes along which neighbours differ. With hidden layers, which must
    /// be able to carry it as `Pca` says, and loss KL: the linear encoder that the same fit gives, so
    /// that they never keep fewer than it.
    Best,
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
    /// Neighbourhood KL: an anchor should see other rows, those of its list of neighbours above all,
    /// in the reduced space as it sees them in the input space. No projector.
    #[default]
    KL,
    /// Barlow Twins: the cross-correlation of the projected views should be the identity.
    BT,
    /// Reconstruction: the share of the variance of X that the projector, here with an output of
    /// D dimensions, cannot give back from the reduced vectors.
    MSE,
    /// KL, with temperature and start chosen by held-out recall, which is also KL's default.
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
    /// The closed form of twin learning: a spectral start and no training; for linear encoders.
    Spectral,
    /// Principal components and no training: the form of them that keeps most neighbours of held-out
    /// rows, or the one that `pca_power` says; for linear encoders.
    Pca,
}

named!(Loss, "loss", "BT, KL, MSE or auto", BT = "BT", KL = "KL", MSE = "MSE", Auto = "auto");
named!(Optimizer, "optimizer", "lars or adamw", Lars = "lars", AdamW = "adamw");
named!(Recipe, "recipe", "default or reference", Default = "default", Reference = "reference");
named!(
    Init,
    "init",
    "best, pca, spectral, random or model",
    Best = "best",
    Pca = "pca",
    Spectral = "spectral",
    Random = "random",
    Model = "model"
);
named!(Solver, "solver", "sgd, spectral or pca", Sgd = "sgd", Spectral = "spectral", Pca = "pca");
