//! Times of the kernels and of what is built on them, beside a saved baseline: `make bench-kernels`.
//!
//! It is a crate of its own, so that tests of the others do not wait for criterion.
