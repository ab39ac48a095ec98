//! Scores of one row with many others, for approximate search.

use pulp::{Arch, Simd, WithSimd};

/// The products of `row` with the rows `ids` of `words`, of which word j holds coordinates j and
/// j + width/2 as `bf16`.
pub(crate) fn products(arch: Arch, row: &[f32], words: &[u32], ids: &[u32], out: &mut Vec<f32>) {
    out.clear();
    out.resize(ids.len(), 0.0);
    arch.dispatch(Products { row, words, ids, out });
}

struct Products<'a> {
    row: &'a [f32],
    words: &'a [u32],
    ids: &'a [u32],
    out: &'a mut [f32],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { row, words, ids, out } = self;
        let width = row.len() / 2;
        let (high, low) = row.split_at(width);
        let ((high, _), (low, _)) = (S::as_simd_f32s(high), S::as_simd_f32s(low));
        for (out, &id) in out.iter_mut().zip(ids) {
            let (other, _) = S::as_simd_u32s(&words[id as usize * width..][..width]);
            let mut sums = [simd.splat_f32s(0.0); 2];
            for ((&word, &a), &b) in other.iter().zip(high).zip(low) {
                let (x, y) = halves(simd, word);
                sums[0] = simd.mul_add_f32s(a, x, sums[0]);
                sums[1] = simd.mul_add_f32s(b, y, sums[1]);
            }
            *out = simd.reduce_sum_f32s(simd.add_f32s(sums[0], sums[1]));
        }
    }
}

#[inline(always)]
fn halves<S: Simd>(simd: S, word: S::u32s) -> (S::f32s, S::f32s) {
    let high = simd.and_u32s(word, simd.splat_u32s(0xffff_0000));
    let low = simd.wrapping_dyn_shl_u32s(word, simd.splat_u32s(16));
    (simd.transmute_f32s_u32s(high), simd.transmute_f32s_u32s(low))
}

/// −‖row − y‖²/2 for the rows y of `rows` (one coordinate a word, as the bits of an `f32`) with these
/// `ids`.
pub(crate) fn half_distances(
    arch: Arch,
    row: &[f32],
    rows: &[u32],
    ids: &[u32],
    out: &mut Vec<f32>,
) {
    out.clear();
    out.resize(ids.len(), 0.0);
    arch.dispatch(HalfDistances { row, rows, ids, out });
}

struct HalfDistances<'a> {
    row: &'a [f32],
    rows: &'a [u32],
    ids: &'a [u32],
    out: &'a mut [f32],
}

impl WithSimd for HalfDistances<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { row, rows, ids, out } = self;
        let width = row.len();
        let (own, _) = S::as_simd_f32s(row);
        for (out, &id) in out.iter_mut().zip(ids) {
            let (other, _) = S::as_simd_u32s(&rows[id as usize * width..][..width]);
            let mut sums = [simd.splat_f32s(0.0); 2];
            let add = |sum: &mut S::f32s, a: S::f32s, word: S::u32s| {
                let difference = simd.sub_f32s(a, simd.transmute_f32s_u32s(word));
                *sum = simd.mul_add_f32s(difference, difference, *sum);
            };
            let (pairs, last) = other.as_chunks::<2>();
            let (own_pairs, own_last) = own.as_chunks::<2>();
            for (&[a, b], &[x, y]) in own_pairs.iter().zip(pairs) {
                add(&mut sums[0], a, x);
                add(&mut sums[1], b, y);
            }
            if let (&[a], &[x]) = (own_last, last) {
                add(&mut sums[0], a, x);
            }
            *out = -0.5 * simd.reduce_sum_f32s(simd.add_f32s(sums[0], sums[1]));
        }
    }
}

/// The coordinates that `words` hold, in order.
pub(crate) fn unpack(arch: Arch, words: &[u32], out: &mut [f32]) {
    arch.dispatch(Unpack { words, out });
}

struct Unpack<'a> {
    words: &'a [u32],
    out: &'a mut [f32],
}

impl WithSimd for Unpack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (high, low) = self.out.split_at_mut(self.words.len());
        let (words, _) = S::as_simd_u32s(self.words);
        let ((high, _), (low, _)) = (S::as_mut_simd_f32s(high), S::as_mut_simd_f32s(low));
        for ((&word, high), low) in words.iter().zip(high).zip(low) {
            (*high, *low) = halves(simd, word);
        }
    }
}

/// The columns, rising, and values of `values + offsets` that reach `limit`.
pub(crate) fn select(
    arch: Arch,
    values: &[f32],
    offsets: &[f32],
    limit: f32,
    out: &mut Vec<(u32, f32)>,
) {
    out.clear();
    arch.dispatch(Select { values, offsets, limit, out });
}

