//! How near two vectors are.

use serde::{Deserialize, Serialize};
use twinlearn_core::linalg::{dot_f64, squared_distance_f64};
use twinlearn_core::names::named;

use crate::kernels::scan::Term;

/// How near two vectors are. All are turned into distances: smaller is nearer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// `1 − x·y / (‖x‖ ‖y‖)`; rows of zeros, which have no direction, are an error in input.
    #[default]
    Cosine,
    /// `−x·y`, the inner product.
    Ip,
    /// `‖x − y‖²`, squared Euclidean.
    L2,
}

impl Metric {
    /// The distance of two vectors of equal length, in `f64`. A vector of zeros, as an encoder
    /// may give, is at cosine distance 1 from all others.
    ///
    /// The sums run in a fixed order, so that one pair gives the same bits everywhere.
    #[must_use]
    pub fn distance(self, x: &[f32], y: &[f32]) -> f64 {
        let sum = match self.term() {
            Term::Dot => dot_f64(x, y),
            Term::SquaredDistance => squared_distance_f64(x, y),
        };
        let norm = |v: &[f32]| if self == Self::Cosine { dot_f64(v, v).sqrt() } else { 1.0 };
        self.distance_of(sum, norm(x), norm(y))
    }

    /// What is summed over the coordinates of two vectors.
    pub(super) fn term(self) -> Term {
        match self {
            Self::Cosine | Self::Ip => Term::Dot,
            Self::L2 => Term::SquaredDistance,
        }
    }

    /// The distance of two vectors of these lengths with this sum; the lengths matter for cosine
    /// only.
    #[inline]
    pub(super) fn distance_of(self, sum: f64, x_norm: f64, y_norm: f64) -> f64 {
        match self {
            Self::L2 => sum,
            Self::Ip => -sum,
            Self::Cosine => {
                let norms = x_norm * y_norm;
                if norms > 0.0 { 1.0 - sum / norms } else { 1.0 }
            }
        }
    }
}

named!(Metric, "metric", "cosine, ip or l2", Cosine = "cosine", Ip = "ip", L2 = "l2");
