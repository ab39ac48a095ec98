//! What reductions keep, which dimension to take, and the page about it.

use pyo3::prelude::*;
use pyo3::types::PyType;
use twinlearn::{Bits, EvaluationData, EvaluationParams, Goal, Qrels, Reduction};
use twinlearn_report::Report;

use crate::arrays::{with_all, with_rows};
use crate::error::{TwinlearnError, raised, renamed};
use crate::model::Model;
use crate::params::named;
use crate::run::Job;
use crate::values::{from_json, to_json, to_python};

/// What `evaluate` found.
#[pyclass(frozen, module = "twinlearn._twinlearn")]
pub(crate) struct Found(twinlearn::Evaluation);

/// What `advise` found.
#[pyclass(frozen, module = "twinlearn._twinlearn")]
pub(crate) struct Advised(twinlearn::Advice);

/// The methods of a result, and more of one.
macro_rules! result_methods {
    ($class:ident { $($more:tt)* }) => {
        #[pymethods]
        impl $class {
            /// Everything, by name.
            fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                to_python(py, &self.0)
            }

            /// Everything, as JSON.
            fn to_json(&self) -> PyResult<String> {
                to_json(&self.0)
            }

            /// From that.
            #[classmethod]
            fn from_json(_: &Bound<'_, PyType>, text: &str) -> PyResult<Self> {
                from_json(text).map(Self)
            }

            fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
                Ok((py.get_type::<Self>().getattr("from_json")?, (self.to_json()?,)))
            }

            fn __str__(&self) -> String {
                self.0.to_string()
            }

            $($more)*
        }
    };
}

result_methods!(Found {});
result_methods!(Advised {
    /// The hyper-parameters to fit with, where a fit is worth something.
    fn params<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let params = self.0.params().map_err(raised)?;
        params.map(|params| to_python(py, &params)).transpose()
    }
});