struct Select<'a> {
    values: &'a [f32],
    offsets: &'a [f32],
    limit: f32,
    out: &'a mut Vec<(u32, f32)>,
}

impl WithSimd for Select<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { values, offsets, limit, out } = self;
        let ((whole, rest), (whole_offsets, rest_offsets)) =
            (S::as_simd_f32s(values), S::as_simd_f32s(offsets));
        let lowest = simd.splat_f32s(limit);
        let lanes = S::F32_LANES;
        for (r, (&value, &offset)) in whole.iter().zip(whole_offsets).enumerate() {
            let reached = simd.greater_than_or_equal_f32s(simd.add_f32s(value, offset), lowest);
            if simd.first_true_m32s(reached) < lanes {
                for column in r * lanes..(r + 1) * lanes {
                    let sum = values[column] + offsets[column];
                    if sum >= limit {
                        out.push((column as u32, sum));
                    }
                }
            }
        }
        for (column, (&value, &offset)) in rest.iter().zip(rest_offsets).enumerate() {
            if value + offset >= limit {
                out.push(((whole.len() * lanes + column) as u32, value + offset));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;
    use proptest::prelude::*;
    use twinlearn_core::linalg::{dot_f64, squared_distance_f64};

    fn archs() -> [Arch; 2] {
        [Arch::Scalar, Arch::new()]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn halves_hold_and_multiply_what_was_packed(
            rows in proptest::collection::vec(proptest::collection::vec(-2.0f32..2.0, 64), 1..20),
        ) {
            let rounded: Vec<Vec<f32>> =
                rows.iter().map(|r| r.iter().map(|&v| bf16::from_f32(v).to_f32()).collect()).collect();
            let word = |row: &[f32], j: usize| row[j].to_bits() | row[j + 32].to_bits() >> 16;
            let words: Vec<u32> =
                rounded.iter().flat_map(|r| (0..32).map(|j| word(r, j)).collect::<Vec<_>>()).collect();
            let ids: Vec<u32> = (0..rows.len() as u32).rev().collect();
            for arch in archs() {
                let mut row = vec![0.0; 64];
                unpack(arch, &words[..32], &mut row);
                prop_assert_eq!(&row, &rounded[0]);
                let mut out = Vec::new();
                products(arch, &row, &words, &ids, &mut out);
                for (&got, &id) in out.iter().zip(&ids) {
                    let want = dot_f64(&row, &rounded[id as usize]);
                    prop_assert!((f64::from(got) - want).abs() < 1e-4, "{} {}", got, want);
                }
            }
        }

        #[test]
        fn half_distances_are_those_of_the_rows(
            rows in proptest::collection::vec(proptest::collection::vec(-2.0f32..2.0, 96), 1..20),
        ) {
            // Beside each other, and far from the origin.
            let rows: Vec<Vec<f32>> =
                rows.iter().map(|r| r.iter().map(|v| 1000.0 + v / 64.0).collect()).collect();
            let words: Vec<u32> = rows.iter().flatten().map(|v| v.to_bits()).collect();
            let ids: Vec<u32> = (0..rows.len() as u32).rev().collect();
            for arch in archs() {
                let mut out = Vec::new();
                half_distances(arch, &rows[0], &words, &ids, &mut out);
                for (&got, &id) in out.iter().zip(&ids) {
                    let want = -0.5 * squared_distance_f64(&rows[0], &rows[id as usize]);
                    prop_assert!((f64::from(got) - want).abs() <= 1e-5 * want.abs(), "{} {}", got, want);
                }
            }
        }

        #[test]
        fn selected_are_those_that_reach_the_limit(
            values in proptest::collection::vec((-2i8..3, -2i8..3), 1..100),
            limit in -4i8..6,
        ) {
            let (sums, offsets): (Vec<f32>, Vec<f32>) =
                values.iter().map(|&(a, b)| (f32::from(a), f32::from(b))).unzip();
            let reaches = |&(_, &(a, b)): &(usize, &(i8, i8))| a + b >= limit;
            let want: Vec<(u32, f32)> = values
                .iter()
                .enumerate()
                .filter(reaches)
                .map(|(i, &(a, b))| (i as u32, f32::from(a + b)))
                .collect();
            for arch in archs() {
                let mut out = vec![(7, 7.0)];
                select(arch, &sums, &offsets, limit.into(), &mut out);
                prop_assert_eq!(&out, &want);
            }
        }
    }
}
