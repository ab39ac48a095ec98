//! Twin learning for dimensionality reduction (TLDR; Kalantidis et al., arXiv 2110.09455).
//!
//! Given N vectors of dimension D, twinlearn finds each one's nearest neighbours and learns from
//! pairs of neighbours, without labels, an encoder to d ≪ D dimensions that keeps neighbours
//! together. Data flows one way:
//!
//! ```text
//! Vectors → KnnGraph → pairs → Trainer → Model → reduced vectors
//! ```
//!
//! Every long operation takes a [`Context`]: threads of its own, a progress sink and a cancel
//! token. The library never prints, exits or touches global state, and one seed gives the same
//! bits at any number of threads on one machine.
//!
//! ```
//! use twinlearn::{Context, Matrix, Model, Params, Trainer};
//!
//! let data: Vec<f32> = (0..300 * 16).map(|i| ((i * 31 % 97) as f32 / 97.0).sin()).collect();
//! let x = Matrix::new(300, 16, data)?;
//! let params = Params::builder()
//!     .n_components(4)
//!     .projector(Some("mlp-1-64".parse()?))
//!     .epochs(2)
//!     .build()?;
//! let ctx = Context::new()?;
//! let fit = Trainer::new(params).fit(&ctx, &x)?;
//!
//! let model = Model::from_bytes(&fit.model.to_bytes()?)?;
//! let z = model.transform(&ctx, &x, true)?;
//! assert_eq!((z.rows(), z.cols()), (300, 4));
//! # Ok::<(), twinlearn::Error>(())
//! ```

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

#[cfg(target_endian = "big")]
compile_error!("twinlearn reads and writes little-endian files in place");

mod closed;
mod estimate;
mod evaluation;
mod lengths;
mod linear_map;
mod model;
mod nn;
mod objective;
mod optimiser;
mod pairs;
mod params;
mod pca;
mod schedule;
mod span;
mod spectral;
mod trainer;
mod units;

pub use estimate::Estimate;
pub use evaluation::{
    Advice, Choice, Curve, CurvePoint, Evaluation, EvaluationData, EvaluationParams, Goal,
    MethodEvaluation, MethodKind, NestedEvaluation, NestedMethod, Qrels, QrelsNames, Reduction,
    Verdict, advise, evaluate, knn_accuracy,
};
pub use linear_map::LinearMap;
pub use model::{
    CodeSearch, HeldOut, MODEL_ENDING, Model, NestedReport, QueryRecord, QueryReport, ReducedView,
    RowsAlone, ScalarQuantiser, TrainingRecord, TransformOptions, ValidationReport,
};
pub use nn::{NetworkKind, NetworkSpec, NormLayer};
pub use params::{
    HyperparameterInfo, Hyperparameters, Init, Loss, Optimizer, Params, ParamsBuilder, Recipe,
    Solver, Value, ValueKind, ValueRange,
};
pub use pca::Pca;
pub use trainer::{Checkpoints, Fit, FitData, FitReport, StageTime, Trainer};
pub use twinlearn_codes::{
    Bits, CodeSpec, Codec, Decoded, ProductCode, RowMoments, ScalarCode, rescore, search_codes,
};
pub use twinlearn_core::context::{CancelToken, Context};
pub use twinlearn_core::error::{Error, Result};
pub use twinlearn_core::linalg::Matrix;
pub use twinlearn_core::memory::available_memory;
pub use twinlearn_core::progress::{EpochReport, Event, Observer, Plan, Silent, Stage, StepReport};
pub use twinlearn_core::random::sample_rows;
pub use twinlearn_knn::{
    KnnApproximation, KnnGraph, KnnMethod, KnnParams, Metric, knn_graph, knn_search, recall_at_k,
};
pub use twinlearn_vectors::{
    DenseVectors, Element, FileVectors, NpyWriter, OutputDtype, OutputFile, Subset, VectorSource,
    Vectors, check_output, read_integers, write_npy_integers,
};
