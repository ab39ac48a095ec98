//! What is judged, and by what.

use twinlearn_core::context::Context;
use twinlearn_core::error::{Error, Result};
use twinlearn_knn::Metric;
use twinlearn_vectors::{Subset, Vectors, check_vectors};

use super::ranking::Qrels;
use crate::linear_map::LinearMap;
use crate::model::{Model, ReducedView};

/// Rows to judge reductions by.
#[derive(Clone, Copy)]
pub struct EvaluationData<'a> {
    pub(super) x: &'a dyn Vectors,
    pub(super) queries: Option<&'a dyn Vectors>,
    pub(super) labels: Option<&'a [i64]>,
    pub(super) query_labels: Option<&'a [i64]>,
    pub(super) qrels: Option<&'a Qrels>,
}

impl std::fmt::Debug for EvaluationData<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EvaluationData").field("n_rows", &self.x.n_rows()).finish_non_exhaustive()
    }
}

impl<'a> EvaluationData<'a> {
    /// The original vectors, N × D. Where no queries are given some rows, drawn by the seed, are the
    /// queries, and neighbours are looked for among the others.
    #[must_use]
    pub fn new(x: &'a dyn Vectors) -> Self {
        Self { x, queries: None, labels: None, query_labels: None, qrels: None }
    }

    /// Other rows, whose neighbours in X are to be kept: best those that nothing was fitted on.
    #[must_use]
    pub fn queries(mut self, queries: &'a dyn Vectors) -> Self {
        self.queries = Some(queries);
        self
    }

    /// A class for each row of X.
    #[must_use]
    pub fn labels(mut self, labels: &'a [i64]) -> Self {
        self.labels = Some(labels);
        self
    }

    /// A class for each query, where queries are given.
    #[must_use]
    pub fn query_labels(mut self, labels: &'a [i64]) -> Self {
        self.query_labels = Some(labels);
        self
    }

    /// Which rows of X answer which queries.
    #[must_use]
    pub fn qrels(mut self, qrels: &'a Qrels) -> Self {
        self.qrels = Some(qrels);
        self
    }

