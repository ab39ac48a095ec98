//! What the stages of a fit work with.

use twinlearn_core::context::Context;
use twinlearn_core::linalg::Matrix;
use twinlearn_vectors::Vectors;

use super::Trainer;
use super::earlier::{Known, SeenBefore};
use super::queries::Queries;
use super::validation::Split;
use crate::model::{HeldOut, TrainingRecord};
use crate::params::Params;
use crate::span::Span;

/// What the stages of a fit work with.
pub(super) struct Stages<'a> {
    pub(super) trainer: &'a Trainer,
    pub(super) params: Params,
    pub(super) ctx: Context,
    /// With the memory that is left for the search of the held-out rows' neighbours.
    pub(super) for_truth: Context,
    /// By which they are known again.
    pub(super) rows: u32,
    /// The rows that are watched beside these.
    pub(super) watched: Option<Known>,
    /// What the model that is gone on from may have been trained on.
    pub(super) seen_before: &'a SeenBefore,
    pub(super) x: &'a dyn Vectors,
    /// The same as they were given, less the origin.
    pub(super) searched: &'a dyn Vectors,
    /// In whose coordinates the rows of x are.
    pub(super) span: Option<&'a Span>,
    /// What was taken off the rows of x.
    pub(super) origin: Option<&'a [f64]>,
    pub(super) validation: Option<&'a Matrix>,
    /// Queries that are looked at, of how many, and by what all are known again.
    pub(super) queries: Option<(&'a dyn Vectors, usize, u32)>,
    /// Whether rows are moved to the coordinates of training, and kept there.
    pub(super) moves: bool,
    pub(super) keeps_moved: bool,
    pub(super) keeps_queries: bool,
}

impl Stages<'_> {
    /// A record of what later tells by which rows and queries a model of this fit can be judged.
    pub(super) fn record(&self, split: &Split, queries: Option<&Queries<'_>>) -> TrainingRecord {
        let SeenBefore { rows, validation, queries: seen, earlier_queries } = self.seen_before;
        let held_out = |(count, rows), seen| HeldOut { rows, count, of_sample: false, seen };
        TrainingRecord {
            n_rows: self.x.n_rows(),
            held_out: Some(held_out((split.held_out.len(), self.rows), *rows)),
            validation_rows: self.watched.map(|watched| held_out(watched, *validation)),
            queries: queries.map(|queries| queries.record(*seen)),
            earlier_queries: earlier_queries.clone(),
            ..TrainingRecord::default()
        }
    }

    /// Whether nothing is trained.
    pub(super) fn keeps_start(&self) -> bool {
        let reported = self.validation.is_some() || self.queries.is_some();
        !reported && self.params.keeps_start(self.x.n_rows())
    }

    /// Whether rows are watched that are not trained on.
    pub(super) fn holds_out(&self, split: &Split) -> bool {
        self.validation.is_some() || !split.watched.is_empty()
    }
}
