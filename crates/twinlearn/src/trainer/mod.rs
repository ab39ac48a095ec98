//! The run: check, hold out, graph, start, train, measure.

mod axes;
mod check;
mod checkpoint;
mod coordinates;
mod earlier;
mod ends;
mod epochs;
mod feed;
mod finish;
mod fit;
mod forms;
mod learn;
mod lists;
mod mean;
mod neighbors;
mod nest;
mod order;
mod outcome;
mod pace;
mod plan;
mod prepare;
mod queries;
mod rows;
mod run;
mod setting;
mod stages;
mod start;
mod state;
mod step;
mod tuner;
mod validation;
mod watched;

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod kl_golden_tests;

pub use checkpoint::Checkpoints;
pub(crate) use forms::SharedForms;
pub use outcome::{Fit, FitReport, StageTime};
pub(crate) use plan::{FitPlan, FitSizes};
pub(crate) use queries::judged_queries;
pub(crate) use rows::held_out_rows;

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_core::linalg::Matrix;
use twinlearn_core::progress::{EpochReport, StepReport};
use twinlearn_knn::KnnGraph;
use twinlearn_vectors::Vectors;

use crate::model::Model;
use crate::params::Params;

type Callback<R> = Option<Arc<dyn Fn(&R) -> ControlFlow<()> + Send + Sync>>;

/// Who is asked whether to go on.
#[derive(Clone, Default)]
struct Callbacks {
    step: Callback<StepReport>,
    epoch: Callback<EpochReport>,
}

impl Callbacks {
    fn step(&self, report: &StepReport) -> ControlFlow<()> {
        self.step.as_ref().map_or(ControlFlow::Continue(()), |callback| callback(report))
    }

    fn epoch(&self, report: &EpochReport) -> ControlFlow<()> {
        self.epoch.as_ref().map_or(ControlFlow::Continue(()), |callback| callback(report))
    }
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callbacks")
            .field("step", &self.step.is_some())
            .field("epoch", &self.epoch.is_some())
            .finish()
    }
}

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
    model: Option<Model>,
    callbacks: Callbacks,
    checkpoints: Option<Checkpoints>,
    validation: Option<Matrix>,
    shared: Option<SharedForms>,
}

impl Trainer {
    /// A trainer with these parameters.
    #[must_use]
    pub fn new(params: Params) -> Self {
        let callbacks = Callbacks::default();
        Self { params, model: None, callbacks, checkpoints: None, validation: None, shared: None }
    }

    /// Starts from a model, whose architecture the parameters must describe
    /// ([`Model::fine_tune`]) with `init` model. A projector must have been retained, unless none
    /// is wanted.
    ///
    /// ```
    /// use twinlearn::{Context, Loss, Matrix, Params, Trainer};
    /// let data = (0..200 * 8).map(|i| ((i * 7919) % 101) as f32 * 0.01).collect();
    /// let x = Matrix::new(200, 8, data)?;
    /// let ctx = Context::new()?;
    /// let params = Params::builder().n_components(2).loss(Loss::KL).batch_size(64).epochs(2);
    /// let model = Trainer::new(params.build()?).fit(&ctx, &x)?.model;
    /// let params = model.fine_tune().learning_rate(1e-3).batch_size(64).epochs(2).build()?;
    /// let tuned = Trainer::new(params).warm_start(model).fit(&ctx, &x)?.model;
    /// # let _ = tuned;
    /// # Ok::<(), twinlearn::Error>(())
    /// ```
    #[must_use]
    pub fn warm_start(mut self, model: Model) -> Self {
        self.model = Some(model);
        self
    }

