//! Fitting a model.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use numpy::PyReadonlyArray2;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use twinlearn::{Checkpoints, EpochReport, FitData, KnnGraph, StepReport, Trainer};

use crate::arrays::{graph, graph_to_numpy, matrix, with_all};
use crate::error::raised;
use crate::model::Model;
use crate::params::params;
use crate::run::{Job, lock};

/// What a fit is given beside vectors and parameters: an object with these attributes.
#[derive(FromPyObject)]
pub(crate) struct Given<'py> {
    /// N × k row numbers, or lists of any length.
    graph: Option<PyReadonlyArray2<'py, i64>>,
    lists: Option<Vec<Vec<i64>>>,
    /// To go on from.
    model: Option<Py<Model>>,
    /// Rows whose recall is watched.
    validation: Option<Bound<'py, PyAny>>,
    /// Queries that the fit is for.
    queries: Option<Bound<'py, PyAny>>,
    folder: Option<PathBuf>,
    every: usize,
    resume: bool,
    /// Called with (step, epoch, loss, `learning_rate`); True ends training.
    on_step: Option<Py<PyAny>>,
    /// Called with (epoch, step, loss, recall); True ends training.
    on_epoch: Option<Py<PyAny>>,
}

impl Given<'_> {
    fn graph(&self) -> PyResult<Option<KnnGraph>> {
        match (&self.graph, &self.lists) {
            (Some(array), _) => graph(array).map(Some),
            (None, Some(lists)) => KnnGraph::from_lists(lists).map(Some).map_err(raised),
            (None, None) => Ok(None),
        }
    }
}

/// Fits a model. Returns it and the graph, N × k (none with gaussian pairs and ragged lists).
#[pyfunction]
pub(crate) fn fit<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    parameters: &Bound<'py, PyDict>,
    given: Given<'py>,
    job: Job,
) -> PyResult<(Model, Option<Bound<'py, PyAny>>)> {
    let graph = given.graph()?;
    let model = given.model.map(|model| model.get().0.clone());
    let mut trainer = Trainer::new(params(parameters, model.as_ref())?);
    if let Some(model) = model {
        trainer = trainer.warm_start(model);
    }
    if let Some(rows) = given.validation {
        trainer = trainer.validation_rows(matrix(&rows)?);
    }
    if let Some(folder) = given.folder {
        let checkpoints = Checkpoints::new(folder).every(given.every).resume(given.resume);
        trainer = trainer.checkpoints(checkpoints);
    }
    let failed = Failed::default();
    if let Some(callback) = given.on_step {
        let failed = failed.clone();
        trainer = trainer.on_step(move |r: &StepReport| {
            let reported = (r.step, r.epoch, r.loss, r.learning_rate);
            failed.ask(|py| callback.call1(py, reported)?.is_truthy(py))
        });
    }
    if let Some(callback) = given.on_epoch {
        let failed = failed.clone();
        trainer = trainer.on_epoch(move |r: &EpochReport| {
            let reported = (r.epoch, r.step, r.loss, r.recall);
            failed.ask(|py| callback.call1(py, reported)?.is_truthy(py))
        });
    }
    let (mut job, mut graph) = (Some(job), graph);
    let fit = with_all(&[Some(x.clone()), given.queries], &[], &mut |vectors| {
        let (&[Some(x), queries], Some(job)) = (vectors, job.take()) else {
            unreachable!("x is always given, once")
        };
        let mut data = FitData::new(x);
        if let Some(graph) = graph.take() {
            data = data.graph(graph);
        }
        if let Some(queries) = queries {
            data = data.queries(queries);
        }
        job.run(py, |ctx| trainer.fit_data(ctx, data))
    })?;
    if let Some(error) = lock(&failed.0).take() {
        return Err(error);
    }
    let graph = fit.graph.filter(|graph| !graph.is_ragged());
    let graph = graph.map(|graph| graph_to_numpy(py, &graph)).transpose()?;
    Ok((Model(fit.model), graph))
}

/// What a callback raised: it ends the training and is raised again afterwards.
#[derive(Clone, Default)]
struct Failed(Arc<Mutex<Option<PyErr>>>);

impl Failed {
    fn ask(&self, call: impl FnOnce(Python<'_>) -> PyResult<bool>) -> ControlFlow<()> {
        match Python::attach(call) {
            Ok(false) => ControlFlow::Continue(()),
            Ok(true) => ControlFlow::Break(()),
            Err(error) => {
                lock(&self.0).get_or_insert(error);
                ControlFlow::Break(())
            }
        }
    }
}
