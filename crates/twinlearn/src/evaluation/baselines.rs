//! What people use today, at the same dimension.

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_knn::{KnnGraph, KnnParams, Metric, graph_of_checked};
use twinlearn_vectors::Vectors;

use crate::closed::{CENTRED, ClosedForms, Material, Wanted, differences};
use crate::lengths::Lengths;
use crate::linear_map::LinearMap;
use crate::pairs::Pairs;
use crate::pca::{Moments, Pca};
use crate::span::Span;
use crate::spectral::SharedAxes;
use crate::units::{Units, of_units};

/// How many there are at one d, at most.
pub(crate) const N_BASELINES: usize = 4 + N_PCA;
/// How many of them are forms of PCA of rows alone.
pub(super) const N_PCA: usize = CENTRED.len() + 10;

/// Neighbours of the graph of the spectral one.
pub(super) const GRAPH_K: usize = 5;
/// γ of the spectral one.
const SPECTRAL_POWER: f64 = 0.5;

/// What the baselines of every dimension are made from.
pub(crate) struct Baselines {
    dim: usize,
    /// Fitted on rows of length 1 under cosine, as a fit does.
    forms: ClosedForms,
    /// None where rows share nothing with their neighbours.
    shared: Option<SharedAxes>,
    /// In whose coordinates all of these are.
    span: Option<Span>,
    metric: Metric,
    seed: u64,
}

impl Baselines {
    /// The graph that they, and what they are compared with, take.
    pub(crate) fn graph(
        ctx: &Context,
        rows: &dyn Vectors,
        k: usize,
        metric: Metric,
        seed: u64,
    ) -> Result<KnnGraph> {
        let k = k.min(rows.n_rows().saturating_sub(1));
        graph_of_checked(ctx, rows, &KnnParams::new(k).metric(metric).seed(seed))
    }

    /// At up to `most` dimensions.
    pub(crate) fn new(
        ctx: &Context,
        rows: &dyn Vectors,
        graph: &KnnGraph,
        (metric, seed): (Metric, u64),
        most: usize,
    ) -> Result<Self> {
        let dim = rows.dim();
        let span = Span::over(ctx, rows)?;
        let inside = span.as_ref().map(|span| span.rows(0));
        let rows = inside.as_ref().map_or(rows, |rows| rows);
        let most = most.min(rows.dim());
        let pairs = Pairs::from_graph(graph, GRAPH_K, |_| true)?;
        let forms = |to_unit| {
            let units = Units { x: rows, to_unit };
            let moments = Moments::of(ctx, &units)?;
            let l = differences(ctx, &units, &pairs, seed)?;
            let wanted = Wanted { most, basis: false };
            let is_centred = metric == Metric::L2;
            let lengths = Lengths::of(ctx, rows, &moments, to_unit, is_centred)?;
            let (lengths, differences) = (&lengths, Some(&l));
            let material = Material { moments: &moments, lengths, differences, is_centred };
            ClosedForms::new(ctx, &material, wanted)
        };
        let forms = of_units(metric == Metric::Cosine, forms)?;
        let (forms, _) = forms.ok_or_else(Pca::equal_rows)?;
        let shared = SharedAxes::of(ctx, rows, &pairs, &forms.mean_of_rows(), most)?;
        Ok(Self { dim, forms, shared, span, metric, seed })
    }

    /// Every baseline at d up to the most wanted, by name.
    pub(crate) fn at(&self, ctx: &Context, d: usize) -> Result<Vec<(String, LinearMap)>> {
        let mut all = vec![
            ("truncation".to_owned(), LinearMap::truncation(self.dim, d)?),
            ("random projection".to_owned(), LinearMap::random_projection(self.dim, d, self.seed)?),
        ];
        for (name, map) in self.of_rows(d.min(self.forms.pca().mean().len()))? {
            let map = match &self.span {
                Some(span) => span.lift_map(ctx, map, d)?,
                None => map,
            };
            all.push((name, map));
        }
        Ok(all)
    }

    /// Those that are made of the rows, in the coordinates in which they are.
    fn of_rows(&self, d: usize) -> Result<Vec<(String, LinearMap)>> {
        let mut all = Vec::new();
        let mut forms = self.forms.maps(d, false)?;
        forms.extend(self.forms.maps_of_lengths(d)?);
        for power in CENTRED {
            let (name, map) = self.forms.centred_map(d, power)?;
            // Under l2 some of the closed forms are these.
            if forms.iter().all(|(form, _)| *form != name) {
                all.push((name, map));
            }
        }
        all.extend(forms);
        if let Some(shared) = &self.shared {
            let map = shared.map(d, SPECTRAL_POWER)?;
            // Neighbours by cosine or inner product are about the origin, which centring moves.
            let map = if self.metric == Metric::L2 { map } else { map.without_bias() };
            all.push(("spectral".to_owned(), map));
        }
        Ok(all)
    }
}
