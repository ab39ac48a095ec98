//! Axes of the same rows with other lengths.
//!
//! A few rows that are much longer than the others rule the axes of a second moment, and so do a few
//! short ones once all are brought to length 1: which lengths keep more neighbours depends on the
//! rows. Where lengths differ, the closed forms are therefore also made of rows of the other lengths:
//! of rows as they are where the forms are of rows at length 1, of rows at length 1 (about the mean,
//! where the forms are centred) otherwise.

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_core::linalg::dot_here;
use twinlearn_vectors::{Centred, Vectors};

use crate::pca::Moments;
use crate::units::Units;

/// Lengths whose standard deviation is less than this, in units of their mean, give the same axes.
const ALIKE: f64 = 0.01;
/// Rows read at once.
const ROWS: usize = 256;

/// What the lengths of rows say of their axes.
pub(crate) struct Lengths {
    /// Whether the closed forms are of rows at length 1.
    pub(crate) are_units: bool,
    /// The mean length of the rows as they are.
    pub(crate) mean: f64,
    /// The moments of the rows with other lengths; none where all are about as long.
    pub(crate) other: Option<Moments>,
}

impl Lengths {
    /// What those of the rows x say. `moments` are those that the closed forms are made of, of rows at length 1 where
    /// `are_units`; lengths are about the mean where `is_centred`.
    pub(crate) fn of(
        ctx: &Context,
        x: &dyn Vectors,
        moments: &Moments,
        are_units: bool,
        is_centred: bool,
    ) -> Result<Self> {
        let centred = Centred::new(x, &moments.mean);
        let x: &dyn Vectors = if is_centred { &centred } else { x };
        let (mean, spread) = mean_and_spread(ctx, x)?;
        let other = match spread <= ALIKE * mean {
            true => None,
            false => Some(Moments::of(&ctx.quiet(), &Units { x, to_unit: !are_units })?),
        };
        Ok(Self { are_units, mean, other })
    }
}

/// The mean length of the rows and the standard deviation of their lengths.
fn mean_and_spread(ctx: &Context, x: &dyn Vectors) -> Result<(f64, f64)> {
    let (n, dim) = (x.n_rows(), x.dim());
    let mut lengths = vec![0.0; n];
    ctx.try_for_each_chunk(&mut lengths, ROWS, |c, lengths| {
        let mut rows = vec![0.0; lengths.len() * dim];
        x.read_rows(c * ROWS, &mut rows)?;
        for (length, row) in lengths.iter_mut().zip(rows.chunks_exact(dim)) {
            *length = dot_here(row, row).sqrt();
        }
        Ok(())
    })?;
    let mean = lengths.iter().sum::<f64>() / n as f64;
    let variance = lengths.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / n as f64;
    Ok((mean, variance.sqrt()))
}

#[cfg(test)]
mod tests {
    use twinlearn_core::linalg::Matrix;

    use super::*;

    #[test]
    fn only_lengths_that_differ_give_other_moments() {
        let ctx = Context::with_threads(2).unwrap();
        let row = |i: usize, length: f32| {
            let angle = i as f32 * 0.7;
            [length * angle.cos(), length * angle.sin()]
        };
        let rows = |length: &dyn Fn(usize) -> f32| {
            Matrix::new(600, 2, (0..600).flat_map(|i| row(i, length(i))).collect()).unwrap()
        };
        let alike = rows(&|i| 3.0 + 0.01 * (i % 2) as f32);
        let moments = Moments::of(&ctx, &alike).unwrap();
        let lengths = Lengths::of(&ctx, &alike, &moments, true, false).unwrap();
        assert!(lengths.other.is_none() && (lengths.mean - 3.005).abs() < 1e-6);

        // The mean square length of rows at length 1 is 1, whatever they were.
        let differing = rows(&|i| if i % 100 == 0 { 50.0 } else { 1.0 });
        let moments = Moments::of(&ctx, &differing).unwrap();
        for is_centred in [false, true] {
            let lengths = Lengths::of(&ctx, &differing, &moments, false, is_centred).unwrap();
            assert!((lengths.other.unwrap().length - 1.0).abs() < 1e-6);
        }
        let units = Moments::of(&ctx, &Units { x: &differing, to_unit: true }).unwrap();
        let other = Lengths::of(&ctx, &differing, &units, true, false).unwrap().other.unwrap();
        assert!((other.length - moments.length).abs() < 1e-9 * moments.length);
    }
}
