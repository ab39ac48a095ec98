//! Vectors as codes of a few bytes, and exact search of them.
//!
//! A [`Codec`] makes bytes of rows and tells what bytes stand for: `scalar` codes of 1, 2, 4 or 8 bits a
//! number, of which nothing is learned but a mean, or `product` codes with a learned rotation and books of
//! centres. Both belong to a metric: under cosine only directions count. [`Decoded`] are the rows that codes
//! stand for, as [`Vectors`]: a float query against codes is an ordinary exact search among them, with the
//! same bits at any number of threads.

mod codec;
mod decoded;
mod kernels;
mod product;
mod rotation;
mod scalar;
mod scan;
#[cfg(test)]
mod scan_tests;
mod search;
mod small;
mod spec;

pub use codec::Codec;
pub use decoded::Decoded;
pub use product::ProductCode;
pub use scalar::{RowMoments, ScalarCode};
pub use search::{rescore, search_codes};
pub use spec::{Bits, CodeSpec};
pub use twinlearn_core::{Context, Error, Matrix, Result};
pub use twinlearn_knn::Metric;
pub use twinlearn_vectors::Vectors;
