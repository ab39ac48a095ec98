//! Vectors in memory, borrowed or owned, of any number type.

use half::{bf16, f16};
use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::{Matrix, vectorised};

use super::Vectors;

/// A number type that vectors may be stored in.
pub trait Element: bytemuck::Pod + Send + Sync {
    /// As Rust calls it, e.g. `f16`.
    const NAME: &'static str;

    /// Writes `src` to `out` as `f32`, rounding to nearest. The lengths are equal.
    fn widen(src: &[Self], out: &mut [f32]);

    /// Writes `src` less `origin` to `out`. Rows are as long as `origin`.
    fn widen_from(src: &[Self], origin: &[f64], out: &mut [f32]) {
        Self::widen(src, out);
        super::centred::move_rows(out, origin);
    }

    /// `src` itself, where this type is `f32`.
    fn as_f32(_src: &[Self]) -> Option<&[f32]> {
        None
    }
}

/// Exact, and without a branch, so that loops over it vectorise.
#[inline(always)]
fn widen_f16(x: f16) -> f32 {
    let bits = u32::from(x.to_bits());
    // The exponents' biases differ by 112; the product is exact for subnormal numbers too.
    let size = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
    let not_finite = if bits & 0x7c00 == 0x7c00 { f32::INFINITY.to_bits() } else { 0 };
    f32::from_bits(size.to_bits() | not_finite | (bits & 0x8000) << 16)
}

impl Element for f16 {
    const NAME: &'static str = "f16";
    fn widen(src: &[Self], out: &mut [f32]) {
        vectorised(
            #[inline(always)]
            || out.iter_mut().zip(src).for_each(|(o, &s)| *o = widen_f16(s)),
        );
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

impl Element for bf16 {
    const NAME: &'static str = "bf16";
    fn widen(src: &[Self], out: &mut [f32]) {
        for (o, s) in out.iter_mut().zip(src) {
            *o = f32::from_bits(u32::from(s.to_bits()) << 16);
        }
    }
}

macro_rules! plain_elements {
    ($($type:ident),+) => {$(
        impl Element for $type {
            const NAME: &'static str = stringify!($type);
            fn widen(src: &[Self], out: &mut [f32]) {
                for (o, &s) in out.iter_mut().zip(src) {
                    *o = s as f32;
                }
            }
            fn widen_from(src: &[Self], origin: &[f64], out: &mut [f32]) {
                let rows = out.chunks_exact_mut(origin.len()).zip(src.chunks_exact(origin.len()));
                for (out, src) in rows {
                    for ((o, &s), origin) in out.iter_mut().zip(src).zip(origin) {
                        *o = (s as f64 - origin) as f32;
                    }
                }
            }
        }
    )+};
}

plain_elements!(f64, i8, i16, i32, i64, u8, u16, u32, u64);

/// Vectors in a borrowed row-major slice, which is never copied whole.
///
/// ```
/// use twinlearn_vectors::{DenseVectors, Vectors};
/// let data = [1.0_f64, 2.0, 3.0, 4.0];
/// let x = DenseVectors::new(&data, 2)?;
/// assert_eq!((x.n_rows(), x.dim()), (2, 2));
/// # Ok::<(), twinlearn_vectors::Error>(())
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

    fn read_rows_from(&self, origin: &[f64], start: usize, out: &mut [f32]) -> Result<()> {
        let first = start * self.dim;
        E::widen_from(&self.data[first..first + out.len()], origin, out);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_is_widened_exactly() {
        let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
        let mut got = vec![0.0; all.len()];
        f16::widen(&all, &mut got);
        for (x, got) in all.iter().zip(got) {
            let want = x.to_f32();
            let same = got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan();
            assert!(same, "{x:?}: {got} against {want}");
        }
    }
}
