//! What a run will take, before it begins: passes, steps, memory and time.

use twinlearn_core::context::Context;
use twinlearn_core::cost::{self, beside};
use twinlearn_core::error::Result;
use twinlearn_core::memory::available_memory;
use twinlearn_core::progress::Plan;
use twinlearn_knn::least_search_bytes;

use super::feed::{Feed, rows_of};
use super::pace::{LOOKS, Length};
use super::queries::MOST_QUERIES;
use super::step::{Learner, n_weights};
use super::validation::{MAX_WATCHED, RECALL_K};
use crate::closed::{ClosedForms, Wanted};
use crate::model::Model;
use crate::params::{Loss, MOST_ANCHORS, Params, Solver};
use crate::pca::pca_bytes;
use crate::span::Span;

/// Copies of an encoder beside that in training: the start, that of the best moment, and one as it is
/// looked at, folded (in `f64`, which counts twice, and `f32`).
const COPIES: usize = 7;
/// Bytes of copies of rows, at most; half of what there is is the other bound. Others are read batch
/// by batch. Rows of which a copy is larger are not moved to the coordinates of training: that
/// depends on nothing but their number and dimension, so that the same fit gives the same bits.
const COPIED: usize = 400_000_000;

/// What a fit is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FitSizes {
    pub(crate) n_rows: usize,
    pub(crate) dim: usize,
    /// Whether the rows' neighbours are known.
    pub(crate) has_graph: bool,
    /// Rows that are watched, of these or beside them.
    pub(crate) n_held_out: usize,
    /// Those beside them.
    pub(crate) n_beside: usize,
    /// Queries that it is for.
    pub(crate) n_queries: usize,
    /// Whether it goes on from a model.
    pub(crate) has_model: bool,
}

/// How a run is done.
pub(crate) struct FitPlan {
    n_rows: usize,
    /// Rows whose lists are learned from.
    n_anchors: usize,
    dim: usize,
    n_components: usize,
    epochs: usize,
    steps: usize,
    batch: usize,
    n_held_out: usize,
    /// Bytes of the graph, the pairs and the axes, which stay, and of what looks for lists.
    searching: usize,
    /// Bytes of working memory in all, without the vectors and the search for neighbours, at least.
    bytes: usize,
    /// The same with the searches, at least.
    least: usize,
    /// A copy of the rows in the coordinates of training, if there is one.
    copy: usize,
    is_copied: bool,
    /// A copy of the queries that are looked at.
    queries: usize,
    n_queries: usize,
    /// What there may be.
    available: usize,
    seconds: f64,
}

