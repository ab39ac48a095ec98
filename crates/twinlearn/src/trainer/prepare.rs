//! What a fit works with once its rows are checked: which train, their neighbours, the queries, the
//! closed forms.

use std::sync::Arc;

use twinlearn_core::error::Result;
use twinlearn_core::progress::Stage;
use twinlearn_core::random::{Purpose, generator, subset};
use twinlearn_knn::{KnnGraph, graph_of_checked};
use twinlearn_vectors::{Vectors, ids_at};

use super::checkpoint::Keeper;
use super::forms::Forms;
use super::neighbors;
use super::outcome::Clock;
use super::queries::Queries;
use super::stages::Stages;
use super::validation::{Split, Watch};
use crate::pairs::Pairs;
use crate::params::{Init, Solver};
use crate::pca::Pca;

/// What the stages after [`prepare`](Stages::prepare) work with.
pub(super) struct Prepared<'a> {
    pub(super) split: Split,
    pub(super) graph: Option<KnnGraph>,
    /// Whether the graph is of a sample of the rows alone.
    pub(super) is_of_anchors: bool,
    pub(super) pairs: Pairs,
    pub(super) queries: Option<Queries<'a>>,
    /// None where all rows are equal.
    pub(super) forms: Option<Arc<Forms>>,
    /// The training rows, or an even sample of many, among which neighbours are looked for.
    pub(super) base: Vec<u32>,
}

/// What an encoder is learned from.
#[derive(Clone, Copy)]
pub(super) struct Material<'a> {
    pub(super) graph: Option<&'a KnnGraph>,
    pub(super) split: &'a Split,
    pub(super) pairs: &'a Pairs,
    pub(super) queries: Option<&'a Queries<'a>>,
    pub(super) watch: Option<&'a Watch<'a>>,
    /// The rows among which held-out rows' neighbours are looked for.
    pub(super) base: &'a [u32],
}

impl Prepared<'_> {
    /// What an encoder is learned from, chosen by `watch`.
    pub(super) fn material<'b>(&'b self, watch: Option<&'b Watch<'b>>) -> Material<'b> {
        let Self { split, graph, pairs, queries, base, .. } = self;
        let (graph, queries) = (graph.as_ref(), queries.as_ref());
        Material { graph, split, pairs, queries, watch, base }
    }
}

impl<'a> Stages<'a> {
    /// Splits the rows, finds the neighbours of those that train, and the closed forms.
    pub(super) fn prepare(
        &self,
        keeper: &mut Option<Keeper<'_>>,
        graph: Option<KnnGraph>,
        held_out: usize,
        clock: &mut Clock,
    ) -> Result<Prepared<'a>> {
        let Self { params, x, .. } = self;
        let split = Split::new(params.seed, held_out, x.n_rows());
        let anchors = self.anchors(&split, graph.is_some());
        let graph = self.graph(keeper, graph, anchors.as_deref(), clock)?;
        let pairs = match &graph {
            Some(graph) => Pairs::from_graph(graph, params.n_neighbors, |id| split.trains(id))?,
            None => Pairs::selves(&split.training),
        };
        let pairs = pairs.some(params.seed, params.most_anchors());
        let queries = self.queries.map(|queries| {
            let trains = |id| split.trains(id);
            clock.time(Stage::Knn, || {
                Queries::new(&self.for_truth, params, queries, *x, (pairs.n_rows(), &trains))
            })
        });
        let queries = queries.transpose()?;
        let asking = queries.as_ref();
        let forms = clock.time(Stage::Pca, || self.forms(&split, &pairs, asking))?;
        // There is no closed form to start from, and no distance for noise to be in units of.
        if forms.is_none() && (params.init != Init::Random || params.gaussian) {
            return Err(Pca::equal_rows());
        }
        let (base, is_of_anchors) = (split.base(), anchors.is_some());
        Ok(Prepared { split, graph, is_of_anchors, pairs, queries, forms, base })
    }

    /// The graph: the one given, that of a resumed run, or found.
    fn graph(
        &self,
        keeper: &mut Option<Keeper<'_>>,
        graph: Option<KnnGraph>,
        anchors: Option<&[u32]>,
        clock: &mut Clock,
    ) -> Result<Option<KnnGraph>> {
        let params = &self.params;
        let given = graph.is_some();
        let needs_graph = params.is_listed()
            || params.init == Init::Spectral
            || params.solver == Solver::Sgd && !params.gaussian;
        let search = || match anchors {
            None => graph_of_checked(&self.for_truth, self.searched, &params.knn()),
            Some(anchors) => neighbors::of_rows(&self.for_truth, params, anchors, self.searched),
        };
        let graph = match graph {
            Some(graph) => Some(graph),
            None if !needs_graph => None,
            None => {
                let kept = |anchors| match &keeper {
                    Some(keeper) => keeper.graph(anchors),
                    None => Ok(None),
                };
                // Fewer anchors have lists where more would find too few neighbours.
                let fewer = anchors.map(|all| neighbors::fewer(params, all, self.searched));
                let graph = match (kept(anchors)?, &fewer) {
                    (None, Some(fewer)) => kept(Some(fewer))?,
                    (graph, _) => graph,
                };
                match graph {
                    Some(graph) => Some(graph),
                    None => Some(clock.time(Stage::Knn, search)?),
                }
            }
        };
        if let (Some(keeper), Some(graph)) = (keeper, &graph) {
            keeper.set_graph(graph, given)?;
        }
        Ok(graph)
    }

    /// The rows whose neighbours are learned from, where they are a sample; of a graph of all rows it
    /// is drawn later.
    fn anchors(&self, split: &Split, has_graph: bool) -> Option<Vec<u32>> {
        let (params, n_rows) = (&self.params, self.searched.n_rows());
        if has_graph || params.needs_whole_graph(n_rows) {
            return None;
        }
        let (all, count) = (&split.training, params.n_anchors(n_rows, self.searched.dim()));
        let mut rng = generator(params.seed, Purpose::Anchors, 0);
        Some(ids_at(all, &subset(&mut rng, all.len(), count)))
    }
}
