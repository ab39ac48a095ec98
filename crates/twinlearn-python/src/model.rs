//! The fitted model.

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use twinlearn::{Bits, CodeSearch, Codec, DenseVectors, Matrix};

use crate::arrays::{to_numpy, with_all, with_rows};
use crate::error::{TwinlearnError, raised, renamed};
use crate::run::Job;
use crate::values::to_python;

/// Below this many multiply-adds a transform takes less than a thread's start.
const SMALL: usize = 1 << 22;

/// A fitted encoder, as `twinlearn.TLDR` holds it.
#[pyclass(frozen, module = "twinlearn._twinlearn")]
pub(crate) struct Model(pub(crate) twinlearn::Model);

impl Model {
    fn codec(&self, bits: Option<u64>) -> PyResult<Codec> {
        let bits = bits.map(Bits::new).transpose().map_err(raised)?;
        self.0.codec(bits).map_err(raised)
    }

    /// The codec of an array of codes: of so many bits a number, the product code, or as its columns say.
    fn codec_for(
        &self,
        z: &PyReadonlyArray2<'_, u8>,
        bits: Option<u64>,
        codes: bool,
    ) -> PyResult<Codec> {
        let bytes = z.shape()[1];
        let codec = match bits.is_some() || codes {
            true => self.codec(bits)?,
            false => self.0.codec_of(bytes).map_err(raised)?,
        };
        if codec.row_bytes() == bytes {
            return Ok(codec);
        }
        let (wanted, spec) = (codec.row_bytes(), codec.spec());
        let message =
            format!("codes: expected {wanted} bytes a row, as code {spec} has, got {bytes}");
        Err(TwinlearnError::new_err(message))
    }
}

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

    /// Every row as a code, N × bytes: of so many bits a number, or the product code of the model.
    #[pyo3(signature = (x, job, *, bits=None))]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'py, PyAny>,
        job: &Job,
        bits: Option<u64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let codec = self.codec(bits)?;
        let codes = with_rows(x, |x| job.run(py, |ctx| self.0.encode(ctx, &codec, x)))?;
        let n = codes.len() / codec.row_bytes();
        Ok(PyArray1::from_vec(py, codes).reshape([n, codec.row_bytes()])?.into_any())
    }

    /// What codes stand for, N × d.
    #[pyo3(signature = (z, job, *, bits=None, codes=false))]
    fn decode<'py>(
        &self,
        py: Python<'py>,
        z: PyReadonlyArray2<'py, u8>,
        job: &Job,
        bits: Option<u64>,
        codes: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let codec = self.codec_for(&z, bits, codes)?;
        let bytes = z.as_slice()?;
        to_numpy(py, job.run(py, |_| codec.decode(bytes))?)
    }

    /// The `k` nearest of the codes `z` to each query, M × k; of so many candidates, put in order by the rows of
    /// `rescore`, where these are given.
    #[pyo3(signature = (
        z, queries, k, job, *, bits=None, codes=false, rescore=None, candidates=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are one Python function's")]
    fn search<'py>(
        &self,
        py: Python<'py>,
        z: PyReadonlyArray2<'py, u8>,
        queries: &Bound<'py, PyAny>,
        k: usize,
        job: &Job,
        bits: Option<u64>,
        codes: bool,
        rescore: Option<Bound<'py, PyAny>>,
        candidates: Option<usize>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let codec = self.codec_for(&z, bits, codes)?;
        let bytes = DenseVectors::new(z.as_slice()?, codec.row_bytes()).map_err(raised)?;
        let found = with_all(&[Some(queries.clone()), rescore], &[], &mut |vectors| {
            let &[Some(queries), rows] = vectors else { unreachable!("queries are always given") };
            let mut search = CodeSearch::new(&codec, k);
            search = rows.map_or(search, |rows| search.rescore(rows));
            search = candidates.map_or(search, |count| search.candidates(count));
            let named = |error| renamed(error, "n_neighbors", "k");
            job.run(py, |ctx| self.0.search(ctx, &bytes, queries, &search).map_err(named))
        })?;
        let n = found.len() / k.max(1);
        let found = found.into_iter().map(i64::from).collect();
        Ok(PyArray1::from_vec(py, found).reshape([n, k])?.into_any())
    }

    /// The name of a code, its bytes a row, and whether these hold a length beside the numbers.
    #[pyo3(signature = (*, bits=None))]
    fn codec_facts(&self, bits: Option<u64>) -> PyResult<(String, usize, bool)> {
        let codec = self.codec(bits)?;
        let has_length = match &codec {
            Codec::Scalar(code) => code.stores_length(),
            Codec::Product(_) => false,
        };
        Ok((codec.spec().to_string(), codec.row_bytes(), has_length))
    }

    /// Reduced rows turned as codes turn them.
    #[pyo3(signature = (z, *, bits=None))]
    fn turned<'py>(
        &self,
        py: Python<'py>,
        z: PyReadonlyArray2<'py, f32>,
        bits: Option<u64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let codec = self.codec(bits)?;
        let rows = DenseVectors::new(z.as_slice()?, codec.dim()).map_err(raised)?;
        to_numpy(py, codec.turned(&rows).map_err(raised)?)
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
