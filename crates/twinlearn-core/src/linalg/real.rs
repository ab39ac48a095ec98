//! The two element types that arithmetic runs in.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

use super::kernels::{add_dots, arch};

/// `f32` for work, `f64` for the gradient checks of the tests.
pub trait Real:
    Copy
    + Debug
    + Default
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + 'static
{
    /// The nearest number of this type.
    fn from_f64(x: f64) -> Self;
    /// The same number as `f64`.
    fn to_f64(self) -> f64;
    /// e to this power.
    fn exp(self) -> Self;
    /// Adds the product of rows i of `x` and j of `w`, both of `dim` elements, to element (i, j) of
    /// `out`. Its bits depend on the two rows alone.
    fn add_dots(x: &[Self], w: &[Self], dim: usize, out: &mut [Self]);
}

/// eˣ to within 2e-7 of its size, without a branch or a table, so that loops over it vectorise and
/// give the same bits with every instruction set. Below −87 it is 1e-38 or less; not for x above 88.
#[inline(always)]
fn exp_f32(x: f32) -> f32 {
    // x = n ln 2 + r with |r| ≤ ln 2 / 2, n rounded by adding what leaves no fraction bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, of which n times the first is exact (Cody and Waite).
    const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let x = if x < -87.0 { -87.0 } else { x };
    let n = x * std::f32::consts::LOG2_E + ROUND;
    let bits = n.to_bits() << 23;
    let n = n - ROUND;
    let r = (x - n * LN2[0]) - n * LN2[1];
    // Taylor's series; the next term is below 2e-8.
    let mut sum = 1.0 / 5040.0;
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = sum * r + c;
    }
    // 2ⁿ by its exponent bits: the low bits of n, moved there, are added to those of 1.
    f32::from_bits(bits.wrapping_add(1.0_f32.to_bits())) * sum
}

impl Real for f32 {
    #[inline]
    fn from_f64(x: f64) -> Self {
        x as Self
    }
    #[inline]
    fn to_f64(self) -> f64 {
        self.into()
    }
    #[inline(always)]
    fn exp(self) -> Self {
        exp_f32(self)
    }
    fn add_dots(x: &[Self], w: &[Self], dim: usize, out: &mut [Self]) {
        add_dots(arch(), x, w, dim, out);
    }
}

impl Real for f64 {
    #[inline]
    fn from_f64(x: f64) -> Self {
        x
    }
    #[inline]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline]
    fn exp(self) -> Self {
        self.exp()
    }
    fn add_dots(x: &[Self], w: &[Self], dim: usize, out: &mut [Self]) {
        let cols = w.len() / dim;
        for (x, out) in x.chunks_exact(dim).zip(out.chunks_exact_mut(cols)) {
            for (w, out) in w.chunks_exact(dim).zip(out) {
                *out += x.iter().zip(w).map(|(x, w)| x * w).sum::<f64>();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_near_the_true_one() {
        for i in 0..=1_000_000 {
            let x = -86.9 + 100.0 * i as f32 / 1e6;
            let want = f64::from(x).exp();
            let error = (f64::from(Real::exp(x)) - want).abs() / want;
            assert!(error < 2e-7, "exp({x}) is {error:e} off");
        }
        assert_eq!(Real::exp(0.0_f32), 1.0);
        assert!(Real::exp(-1e30_f32) < 1e-37 && Real::exp(f32::NEG_INFINITY) < 1e-37);
    }
}
