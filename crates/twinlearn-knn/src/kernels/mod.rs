//! The innermost loops of neighbour search. Their instruction set is chosen at run time.

pub(crate) mod nearest;
mod rows;
pub(crate) mod scan;
mod score;

pub(crate) use rows::{move_rows, squares};
pub(crate) use score::{half_distances, products, select, unpack};
