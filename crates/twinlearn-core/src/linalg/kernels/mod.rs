//! The innermost loops of matrices, whose instruction set is chosen at run time. `gemm` is the only home
//! of `unsafe` in the libraries.

mod dots;
mod exact;
mod gemm;

pub(super) use dots::add_dots;
pub use exact::{dot_f64, squared_distance_f64};
pub(super) use gemm::{Tile, gemm_tile, gram_tile};

/// The instruction set that kernels run in: the best that this machine has.
pub fn arch() -> pulp::Arch {
    pulp::Arch::new()
}

/// Runs `work`, an element-wise loop, compiled for that instruction set. The compiler neither
/// reorders nor fuses, so the bits are the same in all of them.
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
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
