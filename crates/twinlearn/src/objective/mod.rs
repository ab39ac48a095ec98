//! What training minimises.

mod barlow_twins;
mod kl;
mod mse;

#[cfg(test)]
mod kl_tests;

pub(crate) use kl::{Neighbourhoods, Prefix};

use twinlearn_core::context::Context;
use twinlearn_core::linalg::Matrix;

use self::barlow_twins::{BarlowTwins, Form};
use self::kl::Kl;
use self::mse::Reconstruction;

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

/// The rows of a batch that a loss looks at.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) rows: &'a Matrix,
    /// What each stands for to each anchor, where that differs.
    pub(crate) weights: Option<&'a Matrix>,
}

/// A loss with its buffers, for batches of one size.
pub(crate) trait Loss: Send {
    /// The loss of what the networks give of a batch, `z`, which becomes its gradient. Writes the
    /// gradient by [`parameters_mut`](Self::parameters_mut) to `slopes`.
    fn loss_and_gradient(
        &mut self,
        ctx: &Context,
        input: Input<'_>,
        z: &mut Matrix,
        slopes: &mut [f32],
    ) -> LossParts;

    /// What it learns itself; most learn nothing.
    fn parameters_mut(&mut self) -> &mut [f32] {
        &mut []
    }
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
