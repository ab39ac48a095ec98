//! The nearest of some centres to each of many points, without a table of distances.

use pulp::{Arch, Simd, WithSimd};

/// Numbers of the widest vector: centres are padded to a multiple of it.
pub(crate) const LANES: usize = 16;

/// Centres, coordinate by coordinate: `columns` holds coordinate j of all of them from j · `halves.len()`
/// on, `halves` the halves of their squared lengths, infinite for those that only pad.
#[derive(Clone, Copy)]
pub(crate) struct Centres<'a> {
    pub(crate) columns: &'a [f32],
    pub(crate) halves: &'a [f32],
}

/// The nearest centre of every point, the first of equals: point i lies from i · `stride` on.
pub(crate) fn nearest(
    arch: Arch,
    centres: Centres<'_>,
    points: &[f32],
    stride: usize,
    out: &mut [u32],
) {
    assert!(centres.halves.len().is_multiple_of(LANES), "padded centres");
    // Places are counted by floats.
    assert!(centres.halves.len() < 1 << f32::MANTISSA_DIGITS, "centres that floats can count");
    arch.dispatch(Nearest { centres, points, stride, out });
}

struct Nearest<'a> {
    centres: Centres<'a>,
    points: &'a [f32],
    stride: usize,
    out: &'a mut [u32],
}

impl WithSimd for Nearest<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Registers hold the sums, the least and the places of so many points.
        if S::F32_LANES == LANES { self.of_some::<S, 8>(simd) } else { self.of_some::<S, 4>(simd) }
    }
}

impl Nearest<'_> {
    #[inline(always)]
    fn of_some<S: Simd, const SOME: usize>(self, simd: S) {
        let Self { centres, points, stride, out } = self;
        let width = centres.columns.len() / centres.halves.len();
        let mut some = vec![[0.0; SOME]; width];
        for (i, out) in out.chunks_mut(SOME).enumerate() {
            // Coordinate by coordinate; where fewer points are left, others stay in their places.
            for (p, _) in out.iter().enumerate() {
                let point = &points[(i * SOME + p) * stride..][..width];
                for (numbers, &number) in some.iter_mut().zip(point) {
                    numbers[p] = number;
                }
            }
            out.copy_from_slice(&nearest_of(simd, centres, &some)[..out.len()]);
        }
    }
}

/// The nearest centres of some points, of which each element holds one coordinate.
#[inline(always)]
fn nearest_of<S: Simd, const SOME: usize>(
    simd: S,
    centres: Centres<'_>,
    points: &[[f32; SOME]],
) -> [u32; SOME] {
    let (halves, _) = S::as_simd_f32s(centres.halves);
    let (columns, _) = S::as_simd_f32s(centres.columns);
    let mut least = [simd.splat_f32s(f32::INFINITY); SOME];
    let mut places = [simd.splat_f32s(0.0); SOME];
    let mut lanes = [0.0; LANES];
    for (i, lane) in lanes.iter_mut().enumerate() {
        *lane = i as f32;
    }
    let mut place = S::as_simd_f32s(&lanes).0[0];
    for (b, &half) in halves.iter().enumerate() {
        // |x - c|^2 = |x|^2 + 2 (|c|^2 / 2 - <x, c>)
        let mut sums = [half; SOME];
        for (numbers, &column) in points.iter().zip(columns[b..].iter().step_by(halves.len())) {
            for (sum, &number) in sums.iter_mut().zip(numbers) {
                *sum = simd.negate_mul_add_e_f32s(simd.splat_f32s(number), column, *sum);
            }
        }
        for ((&sum, least), places) in sums.iter().zip(&mut least).zip(&mut places) {
            let is_less = simd.less_than_f32s(sum, *least);
            *least = simd.select_f32s(is_less, sum, *least);
            *places = simd.select_f32s(is_less, place, *places);
        }
        place = simd.add_f32s(place, simd.splat_f32s(S::F32_LANES as f32));
    }
    let mut found = [0; SOME];
    for ((found, &least), &places) in found.iter_mut().zip(&least).zip(&places) {
        let value = simd.splat_f32s(simd.reduce_min_f32s(least));
        let of_others = simd.splat_f32s(f32::INFINITY);
        let places = simd.select_f32s(simd.equal_f32s(value, least), places, of_others);
        *found = simd.reduce_min_f32s(places) as u32;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole numbers, of which every sum is exact, with ties among them.
    #[test]
    fn kernels_agree_and_name_the_first_of_equals() {
        let value = |i: usize| ((i * i * 7919) % 13) as f32 - 6.0;
        for (n, width, count) in [(1, 1, 16), (19, 3, 32), (40, 5, 256)] {
            let stride = width + 1;
            let points: Vec<f32> = (0..n * stride).map(value).collect();
            let columns: Vec<f32> = (0..count * width).map(|i| value(i + 5)).collect();
            let square = |c: usize| (0..width).map(|j| columns[j * count + c].powi(2)).sum::<f32>();
            let halves: Vec<f32> = (0..count).map(|c| 0.5 * square(c)).collect();
            let score = |i: usize, c: usize| {
                let products = (0..width).map(|j| points[i * stride + j] * columns[j * count + c]);
                halves[c] - products.sum::<f32>()
            };
            for arch in [Arch::Scalar, Arch::new()] {
                let mut found = vec![0; n];
                let centres = Centres { columns: &columns, halves: &halves };
                nearest(arch, centres, &points, stride, &mut found);
                for (i, &got) in found.iter().enumerate() {
                    let least =
                        (0..count).fold(0, |a, c| if score(i, c) < score(i, a) { c } else { a });
                    assert_eq!(got as usize, least, "{n} x {width}, {count} centres");
                }
            }
        }
    }
}
