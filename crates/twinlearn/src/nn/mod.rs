//! The networks: what a specification says, forward and backward passes, folding for inference,
//! encoding rows.
//!
//! A network is a chain of blocks `linear → norm? → relu?`. Its inputs are the rows of one or
//! more *views* stacked on each other: each product runs over all of them at once, while batch
//! statistics are taken within each view.

mod block;
mod encode;
mod fold;
mod input;
mod network;
mod norm;
mod spec;
mod start;

#[cfg(test)]
mod gradient_tests;

pub(crate) use encode::{encode, encode_bytes, encode_rows};
pub(crate) use input::InputFrame;
pub(crate) use network::{Network, Tape};
pub(crate) use norm::{Norm, standardise, standardise_backward};
pub use spec::{NetworkKind, NetworkSpec, NormLayer};
