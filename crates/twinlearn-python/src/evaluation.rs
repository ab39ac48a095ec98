//! What reductions keep, which dimension to take, and the page about it.

use pyo3::prelude::*;
use pyo3::types::PyType;
use twinlearn::{EvaluationData, EvaluationParams, Qrels, Reduction};
use twinlearn_report::Report;

use crate::arrays::{with_all, with_rows};
use crate::error::{TwinlearnError, raised};
use crate::model::Model;
use crate::params::named;
use crate::run::Job;
use crate::values::{from_json, to_json, to_python};

/// What is judged, and how: an object with these attributes.
#[derive(FromPyObject)]
pub(crate) struct Judged<'py> {
    names: Vec<String>,
    /// A model for each name, or none where rows are given.
    models: Vec<Option<Py<Model>>>,
    /// Reduced rows for each name.
    reduced: Vec<Option<Bound<'py, PyAny>>>,
    /// Reduced queries for each name.
    reduced_queries: Vec<Option<Bound<'py, PyAny>>>,
    queries: Option<Bound<'py, PyAny>>,
    labels: Option<Vec<i64>>,
    query_labels: Option<Vec<i64>>,
    /// (query, row, relevance).
    qrels: Option<Vec<(i64, i64, i64)>>,
    metric: Bound<'py, PyAny>,
    n_neighbors: usize,
    n_queries: usize,
    max_rows: usize,
    baselines: bool,
    curves: bool,
    seed: u64,
}

/// What `evaluate` found.
#[pyclass(frozen, module = "twinlearn._twinlearn")]
pub(crate) struct Found(twinlearn::Evaluation);

/// What `advise` found.
#[pyclass(frozen, module = "twinlearn._twinlearn")]
pub(crate) struct Advised(twinlearn::Advice);

/// The methods of a result.
macro_rules! result_methods {
    ($class:ident) => {
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
        }
    };
}

result_methods!(Found);
result_methods!(Advised);

/// What reductions of `x` keep.
#[pyfunction]
pub(crate) fn evaluate(
    py: Python<'_>,
    x: &Bound<'_, PyAny>,
    judged: Judged<'_>,
    job: Job,
) -> PyResult<Found> {
    let params = EvaluationParams::default()
        .metric(named(&judged.metric)?)
        .n_neighbors(judged.n_neighbors)
        .n_queries(judged.n_queries)
        .max_rows(judged.max_rows)
        .baselines(judged.baselines)
        .curves(judged.curves)
        .seed(judged.seed);
    let mut arrays = vec![Some(x.clone()), judged.queries];
    arrays.extend(judged.reduced);
    arrays.extend(judged.reduced_queries);
    let mut job = Some(job);
    with_all(&arrays, &[], &mut |vectors| {
        let (first, reduced) = vectors.split_at(2);
        let (reduced, reduced_queries) = reduced.split_at(judged.names.len());
        let &[Some(x), queries] = first else { unreachable!("x is always given") };
        let qrels = match (&judged.qrels, queries) {
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
        if let Some(labels) = &judged.labels {
            data = data.labels(labels);
        }
        if let Some(labels) = &judged.query_labels {
            data = data.query_labels(labels);
        }
        if let Some(qrels) = &qrels {
            data = data.qrels(qrels);
        }
        let given =
            judged.names.iter().zip(&judged.models).zip(reduced.iter().zip(reduced_queries));
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
        let job = job.take().ok_or_else(|| TwinlearnError::new_err("evaluate: called twice"))?;
        job.run(py, |ctx| twinlearn::evaluate(ctx, &data, &given, &params))
    })
    .map(Found)
}

/// The smallest dimension that keeps enough.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "they are one Python function's")]
pub(crate) fn advise(
    py: Python<'_>,
    x: &Bound<'_, PyAny>,
    keep: f64,
    metric: &Bound<'_, PyAny>,
    n_neighbors: usize,
    n_queries: usize,
    max_rows: usize,
    fit_rows: usize,
    seed: u64,
    job: Job,
) -> PyResult<Advised> {
    let params = EvaluationParams::default()
        .metric(named(metric)?)
        .n_neighbors(n_neighbors)
        .n_queries(n_queries)
        .max_rows(max_rows)
        .fit_rows(fit_rows)
        .seed(seed);
    with_rows(x, |x| job.run(py, |ctx| twinlearn::advise(ctx, x, keep, &params))).map(Advised)
}

/// What a page is about: an object with these attributes.
#[derive(FromPyObject)]
pub(crate) struct Page<'py> {
    title: String,
    model: Option<Py<Model>>,
    /// (step, loss) and (step, recall).
    losses: Vec<(usize, f64)>,
    recalls: Vec<(usize, f64)>,
    /// What `evaluate` and `advise` returned.
    evaluation: Option<Py<Found>>,
    advice: Option<Py<Advised>>,
    /// Reduced rows for the map, a label and a text for each.
    reduced: Option<Bound<'py, PyAny>>,
    labels: Option<Vec<String>>,
    texts: Option<Vec<String>>,
    facts: Vec<(String, String)>,
    seed: u64,
}

/// The page, as HTML.
#[pyfunction]
pub(crate) fn report(py: Python<'_>, page: Page<'_>, job: Job) -> PyResult<String> {
    let mut report = Report::new(page.title).training(&page.losses, &page.recalls);
    if let Some(z) = &page.reduced {
        let (labels, texts) = (page.labels.as_deref(), page.texts.as_deref());
        report = with_rows(z, |z| job.run(py, |ctx| report.map(ctx, z, labels, texts, page.seed)))?;
    }
    if let Some(found) = &page.evaluation {
        report = report.evaluation(found.get().0.clone());
    }
    if let Some(advised) = &page.advice {
        report = report.advice(advised.get().0.clone());
    }
    if let Some(model) = &page.model {
        report = report.model(&model.get().0);
    }
    let facts: Vec<(&str, String)> =
        page.facts.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    if !facts.is_empty() {
        report = report.facts("Measurement", &facts);
    }
    Ok(report.to_html())
}
