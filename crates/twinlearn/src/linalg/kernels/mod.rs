//! The only home of `unsafe`: raw matrix products and memory maps, each behind a safe face that
//! checks what the unsafe code relies on.
#![allow(unsafe_code)]

mod gemm;
mod map;

pub(crate) use gemm::{Tile, gemm_tile, gram_tile};
pub(crate) use map::map_file;