/// What reductions of `x` keep: for each of `names` those of a model (`models`) or reduced rows
/// (`reduced`), with reduced queries where there are some.
#[pyfunction]
#[pyo3(signature = (
    x, names, models, reduced, reduced_queries, job, *, queries=None, labels=None, query_labels=None,
    qrels=None, metric, n_neighbors, n_queries, max_rows, baselines, curves, bits, codes, rescore, seed
))]
#[expect(clippy::too_many_arguments, reason = "they are one Python function's")]
pub(crate) fn evaluate<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    names: Vec<String>,
    models: Vec<Option<Py<Model>>>,
    reduced: Vec<Option<Bound<'py, PyAny>>>,
    reduced_queries: Vec<Option<Bound<'py, PyAny>>>,
    job: &Job,
    queries: Option<Bound<'py, PyAny>>,
    labels: Option<Vec<i64>>,
    query_labels: Option<Vec<i64>>,
    qrels: Option<Vec<(i64, i64, i64)>>,
    metric: &Bound<'py, PyAny>,
    n_neighbors: usize,
    n_queries: usize,
    max_rows: usize,
    baselines: bool,
    curves: bool,
    bits: Option<u64>,
    codes: bool,
    rescore: Option<usize>,
    seed: u64,
) -> PyResult<Found> {
    let bits = bits.map(Bits::new).transpose().map_err(raised)?;
    let params = EvaluationParams::default()
        .metric(named(metric)?)
        .n_neighbors(n_neighbors)
        .n_queries(n_queries)
        .max_rows(max_rows)
        .baselines(baselines)
        .curves(curves)
        .bits(bits)
        .codes(codes)
        .candidates(rescore)
        .seed(seed);
    let mut arrays = vec![Some(x.clone()), queries];
    arrays.extend(reduced);
    arrays.extend(reduced_queries);
    with_all(&arrays, &[], &mut |vectors| {
        let (first, reduced) = vectors.split_at(2);
        let (reduced, reduced_queries) = reduced.split_at(names.len());
        let &[Some(x), queries] = first else { unreachable!("x is always given") };
        let qrels = match (&qrels, queries) {
            (Some(qrels), Some(queries)) => {
                let qrels = Qrels::new(queries.n_rows(), x.n_rows(), qrels.iter().copied());
                Some(qrels.map_err(raised)?)
            }
            (Some(_), None) => {
                return Err(TwinlearnError::new_err(
                    "qrels: expected queries that they belong to, got none",
                ));
            }
            _ => None,
        };
        let mut data = EvaluationData::new(x);
        if let Some(queries) = queries {
            data = data.queries(queries);
        }
        if let Some(labels) = &labels {
            data = data.labels(labels);
        }
        if let Some(labels) = &query_labels {
            data = data.query_labels(labels);
        }
        if let Some(qrels) = &qrels {
            data = data.qrels(qrels);
        }
        let given = names.iter().zip(&models).zip(reduced.iter().zip(reduced_queries));
        let given: Vec<(&str, Reduction<'_>)> = given
            .filter_map(|((name, model), (reduced, queries))| {
                let reduction = match (model, reduced) {
                    (Some(model), _) => Reduction::Model(&model.get().0),
                    (None, Some(x)) => Reduction::Reduced { x: *x, queries: *queries },
                    (None, None) => return None,
                };
                Some((name.as_str(), reduction))
            })
            .collect();
        let named = |error| renamed(error, "candidates", "rescore");
        job.run(py, |ctx| twinlearn::evaluate(ctx, &data, &given, &params).map_err(named))
    })
    .map(Found)
}

/// How to keep vectors: for a share of the neighbours, or for so many bytes.
#[pyfunction]
#[pyo3(signature = (
    x, job, *, keep, bytes, rescore, metric, n_neighbors, n_queries, max_rows, fit_rows, seed
))]
#[expect(clippy::too_many_arguments, reason = "they are one Python function's")]
pub(crate) fn advise(
    py: Python<'_>,
    x: &Bound<'_, PyAny>,
    job: &Job,
    keep: f64,
    bytes: Option<usize>,
    rescore: Option<usize>,
    metric: &Bound<'_, PyAny>,
    n_neighbors: usize,
    n_queries: usize,
    max_rows: usize,
    fit_rows: usize,
    seed: u64,
) -> PyResult<Advised> {
    let params = EvaluationParams::default()
        .metric(named(metric)?)
        .n_neighbors(n_neighbors)
        .n_queries(n_queries)
        .max_rows(max_rows)
        .fit_rows(fit_rows)
        .candidates(rescore)
        .seed(seed);
    let goal = bytes.map_or(Goal::Keep(keep), Goal::Bytes);
    let named = |error| renamed(error, "candidates", "rescore");
    with_rows(x, |x| job.run(py, |ctx| twinlearn::advise(ctx, x, goal, &params).map_err(named)))
        .map(Advised)
}

/// A page, as HTML: about a model and its training ((step, loss) and (step, recall)), what `evaluate` and
/// `advise` returned, and a map of reduced rows with a label and a text for each.
#[pyfunction]
#[pyo3(signature = (
    title, job, *, model=None, losses=Vec::new(), recalls=Vec::new(), evaluation=None, advice=None,
    reduced=None, labels=None, texts=None, seed=0
))]
#[expect(clippy::too_many_arguments, reason = "they are one Python function's")]
pub(crate) fn report(
    py: Python<'_>,
    title: String,
    job: &Job,
    model: Option<&Model>,
    losses: Vec<(usize, f64)>,
    recalls: Vec<(usize, f64)>,
    evaluation: Option<&Found>,
    advice: Option<&Advised>,
    reduced: Option<&Bound<'_, PyAny>>,
    labels: Option<Vec<String>>,
    texts: Option<Vec<String>>,
    seed: u64,
) -> PyResult<String> {
    let mut report = Report::new(title).training(&losses, &recalls);
    if let Some(z) = reduced {
        let (labels, texts) = (labels.as_deref(), texts.as_deref());
        report = with_rows(z, |z| job.run(py, |ctx| report.map(ctx, z, labels, texts, seed)))?;
    }
    if let Some(found) = evaluation {
        report = report.evaluation(found.0.clone());
    }
    if let Some(advised) = advice {
        report = report.advice(advised.0.clone());
    }
    if let Some(model) = model {
        report = report.model(&model.0);
    }
    Ok(report.to_html())
}
