//! The table of hyper-parameters: each is described here and nowhere else.
//!
//! From it come the record of the model file, the builder, setting by name, the flags of the command
//! line with their help, and what Python checks its signature and its docstring by. Its order is that
//! of the model file. Texts are shown to users of all three faces, so they name other parameters
//! without marks.

use twinlearn_codes::CodeSpec;
use twinlearn_knn::{KnnApproximation, KnnMethod, Metric};

use super::table::{ValueRange, hyperparameters};
use super::{Init, Loss, NOISE, Optimizer, Recipe, Solver};
use crate::nn::{NetworkSpec, NormLayer};

hyperparameters! {
    /// The set of defaults: default, or reference (the paper's).
    recipe: Recipe as Recipe, "RECIPE", default "default", ValueRange::Any;

    /// d, the dimension to reduce to.
    n_components: usize as usize, "D", default "32", ValueRange::Between(1, MOST_COMPONENTS);

    /// The length of each row's list of neighbours with loss KL; else the neighbours that a row may be
    /// paired with. The default is lowered where there are fewer rows.
    n_neighbors: usize as usize, "K", default "64 with loss KL, else 5", ValueRange::AtLeast(1);

    /// How near two rows are: cosine, ip or l2.
    metric: Metric as Metric, "METRIC", default "cosine; reference recipe: ip", ValueRange::Any;

    /// How neighbours are found: auto, exact, descent or pq.
    knn_method: KnnMethod as KnnMethod, "METHOD", default "auto", ValueRange::Any, serde(default);

    /// The level of product quantisation, where that finds neighbours: low, medium or high.
    knn_approximation: Option<KnnApproximation> as KnnApproximation, "LEVEL", default "none",
    ValueRange::Any, serde(default);

    /// The encoder: linear, flinear-H-W or mlp-H-W, with H hidden layers of width W.
    encoder: NetworkSpec as NetworkSpec, "SPEC", default "linear", ValueRange::Any;

    /// The network after the encoder in training, written as encoder, or none. Given without a
    /// loss, it means loss BT.
    projector: Option<NetworkSpec> as Option<NetworkSpec>, "SPEC",
    default "none with loss KL, else mlp-1-256; reference recipe: mlp-2-2048", ValueRange::Any;

    /// Normalisation in hidden layers: BN or LN.
    norm_layer: NormLayer as NormLayer, "NORM", default "BN", ValueRange::Any;

    /// Where the encoder starts: best (the form of PCA that keeps most held-out neighbours; with hidden
    /// layers the linear encoder of the same fit), pca, spectral, random, or the model to go on from.
    init: Init as Init, "INIT",
    default "best; pca with hidden layers and another loss than KL, and with pca_power; random where \
             hidden layers are too narrow (mlp: below 2d)",
    ValueRange::Any;

    /// γ of a PCA start, which this implies, or a spectral one: each column is divided by its standard
    /// deviation to this power.
    pca_power: f64 as f64, "GAMMA", default "0.5; with loss BT 0.25", POWERS;

    /// How the encoder is found: sgd; or without training by pca, the form without neighbour lists
    /// that keeps most held-out neighbours, or spectral, twin learning's closed form.
    solver: Solver as Solver, "SOLVER", default "sgd", ValueRange::Any, serde(default);

    /// What is minimised: KL (neighbourhoods), BT (Barlow Twins), MSE (reconstruction), or auto: KL
    /// with nothing chosen by hand.
    loss: Loss as Loss, "LOSS", default "KL; reference recipe, and with a projector: BT",
    ValueRange::Any, serde(default = "loss_of_old_models");

    /// What changes the weights: lars or adamw.
    optimizer: Optimizer as Optimizer, "OPTIMIZER", default "lars with loss BT, else adamw",
    ValueRange::Any, serde(default);

    /// τ, the temperature of the targets of loss KL: of cosines, or of inner products and halves of
    /// squared distances in units of the rows' mean square length (l2: about their mean).
    tau: Option<f64> as f64, "TAU", default "chosen by a short race on held-out rows",
    ValueRange::Positive, serde(default);

    /// Take the targets of loss KL about the mean of the rows: ranks better, keeps fewer neighbours.
    centre_target: bool as bool, "", default "false", ValueRange::Any, serde(default);

    /// Pair rows with themselves and noise, not with neighbours.
    gaussian: bool as bool, "", default "false", ValueRange::Any, serde(default);

    /// Root mean square length of the noise of gaussian pairs, in units of the rows' distance from
    /// their mean.
    noise: f64 as f64, "LENGTH", default "0.5", ValueRange::Positive, serde(default = "noise");

    /// Passes over the rows, at most.
    epochs: Option<usize> as usize, "N",
    default "with loss KL as many as make 1000 steps and at least 8, else 8; reference recipe: 100",
    ValueRange::Between(1, MOST_EPOCHS);

    /// Epochs over which the learning rate rises.
    warmup_epochs: Option<usize> as usize, "N",
    default "a tenth of all steps with loss KL, else 1; reference recipe: 10",
    ValueRange::Between(0, MOST_EPOCHS);

    /// Rows in a step; lowered where there are fewer, with a warning unless it is the default.
    batch_size: usize as usize, "B",
    default "128 with loss KL, 512 with BT, 256 with MSE; reference recipe: 1024", ValueRange::AtLeast(2);

    /// Learning rate; lars: for a batch of 256, scaled by the batch.
    learning_rate: Option<f64> as f64, "R",
    default "lars 0.2; adamw 5/d and at most 0.1 with loss KL, else 0.001", ValueRange::Positive;

    /// λ, the weight of the off-diagonal part of loss BT. Means loss BT where none is given.
    lambd: f64 as f64, "LAMBDA", default "0.0039", ValueRange::NotNegative;

    /// s, the factor of loss BT. Means loss BT where none is given.
    scale_loss: f64 as f64, "S", default "0.03125", ValueRange::Positive;

    /// γ of the output: turn the reduced vectors to their principal axes and divide them by their
    /// standard deviations to this power. Ranks better, keeps fewer neighbours; 0 leaves them.
    whiten: f64 as f64, "GAMMA", default "0", POWERS, serde(default);

    /// Share of the rows held out of training: by half of them the best step is chosen, by the
    /// others it is judged. Of queries likewise.
    validation_fraction: Option<f64> as f64, "SHARE",
    default "a tenth, at most 2000 rows, none of fewer than 100; of queries a tenth, at most 2000, \
             none of fewer than 20",
    ValueRange::Within(0.0, 0.9);

    /// Share of a step's anchors that are queries.
    query_share: Option<f64> as f64, "SHARE", default "0.5", ValueRange::Share,
    serde(default, skip_serializing_if = "Option::is_none");

    /// Sizes below d, rising, as 16,32: the first so many numbers of a reduced vector are then a good
    /// reduction of their own.
    nested: Vec<usize> as Vec<usize>, "SIZES", default "none", ValueRange::Any,
    serde(default, skip_serializing_if = "Vec::is_empty");

    /// The product code that is learned beside the encoder, for vectors of so many bytes: pq:16, say, with
    /// 16 bytes, at most d.
    codes: Option<CodeSpec> as CodeSpec, "CODE", default "none", ValueRange::Any,
    serde(default, skip_serializing_if = "Option::is_none");

    /// Keep the projector in the model, to go on training from it.
    retain_projector: bool as bool, "", default "false", ValueRange::Any;

    /// Seed of everything random.
    seed: u64 as u64, "S", default "0", ValueRange::Any;
}

/// Powers of standard deviations that columns are divided by.
pub(crate) const POWERS: ValueRange = ValueRange::Within(0.0, 4.0);

/// Far more than anybody reduces to, and few enough for sizes to be multiplied.
const MOST_COMPONENTS: usize = 1 << 20;

/// Far more than anybody waits for, and few enough for steps to be counted.
const MOST_EPOCHS: usize = 1 << 20;

/// That of models which do not say.
fn loss_of_old_models() -> Loss {
    Loss::BT
}

fn noise() -> f64 {
    NOISE
}
