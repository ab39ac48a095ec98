//! Where vectors come from (memory, files of many formats, subsets of either) and where they go.
//!
//! The trait is [`Vectors`]; [`FileVectors`] opens files and patterns of files (`.npy`, `.npz`,
//! `.safetensors`, `.fvecs`, `.fbin` and their kin, and with the feature `arrow` columns of Parquet and
//! Arrow files), [`DenseVectors`] holds rows in memory. Part of
//! [twinlearn](https://docs.rs/twinlearn), which re-exports what its users need.

mod centred;
mod check;
mod dense;
mod formats;
mod held;
mod identity;
mod integers;
mod output;
mod reduced;
mod source;
mod stored;
mod subset;
mod tensors;

pub use centred::{Centred, far_origin};
pub use check::{check_row, check_vectors};
pub use dense::{DenseVectors, Element};
pub use identity::{check_output, check_regular};
pub use integers::read_integers;
pub use output::{ArrayWriter, NpyWriter, OutputDtype, OutputFile, write_npy_integers};
pub use reduced::ReducedFile;
pub use source::VectorSource;
pub use stored::FileVectors;
pub use subset::{Subset, copied, ids_at, spread_ids};
pub use tensors::{Mismatch, Named, Tensors, UNSEALED, tensors_to_bytes};

pub use twinlearn_core::{Error, Result};

/// `n_rows` vectors of `dim` numbers, read as `f32`.
///
/// The engine reads runs of rows and single rows from many threads and never asks for all of them
/// at once, so an implementation may keep them on disk in whatever type they have. Wider types
/// are rounded to the nearest `f32`.
pub trait Vectors: Send + Sync {
    /// The number of vectors, N.
    fn n_rows(&self) -> usize;

    /// The dimension of each, D.
    fn dim(&self) -> usize;

    /// Writes rows `start..start + out.len() / dim` to `out`, row after row.
    ///
    /// # Errors
    /// When the rows cannot be read.
    ///
    /// # Panics
    /// May panic when the rows do not exist or `out` is not whole rows.
    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()>;

    /// All rows, row after row, where they lie in memory as `f32`; they are then read in place.
    fn as_f32(&self) -> Option<&[f32]> {
        None
    }

    /// Writes the rows named by `ids` to `out`, row after row.
    ///
    /// # Errors
    /// When the rows cannot be read.
    ///
    /// # Panics
    /// May panic when a row does not exist or `out` is not `ids.len()` rows.
    fn gather(&self, ids: &[u32], out: &mut [f32]) -> Result<()> {
        for (&id, row) in ids.iter().zip(out.chunks_exact_mut(self.dim())) {
            self.read_rows(id as usize, row)?;
        }
        Ok(())
    }

    /// [`read_rows`](Self::read_rows) less `origin`, a number for each column. What holds wider types
    /// than `f32` should take it off before rounding.
    ///
    /// # Errors
    /// When the rows cannot be read.
    ///
    /// # Panics
    /// As `read_rows`.
    fn read_rows_from(&self, origin: &[f64], start: usize, out: &mut [f32]) -> Result<()> {
        self.read_rows(start, out)?;
        centred::move_rows(out, origin);
        Ok(())
    }

    /// [`gather`](Self::gather) less `origin`, as [`read_rows_from`](Self::read_rows_from).
    ///
    /// # Errors
    /// When the rows cannot be read.
    ///
    /// # Panics
    /// As `gather`.
    fn gather_from(&self, origin: &[f64], ids: &[u32], out: &mut [f32]) -> Result<()> {
        for (&id, row) in ids.iter().zip(out.chunks_exact_mut(self.dim())) {
            self.read_rows_from(origin, id as usize, row)?;
        }
        Ok(())
    }
}

impl<X: Vectors + ?Sized> Vectors for &X {
    fn n_rows(&self) -> usize {
        (**self).n_rows()
    }

    fn dim(&self) -> usize {
        (**self).dim()
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        (**self).read_rows(start, out)
    }

    fn as_f32(&self) -> Option<&[f32]> {
        (**self).as_f32()
    }

    fn gather(&self, ids: &[u32], out: &mut [f32]) -> Result<()> {
        (**self).gather(ids, out)
    }

    fn read_rows_from(&self, origin: &[f64], start: usize, out: &mut [f32]) -> Result<()> {
        (**self).read_rows_from(origin, start, out)
    }

    fn gather_from(&self, origin: &[f64], ids: &[u32], out: &mut [f32]) -> Result<()> {
        (**self).gather_from(origin, ids, out)
    }
}
