//! How to keep vectors: in how many dimensions, and in which format.

mod cells;
mod choice;
mod dimensions;
mod goal;
mod results;

use std::collections::BTreeMap;

use twinlearn_core::context::Context;
use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::is_partial;
use twinlearn_core::progress::{Event, Stage};
use twinlearn_vectors::{Subset, Vectors};

use self::cells::{Cells, Method};
use self::choice::Asking;
use self::dimensions::{Closed, SMALLEST, Search};
pub use self::results::{Advice, Choice, Goal, Verdict};
use super::baselines::Baselines;
use super::coded::MADE_BY;
use super::curves::{Curves, PART};
use super::data::EvaluationData;
use super::moved::{Moved, with_rows};
use super::params::{EvaluationParams, tldr};
use super::plan::AdvicePlan;
use super::sample::Sample;
use super::unseen::Unseen;

/// Up to which dimension axes are sought first, where all of them would take long.
const FEW: usize = 256;

/// How to keep vectors: the dimension and the format that keep a share of the nearest neighbours of
/// held-out rows in the fewest bytes, or most of them in so many bytes, for TLDR (loss KL), for PCA, and
/// for the full vectors as int8 and as signs.
///
/// With [`candidates`](EvaluationParams::candidates) recall is of what the full vectors make of so many.
/// Ways are chosen by half of the held-out rows; the recall of [`choices`](Advice::choices) is of the
/// others.
///
/// For a share, dimensions are doubled until floats of both TLDR and PCA keep enough; then the interval is
/// halved until it is closed to a twentieth. From there on codes of 8, 4, 2 and 1 bits take more dimensions
/// until they keep enough, as long as that takes fewer bytes. Recall is taken to rise with d.
///
/// # Errors
/// When the share is not above 0 and below 1, or there is no byte; a value is not finite; there are too few
/// rows for k; or the work is cancelled.
///
/// ```
/// use twinlearn::{Context, EvaluationParams, Goal, Matrix, advise};
/// // Six dimensions, of which three carry anything.
/// let data = (0..400 * 6).map(|i| if i % 6 < 3 { (i as f32 * 0.7).sin() } else { 1e-4 });
/// let x = Matrix::new(400, 6, data.collect())?;
/// let advice = advise(&Context::new()?, &x, Goal::Keep(0.9), &EvaluationParams::default())?;
/// assert!(advice.pca_n_components <= Some(4));
/// # Ok::<(), twinlearn::Error>(())
/// ```
pub fn advise(
    ctx: &Context,
    x: &dyn Vectors,
    goal: Goal,
    params: &EvaluationParams,
) -> Result<Advice> {
    goal.check()?;
    if params.fit_rows < 2 {
        return Err(Error::invalid("fit_rows", "at least 2", params.fit_rows));
    }
    let data = EvaluationData::new(x);
    data.check_sizes()?;
    let (metric, seed) = (params.metric, params.seed);
    let n_tried = n_tried(goal, x.dim());
    let plan = AdvicePlan::new(ctx, &data, params, n_tried)?;
    let quiet = &plan.rest(ctx)?.quiet();
    ctx.emit(&Event::Plan(&plan.report()));
    data.check_values(ctx, metric)?;
    let moved = Moved::new(x, metric, &[])?;
    let moved = moved.as_ref().map(|moved| moved.rows(x));
    let data = with_rows(&data, moved.as_ref(), None);
    let x = data.x;
    ctx.stage(Stage::Advise, n_tried, || {
        let sample = Sample::new(quiet, &data, params, &Unseen::Unknown)?;
        let count = params.n_found(sample.base.len())?;
        let ids = sample.fitted(params.fit_rows);
        let rows = Subset::new(x, &ids)?;
        let list = tldr(1, metric, seed)?.n_neighbors;
        let graph = Baselines::graph(quiet, &rows, list, metric, seed)?;
        let curves = Curves::new(quiet, data, (&sample, PART), seed)?.among(count);
        let most = if is_partial(x.dim(), FEW) { FEW } else { x.dim() };
        let forms = Closed::new(quiet, &rows, &graph, (metric, seed), most)?;
        let models = BTreeMap::new();
        let mut search = Search { ctx, rows: &rows, graph, forms, curves, models };
        let floats = match goal {
            Goal::Keep(keep) => search.run(keep)?,
            Goal::Bytes(_) => [None; 2],
        };
        let n_chosen_by = search.curves.n_chosen_by();
        let mut made_by = sample.fitted(params.fit_rows.min(MADE_BY));
        made_by.sort_unstable();
        let mut cells = Cells::new(quiet, &mut search, (&sample, &made_by), count);
        // More than there are rows would be nothing but zeros.
        let most = x.dim().min(rows.n_rows());
        goal::full(&mut cells, x.dim())?;
        match goal {
            Goal::Keep(keep) => {
                for (method, floats) in [Method::Tldr, Method::Pca].into_iter().zip(floats) {
                    if let Some(floats) = floats {
                        goal::keeping(&mut cells, method, (keep, floats), most)?;
                    }
                }
            }
            Goal::Bytes(bytes) => goal::in_bytes(&mut cells, bytes, most)?,
        }
        let measured = cells.all;
        let notes = vec![
            sample.note.clone(),
            match ids.len() < sample.base.len() {
                true => format!(
                    "Everything was fitted on {} rows; a fit of all learns from nearer \
                     neighbours, and TLDR may then keep more.",
                    ids.len()
                ),
                false => "Everything was fitted on those rows.".to_owned(),
            },
            format!(
                "TLDR is a fit with its defaults; PCA is at each d the best of its forms that solver pca \
                 has, centred and not{}.",
                n_chosen_by.map_or(String::new(), |n| format!(", among {n} rows"))
            ),
            "The table is of all queries. Formats were chosen by half of them; the recall that is told \
             below is of the others."
                .to_owned(),
            format!(
                "Product codes were learned from {} of the rows that are searched here, of which they keep \
                 somewhat more than of rows that are added later.",
                made_by.len()
            ),
            "PCA as pq of all dimensions is OPQ of the full vectors. signs/f32: float queries with the signs \
             of the full vectors; signs: bits with bits, by Hamming distance."
                .to_owned(),
        ];
        let asking = Asking { goal, params, n_rows: x.n_rows(), dim: x.dim(), floats };
        Ok(choice::advice(&asking, &measured, search.curves.finish(), notes))
    })
}

/// Dimensions that are fitted, at most.
fn n_tried(goal: Goal, dim: usize) -> usize {
    // Every doubling, and two halvings of one octave to a twentieth of it.
    let doublings = (dim / SMALLEST).max(1).ilog2() as usize + 2;
    match goal {
        // Then a doubling and halvings for each of four codes, and for product codes.
        Goal::Keep(_) => doublings + 10 + 4 * 3 + 3,
        // Floats and four codes, some of them with lengths.
        Goal::Bytes(_) => 5 + 4,
    }
}
