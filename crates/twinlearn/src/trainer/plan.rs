//! What a run will take, before it begins: passes, steps, memory and time.

use twinlearn_core::context::Context;
use twinlearn_core::cost::{self, beside};
use twinlearn_core::error::Result;
use twinlearn_core::memory::available_memory;
use twinlearn_core::progress::Plan;
use twinlearn_knn::check_search_memory;

use super::lists::PARTNERS;
use super::pace::{LOOKS, Length};
use super::queries::MOST_QUERIES;
use super::validation::{MAX_WATCHED, RECALL_K};
use crate::closed::{ClosedForms, Wanted};
use crate::nn::NetworkSpec;
use crate::params::{Loss, MOST_ANCHORS, Params, Solver};
use crate::pca::pca_bytes;
use crate::span::Span;

/// Copies of all weights while training: themselves, gradients, two moments, those of the best
/// moment, folded ones, and what is in the making.
const COPIES: usize = 8;
/// The same where nothing is trained.
const KEPT: usize = 4;
/// Bytes of copies of rows, at most; half of what there is is the other bound. Others are read batch
/// by batch. Rows of which a copy is larger are not moved to the coordinates of training: that
/// depends on nothing but their number and dimension, so that the same fit gives the same bits.
const COPIED: usize = 400_000_000;
/// Matrices of a batch's width at each layer: outputs, normalised outputs, gradients of both.
const TAPES: usize = 5;

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
    pub(crate) fn new(ctx: &Context, params: &Params, sizes: FitSizes) -> Self {
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
                let length = Length::new(params, n, n_anchors / batch);
                (length.epochs, length.steps())
            }
            Solver::Spectral | Solver::Pca => (0, 0),
        };
        let (mut weights, mut widths) = layers(&params.encoder, dim, d);
        if let Some(projector) = &params.projector {
            let (more, wider) = layers(projector, d, params.projector_width(projector, dim));
            (weights, widths) = (weights + more, widths + wider);
        }
        let float = size_of::<f32>();
        let n_asking = n_queries.min(MOST_QUERIES);
        let n_lists = if samples { n_anchors } else { n };
        let lists = (n_lists + n_asking) * (4 * (2 * params.n_neighbors + 2) + 24)
            + if samples { 24 * n } else { 0 };
        let in_batch = if listed { (1 + PARTNERS) * batch } else { 2 * batch };
        // Where rows are not copied a step turns its first weights, and their gradient.
        let first = if listed { params.encoder.hidden().first().unwrap_or(&d) * dim } else { 0 };
        let step = match steps {
            // The networks are made, folded and kept, though nothing is trained.
            0 if params.encoder.hidden().is_empty() => 0,
            0 => weights * KEPT,
            _ => weights * COPIES + 2 * first + in_batch * (4 * dim + TAPES * widths + 3 * batch),
        };
        // The ranges of the output are of the same rows.
        let watch = n.min(MAX_WATCHED) * d * if n_held_out > 0 { 3 } else { 1 };
        // Coordinates: two maps and what applies one of them.
        let coordinates = if listed { (8 + 8 + 4) * dim * dim } else { 0 };
        let held = lists + ClosedForms::bytes(dim) + coordinates + span;
        let starting = held + pca_bytes(dim);
        // What looks for lists is read from a copy.
        let searching = if samples { held + n_anchors * given * float } else { held };
        let bytes = starting.max(searching).max(held + (step + watch) * float);
        let [copy, queries] = [n, n_asking].map(|n| n * dim * float);
        let available = ctx.memory_limit().unwrap_or_else(available_memory).saturating_sub(bytes);

        // Forward and back, for all rows of a batch, and what anchors see of them.
        let seen = if listed { in_batch * batch * (dim + 3 * d) } else { 0 };
        let turning = if copy > COPIED { 2.0 * (first * dim) as f64 } else { 0.0 };
        let layers = (3 * in_batch) as f64 * weights as f64;
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
        let in_epoch = if samples { (1 + PARTNERS) * n_anchors } else { n };
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
            + ClosedForms::seconds(n.min(MOST_ANCHORS), dim, Wanted::of(params, dim));
        let seconds = work / ctx.n_threads() as f64;
        Self {
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
            copy,
            is_copied: listed,
            queries,
            n_queries,
            available,
            seconds,
        }
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
        let watched = self.n_rows.min(MAX_WATCHED);
        let rest = |bytes: usize, dim: usize, n: usize| {
            if self.n_held_out > 0 {
                check_search_memory(ctx, (self.n_held_out, n, dim), RECALL_K, bytes)?;
            }
            beside(ctx, bytes, "this fit")
        };
        Ok([
            rest(self.searching, self.dim, self.n_rows)?,
            rest(self.bytes + self.copied(), self.n_components, watched)?,
        ])
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

/// Weights of a network, and the sum of its layers' widths.
fn layers(spec: &NetworkSpec, input: usize, output: usize) -> (usize, usize) {
    // What cannot be counted is far more than there is memory, and may still be multiplied.
    let weights = spec.n_weights(input, output).unwrap_or(usize::MAX / 256);
    (weights, spec.hidden().iter().sum::<usize>() + output)
}
