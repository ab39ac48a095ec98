//! Files that are whole or not there.

use std::path::PathBuf;

use pyo3::prelude::*;
use twinlearn::OutputFile;

use crate::error::raised;

/// Writes a file that takes its name, which has one of some endings or none, only when it is whole.
#[pyfunction]
pub(crate) fn write_file(path: PathBuf, content: &[u8], endings: Vec<String>) -> PyResult<()> {
    let write = || {
        let endings: Vec<&str> = endings.iter().map(String::as_str).collect();
        let mut file = OutputFile::create_as(path, &endings)?;
        file.write_all(content)?;
        file.commit()
    };
    write().map_err(raised)
}
