//! NumPy's arrays as vectors, borrowed, and matrices as NumPy's arrays, moved.

use numpy::{
    PyArray1, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArray2, PyReadonlyArrayDyn,
    PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use twinlearn::{DenseVectors, Element, KnnGraph, Matrix, Vectors};

use crate::error::{TwinlearnError, raised};
use crate::mapped::{MAPPED, Mapped, mapping};

/// Runs `work` on the rows of a 2-D array in C order, which is not copied.
pub(crate) fn with_rows<R>(
    x: &Bound<'_, PyAny>,
    work: impl FnOnce(&dyn Vectors) -> PyResult<R>,
) -> PyResult<R> {
    let Ok(array) = x.cast::<PyUntypedArray>() else {
        return Err(TwinlearnError::new_err("X: expected a NumPy array, got something else"));
    };
    let dtype = array.dtype();
    macro_rules! of {
        ($($type:ty),+) => {$(
            if dtype.is_equiv_to(&numpy::dtype::<$type>(x.py())) {
                return borrow::<$type, R>(x, work);
            }
        )+};
    }
    of!(f32, half::f16, f64, i8, i16, i32, i64, u8, u16, u32, u64);
    Err(TwinlearnError::new_err(format!(
        "X: expected an array of real numbers, got one of {dtype}"
    )))
}

fn borrow<T: Element + numpy::Element, R>(
    x: &Bound<'_, PyAny>,
    work: impl FnOnce(&dyn Vectors) -> PyResult<R>,
) -> PyResult<R> {
    let array = x;
    let x: PyReadonlyArrayDyn<'_, T> = array.extract()?;
    let &[_, dim] = x.shape() else {
        let message = format!("X: expected a 2-D array, got one of {} dimensions", x.ndim());
        return Err(TwinlearnError::new_err(message));
    };
    let elements = x.as_slice()?;
    let rows = DenseVectors::new(elements, dim).map_err(raised)?;
    if size_of_val(elements) > MAPPED
        && let Some(mapping) = mapping(array)?
    {
        return work(&Mapped::new(rows, mapping));
    }
    work(&rows)
}

/// Vectors that may not be given.
pub(crate) type Given<'a> = Option<&'a dyn Vectors>;

/// [`with_rows`] of several arrays, of which some may not be given.
pub(crate) fn with_all<R>(
    arrays: &[Option<Bound<'_, PyAny>>],
    known: &[Given<'_>],
    work: &mut dyn FnMut(&[Given<'_>]) -> PyResult<R>,
) -> PyResult<R> {
    match arrays.split_first() {
        None => work(known),
        Some((None, rest)) => with_all(rest, &[known, &[None]].concat(), work),
        Some((Some(x), rest)) => {
            with_rows(x, |x| with_all(rest, &[known, &[Some(x)]].concat(), work))
        }
    }
}

/// A copy of the rows of an array, as a matrix.
pub(crate) fn matrix(x: &Bound<'_, PyAny>) -> PyResult<Matrix> {
    with_rows(x, |x| {
        let mut rows = vec![0.0; x.n_rows() * x.dim()];
        x.read_rows(0, &mut rows).map_err(raised)?;
        Matrix::new(x.n_rows(), x.dim(), rows).map_err(raised)
    })
}

/// A matrix as an array of its shape.
pub(crate) fn to_numpy(py: Python<'_>, matrix: Matrix) -> PyResult<Bound<'_, PyAny>> {
    let shape = [matrix.rows(), matrix.cols()];
    Ok(PyArray1::from_vec(py, matrix.into_vec()).reshape(shape)?.into_any())
}

/// An N × k array of row numbers as a graph.
pub(crate) fn graph(array: &PyReadonlyArray2<'_, i64>) -> PyResult<KnnGraph> {
    KnnGraph::from_indices(array.shape()[0], array.as_slice()?).map_err(raised)
}

/// A graph as an array of row numbers.
pub(crate) fn graph_to_numpy<'py>(
    py: Python<'py>,
    graph: &KnnGraph,
) -> PyResult<Bound<'py, PyAny>> {
    let shape = [graph.n_rows(), graph.k()];
    Ok(PyArray1::from_vec(py, graph.to_indices()).reshape(shape)?.into_any())
}
