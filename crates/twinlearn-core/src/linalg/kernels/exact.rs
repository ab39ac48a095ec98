//! Distances in `f64` whose bits depend on nothing but their arguments.
//!
//! Each sum runs in eight lanes and the lanes are added in one order; products and sums are
//! rounded separately (no fused multiply-add). So every instruction set gives the same bits, and
//! a distance computed alone equals the same one computed in a batch.

/// Lanes of a sum: one AVX-512 register of `f64`.
const LANES: usize = 8;

/// Σ term(aᵢ, bᵢ). The slices have one length.
#[inline(always)]
fn lane_sum(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let (a_whole, a_rest) = a.as_chunks::<LANES>();
    let (b_whole, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        for l in 0..LANES {
            lanes[l] += term(f64::from(a[l]), f64::from(b[l]));
        }
    }
    for (lane, (&a, &b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *lane += term(f64::from(a), f64::from(b));
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// x · y.
#[inline(always)]
pub fn dot_f64(x: &[f32], y: &[f32]) -> f64 {
    lane_sum(x, y, |a, b| a * b)
}

/// ‖x − y‖².
#[inline(always)]
pub fn squared_distance_f64(x: &[f32], y: &[f32]) -> f64 {
    lane_sum(x, y, |a, b| (a - b) * (a - b))
}
