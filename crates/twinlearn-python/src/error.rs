//! Errors of the library as Python's.

use pyo3::exceptions::{PyKeyboardInterrupt, PyOSError, PyValueError};
use pyo3::prelude::*;
use twinlearn::Error;

pyo3::create_exception!(
    twinlearn,
    TwinlearnError,
    PyValueError,
    "A parameter, an array or a file that is not usable; the message says what was expected."
);

/// What is raised for an error, with the names of Python's parameters.
pub(crate) fn raised(error: Error) -> PyErr {
    match renamed(error, "threads", "n_jobs") {
        Error::Cancelled => PyKeyboardInterrupt::new_err(()),
        Error::Io { path, action, source } => match source.raw_os_error() {
            // With number and name Python finds the class, e.g. FileNotFoundError.
            Some(number) => {
                let text = source.to_string();
                let text = text.split(" (os error").next().unwrap_or_default();
                PyOSError::new_err((number, format!("cannot {action}: {text}"), path))
            }
            None => PyOSError::new_err(format!("{}: cannot {action}: {source}", path.display())),
        },
        error => TwinlearnError::new_err(error.to_string()),
    }
}

/// The error with the name that Python has for the parameter `name`.
pub(crate) fn renamed(error: Error, name: &str, of_python: &str) -> Error {
    match error {
        Error::Invalid { name: of_library, expected, actual } if of_library == name => {
            Error::Invalid { name: of_python.to_owned(), expected, actual }
        }
        error => error,
    }
}
