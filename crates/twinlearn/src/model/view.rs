//! Reduced vectors that are not kept.

use std::borrow::Cow;

use twinlearn_core::error::Result;
use twinlearn_core::linalg::scale_to_unit;
use twinlearn_vectors::{Vectors, check_row};

use super::Model;
use crate::linear_map::LinearMap;
use crate::nn::Network;

/// Rows that are reduced at once.
const ROWS: usize = 32;

/// Vectors as a model reduces them, anew each time that they are read: for some of them, or where
/// all do not fit into memory. Bits are those of [`Model::transform`].
///
/// ```
/// use twinlearn::{Context, Matrix, Params, Trainer, Vectors};
/// let data: Vec<f32> = (0..300 * 8).map(|i| ((i * 31 % 97) as f32).sin()).collect();
/// let x = Matrix::new(300, 8, data)?;
/// let ctx = Context::new()?;
/// let params = Params::builder().n_components(2).epochs(1).build()?;
/// let model = Trainer::new(params).fit(&ctx, &x)?.model;
/// let mut z = [0.0; 4];
/// model.view(&x, false)?.gather(&[7, 3], &mut z)?;
/// assert_eq!(z[2..], *model.transform(&ctx, &x, false)?.row(3));
/// # Ok::<(), twinlearn::Error>(())
/// ```
pub struct ReducedView<'a> {
    network: Cow<'a, Network<f32>>,
    x: Box<dyn Vectors + 'a>,
    origin: Option<&'a [f64]>,
    l2_norm: bool,
}

impl std::fmt::Debug for ReducedView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReducedView").field("n_rows", &self.n_rows()).finish_non_exhaustive()
    }
}

impl Model {
    /// The rows of `x` as [`transform`](Self::transform) gives them, without reducing any yet. Rows
    /// are then read with the errors of `transform`.
    ///
    /// # Errors
    /// When `x` has another dimension.
    pub fn view<'a>(&'a self, x: impl Vectors + 'a, l2_norm: bool) -> Result<ReducedView<'a>> {
        self.check_dim(x.dim())?;
        let (network, origin) = (Cow::Borrowed(&self.inference), self.origin.as_deref());
        Ok(ReducedView { network, x: Box::new(x), origin, l2_norm })
    }
}

impl<'a> ReducedView<'a> {
    /// A view through a linear map; `x` must have its dimension.
    pub(crate) fn of_map(map: &LinearMap, x: impl Vectors + 'a) -> Self {
        Self { network: Cow::Owned(map.network()), x: Box::new(x), origin: None, l2_norm: false }
    }

    /// `read` writes so many rows from a place on.
    fn reduce(
        &self,
        out: &mut [f32],
        mut read: impl FnMut(usize, &mut [f32]) -> Result<()>,
        id: impl Fn(usize) -> usize,
    ) -> Result<()> {
        let (dim, width) = (self.x.dim(), self.dim());
        let mut buffer = vec![0.0; ROWS.min(out.len() / width) * dim];
        for (b, out) in out.chunks_mut(ROWS * width).enumerate() {
            let rows = &mut buffer[..out.len() / width * dim];
            read(b * ROWS, rows)?;
            for (i, row) in rows.chunks_exact(dim).enumerate() {
                check_row("X", id(b * ROWS + i), row, false)?;
            }
            out.copy_from_slice(self.network.infer(rows).as_slice());
            if self.l2_norm {
                out.chunks_exact_mut(width).for_each(|row| {
                    scale_to_unit(row);
                });
            }
        }
        Ok(())
    }
}

impl Vectors for ReducedView<'_> {
    fn n_rows(&self) -> usize {
        self.x.n_rows()
    }

    fn dim(&self) -> usize {
        self.network.out_width()
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let read = |at: usize, rows: &mut [f32]| match self.origin {
            Some(origin) => self.x.read_rows_from(origin, start + at, rows),
            None => self.x.read_rows(start + at, rows),
        };
        self.reduce(out, read, |at| start + at)
    }

    fn gather(&self, ids: &[u32], out: &mut [f32]) -> Result<()> {
        let dim = self.x.dim();
        let read = |at: usize, rows: &mut [f32]| {
            let n = rows.len() / dim;
            match self.origin {
                Some(origin) => self.x.gather_from(origin, &ids[at..at + n], rows),
                None => self.x.gather(&ids[at..at + n], rows),
            }
        };
        self.reduce(out, read, |at| ids[at] as usize)
    }
}
