//! What an optimiser changes.

/// A parameter that is to be changed.
#[derive(Debug)]
pub(crate) struct Parameter<'a> {
    /// Its number, which names its state.
    pub(crate) index: usize,
    /// The length of the rows of a matrix; none for biases, norm parameters and what a loss learns.
    pub(crate) row: Option<usize>,
    pub(crate) values: &'a mut [f32],
    pub(crate) gradient: &'a [f32],
}

/// Elements a task updates at once.
pub(super) const CHUNK: usize = 1 << 15;
