//! One pass over the vectors before any work: is every value usable?

use std::sync::atomic::{AtomicUsize, Ordering};

use twinlearn_core::context::{Context, runs};
use twinlearn_core::error::{Error, Result};
use twinlearn_core::progress::{Event, Stage};

use super::{Centred, Vectors, far_origin};

/// Rows read at once.
const ROWS: usize = 1024;

/// Refuses NaN and infinities (values beyond the range of `f32` included) and, when
/// `need_direction`, rows of zeros. The first offender in row order is named. Returns the CRC-32 of
/// the rows as `f32`, by which they are known again: about their mean where they lie so far from the
/// origin that `f32` does not tell them apart.
pub fn check_vectors(
    ctx: &Context,
    name: &str,
    x: &dyn Vectors,
    need_direction: bool,
) -> Result<u32> {
    let dim = x.dim();
    let blocks: Vec<_> = runs(x.n_rows(), ROWS).collect();
    let done = AtomicUsize::new(0);
    let origin = far_origin(x)?;
    let centred = origin.as_ref().map(|origin| Centred::new(x, origin));
    let parts = ctx.stage(Stage::Check, x.n_rows(), || {
        ctx.try_map(blocks.len(), |b| {
            let mut rows = vec![0.0; blocks[b].len() * dim];
            x.read_rows(blocks[b].start, &mut rows)?;
            for (row, values) in blocks[b].clone().zip(rows.chunks_exact(dim)) {
                check_row(name, row, values, need_direction)?;
            }
            let n = blocks[b].len();
            let done = done.fetch_add(n, Ordering::Relaxed) + n;
            ctx.emit(&Event::StageProgress { stage: Stage::Check, done });
            if let Some(centred) = &centred {
                centred.read_rows(blocks[b].start, &mut rows)?;
            }
            let mut part = crc32fast::Hasher::new();
            part.update(bytemuck::cast_slice(&rows));
            Ok(part)
        })
    })?;
    let mut all = crc32fast::Hasher::new();
    parts.iter().for_each(|part| all.combine(part));
    Ok(all.finalize())
}

/// Refuses a row that holds what is not finite, or is all zeros where it needs a direction.
///
/// # Errors
/// Names the array, the row and the column.
pub fn check_row(name: &str, row: usize, values: &[f32], need_direction: bool) -> Result<()> {
    // Folds without an early exit: they vectorise where a search does not.
    if values.iter().fold(false, |bad, v| bad | !v.is_finite())
        && let Some(column) = values.iter().position(|v| !v.is_finite())
    {
        let value = values[column];
        return Err(Error::NonFinite { name: name.to_owned(), row, column, value });
    }
    if need_direction && values.iter().fold(true, |zero, &v| zero & (v == 0.0)) {
        return Err(Error::ZeroRow { name: name.to_owned(), row });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinlearn_core::linalg::Matrix;

    #[test]
    fn the_first_offender_is_named() {
        let ctx = Context::with_threads(2).unwrap();
        let mut x = Matrix::zeros(5000, 3);
        x.as_mut_slice()[3 * 4000 + 1] = f32::NAN;
        x.as_mut_slice()[3 * 2000 + 2] = f32::NEG_INFINITY;
        let message = check_vectors(&ctx, "X", &x, false).unwrap_err().to_string();
        assert_eq!(
            message,
            "X: expected finite numbers in the range of f32 (3.4e38), got -inf in row 2000, column 2"
        );
    }

    /// Beside 1e8 `f32` keeps nothing of numbers below 4.
    #[test]
    fn rows_far_from_the_origin_are_told_apart() {
        let ctx = Context::with_threads(2).unwrap();
        let far: Vec<f64> = (0..3000).map(|i| 1e8 + f64::from(i * 7919 % 997) / 997.0).collect();
        let known = |values: &[f64]| {
            check_vectors(&ctx, "X", &crate::DenseVectors::new(values, 3).unwrap(), false).unwrap()
        };
        let reversed: Vec<f64> = far.chunks(3).rev().flatten().copied().collect();
        assert_eq!(known(&far), known(&far));
        assert_ne!(known(&far), known(&reversed));
    }

    #[test]
    fn huge_values_are_finite_and_zero_rows_are_named() {
        let ctx = Context::with_threads(2).unwrap();
        let x = Matrix::new(2, 2, vec![f32::MAX, f32::MIN, 0.0, -0.0]).unwrap();
        check_vectors(&ctx, "X", &x, false).unwrap();
        let message = check_vectors(&ctx, "X", &x, true).unwrap_err().to_string();
        assert!(message.ends_with("got all zeros in row 1"), "{message}");
    }
}
