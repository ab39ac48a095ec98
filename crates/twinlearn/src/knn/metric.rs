//! How near two vectors are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

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
    #[must_use]
    pub fn distance(self, x: &[f32], y: &[f32]) -> f64 {
        let sum = |term: fn(f64, f64) -> f64| -> f64 {
            x.iter().zip(y).map(|(&a, &b)| term(a.into(), b.into())).sum()
        };
        match self {
            Self::Ip => -sum(|a, b| a * b),
            Self::L2 => sum(|a, b| (a - b) * (a - b)),
            Self::Cosine => {
                let norms = sum(|a, _| a * a).sqrt() * sum(|_, b| b * b).sqrt();
                if norms > 0.0 { 1.0 - sum(|a, b| a * b) / norms } else { 1.0 }
            }
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cosine => "cosine",
            Self::Ip => "ip",
            Self::L2 => "l2",
        })
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        match s {
            "cosine" => Ok(Self::Cosine),
            "ip" => Ok(Self::Ip),
            "l2" => Ok(Self::L2),
            _ => Err(Error::invalid("metric", "cosine, ip or l2", format_args!("{s:?}"))),
        }
    }
}
