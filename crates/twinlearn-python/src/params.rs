//! Keyword arguments as parameters of the library.

use std::str::FromStr;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict};
use twinlearn::{Model, NetworkSpec, Params, ParamsBuilder};

use crate::error::{TwinlearnError, raised};

/// What is given; what is `None` comes from the recipe, or from the model to go on from.
pub(crate) fn params(given: &Bound<'_, PyDict>, model: Option<&Model>) -> PyResult<Params> {
    let mut builder = model.map_or_else(Params::builder, Model::fine_tune);
    for (name, value) in given {
        if !value.is_none() {
            let name: String = name.extract()?;
            builder = set(builder, &name, &value)?;
        }
    }
    builder.build().map_err(raised)
}

fn set(b: ParamsBuilder, name: &str, value: &Bound<'_, PyAny>) -> PyResult<ParamsBuilder> {
    let expected = |what: &str| {
        let got = value.repr().map_or_else(|_| "something else".to_owned(), |r| r.to_string());
        TwinlearnError::new_err(format!("{name}: expected {what}, got {got}"))
    };
    // Python takes True for 1.
    let is_truth = value.is_instance_of::<PyBool>();
    let whole = || match value.extract::<usize>() {
        Ok(whole) if !is_truth => Ok(whole),
        _ => Err(expected("a whole number from 0")),
    };
    let real = || match value.extract::<f64>() {
        Ok(real) if !is_truth => Ok(real),
        _ => Err(expected("a number")),
    };
    let truth = || value.extract::<bool>().map_err(|_| expected("True or False"));
    let spec = || NetworkSpec::parse_named(name, value.str()?.to_str()?).map_err(raised);
    Ok(match name {
        "recipe" => b.recipe(named(value)?),
        "n_components" => b.n_components(whole()?),
        "n_neighbors" => b.n_neighbors(whole()?),
        "metric" => b.metric(named(value)?),
        "knn_method" => b.knn_method(named(value)?),
        "knn_approximation" => b.knn_approximation(named(value)?),
        "encoder" => b.encoder(spec()?),
        "projector" if value.str()?.to_str()? == "none" => b.projector(None),
        "projector" => b.projector(Some(spec()?)),
        "norm_layer" => b.norm_layer(named(value)?),
        "solver" => b.solver(named(value)?),
        "loss" => b.loss(named(value)?),
        "optimizer" => b.optimizer(named(value)?),
        "tau" => b.tau(real()?),
        "centre_target" => b.centre_target(truth()?),
        "gaussian" => b.gaussian(truth()?),
        "noise" => b.noise(real()?),
        "init" => b.init(named(value)?),
        "pca_power" => b.pca_power(real()?),
        "epochs" => b.epochs(whole()?),
        "warmup_epochs" => b.warmup_epochs(whole()?),
        "batch_size" => b.batch_size(whole()?),
        "learning_rate" => b.learning_rate(real()?),
        "lambd" => b.lambd(real()?),
        "scale_loss" => b.scale_loss(real()?),
        "whiten" => b.whiten(real()?),
        "validation_fraction" => b.validation_fraction(real()?),
        "query_share" => b.query_share(real()?),
        "nested" => {
            let sizes = value.extract::<Vec<usize>>();
            b.nested(sizes.map_err(|_| expected("a sequence of whole numbers from 0"))?)
        }
        "retain_projector" => b.retain_projector(truth()?),
        "seed" => b.seed(value.extract().map_err(|_| expected("a whole number from 0"))?),
        _ => return Err(TwinlearnError::new_err(format!("{name}: no such parameter"))),
    })
}

pub(crate) fn named<T: FromStr<Err = twinlearn::Error>>(value: &Bound<'_, PyAny>) -> PyResult<T> {
    value.str()?.to_str()?.parse().map_err(raised)
}

/// All parameters, those not given by their defaults, as JSON; raises what is wrong with them.
#[pyfunction]
pub(crate) fn resolve(given: &Bound<'_, PyDict>) -> PyResult<String> {
    serde_json::to_string(&params(given, None)?).map_err(|e| TwinlearnError::new_err(e.to_string()))
}
