//! What changes parameters by their gradients.

mod adamw;
mod lars;

pub(crate) use lars::LarsConfig;

use self::adamw::AdamW;
use self::lars::Lars;

use crate::context::Context;

/// Which optimiser.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OptimiserKind {
    Lars(LarsConfig),
    AdamW,
}

/// An optimiser with its state.
#[derive(Debug)]
pub(crate) enum Optimiser {
    Lars(Lars),
    AdamW(AdamW),
}

impl Optimiser {
    /// `kind` with state for parameters of the given sizes.
    pub(crate) fn new(kind: OptimiserKind, sizes: &[usize]) -> Self {
        match kind {
            OptimiserKind::Lars(config) => Self::Lars(Lars::new(config, sizes.iter().copied())),
            OptimiserKind::AdamW => Self::AdamW(AdamW::new(sizes.iter().copied())),
        }
    }

    /// Changes parameter number `index` by its gradient, which is spent. Each step goes through
    /// all parameters in order, from number 0.
    pub(crate) fn step(
        &mut self,
        ctx: &Context,
        index: usize,
        is_matrix: bool,
        parameter: &mut [f32],
        gradient: &mut [f32],
        learning_rate: f64,
    ) {
        match self {
            Self::Lars(lars) => {
                lars.step(ctx, index, is_matrix, parameter, gradient, learning_rate);
            }
            Self::AdamW(adam) => {
                adam.step(ctx, index, is_matrix, parameter, gradient, learning_rate);
            }
        }
    }
}

/// Elements a task updates at once.
const CHUNK: usize = 1 << 15;
