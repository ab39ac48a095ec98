//! The innermost loops, and the only home of `unsafe`: raw matrix products, behind a safe face that
//! checks what the unsafe code relies on, and the scans of neighbour search, whose instruction set
//! is chosen at run time.
#![allow(unsafe_code)]

mod dots;
mod exact;
mod gemm;
mod heap;
mod rows;
pub(crate) mod scan;
mod score;

pub(crate) use dots::add_dots;
pub(crate) use exact::{dot_f64, squared_distance_f64};
pub(crate) use gemm::{Tile, gemm_tile, gram_tile};
pub use heap::share_one_heap;
pub(crate) use rows::{move_rows, squares};
pub(crate) use score::{half_distances, products, select, unpack};

/// The instruction set that kernels run in: the best that this machine has.
pub(crate) fn arch() -> pulp::Arch {
    pulp::Arch::new()
}

/// Runs `work`, an element-wise loop, compiled for that instruction set. The compiler neither
/// reorders nor fuses, so the bits are the same in all of them.
pub(crate) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    struct Work<F>(F);
    impl<R, F: FnOnce() -> R> pulp::WithSimd for Work<F> {
        type Output = R;
        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, _: S) -> R {
            (self.0)()
        }
    }
    arch().dispatch(Work(work))
}
