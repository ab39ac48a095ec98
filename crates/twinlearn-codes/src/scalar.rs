//! Scalar codes: every number of a turned row by a few bits.
//!
//! With c the mean of the rows, r = H(z − c) for the rotation H of [`Rotation`], d numbers of about one
//! size. A step of Δ = t_b ‖r‖ / √d, t_b the best for 2^b even steps of normal numbers, gives the code
//! k = ⌊r / Δ⌋ + 2^(b−1), clipped to 0 ..= 2^b − 1, which stands for u = k − (2^b − 1) / 2. Only the
//! direction of u is used: the row stands for
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

use crate::rotation::Rotation;
use crate::spec::Bits;

/// t_b for 2, 4 and 8 bits (Max, 1960); of 1 bit only signs are kept.
fn step(bits: Bits) -> f64 {
    match bits.get() {
        2 => 0.9957,
        4 => 0.3352,
        8 => 0.0308,
        _ => 1.0,
    }
}

/// What scalar codes know of the rows that they are for.
#[derive(Clone, Debug, PartialEq)]
pub struct RowMoments {
    /// c, the mean of the rows; under cosine of rows at length 1.
    pub centre: Vec<f32>,
    /// ρ̄, the mean of the rows' distances from it, and their standard deviation over ρ̄.
    pub lengths: [f32; 2],
}

impl RowMoments {
    /// Those of some rows of `dim` numbers.
    #[must_use]
    pub fn of(metric: Metric, rows: &[f32], dim: usize) -> Self {
        let prepared = |row: &[f32]| {
            let mut row = row.to_vec();
            prepare(metric, &mut row);
            row
        };
        let n = (rows.len() / dim).max(1) as f64;
        let mut sums = vec![0.0; dim];
        for row in rows.chunks_exact(dim) {
            sums.iter_mut().zip(prepared(row)).for_each(|(s, v)| *s += f64::from(v));
        }
        let centre: Vec<f32> = sums.iter().map(|s| (s / n) as f32).collect();
        let distance = |row: &[f32]| {
            let square = |(a, b): (f32, &f32)| f64::from(a - b).powi(2);
            prepared(row).into_iter().zip(&centre).map(square).sum::<f64>().sqrt()
        };
        let distances: Vec<f64> = rows.chunks_exact(dim).map(distance).collect();
        let length = distances.iter().sum::<f64>() / n;
        let variance = distances.iter().map(|d| (d - length).powi(2)).sum::<f64>() / n;
        let spread = if length > 0.0 { variance.sqrt() / length } else { 0.0 };
        Self { centre, lengths: [length, spread].map(|v| v as f32) }
    }
}

/// Lengths that differ by less than this share of their mean are not worth their bytes under cosine.
const SPREAD: f32 = 0.05;

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
    /// product; under cosine with 4 or 8 bits where lengths differ by more than 5 % (3 to 4 points of
    /// recall, measured; with 2 bits two bytes keep as much as dimensions).
    #[must_use]
    pub fn has_length(metric: Metric, bits: Bits, spread: f32) -> bool {
        match metric {
            Metric::Cosine => bits.get() > 2 && spread > SPREAD,
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

    fn stores_length(&self) -> bool {
        Self::has_length(self.metric, self.bits, self.moments.lengths[1])
    }

    /// Writes the code of a row, which is used up.
    pub(crate) fn encode(&self, row: &mut [f32], out: &mut [u8]) {
        prepare(self.metric, row);
        row.iter_mut().zip(&self.moments.centre).for_each(|(v, c)| *v -= c);
        self.rotation.apply(row);
        let length = norm(row);
        let bits = self.bits.get();
        let (levels, half) = (1 << bits, (1 << (bits - 1)) as f32);
        // Rows of zeros have codes around 0.
        let delta = step(self.bits) * length / (row.len() as f64).sqrt();
        let inverse = if delta > 0.0 { 1.0 / delta } else { 0.0 };
        let most = (levels - 1) as f32;
        let (codes, rest) = out.split_at_mut((row.len() * bits).div_ceil(8));
        let level =
            |v: f32| ((f64::from(v) * inverse) as f32 + half).floor().clamp(0.0, most) as u8;
        let per_byte = 8 / bits;
        for (byte, row) in codes.iter_mut().zip(row.chunks(per_byte)) {
            let pack = |byte: u8, (i, &v): (usize, &f32)| byte | level(v) << (8 - bits * (i + 1));
            *byte = row.iter().enumerate().fold(0, pack);
        }
        if self.stores_length() {
            let mean = f64::from(self.moments.lengths[0]);
            let ratio = if mean > 0.0 { length / mean } else { 0.0 };
            rest.copy_from_slice(&f16::from_f64(ratio.min(f16::MAX.to_f64())).to_le_bytes());
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
        let inverse = 1.0 / norm(out);
        let mean = f64::from(self.moments.lengths[0]);
        let ratio = match rest {
            [low, high] => f16::from_le_bytes([*low, *high]).to_f64(),
            _ => 1.0,
        };
        let factor = (mean * ratio * inverse) as f32;
        out.iter_mut().zip(&self.turned).for_each(|(v, c)| *v = c + factor * *v);
    }

    /// Turns a row as decoded rows are.
    pub(crate) fn turn(&self, row: &mut [f32]) {
        self.rotation.apply(row);
    }

    /// Turns it back.
    pub(crate) fn turn_back(&self, row: &mut [f32]) {
        self.rotation.undo(row);
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
