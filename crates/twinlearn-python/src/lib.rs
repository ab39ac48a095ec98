//! The extension module `twinlearn._twinlearn`: arrays in, calls of the library, arrays out.
//!
//! `arrays` borrows NumPy's, `run` runs long calls without the GIL, `params` reads keyword
//! arguments, `fit`, `search` and `evaluation` call the library, `model` is the fitted model,
//! `files` writes what Python made, `values` hands results over. What users see is in `python/twinlearn`.

mod arrays;
mod error;
mod evaluation;
mod files;
mod fit;
mod mapped;
mod model;
mod params;
mod run;
mod search;
mod values;

use pyo3::prelude::*;

#[pymodule]
fn _twinlearn(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    m.add("TwinlearnError", m.py().get_type::<error::TwinlearnError>())?;
    m.add_class::<run::Job>()?;
    m.add_class::<model::Model>()?;
    m.add_class::<evaluation::Found>()?;
    m.add_class::<evaluation::Advised>()?;
    m.add_function(wrap_pyfunction!(fit::fit, m)?)?;
    m.add_function(wrap_pyfunction!(search::knn_graph, m)?)?;
    m.add_function(wrap_pyfunction!(search::pca, m)?)?;
    m.add_function(wrap_pyfunction!(evaluation::evaluate, m)?)?;
    m.add_function(wrap_pyfunction!(evaluation::advise, m)?)?;
    m.add_function(wrap_pyfunction!(evaluation::report, m)?)?;
    m.add_function(wrap_pyfunction!(files::write_file, m)?)?;
    m.add_function(wrap_pyfunction!(params::hyperparameters, m)?)?;
    m.add_function(wrap_pyfunction!(params::resolve, m)?)
}
