//! Matrices, products, column reductions, eigenvectors: everything above works through these.
//!
//! It knows nothing of where vectors come from, of graphs or networks. `kernels/gemm` is the only home of
//! `unsafe` in the libraries.

mod cholesky;
mod columns;
mod complement;
mod eigen;
mod kernels;
mod leading;
mod matrix;
mod polar;
mod product;
mod real;
mod sums;

pub use cholesky::{cholesky, times_inverse};
pub use columns::column_sums;
pub use eigen::symmetric_eigen;
pub use kernels::{arch, dot_f64, squared_distance_f64, vectorised};
pub use leading::{Effort, eigen_basis, is_partial, leading_bytes, leading_eigen, leading_work};
pub use matrix::{MatMut, MatRef, Matrix};
pub use polar::nearest_orthogonal;
pub use product::{gram, matmul, matmul_here};
pub use real::Real;
pub use sums::{LANES, add_product, dot, dot_here, scale_to_unit};
