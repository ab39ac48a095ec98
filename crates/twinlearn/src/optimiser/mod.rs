//! What changes parameters by their gradients.

mod adamw;
mod lars;
mod parameter;

pub(crate) use lars::LarsConfig;
pub(crate) use parameter::Parameter;

use twinlearn_core::context::Context;

use self::adamw::AdamW;
use self::lars::Lars;

/// Which optimiser.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OptimiserKind {
    Lars(LarsConfig),
    /// With the weight decay, times the learning rate, of matrices, and whether their rows share one
    /// second moment.
    AdamW {
        decay: f64,
        by_row: bool,
    },
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
            OptimiserKind::AdamW { decay, by_row } => {
                Self::AdamW(AdamW::new(decay, by_row, sizes.iter().copied()))
            }
        }
    }

    /// Everything that later steps depend on: the count of steps, where it matters, and arrays in a
    /// fixed order.
    pub(crate) fn state_mut(&mut self) -> (Option<&mut u32>, Vec<&mut Vec<f32>>) {
        match self {
            Self::Lars(lars) => (None, lars.state_mut().collect()),
            Self::AdamW(adam) => {
                let (step, arrays) = adam.state_mut();
                (Some(step), arrays.collect())
            }
        }
    }

    /// Changes a parameter by its gradient. Each step goes through all parameters in order, from
    /// number 0.
    pub(crate) fn step(&mut self, ctx: &Context, parameter: Parameter<'_>, learning_rate: f64) {
        match self {
            Self::Lars(lars) => lars.step(ctx, parameter, learning_rate),
            Self::AdamW(adam) => adam.step(ctx, parameter, learning_rate),
        }
    }
}
