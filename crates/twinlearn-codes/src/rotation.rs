//! An orthogonal map that spreads every vector evenly over all coordinates, at O(d log d) a row.
//!
//! Four rounds; in each, coordinates change their signs by pseudo-random bits, and a block of p of them,
//! p the largest power of two up to d, goes through the Walsh–Hadamard transform over √p: the first p in
//! rounds 0 and 2, the last p in rounds 1 and 3 (as in Andoni et al., arXiv 1509.02897). Nothing is
//! stored, and every machine gives the same bits: the transform is sums of two numbers in one order.

use std::ops::Range;

use twinlearn_core::linalg::arch;

use crate::kernels::{Round, SIDE_BY_SIDE, turn, turn_back};

/// Rounds of signs and transform.
const ROUNDS: usize = 4;

/// The map for vectors of one dimension.
///
/// The sign of coordinate i in round t is that of the lowest bit of `mix(t · 2³² + i)` (−1 where it is
/// set), with SplitMix64's finaliser `mix` (Steele et al., 2014) of `(x + 1) · 0x9E3779B97F4A7C15`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rotation {
    signs: [Vec<f32>; ROUNDS],
    /// p.
    block: usize,
}

fn mix(x: u64) -> u64 {
    let mut z = (x.wrapping_add(1)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Rotation {
    pub(crate) fn new(dim: usize) -> Self {
        let sign = |round: usize, i: usize| {
            let bit = mix(((round as u64) << 32) + i as u64) & 1;
            if bit == 1 { -1.0 } else { 1.0 }
        };
        let signs = std::array::from_fn(|round| (0..dim).map(|i| sign(round, i)).collect());
        Self { signs, block: 1 << dim.max(1).ilog2() }
    }

    /// The coordinates that a round transforms.
    fn block(&self, round: usize) -> Range<usize> {
        let start = if round.is_multiple_of(2) { 0 } else { self.signs[round].len() - self.block };
        start..start + self.block
    }

    /// Turns rows.
    pub(crate) fn apply(&self, rows: &mut [f32]) {
        self.some_at_once(rows, |some| self.apply_side_by_side(some));
    }

    /// Turns rows back.
    pub(crate) fn undo(&self, rows: &mut [f32]) {
        self.some_at_once(rows, |some| turn_back(arch(), &self.rounds(), some));
    }

    /// Turns some rows, of which each element holds one coordinate.
    pub(crate) fn apply_side_by_side(&self, rows: &mut [[f32; SIDE_BY_SIDE]]) {
        turn(arch(), &self.rounds(), rows);
    }

    fn rounds(&self) -> [Round<'_>; ROUNDS] {
        std::array::from_fn(|round| (&self.signs[round][..], self.block(round)))
    }

    /// Puts rows side by side for `work`, and back. What it does to a row must not depend on the others.
    fn some_at_once(&self, rows: &mut [f32], work: impl Fn(&mut [[f32; SIDE_BY_SIDE]])) {
        let dim = self.signs[0].len();
        let mut some = vec![[0.0; SIDE_BY_SIDE]; dim];
        for rows in rows.chunks_mut(SIDE_BY_SIDE * dim) {
            for (i, row) in rows.chunks_exact(dim).enumerate() {
                some.iter_mut().zip(row).for_each(|(values, &v)| values[i] = v);
            }
            work(&mut some);
            for (i, row) in rows.chunks_exact_mut(dim).enumerate() {
                row.iter_mut().zip(&some).for_each(|(v, values)| *v = values[i]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_stay_rows_come_back_and_spikes_are_spread() {
        for dim in [1, 2, 3, 7, 24, 96, 384, 700] {
            let rotation = Rotation::new(dim);
            for spike in [0, dim / 2, dim - 1] {
                let mut row = vec![0.0; dim];
                row[spike] = 1.0;
                rotation.apply(&mut row);
                let square: f32 = row.iter().map(|v| v * v).sum();
                assert!((square - 1.0).abs() < 1e-5, "{dim}: {square}");
                let largest = row.iter().fold(0.0_f32, |a, v| a.max(v.abs()));
                if dim > 50 {
                    assert!(largest < 6.0 / (dim as f32).sqrt(), "{dim}: {largest}");
                }
                rotation.undo(&mut row);
                for (i, v) in row.iter().enumerate() {
                    assert!((v - f32::from(u8::from(i == spike))).abs() < 1e-5);
                }
            }
        }
    }

    fn transform(x: &mut [f32]) {
        let mut half = 1;
        while half < x.len() {
            for pair in x.chunks_exact_mut(2 * half) {
                let (a, b) = pair.split_at_mut(half);
                for (a, b) in a.iter_mut().zip(b) {
                    (*a, *b) = (*a + *b, *a - *b);
                }
            }
            half *= 2;
        }
        let scale = 1.0 / (x.len() as f32).sqrt();
        x.iter_mut().for_each(|v| *v *= scale);
    }

    #[test]
    fn rows_side_by_side_are_turned_as_one_is() {
        for dim in [1, 3, 24, 130] {
            let rotation = Rotation::new(dim);
            let rows: Vec<[f32; SIDE_BY_SIDE]> = (0..dim)
                .map(|j| std::array::from_fn(|i| ((j * 31 + i * 7) % 23) as f32 - 11.0))
                .collect();
            for arch in [pulp::Arch::Scalar, arch()] {
                let [mut many, mut back] = [rows.clone(), rows.clone()];
                turn(arch, &rotation.rounds(), &mut many);
                turn_back(arch, &rotation.rounds(), &mut back);
                for i in 0..SIDE_BY_SIDE {
                    let mut one: Vec<f32> = rows.iter().map(|values| values[i]).collect();
                    let mut undone = one.clone();
                    for (round, signs) in rotation.signs.iter().enumerate() {
                        one.iter_mut().zip(signs).for_each(|(v, s)| *v *= s);
                        transform(&mut one[rotation.block(round)]);
                    }
                    for (round, signs) in rotation.signs.iter().enumerate().rev() {
                        transform(&mut undone[rotation.block(round)]);
                        undone.iter_mut().zip(signs).for_each(|(v, s)| *v *= s);
                    }
                    assert!(one.iter().zip(&many).all(|(v, values)| *v == values[i]), "{dim}");
                    assert!(undone.iter().zip(&back).all(|(v, values)| *v == values[i]), "{dim}");
                }
            }
        }
    }

    /// The formula of the signs, by numbers of an independent SplitMix64 (seed 0, its first output).
    #[test]
    fn signs_are_those_of_splitmix64() {
        assert_eq!(mix(0), 0xE220_A839_7B1D_CDAF);
        assert_eq!(mix(1), 0x6E78_9E6A_A1B9_65F4);
    }
}
