//! Files that are whole or not there.

use std::path::PathBuf;

use pyo3::prelude::*;
use twinlearn::OutputFile;

use crate::error::raised;

/// Writes a file that takes its name only when it is whole.
#[pyfunction]
pub(crate) fn write_file(path: PathBuf, content: &[u8]) -> PyResult<()> {
    let write = || {
        let mut file = OutputFile::create(path)?;
        file.write_all(content)?;
        file.commit()
    };
    write().map_err(raised)
}
