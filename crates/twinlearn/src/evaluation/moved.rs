//! What is judged, of rows that lie far from the origin: under l2 distances do not depend on where it is,
//! but digits do.

use twinlearn_core::error::Result;
use twinlearn_knn::{Metric, origin_of};
use twinlearn_vectors::{Centred, Vectors};

use super::data::{EvaluationData, Reduction};
use crate::model::Model;

/// The origin that is taken off, in `f64`, and the models of rows that are without it.
pub(super) struct Moved {
    origin: Vec<f64>,
    models: Vec<Option<Model>>,
}

impl Moved {
    /// None where rows stay as they are.
    pub(super) fn new(
        x: &dyn Vectors,
        metric: Metric,
        reductions: &[(&str, Reduction<'_>)],
    ) -> Result<Option<Self>> {
        let Some(origin) = origin_of(x, metric)? else { return Ok(None) };
        let model = |(_, reduction): &(&str, Reduction<'_>)| match reduction {
            Reduction::Model(model) => Some(model.about(&origin)),
            _ => None,
        };
        let models = reductions.iter().map(model).collect();
        Ok(Some(Self { origin, models }))
    }

    /// Rows without the origin.
    pub(super) fn rows<'a>(&'a self, x: &'a dyn Vectors) -> Centred<'a> {
        Centred::new(x, &self.origin)
    }

    /// The reductions of such rows. What a linear map makes of them moves as a whole.
    pub(super) fn reductions<'a>(
        &'a self,
        reductions: &[(&'a str, Reduction<'a>)],
    ) -> Vec<(&'a str, Reduction<'a>)> {
        let moved = reductions.iter().zip(&self.models);
        moved
            .map(|(&(name, reduction), model)| match model {
                Some(model) => (name, Reduction::Model(model)),
                None => (name, reduction),
            })
            .collect()
    }
}

/// Data with these rows and queries, where there are some.
pub(super) fn with_rows<'a>(
    data: &EvaluationData<'a>,
    x: Option<&'a Centred<'a>>,
    queries: Option<&'a Centred<'a>>,
) -> EvaluationData<'a> {
    EvaluationData {
        x: x.map_or(data.x, |x| x),
        queries: queries.map(|queries| queries as &dyn Vectors).or(data.queries),
        ..*data
    }
}
