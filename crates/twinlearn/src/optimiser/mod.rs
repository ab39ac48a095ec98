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
    /// Bytes of the state for so many numbers.
    pub(crate) fn bytes(kind: OptimiserKind, numbers: usize) -> usize {
        let moments = match kind {
            OptimiserKind::Lars(_) => 1,
            OptimiserKind::AdamW { .. } => 2,
        };
        numbers.saturating_mul(moments * size_of::<f32>())
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_state() {
        let adam = OptimiserKind::AdamW { decay: 0.0, by_row: true };
        for kind in [OptimiserKind::Lars(LarsConfig::REFERENCE), adam] {
            let mut made = Optimiser::new(kind, &[12, 3]);
            let held: usize = made.state_mut().1.iter().map(|moments| 4 * moments.len()).sum();
            assert_eq!(Optimiser::bytes(kind, 15), held);
        }
    }
}
