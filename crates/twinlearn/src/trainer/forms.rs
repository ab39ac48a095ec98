//! The closed forms of a fit, and the coordinates that follow from them.

use std::sync::{Arc, OnceLock};

use twinlearn_core::error::Result;
use twinlearn_knn::{KnnGraph, Metric};
use twinlearn_vectors::{Subset, ids_at, spread_ids};

use super::axes::{Axes, seen};
use super::coordinates::Coordinates;
use super::queries::Queries;
use super::stages::Stages;
use super::step::Networks;
use super::validation::Split;
use crate::closed::{ClosedForms, Material, Wanted, differences};
use crate::lengths::Lengths;
use crate::pairs::Pairs;
use crate::params::{MOST_ANCHORS, Solver};
use crate::pca::Moments;
use crate::units::{Units, of_units};

/// The closed forms of the training rows.
pub(crate) struct Forms {
    pub(super) forms: ClosedForms,
    /// The standard deviation that is rounding.
    rounding: f64,
    /// Whether rows were brought to length 1.
    to_unit: bool,
}

/// The closed forms, at every d up to the most, of fits that differ in d alone, once one of them has
/// found them.
#[derive(Clone)]
pub(crate) struct SharedForms {
    most: usize,
    found: Arc<OnceLock<Arc<Forms>>>,
}

impl SharedForms {
    /// None yet, up to d = `most`.
    pub(crate) fn up_to(most: usize) -> Self {
        Self { most, found: Arc::default() }
    }
}

impl std::fmt::Debug for SharedForms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedForms")
            .field("most", &self.most)
            .field("found", &self.found.get().is_some())
            .finish()
    }
}

impl Stages<'_> {
    /// Whether closed forms and coordinates are about the mean.
    fn is_centred(&self) -> bool {
        self.params.metric == Metric::L2 || self.params.centre_target
    }

    /// Whether rows are brought to length 1, where only their direction matters.
    pub(super) fn to_unit(&self) -> bool {
        let params = &self.params;
        let closed = params.solver == Solver::Pca;
        params.metric == Metric::Cosine
            && !params.centre_target
            && params.encoder.hidden().is_empty()
            && (params.is_listed() || closed)
    }

    /// The closed forms of the training rows; none where all are equal.
    pub(super) fn forms(
        &self,
        split: &Split,
        pairs: &Pairs,
        queries: Option<&Queries<'_>>,
    ) -> Result<Option<Arc<Forms>>> {
        let d = self.params.n_components.min(self.x.dim());
        let shared = self.trainer.shared.as_ref().filter(|shared| shared.most >= d);
        if let Some(forms) = shared.and_then(|shared| shared.found.get()) {
            return Ok(Some(forms.clone()));
        }
        let forms = |to_unit| self.forms_of(split, pairs, queries, to_unit);
        let Some((forms, _)) = of_units(self.to_unit(), forms)? else { return Ok(None) };
        let forms = Arc::new(forms);
        if let Some(shared) = shared {
            // Where fits run at the same time the first result stays; all are alike.
            let _ = shared.found.set(forms.clone());
        }
        Ok(Some(forms))
    }

    fn forms_of(
        &self,
        split: &Split,
        pairs: &Pairs,
        queries: Option<&Queries<'_>>,
        to_unit: bool,
    ) -> Result<Option<Forms>> {
        let Self { params, ctx, x, .. } = self;
        let units = Units { x: *x, to_unit };
        let places = spread_ids(split.training.len(), MOST_ANCHORS);
        let ids = ids_at(&split.training, &places);
        let rows = Subset::new(&units, &ids)?;
        let moments = Moments::of(ctx, &rows)?;
        let l = match pairs.has_lists() {
            true => Some(differences(ctx, &units, pairs, params.seed)?),
            false => None,
        };
        let mut wanted = Wanted::of(params, x.dim());
        if let Some(shared) = &self.trainer.shared {
            wanted.most = wanted.most.max(shared.most.min(x.dim()));
        }
        let is_centred = self.is_centred();
        let raw = Subset::new(*x, &ids)?;
        let lengths = Lengths::of(ctx, &raw, &moments, to_unit, is_centred)?;
        let differences = l.as_ref();
        let material = Material { moments: &moments, lengths: &lengths, differences, is_centred };
        let forms = ClosedForms::new(ctx, &material, wanted)?;
        let Some(mut forms) = forms else { return Ok(None) };
        if let Some(Queries { x, split, .. }) = queries {
            let units = Units { x: *x, to_unit };
            let asking = Moments::of(ctx, &Subset::new(&units, &split.training)?)?;
            forms = forms.for_queries(ctx, &moments, &asking)?;
        }
        let rounding = moments.rounding(forms.pca().std()[0]);
        Ok(Some(Forms { forms, rounding, to_unit }))
    }

    /// The rows in the coordinates of loss KL.
    pub(super) fn axes(
        &self,
        Forms { forms, rounding, to_unit }: &Forms,
        networks: &Networks,
        graph: Option<&KnnGraph>,
    ) -> Result<Axes<'_>> {
        let (values, axes) = forms.second();
        let dim = values.len();
        let centred = self.is_centred() && networks.encoder.shifts();
        let mean = if centred { forms.pca().mean().to_vec() } else { vec![0.0; dim] };
        let coordinates = Coordinates::new(&values, axes, *rounding, mean, *to_unit)?;
        let length = values.iter().map(|v| v.max(0.0)).sum::<f64>().sqrt();
        let is_moved = self.moves;
        let rows = seen(&self.ctx, self.x, &coordinates, is_moved, self.keeps_moved)?;
        let is_sorted = graph.is_none_or(|graph| !graph.is_ragged());
        Ok(Axes { coordinates, rows, is_moved, length, is_sorted })
    }
}