impl FitPlan {
    /// The plan of a fit.
    ///
    /// # Errors
    /// When the warm-up is no shorter than the run.
    pub(crate) fn new(ctx: &Context, params: &Params, sizes: FitSizes) -> Result<Self> {
        let FitSizes { n_rows: n, dim: given, n_held_out, n_queries, .. } = sizes;
        let n_seen = n + sizes.n_beside + n_queries.min(MOST_QUERIES);
        let is_spanned = spans(params, sizes.has_model, n_seen, given);
        let (dim, span) = match is_spanned {
            true => (n_seen, Span::bytes(n_seen, given)),
            false => (given, 0),
        };
        let samples = !sizes.has_graph && !params.needs_whole_graph(n);
        let n_training = n.saturating_sub(n_held_out);
        let n_anchors = match samples {
            true => params.n_anchors(n, given),
            false => n_training.min(params.most_anchors()),
        };
        let d = params.n_components;
        let listed = params.is_listed();
        let most = if listed && params.batch_by_default { n.div_ceil(4) } else { n };
        let batch = params.batch_size.min(most).max(1);
        let (epochs, steps) = match params.solver {
            Solver::Sgd if n_held_out + n_queries == 0 && params.keeps_start(n) => (0, 0),
            Solver::Sgd => {
                let length = Length::new(params, n, n_anchors / batch)?;
                (length.epochs, length.steps())
            }
            Solver::Spectral | Solver::Pca => (0, 0),
        };
        let float = size_of::<f32>();
        let n_asking = n_queries.min(MOST_QUERIES);
        let n_lists = if samples { n_anchors } else { n };
        let lists = (n_lists + n_asking) * (4 * (2 * params.n_neighbors + 2) + 24)
            + if samples { 24 * n } else { 0 };
        let encoder = float.saturating_mul(n_weights(&params.encoder, dim, d));
        let is_kept = params.projector.as_ref().filter(|_| steps > 0);
        let projector = is_kept.map_or(0, |spec| {
            float.saturating_mul(n_weights(spec, d, params.projector_width(spec, dim)))
        });
        let networks = encoder.saturating_mul(COPIES).saturating_add(projector.saturating_mul(3));
        let step = match steps {
            // The network is made, folded and kept, though nothing is trained.
            0 => networks,
            _ => Learner::bytes(params, batch, dim)
                .saturating_add(Feed::bytes(listed, batch, dim))
                .saturating_add(networks),
        };
        // The ranges of the output are of the same rows.
        let watch = n.min(MAX_WATCHED) * d * if n_held_out > 0 { 3 } else { 1 };
        let wanted = Wanted::of(params, dim);
        // Coordinates: two maps and what applies one of them.
        let coordinates = if listed { (8 + 8 + 4) * dim * dim } else { 0 };
        let held = lists + ClosedForms::bytes(dim, wanted) + coordinates + span;
        let starting = held + pca_bytes(dim, wanted.most);
        // What looks for lists is read from a copy.
        let searching = if samples { held + n_anchors * given * float } else { held };
        let bytes = starting.max(searching).max(step.saturating_add(held + watch * float));
        let [copy, queries] = [n, n_asking].map(|n| n * dim * float);
        let threads = ctx.n_threads();
        let search = |asking: usize, among: usize, dim: usize, k: usize| match asking {
            0 => 0,
            asking => least_search_bytes(threads, (asking, among, dim), k),
        };
        let graph = match (sizes.has_graph, samples) {
            (true, _) => 0,
            (false, true) => search(n_anchors, n, given, params.n_neighbors + 1),
            (false, false) => params.knn().least_bytes(threads, (n, given)),
        };
        let truth = search(n_held_out, n, given, RECALL_K);
        let least_searching = graph.max(truth).max(search(n_asking, n, given, params.n_neighbors));
        let watched = search(n_held_out, n.min(MAX_WATCHED), d, RECALL_K);
        let (coding, coding_work) = Model::product_cost(ctx.n_threads(), params, n);
        let least = (searching + least_searching).max(bytes + watched).max(held + coding);
        let limit = ctx.memory_limit().unwrap_or_else(available_memory);
        let available = limit.saturating_sub(bytes + watched);

        // Forward and back, for all rows of a batch, and what anchors see of them.
        let in_batch = rows_of(listed, batch);
        let seen = if listed { in_batch * batch * (dim + 3 * d) } else { 0 };
        let first = params.encoder.hidden().first().unwrap_or(&d) * dim;
        let turning = if listed && copy > COPIED { 2.0 * (first * dim) as f64 } else { 0.0 };
        let weights = (encoder.saturating_add(projector) / float) as f64;
        let layers = (3 * in_batch) as f64 * weights;
        let training = steps as f64 * (layers + seen as f64 + turning);
        let watching = (LOOKS.min(epochs) + 12) as f64
            * (cost::product((watch * dim) as f64)
                + cost::search(n_held_out / 2, n.min(MAX_WATCHED), d));
        // All rows, where that is more, are looked at by what is judged in the end.
        let judging = match n > MAX_WATCHED && n_held_out > 0 {
            true => {
                3.0 * (cost::product((n * d * dim) as f64) + cost::search(n_held_out / 2, n, d))
            }
            false => 0.0,
        };
        let in_epoch = if samples { rows_of(true, n_anchors) } else { n };
        let reading = cost::reading(4.0 * (4 * n * dim) as f64)
            + cost::reading(epochs as f64 * (4 * in_epoch * dim) as f64)
            + cost::reading((4 * n * dim) as f64);
        // A second training without queries measures what training on them is worth.
        let times = 1.0
            + f64::from(u8::from(n_asking > 0))
            // Nested sizes are trained after the whole.
            + f64::from(u8::from(!params.nested.is_empty()));
        let work = times * (cost::product(training) + reading + watching)
            + judging
            + if is_spanned { Span::seconds(n_seen, given) } else { 0.0 }
            + cost::search(n_asking, n, dim)
            + ClosedForms::seconds(n.min(MOST_ANCHORS), dim, wanted);
        let seconds = (work + cost::product(coding_work)) / ctx.n_threads() as f64;
        Ok(Self {
            n_rows: n,
            n_anchors,
            dim: given,
            n_components: d,
            epochs,
            steps,
            batch,
            n_held_out,
            searching,
            bytes,
            least,
            copy,
            is_copied: listed,
            queries,
            n_queries,
            available,
            seconds,
        })
    }

