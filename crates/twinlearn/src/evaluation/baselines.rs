//! What people use today, at the same dimension.

use super::data::Reduction;
use crate::context::Context;
use crate::data::Vectors;
use crate::error::Result;
use crate::knn::{KnnGraph, KnnParams, Metric, graph_of_checked};
use crate::model::Model;
use crate::params::{Params, Solver};
use crate::pca::{LinearMap, Pca};
use crate::trainer::Trainer;

/// The powers of σ by which PCA's columns are divided: 0 is plain PCA, 1 whitens.
pub(crate) const POWERS: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

/// How many there are at one d.
pub(crate) const N_BASELINES: usize = 4 + POWERS.len();

/// Neighbours of the graph of the spectral one.
pub(super) const GRAPH_K: usize = 5;

/// Of the spectral one.
pub(super) fn spectral(d: usize, k: usize, metric: Metric, seed: u64) -> Result<Params> {
    Params::builder()
        .solver(Solver::Spectral)
        .n_components(d)
        .n_neighbors(k)
        .metric(metric)
        .seed(seed)
        .validation_fraction(0.0)
        .build()
}

/// A reduction that is fitted in closed form or not at all.
pub(crate) enum Baseline {
    Map(LinearMap),
    Spectral(Box<Model>),
}

impl Baseline {
    pub(crate) fn reduction(&self) -> Reduction<'_> {
        match self {
            Self::Map(map) => Reduction::Map(map),
            Self::Spectral(model) => Reduction::Model(model),
        }
    }
}

/// What the baselines of every dimension are made from.
pub(crate) struct Baselines<'a> {
    rows: &'a dyn Vectors,
    pca: Pca,
    graph: KnnGraph,
    metric: Metric,
    seed: u64,
}

impl<'a> Baselines<'a> {
    /// The graph that they, and what they are compared with, take.
    pub(crate) fn graph(
        ctx: &Context,
        rows: &dyn Vectors,
        metric: Metric,
        seed: u64,
    ) -> Result<KnnGraph> {
        let k = GRAPH_K.min(rows.n_rows().saturating_sub(1));
        graph_of_checked(ctx, rows, &KnnParams::new(k).metric(metric).seed(seed))
    }

    pub(crate) fn new(
        ctx: &Context,
        rows: &'a dyn Vectors,
        graph: KnnGraph,
        metric: Metric,
        seed: u64,
    ) -> Result<Self> {
        Ok(Self { rows, pca: Pca::fit(ctx, rows)?, graph, metric, seed })
    }

    /// Every baseline at d ≤ D, by name.
    pub(crate) fn at(&self, ctx: &Context, d: usize) -> Result<Vec<(String, Baseline)>> {
        let dim = self.rows.dim();
        let map = |name: &str, map| (name.to_owned(), Baseline::Map(map));
        let mut all = vec![
            map("truncation", LinearMap::truncation(dim, d)?),
            map("random projection", LinearMap::random_projection(dim, d, self.seed)?),
        ];
        for power in POWERS {
            all.push(map(&format!("PCA γ={power}"), self.pca.projection(d, power)?));
        }
        // Neighbours by cosine or inner product are about the origin, which centring moves.
        all.push(map("PCA uncentred", self.pca.projection(d, 0.0)?.without_bias()));
        let params = spectral(d, self.graph.k(), self.metric, self.seed)?;
        let fit = Trainer::new(params).fit_with_graph(ctx, self.rows, self.graph.clone())?;
        all.push(("spectral".to_owned(), Baseline::Spectral(Box::new(fit.model))));
        Ok(all)
    }
}
