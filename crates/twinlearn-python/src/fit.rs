//! Fitting a model.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use numpy::PyReadonlyArray2;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use twinlearn::{Checkpoints, EpochReport, FitData, KnnGraph, StepReport, Trainer};

use crate::arrays::{graph as as_graph, graph_to_numpy, matrix, with_all};
use crate::error::raised;
use crate::model::Model;
use crate::params::params;
use crate::run::{Job, lock};

/// Fits a model to `x` with the hyper-parameters in `parameters`. Returns it and the graph, N × k (none
/// with gaussian pairs and ragged lists).
///
/// The neighbours may be known, as N × k row numbers (`graph`) or `lists` of any length; `model` is gone
/// on from; `validation` are rows whose recall is watched, `queries` those that the fit is for. The run is
/// kept in `folder`, every so many epochs. `on_step` is called with (step, epoch, loss, `learning_rate`),
/// `on_epoch` with (epoch, step, loss, recall); training ends where one returns True.
#[pyfunction]
#[pyo3(signature = (
    x, parameters, job, *, graph=None, lists=None, model=None, validation=None, queries=None,
    folder=None, every=1, resume=false, on_step=None, on_epoch=None
))]
#[expect(clippy::too_many_arguments, reason = "they are one Python function's")]
pub(crate) fn fit<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    parameters: &Bound<'py, PyDict>,
    job: &Job,
    graph: Option<PyReadonlyArray2<'py, i64>>,
    lists: Option<Vec<Vec<i64>>>,
    model: Option<&Model>,
    validation: Option<&Bound<'py, PyAny>>,
    queries: Option<Bound<'py, PyAny>>,
    folder: Option<PathBuf>,
    every: usize,
    resume: bool,
    on_step: Option<Py<PyAny>>,
    on_epoch: Option<Py<PyAny>>,
) -> PyResult<(Model, Option<Bound<'py, PyAny>>)> {
    let mut graph = match (graph, lists) {
        (Some(array), _) => Some(as_graph(&array)?),
        (None, Some(lists)) => Some(KnnGraph::from_lists(&lists).map_err(raised)?),
        (None, None) => None,
    };
    let mut trainer = Trainer::new(params(parameters, model.map(|model| &model.0))?);
    if let Some(model) = model {
        trainer = trainer.warm_start(model.0.clone());
    }
    if let Some(rows) = validation {
        trainer = trainer.validation_rows(matrix(rows)?);
    }
    if let Some(folder) = folder {
        trainer = trainer.checkpoints(Checkpoints::new(folder).every(every).resume(resume));
    }
    let failed = Failed::default();
    if let Some(callback) = on_step {
        let failed = failed.clone();
        trainer = trainer.on_step(move |r: &StepReport| {
            let reported = (r.step, r.epoch, r.loss, r.learning_rate);
            failed.ask(|py| callback.call1(py, reported)?.is_truthy(py))
        });
    }
    if let Some(callback) = on_epoch {
        let failed = failed.clone();
        trainer = trainer.on_epoch(move |r: &EpochReport| {
            let reported = (r.epoch, r.step, r.loss, r.recall);
            failed.ask(|py| callback.call1(py, reported)?.is_truthy(py))
        });
    }
    let fit = with_all(&[Some(x.clone()), queries], &[], &mut |vectors| {
        let &[Some(x), queries] = vectors else { unreachable!("x is always given") };
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
