//! What of a fit can be refused before any row is read.

use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::Matrix;
use twinlearn_vectors::Vectors;

use super::{FitData, start};
use crate::model::Model;
use crate::params::{Init, LISTED_ALONE, Params, Solver};

pub(super) fn check_sizes(
    params: &Params,
    data: &FitData<'_>,
    model: Option<&Model>,
    validation: Option<&Matrix>,
) -> Result<()> {
    let FitData { x, graph, queries } = data;
    let (n_rows, dim, k) = (x.n_rows(), x.dim(), params.n_neighbors);
    if n_rows < 2 {
        return Err(Error::invalid("X", "at least 2 rows", n_rows));
    }
    match (params.init == Init::Model, model) {
        (true, None) => {
            return Err(Error::invalid("init", "a model to go on from, with init model", "none"));
        }
        (false, Some(_)) => {
            return Err(Error::invalid("init", "model where one is given", params.init));
        }
        (true, Some(model)) => start::check_model(params, dim, model)?,
        (false, None) => {}
    }
    check_queries(params, dim, *queries)?;
    if let Some(rows) = validation {
        check_beside("validation_rows", rows, dim)?;
    }
    if params.gaussian && graph.is_some() {
        return Err(Error::invalid("knn_graph", "none with gaussian pairs", "one"));
    }
    if params.solver == Solver::Pca && graph.is_some() {
        let expected = "none with solver pca, which looks for no neighbours";
        return Err(Error::invalid("knn_graph", expected, "one"));
    }
    if matches!(params.init, Init::Best | Init::Pca | Init::Spectral) && params.n_components > dim {
        return Err(Error::invalid(
            "n_components",
            format_args!("at most {dim}, the dimension of X"),
            params.n_components,
        ));
    }
    let Some(graph) = graph else {
        return if params.gaussian { Ok(()) } else { twinlearn_knn::check_n_neighbors(k, n_rows) };
    };
    if graph.n_rows() != n_rows {
        return Err(Error::invalid(
            "knn_graph",
            format_args!("{n_rows} rows, one for each of X"),
            graph.n_rows(),
        ));
    }
    if !graph.is_ragged() && graph.k() < k {
        return Err(Error::invalid(
            "knn_graph",
            format_args!("at least n_neighbors ({k}) columns"),
            graph.k(),
        ));
    }
    Ok(())
}

/// Refuses rows beside X that are none, or of another dimension.
fn check_beside(name: &str, rows: &dyn Vectors, dim: usize) -> Result<()> {
    if rows.n_rows() > 0 && rows.dim() == dim {
        return Ok(());
    }
    let got = format!("{} of dimension {}", rows.n_rows(), rows.dim());
    Err(Error::invalid(name, format_args!("at least 1 row of dimension {dim}, as X"), got))
}

/// Refuses queries that a fit cannot be for, before any is read.
fn check_queries(params: &Params, dim: usize, queries: Option<&dyn Vectors>) -> Result<()> {
    let Some(queries) = queries else {
        return match params.query_share {
            Some(share) => Err(Error::invalid("query_share", "none without queries", share)),
            None => Ok(()),
        };
    };
    if !params.is_listed() {
        let got = format!(
            "queries with loss {}, solver {}{}",
            params.loss,
            params.solver,
            if params.gaussian { " and gaussian pairs" } else { "" }
        );
        return Err(Error::invalid("queries", LISTED_ALONE, got));
    }
    check_beside("queries", queries, dim)
}
