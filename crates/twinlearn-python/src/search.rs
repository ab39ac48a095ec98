//! The neighbour graph and the baseline.

use numpy::PyArray1;
use pyo3::prelude::*;
use twinlearn::{KnnParams, Pca};

use crate::arrays::{graph_to_numpy, to_numpy, with_rows};
use crate::error::renamed;
use crate::params::named;
use crate::run::Job;

/// The nearest other rows of every row, N × k; with k comes what its caller names it.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "they are one Python function's")]
pub(crate) fn knn_graph<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    k: (usize, String),
    metric: &Bound<'py, PyAny>,
    method: &Bound<'py, PyAny>,
    approximation: Option<&Bound<'py, PyAny>>,
    seed: u64,
    job: &Job,
) -> PyResult<Bound<'py, PyAny>> {
    let (k, name) = k;
    let params = KnnParams::new(k)
        .metric(named(metric)?)
        .method(named(method)?)
        .approximation(approximation.map(named).transpose()?)
        .seed(seed);
    let graph = with_rows(x, |x| {
        job.run(py, |ctx| {
            twinlearn::knn_graph(ctx, x, &params).map_err(|e| renamed(e, "n_neighbors", &name))
        })
    })?;
    graph_to_numpy(py, &graph)
}

/// Weight (d × D) and bias of the principal components, each divided by σ^`power`.
#[pyfunction]
pub(crate) fn pca<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    n_components: usize,
    power: f64,
    job: &Job,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let (weight, bias) = with_rows(x, |x| {
        job.run(py, |ctx| {
            let pca = Pca::fit(ctx, x)?.ok_or_else(Pca::equal_rows)?;
            let map = pca.projection(n_components, power)?;
            Ok((map.weight().clone(), map.bias().to_vec()))
        })
    })?;
    Ok((to_numpy(py, weight)?, PyArray1::from_vec(py, bias).into_any()))
}
