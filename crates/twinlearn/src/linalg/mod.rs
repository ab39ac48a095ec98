//! Matrices, products, column reductions, eigenvectors: everything above works through these.
//!
//! The foundation tier: it knows nothing of vectors' origin, graphs or networks. `kernels` is the
//! crate's only home of `unsafe`.

mod cholesky;
mod columns;
mod complement;
mod eigen;
pub(crate) mod kernels;
mod leading;
mod matrix;
mod product;
mod real;
mod sums;

pub(crate) use cholesky::{cholesky, times_inverse};
pub(crate) use columns::column_sums;
pub(crate) use eigen::{eigen_bytes, symmetric_eigen};
pub use kernels::share_one_heap;
pub(crate) use kernels::vectorised;
pub(crate) use leading::{
    Effort, eigen_basis, is_partial, leading_bytes, leading_eigen, leading_work,
};
pub use matrix::Matrix;
pub(crate) use matrix::{MatMut, MatRef};
pub(crate) use product::{gram, matmul, matmul_here};
pub(crate) use real::Real;
pub(crate) use sums::{LANES, add_product, dot, dot_here, scale_to_unit};
