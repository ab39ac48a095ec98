//! What training minimises.

mod barlow_twins;
mod kl;
mod loss;
mod mse;

#[cfg(test)]
mod kl_tests;

pub(crate) use kl::{Neighbourhoods, Prefix};
pub(crate) use loss::{Input, Loss, LossParts};

use self::barlow_twins::{BarlowTwins, Form};
use self::kl::Kl;
use self::mse::Reconstruction;
use crate::params;

/// What to minimise, and how.
#[derive(Clone, Debug)]
pub(crate) enum Objective {
    /// λ and s of the Barlow Twins loss.
    BarlowTwins { lambda: f64, scale: f64 },
    /// The neighbourhood-KL loss.
    Kl(Neighbourhoods),
    /// The rows given back from their codes.
    Reconstruction,
}

impl Objective {
    /// The loss for batches of so many rows of dimension `dim`, of which the networks give `width`
    /// numbers each.
    pub(crate) fn loss(self, rows: usize, dim: usize, width: usize) -> Box<dyn Loss> {
        match self {
            Self::BarlowTwins { lambda, scale } => {
                let form = Form::cheaper(rows / 2, width);
                Box::new(BarlowTwins::new(lambda, scale, rows / 2, width, form))
            }
            Self::Kl(of) => Box::new(Kl::new(of, dim)),
            Self::Reconstruction => Box::new(Reconstruction),
        }
    }
}

/// Bytes of the buffers of a loss, for batches of `rows` rows of dimension `dim`, of which `anchors` are
/// anchors, and of which the networks give `width` numbers each.
pub(crate) fn loss_bytes(
    loss: params::Loss,
    (anchors, rows): (usize, usize),
    dim: usize,
    width: usize,
) -> usize {
    match loss {
        params::Loss::BT => BarlowTwins::bytes(rows / 2, width),
        params::Loss::KL | params::Loss::Auto => Kl::bytes(anchors, rows, dim, width),
        params::Loss::MSE => 0,
    }
}
