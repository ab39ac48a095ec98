//! Long sums in `f64`, in an order fixed by the length alone.

use crate::context::{Context, runs};
use crate::linalg::{Matrix, Real, vectorised};

/// Elements a task sums at once.
const CHUNK: usize = 1 << 15;
/// Independent accumulators, so that the compiler can vectorise without reordering.
pub const LANES: usize = 16;

/// Σ aᵢ · bᵢ. Panics when the lengths differ.
pub fn dot<T: Real>(ctx: &Context, a: &[T], b: &[T]) -> f64 {
    assert_eq!(a.len(), b.len());
    let mut parts = vec![0.0; a.len().div_ceil(CHUNK)];
    let chunks: Vec<_> = runs(a.len(), CHUNK).collect();
    ctx.for_each_chunk(&mut parts, 1, |i, part| {
        let (a, b) = (&a[chunks[i].clone()], &b[chunks[i].clone()]);
        part[0] = vectorised(
            #[inline(always)]
            || dot_here(a, b),
        );
    });
    parts.iter().sum()
}

/// Adds a product in `f32` to a sum of such in `f64`.
pub fn add_product(ctx: &Context, total: &mut Matrix<f64>, part: &Matrix) {
    let cols = part.cols();
    ctx.for_each_chunk(total.as_mut_slice(), cols, |i, total| {
        total.iter_mut().zip(part.row(i)).for_each(|(t, &p)| *t += f64::from(p));
    });
}

/// Scales a row to length 1, unless it is zero; returns its length. The length is taken in `f64`, so
/// that no finite row overflows.
#[inline(always)]
pub fn scale_to_unit<T: Real>(row: &mut [T]) -> f64 {
    let length = dot_here(row, row).sqrt();
    if length > 0.0 {
        let inverse = 1.0 / length;
        row.iter_mut().for_each(|v| *v = T::from_f64(v.to_f64() * inverse));
    }
    length
}

#[inline(always)]
/// The dot product, in `f64`, on this thread.
pub fn dot_here<T: Real>(a: &[T], b: &[T]) -> f64 {
    let mut lanes = [0.0; LANES];
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let tail: f64 = a_tail.iter().zip(b_tail).map(|(&a, &b)| a.to_f64() * b.to_f64()).sum();
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            lanes[i] += a[i].to_f64() * b[i].to_f64();
        }
    }
    lanes.iter().sum::<f64>() + tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_plain_sum_at_any_number_of_threads() {
        let a: Vec<f32> = (0..100_003).map(|i| (i as f32 * 0.37).sin()).collect();
        let want: f64 = a.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        let got = [1, 2, 3].map(|n| dot(&Context::with_threads(n).unwrap(), &a, &a));
        assert!((got[0] - want).abs() < 1e-9 * want);
        assert!(got.iter().all(|g| g.to_bits() == got[0].to_bits()));
    }
}
