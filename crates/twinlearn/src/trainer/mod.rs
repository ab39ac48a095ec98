//! The run: check, hold out, graph, start, train, measure.

mod fit;
mod step;
mod validation;

#[cfg(test)]
mod golden_tests;

pub use fit::{Fit, FitReport, StageTime};
pub use validation::ValidationReport;

use crate::context::Context;
use crate::data::Vectors;
use crate::error::Result;
use crate::knn::KnnGraph;
use crate::params::Params;

/// Learns an encoder from vectors.
///
/// ```
/// use twinlearn::{Context, Matrix, Params, Trainer};
/// // 200 points on a noisy plane in 8 dimensions.
/// let data = (0..200 * 8).map(|i| ((i * 7919) % 101) as f32 * 0.01 + (i / 8 % 9) as f32).collect();
/// let x = Matrix::new(200, 8, data)?;
/// let params = Params::builder()
///     .n_components(2)
///     .projector(Some("mlp-1-64".parse()?))
///     .epochs(2)
///     .batch_size(64)
///     .build()?;
/// let ctx = Context::new()?;
/// let fit = Trainer::new(params).fit(&ctx, &x)?;
/// let z = fit.model.transform(&ctx, &x, false)?;
/// assert_eq!((z.rows(), z.cols()), (200, 2));
/// # Ok::<(), twinlearn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Trainer {
    params: Params,
}

impl Trainer {
    /// A trainer with these parameters.
    #[must_use]
    pub fn new(params: Params) -> Self {
        Self { params }
    }

    /// Builds the neighbour graph of `x` and learns from it.
    ///
    /// # Errors
    /// When `x` has fewer than 2 rows or not more than `n_neighbors`, a value is not finite, a
    /// row is all zeros under cosine, `n_components` is above the dimension of `x` (with a PCA
    /// start), or the work is cancelled.
    pub fn fit(&self, ctx: &Context, x: &dyn Vectors) -> Result<Fit> {
        fit::fit(&self.params, ctx, x, None)
    }

    /// Learns from a graph computed before. Each row needs at least `n_neighbors` neighbours; the
    /// first ones are used, of ragged lists all, and a row's own index is passed over.
    ///
    /// # Errors
    /// As [`fit`](Self::fit), and when the graph has another number of rows or too few columns.
    pub fn fit_with_graph(&self, ctx: &Context, x: &dyn Vectors, graph: KnnGraph) -> Result<Fit> {
        fit::fit(&self.params, ctx, x, Some(graph))
    }
}
