//! What an evaluation will take, before it begins.

use twinlearn_core::context::Context;
use twinlearn_core::cost::{self, beside};
use twinlearn_core::error::Result;
use twinlearn_core::linalg::Effort;
use twinlearn_core::progress::Plan;

use super::baselines::{GRAPH_K, N_BASELINES, N_PCA};
use super::coded;
use super::curves::PART;
use super::data::{EvaluationData, SHARE};
use super::judge::n_paired;
use super::params::{EvaluationParams, tldr};
use super::ranking::DEPTH;
use super::sample::sizes;
use crate::closed::{ClosedForms, Wanted};
use crate::pca::pca_bytes;
use crate::span::Span;
use crate::trainer::{FitPlan, FitSizes};

/// How many times longer than in a search it takes to compare rows in `f64` and to sort them.
const SORTING: f64 = 20.0;

/// Formats that are measured at each dimension that advice tries, of TLDR and of PCA.
const CELLS: f64 = 10.0;

/// Product codes that it learns.
const PRODUCT_CODES: f64 = 6.0;

/// Seconds of one thread to reduce all rows and look for the queries' neighbours.
fn found_again(n_queries: usize, n_base: usize, dim: usize, width: usize) -> f64 {
    cost::product((n_base * width) as f64 * dim as f64) + cost::search(n_queries, n_base, width)
}

/// Seconds of one thread to measure all baselines at one d.
fn baselines_at(n_queries: usize, n_base: usize, dim: usize, d: usize) -> f64 {
    let forms = found_again(n_queries, n_base.min(PART), dim, d);
    let all = found_again(n_queries, n_base, dim, d);
    match n_base > 2 * PART {
        true => N_BASELINES as f64 * forms + (N_BASELINES - N_PCA + 1) as f64 * all,
        false => N_BASELINES as f64 * all,
    }
}

/// Dimensions for a picture around d: from a quarter of it to four times.
pub(super) fn dimensions(d: usize, most: usize) -> Vec<usize> {
    let mut all = vec![d / 4, d / 2, d, 2 * d, 4 * d];
    all.retain(|d| (1..=most).contains(d));
    all
}

/// How reductions are judged.
pub(super) struct EvaluationPlan {
    n_base: usize,
    n_queries: usize,
    dim: usize,
    /// Reductions that are judged, baselines among them.
    pub(super) n_judged: usize,
    /// Rows that baselines are fitted on; 0 without them.
    n_fitted: usize,
    /// Bytes of working memory, without searches, reduced rows and fits.
    held: usize,
    /// Bytes of the fits.
    fits: usize,
    seconds: f64,
}

impl EvaluationPlan {
    /// Plans to judge reductions to the dimensions `widths`, and baselines at `d` where there are any,
    /// by rows that a fit held out, where it did.
    pub(super) fn new(
        ctx: &Context,
        data: &EvaluationData<'_>,
        params: &EvaluationParams,
        (widths, d): (&[usize], Option<usize>),
        held_out: Option<usize>,
    ) -> Result<Self> {
        let (n, dim) = (data.x.n_rows(), data.x.dim());
        // More is refused when the rows are drawn.
        let k = params.n_neighbors.min(n);
        let [n_base, n_queries] = sizes(data, params, held_out);
        let n_left = sizes(data, &params.max_rows(usize::MAX), held_out)[0];
        let n_fitted = if d.is_some() { params.fit_rows.min(n_left) } else { 0 };
        let widest = widths.iter().copied().chain(d).max().unwrap_or(0);

        let paired = n_paired(k).min(n_base);
        let orders = 3 * 4 * paired * paired + 4 * paired * (dim + widest);
        let answered = data.qrels.map_or(0, |qrels| qrels.answered().count());
        let ids = 4 * (n + 2 * n_base + n_queries * (2 * k + 1) + answered * DEPTH);
        let picture = d.map_or(Vec::new(), |d| match params.has_picture() {
            true => dimensions(d, dim),
            false => Vec::new(),
        });
        let largest = picture.iter().copied().chain(d).max();
        let lists = n_fitted * (4 * (2 * GRAPH_K + 2) + 24);
        // Fewer rows than dimensions are seen in their span.
        let (inner, span) = match Span::pays(n_fitted, dim) {
            true => (n_fitted, Span::bytes(n_fitted, dim)),
            false => (dim, 0),
        };
        let wanted = Wanted { most: largest.unwrap_or(0).min(inner), basis: false };
        let fits = largest.map_or(0, |_| lists + pca_bytes(inner, wanted.most));
        let of_forms = ClosedForms::bytes(inner, wanted) + 8 * inner * (inner + 1) + span;
        let axes = if d.is_some() { of_forms } else { 0 };
        let held = ids + orders + axes + pca_bytes(widest, widest);

        let asked = n_queries + answered;
        let pairs = |width: usize| SORTING * cost::search(paired, paired, dim + width);
        let judged = |width: usize| found_again(asked, n_base, dim, width) + pairs(width);
        let baselines = d.map_or(0.0, |d| {
            let graph = cost::search(n_fitted, n_fitted, dim) / 2.0;
            let curves = picture.iter().map(|&d| baselines_at(asked, n_base, dim, d));
            // Beside these the principal axes of rows of any length, and the spectral ones.
            let forms = ClosedForms::seconds(n_fitted, inner, wanted)
                + 2.0 * cost::leading(inner, wanted.most, Effort::EXACT)
                + if span > 0 { Span::seconds(n_fitted, dim) } else { 0.0 };
            graph + N_BASELINES as f64 * judged(d) + forms + curves.sum::<f64>()
        });
        let work = cost::reading((3 * 4 * n * dim) as f64)
            + cost::search(asked, n_base, dim)
            + widths.iter().map(|&width| judged(width)).sum::<f64>()
            + baselines;
        let n_judged = match params.is_coded() {
            true => coded::n_judged(params, widths.len(), d.is_some()),
            false => 1 + widths.len() + d.map_or(0, |_| N_BASELINES),
        };
        let (bytes, multiplications) = match params.is_coded() {
            true => coded::cost(ctx.n_threads(), n_left, dim, widest.max(dim)),
            false => (0, 0.0),
        };
        let (fits, work) = (fits.max(bytes), work + cost::product(multiplications));
        let seconds = work / ctx.n_threads() as f64;
        Ok(Self { n_base, n_queries, dim, n_judged, n_fitted, held, fits, seconds })
    }

