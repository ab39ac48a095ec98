//! Keyword arguments as parameters of the library.

use std::str::FromStr;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict};
use twinlearn::{Hyperparameters, Model, Params, Value, ValueKind};

use crate::error::{TwinlearnError, raised};
use crate::values::to_python;

/// What is given; what is `None` comes from the recipe, or from the model to go on from.
pub(crate) fn params(given: &Bound<'_, PyDict>, model: Option<&Model>) -> PyResult<Params> {
    let mut builder = model.map_or_else(Params::builder, Model::fine_tune);
    for (name, value) in given {
        if !value.is_none() {
            let name: String = name.extract()?;
            builder = builder.set(&name, &read(&name, &value)?).map_err(raised)?;
        }
    }
    builder.build().map_err(raised)
}

/// A value of the kind that the parameter has.
fn read(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Value> {
    let Some(info) = Hyperparameters::TABLE.iter().find(|info| info.name == name) else {
        return Err(TwinlearnError::new_err(format!("{name}: no such parameter")));
    };
    let expected = |what: &str| {
        let got = value.repr().map_or_else(|_| "something else".to_owned(), |r| r.to_string());
        TwinlearnError::new_err(format!("{name}: expected {what}, got {got}"))
    };
    // Python takes True for 1.
    let is_truth = value.is_instance_of::<PyBool>();
    match info.kind {
        ValueKind::Whole => match value.extract() {
            Ok(whole) if !is_truth => Ok(Value::Whole(whole)),
            _ => Err(expected("a whole number from 0")),
        },
        ValueKind::Real => match value.extract() {
            Ok(real) if !is_truth => Ok(Value::Real(real)),
            _ => Err(expected("a number")),
        },
        ValueKind::Truth => {
            value.extract().map(Value::Truth).map_err(|_| expected("True or False"))
        }
        ValueKind::Sizes => {
            let sizes = value.extract().map(Value::Sizes);
            sizes.map_err(|_| expected("a sequence of whole numbers from 0"))
        }
        _ => Ok(Value::Text(value.str()?.to_str()?.to_owned())),
    }
}

pub(crate) fn named<T: FromStr<Err = twinlearn::Error>>(value: &Bound<'_, PyAny>) -> PyResult<T> {
    value.str()?.to_str()?.parse().map_err(raised)
}

/// All parameters by name, those not given by their defaults; raises what is wrong with them.
#[pyfunction]
pub(crate) fn resolve<'py>(given: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
    to_python(given.py(), &params(given, None)?)
}

/// The hyper-parameters: the name, what it is, and the default in words of each.
#[pyfunction]
pub(crate) fn hyperparameters() -> Vec<(&'static str, &'static str, &'static str)> {
    Hyperparameters::TABLE.iter().map(|info| (info.name, info.doc.trim(), info.default)).collect()
}
