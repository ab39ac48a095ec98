//! Turns of many rows side by side.

use pulp::{Arch, Simd, WithSimd};

use crate::rotation::{Rotation, SIDE_BY_SIDE};

/// Turns rows as `rotation` turns one, to the bit. Coordinate j of all of them lies from
/// j · [`SIDE_BY_SIDE`] on.
pub(crate) fn turn(arch: Arch, rotation: &Rotation, rows: &mut [f32]) {
    arch.dispatch(Turn { rotation, rows });
}

struct Turn<'a> {
    rotation: &'a Rotation,
    rows: &'a mut [f32],
}

impl WithSimd for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { rotation, rows } = self;
        let (rows, _) = S::as_mut_simd_f32s(rows);
        let each = SIDE_BY_SIDE / S::F32_LANES;
        for (round, signs) in rotation.signs().iter().enumerate() {
            for (coordinate, &sign) in rows.chunks_exact_mut(each).zip(signs) {
                let sign = simd.splat_f32s(sign);
                for values in coordinate {
                    *values = simd.mul_f32s(*values, sign);
                }
            }
            let block = rotation.block(round);
            transform(simd, &mut rows[block.start * each..block.end * each], each);
        }
    }
}

/// The Walsh–Hadamard transform over the root of the length, of coordinates of so many vectors.
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
