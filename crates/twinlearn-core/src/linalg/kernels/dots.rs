//! Products of few rows with many, where a row's result must not depend on its company.

use pulp::{Arch, Simd, WithSimd};

/// Adds the product of row i of `x` and row j of `w`, both of `dim` elements, to element (i, j) of
/// `out`.
///
/// Each product is summed over its own lanes and in an order of its own, so that its bits depend on
/// the two rows alone: a matrix product's depend on its shape.
pub(crate) fn add_dots(arch: Arch, x: &[f32], w: &[f32], dim: usize, out: &mut [f32]) {
    let (rows, cols) = (x.len() / dim, w.len() / dim);
    assert!(rows * dim == x.len() && cols * dim == w.len() && rows * cols == out.len());
    arch.dispatch(Dots { x, w, dim, cols, out });
}

/// Bytes of `w` that all rows meet before the next: they stay in the cache.
const PANEL: usize = 1 << 17;

struct Dots<'a> {
    x: &'a [f32],
    w: &'a [f32],
    dim: usize,
    cols: usize,
    out: &'a mut [f32],
}

impl WithSimd for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // As many sums as registers hold beside what they are summed from. With 512 bits there is
        // room for more, but then compilers (Rust 1.95) spill.
        if S::F32_LANES >= 16 { self.panels::<S, 4, 4>(simd) } else { self.panels::<S, 4, 3>(simd) }
    }
}

impl Dots<'_> {
    #[inline(always)]
    fn panels<S: Simd, const R: usize, const C: usize>(self, simd: S) {
        let Self { x, w, dim, cols, out } = self;
        let panel = (PANEL / size_of::<f32>() / dim / C * C).max(C);
        let whole = x.len() / dim / R * R;
        let (x, x_rest) = x.split_at(whole * dim);
        let (out, out_rest) = out.split_at_mut(whole * cols);
        for (p, w) in w.chunks(panel * dim).enumerate() {
            let first = p * panel;
            for (x, out) in x.chunks_exact(R * dim).zip(out.chunks_exact_mut(R * cols)) {
                strip::<S, R, C>(simd, x, w, dim, &mut out[first..], cols);
            }
            for (x, out) in x_rest.chunks_exact(dim).zip(out_rest.chunks_exact_mut(cols)) {
                strip::<S, 1, C>(simd, x, w, dim, &mut out[first..], cols);
            }
        }
    }
}

/// `R` rows with all of `w`.
#[inline(always)]
fn strip<S: Simd, const R: usize, const C: usize>(
    simd: S,
    x: &[f32],
    w: &[f32],
    dim: usize,
    out: &mut [f32],
    stride: usize,
) {
    let tiles = w.chunks_exact(C * dim);
    let rest = tiles.remainder();
    let whole = tiles.len() * C;
    for (t, w) in tiles.enumerate() {
        tile::<S, R, C>(simd, x, w, dim, &mut out[t * C..], stride);
    }
    for (j, w) in rest.chunks_exact(dim).enumerate() {
        tile::<S, R, 1>(simd, x, w, dim, &mut out[whole + j..], stride);
    }
}

/// `R` rows with `C`.
#[inline(always)]
fn tile<S: Simd, const R: usize, const C: usize>(
    simd: S,
    x: &[f32],
    w: &[f32],
    dim: usize,
    out: &mut [f32],
    stride: usize,
) {
    let n = dim / S::F32_LANES;
    let x: [_; R] = std::array::from_fn(|r| S::as_simd_f32s(&x[r * dim..][..dim]));
    let w: [_; C] = std::array::from_fn(|c| S::as_simd_f32s(&w[c * dim..][..dim]));
    let (x_whole, w_whole) = (x.map(|x| &x.0[..n]), w.map(|w| &w.0[..n]));
    let mut sums = [[simd.splat_f32s(0.0); C]; R];
    for k in 0..n {
        let w: [_; C] = std::array::from_fn(|c| w_whole[c][k]);
        for r in 0..R {
            let x = x_whole[r][k];
            for c in 0..C {
                sums[r][c] = simd.mul_add_f32s(x, w[c], sums[r][c]);
            }
        }
    }
    let w = w.map(|w| simd.partial_load_f32s(w.1));
    for r in 0..R {
        let x = simd.partial_load_f32s(x[r].1);
        for c in 0..C {
            sums[r][c] = simd.mul_add_f32s(x, w[c], sums[r][c]);
        }
    }
    if S::F32_LANES == 16 && R * C == 16 {
        let all = lane_sums(simd, std::array::from_fn(|v| sums[v / C][v % C]));
        let all: &[f32] = pulp::bytemuck::cast_slice(std::slice::from_ref(&all));
        for r in 0..R {
            for (out, sum) in out[r * stride..][..C].iter_mut().zip(&all[r * C..]) {
                *out += sum;
            }
        }
        return;
    }
    for r in 0..R {
        for c in 0..C {
            out[r * stride + c] += simd.reduce_sum_f32s(sums[r][c]);
        }
    }
}

/// What `reduce_sum_f32s` gives for each of 16 vectors of 16 lanes, to the bit and in their order,
/// with a third of its instructions: halves are added until one lane is left, and what the other
/// lanes of one vector would have repeated is done for another instead.
#[inline(always)]
fn lane_sums<S: Simd>(simd: S, mut v: [S::f32s; 16]) -> S::f32s {
    let lane: [u32; 16] = std::array::from_fn(|lane| lane as u32);
    let lane = simd.partial_load_u32s(&lane);
    for bit in [8, 4, 2, 1] {
        // Lanes whose number lacks this bit: they go on with the first of two vectors.
        let with_bit = simd.and_u32s(lane, simd.splat_u32s(bit as u32));
        let first = simd.equal_u32s(with_bit, simd.splat_u32s(0));
        for i in 0..bit {
            let (a, b) = (v[i], v[i + bit]);
            let a = simd.add_f32s(a, simd.rotate_left_f32s(a, bit));
            let b = simd.add_f32s(b, simd.rotate_right_f32s(b, bit));
            v[i] = simd.select_f32s(first, a, b);
        }
    }
    v[0]
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::kernels::dot_f64;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn products_are_close_and_do_not_depend_on_company(
            (rows, cols, dim) in (1usize..12, 1usize..12, 1usize..70), wide in any::<bool>(),
        ) {
            // Wide rows make panels of few columns.
            let dim = if wide { dim + 9000 } else { dim };
            let wave = |n: usize, phase: f32| -> Vec<f32> {
                (0..n).map(|i| (i as f32 * 0.7 + phase).sin()).collect()
            };
            let (x, w) = (wave(rows * dim, 0.1), wave(cols * dim, 0.5));
            for arch in [Arch::Scalar, Arch::new()] {
                let mut all = vec![1.0; rows * cols];
                add_dots(arch, &x, &w, dim, &mut all);
                for (i, x) in x.chunks(dim).enumerate() {
                    for (j, w) in w.chunks(dim).enumerate() {
                        let mut alone = [1.0];
                        add_dots(arch, x, w, dim, &mut alone);
                        prop_assert_eq!(alone[0].to_bits(), all[i * cols + j].to_bits());
                        let error = f64::from(alone[0]) - (1.0 + dot_f64(x, w));
                        let size: f32 = x.iter().zip(w).map(|(x, w)| (x * w).abs()).sum();
                        prop_assert!(error.abs() < 1e-5 * f64::from(1.0 + size), "{}", error);
                    }
                }
            }
        }
    }
}
