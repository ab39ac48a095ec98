//! Estimates of what work costs, for plans shown before it. They never decide a result.
//!
//! Rates are of one thread of the machine that they were measured on (DESIGN.md, Memory).

use std::fmt::Display;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::linalg::{Effort, leading_work};
use crate::memory::{available_memory, megabytes};

/// Multiplications of matrix products in `f32` in a second.
const MULTIPLICATIONS: f64 = 30e9;
/// Cubes of the side of an eigenproblem in a second.
const EIGEN: f64 = 1e9;
/// Bytes of files read, widened and checked in a second.
const BYTES: f64 = 1.2e9;
/// Multiplications of an exact search without bounds in a second.
const SCANNED: f64 = 45e9;
/// Seconds of NN-descent for each row, axis and candidate kept.
const DESCENT: f64 = 12e-9;

/// Seconds of a matrix product.
pub fn product(multiplications: f64) -> f64 {
    multiplications / MULTIPLICATIONS
}

/// Seconds to read so many bytes.
pub fn reading(bytes: f64) -> f64 {
    bytes / BYTES
}

/// Seconds of all axes of a covariance.
pub fn eigen(dim: usize) -> f64 {
    (dim as f64).powi(3) / EIGEN
}

/// Seconds of `p` leading axes of a covariance.
pub fn leading(dim: usize, p: usize, effort: Effort) -> f64 {
    match leading_work(dim, p, effort) {
        // In f64, of which registers hold half as many.
        Some(multiplications) => 2.0 * product(multiplications),
        None => eigen(dim),
    }
}

/// Seconds of an exact search over all coordinates, at most.
pub fn search(n_left: usize, n_right: usize, dim: usize) -> f64 {
    n_left as f64 * n_right as f64 * dim as f64 / SCANNED
}

/// Seconds of NN-descent, on the leading axes.
pub fn descent(n: usize, width: usize, kept: usize) -> f64 {
    n as f64 * (width * kept) as f64 * DESCENT
}

/// What the context's memory leaves beside `bytes`, for searches within the work that takes them.
///
/// # Errors
/// When there is less than `bytes`; `what` names the work.
pub fn beside(ctx: &Context, bytes: usize, what: &str) -> Result<Context> {
    // Without a bound, what the system does not have is refused: it would end the process.
    let limit = ctx.memory_limit().unwrap_or_else(available_memory);
    let Some(left) = limit.checked_sub(bytes) else {
        return Err(match ctx.reserved() {
            0 => too_little(bytes, limit, format_args!("{what} beside the vectors")),
            // The whole bound, as it was given.
            held => {
                let what = format_args!("{what}, vectors and program included");
                too_little(bytes + held, limit + held, what)
            }
        });
    };
    let rest = ctx.clone();
    Ok(match (ctx.memory_limit(), ctx.reserved()) {
        (None, _) => rest,
        (Some(_), 0) => rest.memory(left),
        (Some(_), _) => rest.reserve(bytes),
    })
}

/// The refusal of what takes `bytes` where there are `limit`.
pub fn too_little(bytes: usize, limit: usize, what: impl Display) -> Error {
    Error::invalid(
        "memory",
        format_args!("at least {} MB for {what}", megabytes(bytes)),
        format_args!("{:.1} MB", limit as f64 / 1e6),
    )
}
