//! What training minimises.

mod barlow_twins;
mod kl;
mod mse;

#[cfg(test)]
mod kl_tests;

pub(crate) use barlow_twins::{BarlowTwins, Form};
pub(crate) use kl::{NeighbourhoodKl, Neighbourhoods, Prefix};
pub(crate) use mse::reconstruction;

/// The value of the loss and, where it has them, its two parts, as they are minimised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LossParts {
    pub(crate) total: f64,
    pub(crate) on_diagonal: f64,
    pub(crate) off_diagonal: f64,
}

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
