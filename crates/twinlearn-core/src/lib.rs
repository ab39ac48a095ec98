//! What every other crate of [twinlearn](https://docs.rs/twinlearn) stands on: the error type, the
//! context that work runs on, matrices and their products, seeded random numbers.
//!
//! These are parts of twinlearn, not a linear algebra library: what is public here is what the crates
//! above need, and may change with them. Nothing here knows of files, neighbours or encoders.

pub mod context;
pub mod cost;
pub mod error;
pub mod linalg;
pub mod memory;
pub mod names;
pub mod progress;
pub mod random;

pub use context::{CancelToken, Context};
pub use error::{Error, Result};
pub use linalg::Matrix;
