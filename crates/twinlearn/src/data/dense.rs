//! Vectors in memory, borrowed or owned, of any of the float types.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::Vectors;
use crate::error::{Error, Result};
use crate::linalg::Matrix;

/// A float type that vectors may be stored in.
pub trait Element: bytemuck::Pod + Send + Sync {
    /// `f16`, `f32` or `f64`.
    const NAME: &'static str;

    /// Writes `src` to `out` as `f32`, rounding to nearest. The lengths are equal.
    fn widen(src: &[Self], out: &mut [f32]);

    /// `src` itself, where this type is `f32`.
    fn as_f32(_src: &[Self]) -> Option<&[f32]> {
        None
    }
}

impl Element for f16 {
    const NAME: &'static str = "f16";
    fn widen(src: &[Self], out: &mut [f32]) {
        src.convert_to_f32_slice(out);
    }
}

impl Element for f32 {
    const NAME: &'static str = "f32";
    fn widen(src: &[Self], out: &mut [f32]) {
        out.copy_from_slice(src);
    }
    fn as_f32(src: &[Self]) -> Option<&[f32]> {
        Some(src)
    }
}

impl Element for f64 {
    const NAME: &'static str = "f64";
    fn widen(src: &[Self], out: &mut [f32]) {
        for (o, &s) in out.iter_mut().zip(src) {
            *o = s as f32;
        }
    }
}

/// Vectors in a borrowed row-major slice, which is never copied whole.
///
/// ```
/// use twinlearn::{DenseVectors, Vectors};
/// let data = [1.0_f64, 2.0, 3.0, 4.0];
/// let x = DenseVectors::new(&data, 2)?;
/// assert_eq!((x.n_rows(), x.dim()), (2, 2));
/// # Ok::<(), twinlearn::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct DenseVectors<'a, E> {
    data: &'a [E],
    dim: usize,
}

impl<'a, E: Element> DenseVectors<'a, E> {
    /// Views `data` as rows of `dim` elements.
    ///
    /// # Errors
    /// When `dim` is 0 or does not divide the length of `data`.
    pub fn new(data: &'a [E], dim: usize) -> Result<Self> {
        if dim == 0 || !data.len().is_multiple_of(dim) {
            return Err(Error::invalid(
                "dim",
                format_args!("a divisor of the {} elements", data.len()),
                dim,
            ));
        }
        Ok(Self { data, dim })
    }
}

impl<E: Element> Vectors for DenseVectors<'_, E> {
    fn as_f32(&self) -> Option<&[f32]> {
        E::as_f32(self.data)
    }

    fn n_rows(&self) -> usize {
        self.data.len() / self.dim
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let first = start * self.dim;
        E::widen(&self.data[first..first + out.len()], out);
        Ok(())
    }
}

impl Vectors for Matrix<f32> {
    fn as_f32(&self) -> Option<&[f32]> {
        Some(self.as_slice())
    }

    fn n_rows(&self) -> usize {
        self.rows()
    }

    fn dim(&self) -> usize {
        self.cols()
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let first = start * self.cols();
        out.copy_from_slice(&self.as_slice()[first..first + out.len()]);
        Ok(())
    }
}

/// Scales a row to unit length. The norm is taken in `f64`, so that no finite row overflows;
/// a row of zeros stays.
pub(crate) fn normalise_row(row: &mut [f32]) {
    let norm = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
    if norm > 0.0 {
        for v in row {
            *v = (f64::from(*v) / norm) as f32;
        }
    }
}