    /// Calls `callback` after every step. Where it breaks, training ends as after a last epoch.
    #[must_use]
    pub fn on_step(
        mut self,
        callback: impl Fn(&StepReport) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> Self {
        self.callbacks.step = Some(Arc::new(callback));
        self
    }

    /// Calls `callback` after every epoch. Where it breaks, training ends.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use twinlearn::{Params, Trainer};
    /// let trainer = Trainer::new(Params::builder().build()?).on_epoch(|report| {
    ///     if report.recall > Some(0.9) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    /// });
    /// # let _ = trainer;
    /// # Ok::<(), twinlearn::Error>(())
    /// ```
    #[must_use]
    pub fn on_epoch(
        mut self,
        callback: impl Fn(&EpochReport) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> Self {
        self.callbacks.epoch = Some(Arc::new(callback));
        self
    }

    /// Keeps the run in a folder, from which it is resumed after an interruption: it ends with the bits
    /// that it would have had.
    #[must_use]
    pub fn checkpoints(mut self, checkpoints: Checkpoints) -> Self {
        self.checkpoints = Some(checkpoints);
        self
    }

    /// Watches the recall of these rows: all rows of X are then trained on, none is held out.
    ///
    /// ```
    /// use twinlearn::{Context, Loss, Matrix, Params, Trainer};
    /// let rows = |n: usize| Matrix::new(n, 8, (0..n * 8).map(|i| (i as f32).sin()).collect());
    /// let params = Params::builder().n_components(2).loss(Loss::KL).batch_size(64).build()?;
    /// let trainer = Trainer::new(params).validation_rows(rows(50)?);
    /// let fit = trainer.fit(&Context::new()?, &rows(200)?)?;
    /// // By half of them the best step is chosen, by the others it is judged.
    /// assert_eq!(fit.report.validation.unwrap().n_rows, 25);
    /// assert_eq!(fit.report.training.n_anchors, 200);
    /// # Ok::<(), twinlearn::Error>(())
    /// ```
    #[must_use]
    pub fn validation_rows(mut self, rows: Matrix) -> Self {
        self.validation = Some(rows);
        self
    }

    /// Takes closed forms from other fits of the same rows that differ in `n_components` alone, or
    /// leaves its own for them.
    pub(crate) fn sharing(mut self, forms: &SharedForms) -> Self {
        self.shared = Some(forms.clone());
        self
    }

    /// Builds the neighbour graph of `x` and learns from it.
    ///
    /// # Errors
    /// When `x` has fewer than 2 rows or not more than `n_neighbors`, a value is not finite, a
    /// row is all zeros under cosine, `n_components` is above the dimension of `x` (with a PCA
    /// start), or the work is cancelled.
    pub fn fit(&self, ctx: &Context, x: &dyn Vectors) -> Result<Fit> {
        self.fit_data(ctx, FitData::new(x))
    }

    /// [`fit`](Self::fit) of rows with a graph that was computed before, or for queries.
    ///
    /// # Errors
    /// As `fit`; when the graph has another number of rows or too few columns; when queries have
    /// another dimension, there are none, a value of theirs is not finite, one is all zeros under
    /// cosine, or the loss is not KL.
    pub fn fit_data(&self, ctx: &Context, data: FitData<'_>) -> Result<Fit> {
        fit::fit(self, ctx, data)
    }
}

/// What an encoder is learned from.
///
/// ```
/// use twinlearn::{Context, FitData, Matrix, Params, Trainer};
/// let rows = |n: usize, phase: f32| {
///     Matrix::new(n, 8, (0..n * 8).map(|i| (i as f32 * 0.7 + phase).sin()).collect())
/// };
/// let (x, queries) = (rows(200, 0.0)?, rows(40, 0.3)?);
/// let trainer = Trainer::new(Params::builder().n_components(2).build()?);
/// let fit = trainer.fit_data(&Context::new()?, FitData::new(&x).queries(&queries))?;
/// // A tenth of the queries is held out; half of them judge.
/// let record = fit.report.training.queries.unwrap();
/// assert_eq!((record.n_trained, record.validation.unwrap().n_queries), (36, 2));
/// # Ok::<(), twinlearn::Error>(())
/// ```
#[derive(Clone)]
pub struct FitData<'a> {
    x: &'a dyn Vectors,
    graph: Option<KnnGraph>,
    queries: Option<&'a dyn Vectors>,
}

impl fmt::Debug for FitData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FitData").field("n_rows", &self.x.n_rows()).finish_non_exhaustive()
    }
}

impl<'a> FitData<'a> {
    /// The rows, N × D.
    #[must_use]
    pub fn new(x: &'a dyn Vectors) -> Self {
        Self { x, graph: None, queries: None }
    }

    /// A graph of them. Each row needs at least `n_neighbors` neighbours; the first ones are used, of
    /// ragged lists all, and a row's own index is passed over.
    #[must_use]
    pub fn graph(mut self, graph: KnnGraph) -> Self {
        self.graph = Some(graph);
        self
    }

    /// Queries, M × D, whose nearest rows should be found in the reduced space: half of the anchors
    /// ([`query_share`](crate::Hyperparameters::query_share)) are then queries. A tenth of them, or
    /// the share `validation_fraction`, is held out, but none of fewer than 20; 2000 at most. Of more
    /// than 100,000 a sample is taken. The report tells what training on queries was worth, which
    /// takes a second training on the rows alone.
    #[must_use]
    pub fn queries(mut self, queries: &'a dyn Vectors) -> Self {
        self.queries = Some(queries);
        self
    }
}
