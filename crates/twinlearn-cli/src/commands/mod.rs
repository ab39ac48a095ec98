//! One module for each sub-command: arguments in, calls of the library, a summary out.

pub(crate) mod advise;
pub(crate) mod demo;
pub(crate) mod eval;
pub(crate) mod fit;
pub(crate) mod inspect;
pub(crate) mod knn;
pub(crate) mod search;
mod shared;
pub(crate) mod transform;
