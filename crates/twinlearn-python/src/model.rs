//! The fitted model.

use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use twinlearn::Matrix;

use crate::arrays::{to_numpy, with_rows};
use crate::error::raised;
use crate::run::Job;
use crate::values::to_python;

/// Below this many multiply-adds a transform takes less than a thread's start.
const SMALL: usize = 1 << 22;

/// A fitted encoder, as `twinlearn.TLDR` holds it.
#[pyclass(frozen, module = "twinlearn._twinlearn")]
pub(crate) struct Model(pub(crate) twinlearn::Model);

#[pymethods]
impl Model {
    /// From the bytes of a model file.
    #[staticmethod]
    fn from_bytes(bytes: &[u8]) -> PyResult<Self> {
        twinlearn::Model::from_bytes(bytes).map(Self).map_err(raised)
    }

    /// From a model file.
    #[staticmethod]
    fn load(path: std::path::PathBuf) -> PyResult<Self> {
        twinlearn::Model::load(path).map(Self).map_err(raised)
    }

    /// The bytes of a model file.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.0.to_bytes().map_err(raised)?))
    }

    /// Writes a model file.
    fn save(&self, path: std::path::PathBuf) -> PyResult<()> {
        self.0.save(path).map_err(raised)
    }

    /// The model of the first numbers of reduced vectors.
    fn prefix(&self, n_components: usize) -> PyResult<Self> {
        self.0.prefix(n_components).map(Self).map_err(raised)
    }

    /// Every row encoded, as float32.
    fn transform<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'py, PyAny>,
        l2_norm: bool,
        job: &Job,
    ) -> PyResult<Bound<'py, PyAny>> {
        let model = &self.0;
        let z: Matrix = with_rows(x, |x| {
            let work = |ctx: &_| model.transform(ctx, x, l2_norm);
            if x.n_rows().saturating_mul(model.n_inference_parameters()) <= SMALL {
                job.run_small(py, work)
            } else {
                job.run(py, work)
            }
        })?;
        to_numpy(py, z)
    }

    /// Every stored array by its name.
    fn arrays<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let named = PyDict::new(py);
        for (name, shape, values) in self.0.arrays() {
            named.set_item(name, PyArray1::from_slice(py, values).reshape(shape)?)?;
        }
        Ok(named)
    }

    /// Weight and bias of the one linear map that the encoder is, if it is one.
    fn linear_map<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
        let Some(map) = self.0.linear_map() else { return Ok(None) };
        let bias = PyArray1::from_slice(py, map.bias()).into_any();
        Ok(Some((to_numpy(py, map.weight().clone())?, bias)))
    }

    /// The hyper-parameters that it was trained with, by name.
    fn params<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, self.0.params())
    }

    /// What its training did, by name.
    fn training<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, self.0.training())
    }

    /// The same model without its projector.
    fn without_projector(&self) -> Self {
        Self(self.0.clone().without_projector())
    }

    #[getter]
    fn has_projector(&self) -> bool {
        self.0.has_projector()
    }

    #[getter]
    fn n_features(&self) -> usize {
        self.0.n_features()
    }

    #[getter]
    fn n_components(&self) -> usize {
        self.0.n_components()
    }
}
