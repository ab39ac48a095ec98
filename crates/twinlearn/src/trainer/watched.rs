//! Whose recall a fit measures: the rows and queries by which moments are chosen, and those by which
//! what was chosen is judged.

use twinlearn_core::error::Result;
use twinlearn_core::progress::Stage;
use twinlearn_vectors::{Subset, Vectors, ids_at, spread_ids};

use super::outcome::Clock;
use super::prepare::Prepared;
use super::stages::Stages;
use super::validation::{Asking, Watch, halves};
use crate::params::Solver;

/// Rows that are trained on of which the recall is watched where none are held out, at most.
const OWN_WATCHED: usize = 500;
/// Held-out rows, and as many queries, that are looked at among more rows than are all looked at.
const MOST_ASKED: usize = 2500;

/// The ids of what is watched. Of pairs the
/// first is what is chosen by, the second what is judged by.
pub(super) struct Watched<'a> {
    /// What `rows` are ids of.
    source: &'a dyn Vectors,
    rows: [Vec<u32>; 2],
    queries: [Vec<u32>; 2],
    /// The rows that are chosen among, where not all of the base are.
    near: Option<Vec<u32>>,
    /// Rows of the base that are watched where none are held out, as places in it and as rows.
    own_places: Vec<u32>,
    own: Vec<u32>,
}

impl<'a> Stages<'a> {
    /// Chooses who is watched.
    pub(super) fn watched(
        &self,
        Prepared { split, queries, base, .. }: &Prepared<'_>,
        clock: &mut Clock,
    ) -> Result<Watched<'a>> {
        let is_large = base.len() < split.training.len();
        // Every look at them takes as long as there are rows of them.
        let most = if is_large { MOST_ASKED } else { usize::MAX };
        let asked = |ids: &[u32]| ids_at(ids, &spread_ids(ids.len(), most));
        let (source, rows) = match self.validation {
            Some(rows) => {
                let ids: Vec<u32> = (0..rows.rows() as u32).collect();
                (rows as &dyn Vectors, halves(&ids).map(|ids| asked(&ids)))
            }
            None => (self.x, [&split.watched, &split.judged].map(|ids| asked(ids))),
        };
        let queries = queries.as_ref();
        let of_queries = queries.map(|q| [&q.split.watched, &q.split.judged].map(|ids| asked(ids)));
        let of_queries = of_queries.unwrap_or_default();
        let own_places = spread_ids(base.len(), OWN_WATCHED);
        let own = ids_at(base, &own_places);
        let near = match is_large && !(rows[0].is_empty() && of_queries[0].is_empty()) {
            true => Some(clock.time(Stage::Evaluate, || {
                let rows = Subset::new(source, &rows[0])?;
                let queries = queries.map(|queries| Subset::new(queries.x, &of_queries[0]));
                let asking: Vec<_> =
                    [Some(rows), queries.transpose()?].into_iter().flatten().collect();
                split.near_base(&self.for_truth, self.x, &asking, self.params.metric)
            })?),
            false => None,
        };
        Ok(Watched { source, rows, queries: of_queries, near, own_places, own })
    }

    /// The watch by which moments are chosen and that which judges: each none where it would watch
    /// nothing.
    pub(super) fn watches<'b>(
        &'b self,
        Prepared { split, queries, base, .. }: &'b Prepared<'_>,
        watched: &'b Watched<'_>,
    ) -> Result<[Option<Watch<'b>>; 2]> {
        let share = queries.as_ref().map_or(0.0, |queries| queries.share);
        let (of_rows, of_queries) = ((Asking::Rows, 1.0 - share), (Asking::Queries, share));
        // The training rows are the base, where they are not too many.
        let bases = [watched.near.as_ref().unwrap_or(base), &split.training];
        let watches = [0, 1].map(|i| {
            let truth = &self.for_truth;
            let mut watch = Watch::new(Subset::new(self.x, bases[i])?, &self.params);
            if !watched.rows[0].is_empty() {
                let rows = Subset::new(watched.source, &watched.rows[i])?;
                watch = watch.watching(truth, of_rows, rows, None)?;
            } else if i == 0 && self.params.solver != Solver::Spectral {
                // With no row held out, some that are trained on show what is lost.
                let own = Subset::new(self.x, &watched.own)?;
                watch = watch.watching(truth, of_rows, own, Some(&watched.own_places))?;
            }
            if let Some(queries) = queries {
                let queries = Subset::new(queries.x, &watched.queries[i])?;
                watch = watch.watching(truth, of_queries, queries, None)?;
            }
            Result::Ok(watch.if_any())
        });
        let [watch, judge] = watches;
        Ok([watch?, judge?])
    }
}