    /// Bytes of working memory without searches and reduced rows, at least.
    fn bytes(&self) -> usize {
        self.held + self.fits.div_ceil(SHARE - 1) * SHARE
    }

    /// What the context's memory leaves for searches and fits.
    ///
    /// # Errors
    /// When there is too little.
    pub(super) fn rest(&self, ctx: &Context) -> Result<Context> {
        beside(ctx, self.bytes(), "this evaluation")?;
        let rest = beside(ctx, self.held, "this evaluation")?;
        Ok(match rest.memory_limit() {
            Some(left) => rest.memory(left / SHARE * (SHARE - 1)),
            None => rest,
        })
    }
}

impl EvaluationPlan {
    /// The plan as it is reported.
    pub(super) fn report(&self) -> Plan {
        let Self { n_base, n_queries, dim, n_judged, n_fitted, .. } = self;
        let mut details =
            format!("{dim} dimensions, an exact search for each of {n_judged} ways to keep them");
        if *n_fitted > 0 {
            details += &format!(", baselines fitted on {n_fitted} rows");
        }
        Plan {
            what: format!("evaluation of at most {n_queries} queries among {n_base} rows"),
            details: details + BESIDE,
            bytes: self.bytes(),
            seconds: self.seconds,
        }
    }
}

/// What the bytes of a plan are without.
const BESIDE: &str = "; searches take memory beside";

/// How dimensions are tried.
pub(super) struct AdvicePlan {
    common: EvaluationPlan,
    n_tried: usize,
    seconds: f64,
}

impl AdvicePlan {
    /// Plans to try at most `n_tried` dimensions.
    pub(super) fn new(
        ctx: &Context,
        data: &EvaluationData<'_>,
        params: &EvaluationParams,
        n_tried: usize,
    ) -> Result<Self> {
        let dim = data.x.dim();
        // No more than rows that everything is fitted on.
        let most = dim.min(params.fit_rows).min(data.x.n_rows());
        let mut common = EvaluationPlan::new(ctx, data, params, (&[], Some(most)), None)?;
        let fit = |d| {
            let params = tldr(d, params.metric, params.seed)?;
            let sizes = FitSizes {
                n_rows: common.n_fitted,
                dim,
                has_graph: true,
                n_held_out: params.n_validation(common.n_fitted),
                n_beside: 0,
                n_queries: 0,
                has_model: false,
            };
            FitPlan::new(ctx, &params, sizes)
        };
        // The dimensions that are tried lie closely about the one that is taken.
        let (most, typical) = (fit(most.min(common.n_fitted))?, most.div_ceil(4));
        let EvaluationPlan { n_base, n_queries, .. } = common;
        let baselines = baselines_at(n_queries, n_base, dim, typical);
        let one = fit(typical)?.seconds() + baselines / ctx.n_threads() as f64;
        let seconds = common.seconds + n_tried as f64 * one;
        let (bytes, _) = coded::cost(ctx.n_threads(), common.n_fitted, dim, dim);
        common.fits = common.fits.max(most.bytes()).max(bytes);
        // All that were fitted are kept.
        common.held += n_tried * 4 * typical * dim;
        let cells = n_tried as f64 * CELLS * found_again(n_queries, n_base, dim, typical);
        let (_, learned) = coded::cost(ctx.n_threads(), common.n_fitted, dim, dim);
        let cells = cells + PRODUCT_CODES * cost::product(learned);
        let seconds = seconds + cells / ctx.n_threads() as f64;
        Ok(Self { common, n_tried, seconds })
    }

    /// What the context's memory leaves for searches and fits.
    ///
    /// # Errors
    /// When there is too little.
    pub(super) fn rest(&self, ctx: &Context) -> Result<Context> {
        self.common.rest(ctx)
    }
}

impl AdvicePlan {
    /// The plan as it is reported.
    pub(super) fn report(&self) -> Plan {
        let Self { common, n_tried, .. } = self;
        let details = format!(
            "{} dimensions, of which at most {n_tried} are tried, each by a fit of {} rows and a search for {} \
             queries",
            common.dim, common.n_fitted, common.n_queries
        );
        Plan {
            what: format!("advice on {} rows", common.n_base),
            details: details + BESIDE,
            bytes: common.bytes(),
            seconds: self.seconds,
        }
    }
}
