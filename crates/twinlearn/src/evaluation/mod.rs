//! How much of a space a reduction kept: [`recall_at_k`] and [`knn_accuracy`] of neighbours that
//! were found, [`evaluate()`] for everything at once beside baselines, [`advise()`] for the dimension to
//! take.

mod advise;
mod baselines;
mod bootstrap;
mod curves;
mod data;
mod display;
mod evaluate;
mod judge;
mod neighbours;
mod nested;
mod params;
mod plan;
mod ranking;
mod sample;
mod structure;

pub use advise::{Advice, Verdict, advise};
pub use bootstrap::Estimate;
pub use curves::{Curve, CurvePoint};
pub use data::{EvaluationData, Reduction};
pub use evaluate::{Evaluation, MethodEvaluation, MethodKind, evaluate};
pub(crate) use neighbours::recall_scores;
pub use neighbours::{knn_accuracy, recall_at_k};
pub use nested::{NestedEvaluation, NestedMethod};
pub use params::EvaluationParams;
pub use ranking::{Qrels, QrelsNames};
