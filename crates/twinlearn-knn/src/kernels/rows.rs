//! Passes over rows: lengths and moves, compiled for the instruction set at hand.

use pulp::{Arch, Simd, WithSimd};
use twinlearn_core::linalg::dot_f64;

/// ‖row‖² over the first `leading` of the `width` elements of every row.
pub(crate) fn squares(arch: Arch, rows: &[f32], width: usize, leading: usize, out: &mut [f64]) {
    arch.dispatch(Squares { rows, width, leading, out });
}

struct Squares<'a> {
    rows: &'a [f32],
    width: usize,
    leading: usize,
    out: &'a mut [f64],
}

impl WithSimd for Squares<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (out, row) in self.out.iter_mut().zip(self.rows.chunks_exact(self.width)) {
            let row = &row[..self.leading];
            *out = dot_f64(row, row);
        }
    }
}

/// row = (row · gain − mean) · scale for every row, in `f64`.
pub(crate) fn move_rows(arch: Arch, rows: &mut [f32], gains: &[f64], mean: &[f32], scale: f64) {
    arch.dispatch(Move { rows, gains, mean, scale });
}

struct Move<'a> {
    rows: &'a mut [f32],
    gains: &'a [f64],
    mean: &'a [f32],
    scale: f64,
}

impl WithSimd for Move<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { rows, gains, mean, scale } = self;
        for (row, &gain) in rows.chunks_exact_mut(mean.len()).zip(gains) {
            for (v, &m) in row.iter_mut().zip(mean) {
                *v = ((f64::from(*v) * gain - f64::from(m)) * scale) as f32;
            }
        }
    }
}
