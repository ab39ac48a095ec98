//! Scalar codes: every number of a turned row by a few bits.
//!
//! With c the mean of the rows, r = H(z − c) for the rotation H of [`Rotation`], d numbers of about one
//! size. A step of Δ gives the code k = ⌊r / Δ⌋ + 2^(b−1), clipped to 0 ..= 2^b − 1, which stands for
//! u = k − (2^b − 1) / 2. With b up to 4 it is Δ = t_b ‖r‖ / √d, t_b the best for 2^b even steps of normal
//! numbers; with 8 bits Δ = max |r| / 128, so that nothing is clipped: rows in tight clusters, whose
//! neighbours differ by little, need the finest step that there is (.83 of them kept and not .71, in 24
//! dimensions). Only the direction of u is used, so that no step is stored: the row stands for
//!
//! ```text
//! x = c + ρ Hᵀ(u / ‖u‖).
//! ```
//!
//! Under cosine rows are scaled to length 1 before. ρ = ‖r‖ is stored after the codes, as the `f16` ρ / ρ̄
//! with ρ̄ the mean of ‖r‖, where that pays ([`ScalarCode::has_length`]); else it is ρ̄. With 1 bit it always
//! is, so that bits alone remain and Hamming distances mean something.
//!
//! Codes are packed from the highest bits of a byte on, as `numpy.packbits` packs bits; the last byte is
//! filled with zeros.

use half::f16;
use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::{dot_here, scale_to_unit, vectorised};
use twinlearn_knn::Metric;

use crate::kernels::SIDE_BY_SIDE;
use crate::rotation::Rotation;
use crate::spec::Bits;

/// Δ for a row of `dim` numbers, of this length and largest size: t_b for 2 and 4 bits (Max, 1960); of 1 bit
/// only signs are kept.
fn step(bits: Bits, dim: usize, length: f64, largest: f64) -> f64 {
    let share = match bits.get() {
        8 => return largest / 128.0,
        4 => 0.3352,
        2 => 0.9957,
        _ => 1.0,
    };
    share * length / (dim as f64).sqrt()
}

/// What scalar codes know of the rows that they are for.
#[derive(Clone, Debug, PartialEq)]
pub struct RowMoments {
    /// c, the mean of the rows; under cosine of rows at length 1, else of those that are not far out.
    pub centre: Vec<f32>,
    /// ρ̄, the mean of the rows' distances from it, and their standard deviation over ρ̄.
    pub lengths: [f32; 2],
}

impl RowMoments {
    /// Those of some rows of `dim` numbers. Under l2 and inner product rows more than [`FAR`] times as far
    /// from the mean as half of them are left out: one would move the mean away from all others.
    #[must_use]
    pub fn of(metric: Metric, rows: &[f32], dim: usize) -> Self {
        let mut prepared = rows.to_vec();
        prepared.chunks_exact_mut(dim).for_each(|row| prepare(metric, row));
        let mut rows: Vec<&[f32]> = prepared.chunks_exact(dim).collect();
        let mut centre = mean(&rows, dim);
        let mut distances = distances(&rows, &centre);
        if metric != Metric::Cosine {
            let most = FAR * median(&distances);
            if distances.iter().any(|&distance| distance > most) {
                let near = rows.iter().zip(&distances).filter(|(_, distance)| **distance <= most);
                rows = near.map(|(row, _)| *row).collect();
                centre = mean(&rows, dim);
                distances = self::distances(&rows, &centre);
            }
        }
        let n = rows.len().max(1) as f64;
        let length = distances.iter().sum::<f64>() / n;
        let variance = distances.iter().map(|d| (d - length).powi(2)).sum::<f64>() / n;
        let spread = if length > 0.0 { variance.sqrt() / length } else { 0.0 };
        Self { centre, lengths: [length, spread].map(|v| v as f32) }
    }
}

/// How many times as far from the mean as half of the rows are, a row still counts.
const FAR: f64 = 10.0;

fn mean(rows: &[&[f32]], dim: usize) -> Vec<f32> {
    let mut sums = vec![0.0; dim];
    for row in rows {
        sums.iter_mut().zip(*row).for_each(|(sum, &v)| *sum += f64::from(v));
    }
    sums.into_iter().map(|sum: f64| (sum / rows.len().max(1) as f64) as f32).collect()
}

