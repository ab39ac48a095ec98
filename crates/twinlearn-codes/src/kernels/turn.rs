//! Turns of many rows side by side.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

/// Rows that are turned at once.
pub(crate) const SIDE_BY_SIDE: usize = 16;

/// A round of a turn: the sign of each coordinate, and those that are then transformed.
pub(crate) type Round<'a> = (&'a [f32], Range<usize>);

/// Turns rows, of which each element holds one coordinate, by one round after the other.
pub(crate) fn turn(arch: Arch, rounds: &[Round<'_>], rows: &mut [[f32; SIDE_BY_SIDE]]) {
    arch.dispatch(Turn { rounds, is_back: false, rows });
}

/// Turns them back.
pub(crate) fn turn_back(arch: Arch, rounds: &[Round<'_>], rows: &mut [[f32; SIDE_BY_SIDE]]) {
    arch.dispatch(Turn { rounds, is_back: true, rows });
}

struct Turn<'a> {
    rounds: &'a [Round<'a>],
    is_back: bool,
    rows: &'a mut [[f32; SIDE_BY_SIDE]],
}

impl WithSimd for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { rounds, is_back, rows } = self;
        let (rows, _) = S::as_mut_simd_f32s(rows.as_flattened_mut());
        let each = SIDE_BY_SIDE / S::F32_LANES;
        let numbers = |block: &Range<usize>| block.start * each..block.end * each;
        if is_back {
            for (signs, block) in rounds.iter().rev() {
                transform(simd, &mut rows[numbers(block)], each);
                change_signs(simd, signs, rows, each);
            }
        } else {
            for (signs, block) in rounds {
                change_signs(simd, signs, rows, each);
                transform(simd, &mut rows[numbers(block)], each);
            }
        }
    }
}

/// Multiplies coordinates of so many vectors by their signs.
#[inline(always)]
fn change_signs<S: Simd>(simd: S, signs: &[f32], rows: &mut [S::f32s], each: usize) {
    for (coordinate, &sign) in rows.chunks_exact_mut(each).zip(signs) {
        let sign = simd.splat_f32s(sign);
        for values in coordinate {
            *values = simd.mul_f32s(*values, sign);
        }
    }
}

/// The Walsh–Hadamard transform over the root of the length, which is its own inverse, of coordinates of so many vectors.
#[inline(always)]
fn transform<S: Simd>(simd: S, x: &mut [S::f32s], each: usize) {
    let scale = simd.splat_f32s(1.0 / ((x.len() / each) as f32).sqrt());
    let mut half = each;
    while half < x.len() {
        for pair in x.chunks_exact_mut(2 * half) {
            let (a, b) = pair.split_at_mut(half);
            for (a, b) in a.iter_mut().zip(b) {
                (*a, *b) = (simd.add_f32s(*a, *b), simd.sub_f32s(*a, *b));
            }
        }
        half *= 2;
    }
    for values in x {
        *values = simd.mul_f32s(*values, scale);
    }
}
