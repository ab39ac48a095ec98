//! How much of a space a reduction kept: [`recall_at_k`](twinlearn_knn::recall_at_k) and [`knn_accuracy`] of neighbours that
//! were found, [`evaluate()`] for everything at once beside baselines, [`advise()`] for the dimension to
//! take.

mod advise;
mod baselines;
mod coded;
mod curves;
mod data;
mod display;
mod evaluate;
mod formats;
mod judge;
mod moved;
mod neighbours;
mod nested;
mod params;
mod plan;
mod ranking;
mod results;
mod sample;
mod structure;
mod unseen;

pub use advise::{Advice, Choice, Goal, Verdict, advise};
pub use data::{EvaluationData, Reduction};
pub use evaluate::evaluate;
pub use neighbours::knn_accuracy;
pub use params::EvaluationParams;
pub use ranking::{Qrels, QrelsNames};
pub use results::{
    Curve, CurvePoint, Evaluation, MethodEvaluation, MethodKind, NestedEvaluation, NestedMethod,
};
