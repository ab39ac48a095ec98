//! Some rows of other vectors.

use twinlearn_core::context::Context;
use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::Matrix;

use super::Vectors;

/// The rows of `base` named by `ids`, in that order, without copying them.
#[derive(Clone, Copy)]
pub struct Subset<'a> {
    base: &'a dyn Vectors,
    ids: &'a [u32],
}

impl std::fmt::Debug for Subset<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subset").field("n_rows", &self.ids.len()).finish_non_exhaustive()
    }
}

impl<'a> Subset<'a> {
    /// Views the rows `ids` of `base`.
    ///
    /// # Errors
    /// When an id is not a row of `base`.
    pub fn new(base: &'a dyn Vectors, ids: &'a [u32]) -> Result<Self> {
        match ids.iter().find(|&&id| id as usize >= base.n_rows()) {
            Some(id) => {
                Err(Error::invalid("ids", format_args!("rows below {}", base.n_rows()), id))
            }
            None => Ok(Self { base, ids }),
        }
    }
}

/// A copy of all rows.
pub fn copied(ctx: &Context, x: &dyn Vectors) -> Result<Matrix> {
    const ROWS: usize = 256;
    let mut rows = Matrix::zeros(x.n_rows(), x.dim());
    ctx.try_for_each_chunk(rows.as_mut_slice(), ROWS * x.dim(), |c, out| {
        x.read_rows(c * ROWS, out)
    })?;
    Ok(rows)
}

/// Evenly spaced numbers below `n`, at most `most`.
pub fn spread_ids(n: usize, most: usize) -> Vec<u32> {
    let count = n.min(most);
    (0..count).map(|i| (i as u64 * n as u64 / count as u64) as u32).collect()
}

/// The ids at these places of a list of them.
///
/// # Panics
/// When a place is not in `ids`.
#[must_use]
pub fn ids_at(ids: &[u32], places: &[u32]) -> Vec<u32> {
    places.iter().map(|&place| ids[place as usize]).collect()
}

impl Vectors for Subset<'_> {
    fn n_rows(&self) -> usize {
        self.ids.len()
    }

    fn dim(&self) -> usize {
        self.base.dim()
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let n = out.len() / self.dim();
        self.base.gather(&self.ids[start..start + n], out)
    }

    fn read_rows_from(&self, origin: &[f64], start: usize, out: &mut [f32]) -> Result<()> {
        let n = out.len() / self.dim();
        self.base.gather_from(origin, &self.ids[start..start + n], out)
    }
}