fn distances(rows: &[&[f32]], centre: &[f32]) -> Vec<f64> {
    let square = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
    let distance = |row: &&[f32]| row.iter().zip(centre).map(square).sum::<f64>().sqrt();
    rows.iter().map(distance).collect()
}

/// The upper one of two.
fn median(distances: &[f64]) -> f64 {
    let mut sorted = distances.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// Lengths whose standard deviation is below this share of their mean are not worth their bytes under
/// cosine: with 4 bits, and with 8, whose numbers are finer.
const SPREAD: [f32; 2] = [0.05, 0.005];

/// A scalar code for rows of one dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct ScalarCode {
    metric: Metric,
    bits: Bits,
    moments: RowMoments,
    rotation: Rotation,
    /// Hc.
    turned: Vec<f32>,
}

impl ScalarCode {
    /// A code of so many bits for rows with these moments.
    ///
    /// # Errors
    /// When there are no numbers, or they are not finite.
    pub fn new(metric: Metric, bits: Bits, moments: RowMoments) -> Result<Self> {
        let RowMoments { centre, lengths } = &moments;
        let is_finite = centre.iter().chain(lengths).all(|v| v.is_finite());
        if centre.is_empty() || !is_finite || lengths.iter().any(|&v| v < 0.0) {
            return Err(Error::invalid("moments", "finite numbers, at least one", "others"));
        }
        let rotation = Rotation::new(centre.len());
        let mut turned = centre.clone();
        rotation.apply(&mut turned);
        Ok(Self { metric, bits, moments, rotation, turned })
    }

    /// What it knows of the rows.
    #[must_use]
    pub fn moments(&self) -> &RowMoments {
        &self.moments
    }

    /// Whether a row's length is stored beside its codes, in 2 bytes: with 2, 4 or 8 bits under l2 and inner
    /// product; under cosine where their standard deviation is above 5 % of their mean with 4 bits (3 to 4
    /// points of recall, measured), above 0.5 % with 8 (with 2 bits two bytes keep as much as dimensions).
    #[must_use]
    pub fn has_length(metric: Metric, bits: Bits, spread: f32) -> bool {
        match metric {
            Metric::Cosine => match bits.get() {
                8 => spread > SPREAD[1],
                4 => spread > SPREAD[0],
                _ => false,
            },
            _ => bits.get() > 1,
        }
    }