    /// What can be refused before any row is read.
    pub(super) fn check_sizes(&self) -> Result<()> {
        let n = self.x.n_rows();
        let one_each = |name: &str, labels: Option<&[i64]>, n: usize| match labels {
            Some(labels) if labels.len() != n => Err(Error::invalid(
                name,
                format_args!("{n} labels, one for each row"),
                labels.len(),
            )),
            _ => Ok(()),
        };
        one_each("labels", self.labels, n)?;
        match self.queries {
            Some(queries) => {
                one_each("query_labels", self.query_labels, queries.n_rows())?;
                if queries.dim() != self.x.dim() {
                    let expected = format!("vectors of dimension {}", self.x.dim());
                    return Err(Error::invalid("queries", expected, queries.dim()));
                }
                if self.labels.is_some() != self.query_labels.is_some() {
                    let given = if self.labels.is_some() { "labels" } else { "query_labels" };
                    let expected = "labels of the rows and of the queries, or neither";
                    return Err(Error::invalid("labels", expected, format_args!("{given} alone")));
                }
            }
            None => {
                for (name, given) in
                    [("qrels", self.qrels.is_some()), ("query_labels", self.query_labels.is_some())]
                {
                    if given {
                        return Err(Error::invalid(name, "queries that they belong to", "none"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns by what rows and queries are known again.
    pub(super) fn check_values(&self, ctx: &Context, metric: Metric) -> Result<Checksums> {
        let direction = metric == Metric::Cosine;
        let queries = self.queries.map(|q| check_vectors(ctx, "queries", q, direction));
        let queries = queries.transpose()?;
        Ok(Checksums { rows: check_vectors(ctx, "X", self.x, direction)?, queries })
    }
}

/// One such share of the memory that is left is for rows once reduced, the others for searches.
pub(super) const SHARE: usize = 4;

/// Whether reduced rows are kept, in the context that `EvaluationPlan::rest` gives.
pub(super) fn keeps_reduced(ctx: &Context, n_rows: usize, n_components: usize) -> bool {
    let bytes = 4 * n_rows * n_components;
    ctx.memory_limit().is_none_or(|limit| bytes <= limit / (SHARE - 1))
}

/// By what vectors are known again.
#[derive(Clone, Copy)]
pub(super) struct Checksums {
    pub(super) rows: u32,
    pub(super) queries: Option<u32>,
}

/// A reduction to be judged.
#[derive(Clone, Copy)]
pub enum Reduction<'a> {
    /// A fitted model.
    Model(&'a Model),
    /// A linear map.
    Map(&'a LinearMap),
    /// Rows that were reduced by anything, in the order of the original ones.
    Reduced {
        /// X reduced, N × d.
        x: &'a dyn Vectors,
        /// The queries reduced, where there are any.
        queries: Option<&'a dyn Vectors>,
    },
}

impl std::fmt::Debug for Reduction<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Model(_) => "Model",
            Self::Map(_) => "Map",
            Self::Reduced { .. } => "Reduced",
        })
    }
}

impl Reduction<'_> {
    pub(super) fn n_components(&self) -> usize {
        match self {
            Self::Model(model) => model.n_components(),
            Self::Map(map) => map.weight().rows(),
            Self::Reduced { x, .. } => x.dim(),
        }
    }

    /// What can be refused before any row is read.
    pub(super) fn check_sizes(&self, name: &str, data: &EvaluationData<'_>) -> Result<()> {
        let Self::Reduced { x, queries } = self else { return Ok(()) };
        let pairs = [("rows", Some(data.x), Some(*x)), ("queries", data.queries, *queries)];
        for (what, original, reduced) in pairs {
            let (wanted, got) = (original.map(Vectors::n_rows), reduced.map(Vectors::n_rows));
            if wanted != got {
                let number = |n: Option<usize>| n.map_or("none".to_owned(), |n| n.to_string());
                return Err(Error::invalid(
                    name,
                    format_args!("{} {what}, as the original has", number(wanted)),
                    number(got),
                ));
            }
        }
        Ok(())
    }

    pub(super) fn check_values(&self, ctx: &Context, name: &str) -> Result<()> {
        let Self::Reduced { x, queries } = self else { return Ok(()) };
        for reduced in [Some(*x), *queries].into_iter().flatten() {
            check_vectors(ctx, name, reduced, false)?;
        }
        Ok(())
    }

    /// The reduced rows `ids` of X.
    pub(super) fn rows<'b>(
        &'b self,
        ctx: &Context,
        x: &'b dyn Vectors,
        ids: &'b [u32],
    ) -> Result<Box<dyn Vectors + 'b>> {
        match self {
            Self::Reduced { x, .. } => Ok(Box::new(Subset::new(*x, ids)?)),
            _ => self.map(ctx, Subset::new(x, ids)?),
        }
    }

    /// The reduced rows `ids` of the queries: of X itself where none are given.
    pub(super) fn queries<'b>(
        &'b self,
        ctx: &Context,
        data: &EvaluationData<'b>,
        ids: &'b [u32],
    ) -> Result<Box<dyn Vectors + 'b>> {
        match (self, data.queries) {
            (_, None) => self.rows(ctx, data.x, ids),
            (Self::Reduced { queries: Some(reduced), .. }, _) => {
                Ok(Box::new(Subset::new(*reduced, ids)?))
            }
            (_, Some(queries)) => self.map(ctx, Subset::new(queries, ids)?),
        }
    }

    /// Rows are reduced once, or each time they are read where the plan has no room to keep them.
    fn map<'b>(&'b self, ctx: &Context, rows: Subset<'b>) -> Result<Box<dyn Vectors + 'b>> {
        let keeps = keeps_reduced(ctx, rows.n_rows(), self.n_components());
        Ok(match self {
            Self::Model(model) if keeps => Box::new(model.transform(ctx, &rows, false)?),
            Self::Model(model) => Box::new(model.view(rows, false)?),
            Self::Map(map) if keeps => Box::new(map.transform(ctx, &rows)?),
            Self::Map(map) => Box::new(ReducedView::of_map(map, rows)),
            Self::Reduced { .. } => return Err(Error::invalid("queries", "reduced ones", "none")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use crate::trainer::Trainer;
    use twinlearn_core::linalg::Matrix;
    use twinlearn_vectors::copied;

    #[test]
    fn rows_that_are_not_kept_have_the_same_bits() {
        let data = (0..300 * 8).map(|i| ((i * 31 % 97) as f32 * 0.7).sin()).collect();
        let x = Matrix::new(300, 8, data).unwrap();
        let ctx = Context::with_threads(2).unwrap();
        let params = Params::builder().n_components(3).epochs(1).build().unwrap();
        let model = Trainer::new(params).fit(&ctx, &x).unwrap().model;
        let map = LinearMap::random_projection(8, 3, 1).unwrap();
        let ids: Vec<u32> = (0..100).map(|i| i * 7 % 300).collect();
        for reduction in [Reduction::Model(&model), Reduction::Map(&map)] {
            let rows =
                |ctx: &Context| copied(ctx, &*reduction.rows(ctx, &x, &ids).unwrap()).unwrap();
            let no_room = ctx.clone().memory(3 * 4 * 100 * 3 - 1);
            assert!(!keeps_reduced(&no_room, 100, 3));
            assert_eq!(rows(&no_room), rows(&ctx));
            let view = reduction.rows(&no_room, &x, &ids).unwrap();
            let mut some = [0.0; 6];
            view.gather(&[70, 2], &mut some).unwrap();
            let all = rows(&ctx);
            assert_eq!(some[..], [all.row(70), all.row(2)].concat());
        }
    }
}
