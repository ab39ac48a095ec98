//! How much of a space a reduction kept: [`recall_at_k`](twinlearn_knn::recall_at_k) and [`knn_accuracy`] of neighbours that
//! were found, [`evaluate()`] for everything at once beside baselines, [`advise()`] for the dimension to
//! take.

mod advise;
mod baselines;
mod curves;
mod data;
mod display;
mod evaluate;
mod judge;
mod moved;
mod neighbours;
mod nested;
mod params;
mod plan;
mod ranking;
mod sample;
mod structure;

pub use advise::{Advice, Verdict, advise};
pub use curves::{Curve, CurvePoint};
pub use data::{EvaluationData, Reduction};
pub use evaluate::{Evaluation, MethodEvaluation, MethodKind, evaluate};
pub use neighbours::knn_accuracy;
pub use nested::{NestedEvaluation, NestedMethod};
pub use params::EvaluationParams;
pub use ranking::{Qrels, QrelsNames};
