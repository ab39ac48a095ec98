//! What a loss is to a training step.

use twinlearn_core::context::Context;
use twinlearn_core::linalg::Matrix;

/// The value of the loss and, where it has them, its two parts, as they are minimised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LossParts {
    pub(crate) total: f64,
    pub(crate) on_diagonal: f64,
    pub(crate) off_diagonal: f64,
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