    /// d, the numbers of a row.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.moments.centre.len()
    }

    /// Bits of a number.
    #[must_use]
    pub fn bits(&self) -> Bits {
        self.bits
    }

    /// The metric that codes are compared by.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Bytes of a row.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        let length = if self.stores_length() { 2 } else { 0 };
        (self.dim() * self.bits.get()).div_ceil(8) + length
    }

    /// Whether each row's length is stored beside its numbers.
    #[must_use]
    pub fn stores_length(&self) -> bool {
        Self::has_length(self.metric, self.bits, self.moments.lengths[1])
    }

    /// Writes the codes of rows, which are used up.
    pub(crate) fn encode(&self, rows: &mut [f32], out: &mut [u8]) {
        let (dim, bytes) = (self.dim(), self.row_bytes());
        let mut side_by_side = vec![[0.0; SIDE_BY_SIDE]; dim];
        for (rows, out) in
            rows.chunks_mut(SIDE_BY_SIDE * dim).zip(out.chunks_mut(SIDE_BY_SIDE * bytes))
        {
            for (i, row) in rows.chunks_exact_mut(dim).enumerate() {
                prepare(self.metric, row);
                for ((values, v), c) in side_by_side.iter_mut().zip(row).zip(&self.moments.centre) {
                    values[i] = *v - c;
                }
            }
            self.rotation.apply_side_by_side(&mut side_by_side);
            vectorised(
                #[inline(always)]
                || self.encode_turned(&side_by_side, out),
            );
        }
    }

    /// Writes the codes of the first of some turned rows, of which each element holds one coordinate.
    #[inline(always)]
    fn encode_turned(&self, rows: &[[f32; SIDE_BY_SIDE]], out: &mut [u8]) {
        let (bytes, bits) = (self.row_bytes(), self.bits.get());
        let mut lengths = [0.0_f64; SIDE_BY_SIDE];
        let mut largest = [0.0_f32; SIDE_BY_SIDE];
        for values in rows {
            for ((sum, largest), &v) in lengths.iter_mut().zip(&mut largest).zip(values) {
                *sum += f64::from(v) * f64::from(v);
                *largest = largest.max(v.abs());
            }
        }
        let mut inverses = [0.0; SIDE_BY_SIDE];
        for ((inverse, length), largest) in inverses.iter_mut().zip(&mut lengths).zip(largest) {
            *length = length.sqrt();
            let delta = step(self.bits, rows.len(), *length, largest.into());
            // Rows of zeros have codes around 0.
            *inverse = if delta > 0.0 { 1.0 / delta } else { 0.0 };
        }
        let (half, most) = ((1 << (bits - 1)) as f32, ((1 << bits) - 1) as f32);
        for (b, coordinates) in rows.chunks(8 / bits).enumerate() {
            let mut packed = [0_u8; SIDE_BY_SIDE];
            for (i, values) in coordinates.iter().enumerate() {
                let shift = 8 - bits * (i + 1);
                for ((byte, &v), &inverse) in packed.iter_mut().zip(values).zip(&inverses) {
                    let level = ((f64::from(v) * inverse) as f32 + half).floor();
                    *byte |= (level.max(0.0).min(most) as u8) << shift;
                }
            }
            for (code, byte) in out.chunks_exact_mut(bytes).zip(packed) {
                code[b] = byte;
            }
        }
        if self.stores_length() {
            let mean = f64::from(self.moments.lengths[0]);
            for (code, length) in out.chunks_exact_mut(bytes).zip(lengths) {
                let ratio = if mean > 0.0 { length / mean } else { 0.0 };
                let stored = f16::from_f64(ratio.min(f16::MAX.to_f64())).to_le_bytes();
                code[bytes - 2..].copy_from_slice(&stored);
            }
        }
    }

    /// Writes what a code stands for, turned: Hx.
    pub(crate) fn decode(&self, code: &[u8], out: &mut [f32]) {
        let bits = self.bits.get();
        let (per_byte, mask) = (8 / bits, u8::MAX >> (8 - bits));
        let middle = f32::from(mask) / 2.0;
        let (codes, rest) = code.split_at((out.len() * bits).div_ceil(8));
        for (&byte, out) in codes.iter().zip(out.chunks_mut(per_byte)) {
            for (i, v) in out.iter_mut().enumerate() {
                *v = f32::from(byte >> (8 - bits * (i + 1)) & mask) - middle;
            }
        }
        // Half-integers: never of length 0.
        let factor = (self.length_of(rest) / norm(out)) as f32;
        out.iter_mut().zip(&self.turned).for_each(|(v, c)| *v = c + factor * *v);
    }

    /// ρ of a row, by what is stored beside its numbers.
    pub(crate) fn length_of(&self, stored: &[u8]) -> f64 {
        let mean = f64::from(self.moments.lengths[0]);
        match stored {
            [low, high] => mean * f16::from_le_bytes([*low, *high]).to_f64(),
            _ => mean,
        }
    }

    /// Hc.
    pub(crate) fn turned(&self) -> &[f32] {
        &self.turned
    }

    /// Turns rows as decoded rows are.
    pub(crate) fn turn(&self, rows: &mut [f32]) {
        self.rotation.apply(rows);
    }

    /// Turns rows back.
    pub(crate) fn turn_back(&self, rows: &mut [f32]) {
        self.rotation.undo(rows);
    }
}

/// What is done to a row before it is coded: under cosine it is scaled to length 1.
pub(crate) fn prepare(metric: Metric, row: &mut [f32]) {
    if metric == Metric::Cosine {
        scale_to_unit(row);
    }
}

fn norm(row: &[f32]) -> f64 {
    vectorised(
        #[inline(always)]
        || dot_here(row, row),
    )
    .sqrt()
}