    /// Whether rows are moved to the coordinates of training.
    pub(super) fn moves(&self) -> bool {
        self.copy <= COPIED
    }

    /// Whether they are kept there.
    pub(super) fn keeps_moved(&self) -> bool {
        self.copy <= COPIED.min(self.available / 2)
    }

    /// Whether the queries are kept in the coordinates of training.
    pub(super) fn keeps_queries(&self) -> bool {
        self.queries <= (COPIED / 4).min(self.available / 8)
    }

    /// Bytes of copies of rows and queries.
    fn copied(&self) -> usize {
        let queries = if self.keeps_queries() { self.queries } else { 0 };
        queries + if self.is_copied && self.keeps_moved() { self.copy } else { 0 }
    }

    /// Bytes of working memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Seconds that it takes, about.
    pub(crate) fn seconds(&self) -> f64 {
        self.seconds
    }

    /// What the context's memory leaves for the search of the held-out rows' neighbours, and for
    /// those of their reductions while training.
    ///
    /// # Errors
    /// When there is too little.
    pub(super) fn rest(&self, ctx: &Context) -> Result<[Context; 2]> {
        beside(ctx, self.least, "this fit")?;
        let left = |bytes: usize| beside(ctx, bytes, "this fit");
        Ok([left(self.searching)?, left(self.bytes + self.copied())?])
    }
}

impl FitPlan {
    /// The plan as it is reported.
    pub(super) fn report(&self) -> Plan {
        let Self { n_rows, dim, n_components, epochs, steps, batch, .. } = self;
        let mut details = String::new();
        if self.n_anchors + self.n_held_out < *n_rows {
            details += &format!("by the lists of {} of the rows, ", self.n_anchors);
        }
        match self.n_queries {
            0 => {}
            n if n > MOST_QUERIES => {
                details += &format!("for {MOST_QUERIES} of {n} queries, ");
            }
            n => details += &format!("for {n} queries, "),
        }
        details += &match epochs {
            0 => "a closed form".to_owned(),
            1 => format!("one epoch, {steps} steps of {batch} anchors"),
            _ => format!("at most {epochs} epochs, {steps} steps of {batch} anchors"),
        };
        details += "; the search for neighbours takes time and memory beside";
        Plan {
            what: format!("fit of {n_rows} rows, {dim} → {n_components} dimensions"),
            details,
            bytes: self.bytes + self.copied(),
            seconds: self.seconds,
        }
    }
}

/// Whether a fit sees its rows, `n_seen` with those that are watched and queries, in the coordinates of
/// their span. Noise is not in it, the inverse of all numbers is not learned in it, and a model that is
/// gone on from may see more.
pub(super) fn spans(params: &Params, has_model: bool, n_seen: usize, dim: usize) -> bool {
    Span::pays(n_seen, dim)
        && params.n_components <= n_seen
        && !(params.gaussian || has_model || params.loss == Loss::MSE)
}
