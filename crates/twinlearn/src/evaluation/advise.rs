//! Which dimension to take.

use serde::{Deserialize, Serialize};
use twinlearn_core::context::Context;
use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::is_partial;
use twinlearn_core::progress::{Event, Stage};
use twinlearn_knn::{KnnGraph, Metric};
use twinlearn_vectors::{Subset, Vectors};

use super::baselines::Baselines;
use super::curves::{Curves, PART, PCA, TLDR};
use super::data::{EvaluationData, Reduction};
use super::moved::{Moved, with_rows};
use super::params::{EvaluationParams, tldr};
use super::plan::AdvicePlan;
use super::results::Curve;
use super::sample::Sample;
use super::unseen::Unseen;
use crate::trainer::{FitData, SharedForms, Trainer};

/// The smallest dimension that is tried.
const SMALLEST: usize = 4;
/// Up to which dimension axes are sought first, where all of them would take long.
const FEW: usize = 256;
/// PCA is enough where it needs at most so many times the dimensions.
const ENOUGH: f64 = 1.1;

/// What to do, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// TLDR needs fewer dimensions.
    Tldr,
    /// PCA needs hardly more, or fewer.
    PcaIsEnough,
    /// Nothing below D keeps that share.
    KeepAll,
}

/// What [`advise`] found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Advice {
    /// The share that was to be kept.
    pub keep: f64,
    /// k.
    pub n_neighbors: usize,
    /// How near rows are.
    pub metric: Metric,
    /// The seed of samples and training.
    pub seed: u64,
    /// N.
    pub n_rows: usize,
    /// D.
    pub n_features: usize,
    /// The smallest d below D at which TLDR keeps the share.
    pub n_components: Option<usize>,
    /// The same of PCA.
    pub pca_n_components: Option<usize>,
    /// Between which dimensions `n_components` lies: where the upper and the lower ends of the 95 %
    /// intervals of recall reach the share.
    pub n_components_interval: Option<[usize; 2]>,
    /// The same of PCA.
    pub pca_n_components_interval: Option<[usize; 2]>,
    /// Bytes that a vector takes as `f32` now.
    pub bytes_per_vector: usize,
    /// Bytes that it would take: with PCA's dimension where that is enough.
    pub reduced_bytes_per_vector: usize,
    /// In one word.
    pub verdict: Verdict,
    /// In one sentence.
    pub sentence: String,
    /// TLDR's first.
    pub curves: Vec<Curve>,
    /// What was sampled, in words.
    pub notes: Vec<String>,
}

/// The smallest dimension that keeps the share `keep`, between 0 and 1, of the nearest neighbours of
/// held-out rows, for TLDR (loss KL) and for PCA, and the recall of every baseline on the way.
///
/// Dimensions are doubled until both keep enough; then the interval is halved until it is closed to
/// a twentieth. Recall is taken to rise with d.
///
/// # Errors
/// When `keep` is not above 0 and below 1, a value is not finite, there are too few rows for k, or
/// the work is cancelled.
///
/// ```
/// use twinlearn::{Context, EvaluationParams, Matrix, advise};
/// // Six dimensions, of which three carry anything.
/// let data = (0..400 * 6).map(|i| if i % 6 < 3 { (i as f32 * 0.7).sin() } else { 1e-4 });
/// let x = Matrix::new(400, 6, data.collect())?;
/// let advice = advise(&Context::new()?, &x, 0.9, &EvaluationParams::default())?;
/// assert!(advice.pca_n_components <= Some(4));
/// # Ok::<(), twinlearn::Error>(())
/// ```
pub fn advise(
    ctx: &Context,
    x: &dyn Vectors,
    keep: f64,
    params: &EvaluationParams,
) -> Result<Advice> {
    if !(keep > 0.0 && keep < 1.0) {
        return Err(Error::invalid("keep", "a share between 0 and 1", keep));
    }
    if params.fit_rows < 2 {
        return Err(Error::invalid("fit_rows", "at least 2", params.fit_rows));
    }
    let data = EvaluationData::new(x);
    data.check_sizes()?;
    let (metric, seed) = (params.metric, params.seed);
    // At most: every doubling, and two halvings of one octave to a twentieth of it.
    let doublings = (x.dim() / SMALLEST).max(1).ilog2() as usize + 2;
    let n_tried = doublings + 10;
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
        let ids = sample.fitted(params.fit_rows);
        let rows = Subset::new(x, &ids)?;
        let list = tldr(1, metric, seed)?.n_neighbors;
        let graph = Baselines::graph(quiet, &rows, list, metric, seed)?;
        let curves = Curves::new(quiet, data, (&sample, PART), seed)?;
        let most = if is_partial(x.dim(), FEW) { FEW } else { x.dim() };
        let forms = Closed::new(quiet, &rows, &graph, (metric, seed), most)?;
        let mut search = Search { ctx, rows: &rows, graph, forms, curves, done: 0 };
        let reached = search.run(keep)?;
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
                search.curves.n_chosen_by().map_or(String::new(), |n| format!(", among {n} rows"))
            ),
        ];
        Ok(advice(keep, params, (x.n_rows(), x.dim()), reached, search.curves.finish(), notes))
    })
}

/// Closed forms, at every d up to the most.
struct Closed {
    most: usize,
    baselines: Baselines,
    /// That all fits begin from.
    shared: SharedForms,
}

impl Closed {
    fn new(
        ctx: &Context,
        rows: &dyn Vectors,
        graph: &KnnGraph,
        with: (Metric, u64),
        most: usize,
    ) -> Result<Self> {
        let baselines = Baselines::new(ctx, rows, graph, with, most)?;
        Ok(Self { most, baselines, shared: SharedForms::up_to(most) })
    }
}

struct Search<'a> {
    ctx: &'a Context,
    /// That everything is fitted on.
    rows: &'a Subset<'a>,
    graph: KnnGraph,
    forms: Closed,
    curves: Curves<'a>,
    done: usize,
}

impl Search<'_> {
    /// The smallest dimensions of TLDR and of PCA that keep enough.
    fn run(&mut self, keep: f64) -> Result<[Option<usize>; 2]> {
        let dim = self.rows.dim();
        // More than there are rows would be nothing but zeros.
        let most = dim.min(self.rows.n_rows());
        let (mut d, mut reached) = (SMALLEST.min(most), [None; 2]);
        loop {
            self.measure_all(d)?;
            for (name, reached) in [TLDR, PCA].into_iter().zip(&mut reached) {
                if self.curves.of(name)[&d].value >= keep {
                    reached.get_or_insert(d);
                }
            }
            if d == most || reached.iter().all(Option::is_some) {
                break;
            }
            d = (2 * d).min(most);
        }
        for (name, reached) in [TLDR, PCA].into_iter().zip(&mut reached) {
            if let Some(high) = reached {
                *high = self.narrow(name, keep, *high)?;
            }
        }
        Ok(reached.map(|d| d.filter(|&d| d < dim)))
    }

    /// The smallest dimension between the last that keeps too little and `high`.
    fn narrow(&mut self, name: &str, keep: f64, mut high: usize) -> Result<usize> {
        let below = self.curves.of(name).range(..high).next_back();
        let mut low = below.map_or(0, |(&d, _)| d);
        while high - low > (high / 20).max(1) && low > 0 {
            let middle = low.midpoint(high);
            if name == TLDR {
                self.measure_tldr(middle)?;
            } else {
                self.curves.measure_baselines(&self.forms.baselines, middle)?;
            }
            if self.curves.of(name)[&middle].value >= keep { high = middle } else { low = middle }
        }
        Ok(high)
    }

    fn measure_all(&mut self, d: usize) -> Result<()> {
        if d > self.forms.most {
            let Self { rows, graph, curves, .. } = self;
            let with = (curves.sample.metric, curves.seed);
            self.forms = Closed::new(curves.ctx, *rows, graph, with, rows.dim())?;
        }
        self.measure_tldr(d)?;
        self.curves.measure_baselines(&self.forms.baselines, d)
    }

    fn measure_tldr(&mut self, d: usize) -> Result<()> {
        let params = tldr(d, self.curves.sample.metric, self.curves.seed)?;
        let ctx = self.curves.ctx;
        let fit = Trainer::new(params)
            .sharing(&self.forms.shared)
            .fit_data(ctx, FitData::new(self.rows).graph(self.graph.clone()))?;
        self.curves.measure(TLDR, &Reduction::Model(&fit.model))?;
        self.done += 1;
        self.ctx.emit(&Event::StageProgress { stage: Stage::Advise, done: self.done });
        Ok(())
    }
}

fn advice(
    keep: f64,
    params: &EvaluationParams,
    (n_rows, dim): (usize, usize),
    [ours, pca]: [Option<usize>; 2],
    curves: Vec<Curve>,
    notes: Vec<String>,
) -> Advice {
    let verdict = match (ours, pca) {
        (None, None) => Verdict::KeepAll,
        (Some(ours), Some(pca)) if pca as f64 <= ENOUGH * ours as f64 => Verdict::PcaIsEnough,
        (None, Some(_)) => Verdict::PcaIsEnough,
        (Some(_), _) => Verdict::Tldr,
    };
    let taken = match verdict {
        Verdict::KeepAll => dim,
        Verdict::PcaIsEnough => pca.unwrap_or(dim),
        Verdict::Tldr => ours.unwrap_or(dim),
    };
    let interval = |d: Option<usize>, name: &str| {
        let curve = curves.iter().find(|curve| curve.name == name)?;
        d.map(|d| {
            [
                curve.reaches(keep, dim, |r| r.high).min(d),
                curve.reaches(keep, dim, |r| r.low).max(d),
            ]
        })
    };
    let intervals = [interval(ours, TLDR), interval(pca, PCA)];
    let needs = |d: Option<usize>, interval: Option<[usize; 2]>| match (d, interval) {
        (Some(d), Some([low, high])) => format!("{d} (95 %: {low} to {high})"),
        (Some(d), None) => d.to_string(),
        (None, _) => format!("all {dim}"),
    };
    let percent = 100.0 * keep;
    let (ours_needs, pca_needs) = (needs(ours, intervals[0]), needs(pca, intervals[1]));
    let sentence = match verdict {
        Verdict::KeepAll => format!(
            "Nothing below all {dim} dimensions keeps {percent:.0} % of the neighbours: take a \
                 smaller share, or keep the vectors as they are."
        ),
        Verdict::PcaIsEnough => format!(
            "PCA is enough here: {percent:.0} % of the neighbours stay with {pca_needs} of {dim} \
                 dimensions; TLDR needs {ours_needs}{}.",
            // By the rule of the verdict.
            if ours < pca && ours.is_some() { ", less than a tenth fewer" } else { "" }
        ),
        Verdict::Tldr => format!(
            "TLDR keeps {percent:.0} % of the neighbours with {ours_needs} of {dim} dimensions; \
                 PCA needs {pca_needs}."
        ),
    };
    Advice {
        keep,
        n_neighbors: params.n_neighbors,
        metric: params.metric,
        seed: params.seed,
        n_rows,
        n_features: dim,
        n_components: ours,
        pca_n_components: pca,
        n_components_interval: intervals[0],
        pca_n_components_interval: intervals[1],
        bytes_per_vector: 4 * dim,
        reduced_bytes_per_vector: 4 * taken,
        verdict,
        sentence,
        curves,
        notes,
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::CurvePoint;
    use super::*;
    use crate::estimate::Estimate;
    use twinlearn_core::linalg::Matrix;

    #[test]
    fn the_verdict_is_plain() {
        let of = |ours, pca| {
            let params = EvaluationParams::default();
            let found = advice(0.9, &params, (1000, 384), [ours, pca], Vec::new(), Vec::new());
            (found.verdict, found.reduced_bytes_per_vector, found.sentence)
        };
        for (ours, pca, verdict, bytes, sentence) in [
            (
                Some(64),
                Some(96),
                Verdict::Tldr,
                256,
                "TLDR keeps 90 % of the neighbours with 64 of 384 dimensions; PCA needs 96.",
            ),
            (
                Some(64),
                None,
                Verdict::Tldr,
                256,
                "TLDR keeps 90 % of the neighbours with 64 of 384 dimensions; PCA needs all 384.",
            ),
            (
                Some(64),
                Some(70),
                Verdict::PcaIsEnough,
                280,
                "PCA is enough here: 90 % of the neighbours stay with 70 of 384 dimensions; TLDR \
                 needs 64, less than a tenth fewer.",
            ),
            (
                None,
                Some(70),
                Verdict::PcaIsEnough,
                280,
                "PCA is enough here: 90 % of the neighbours stay with 70 of 384 dimensions; TLDR \
                 needs all 384.",
            ),
            (
                None,
                None,
                Verdict::KeepAll,
                1536,
                "Nothing below all 384 dimensions keeps 90 % of the neighbours: take a smaller \
                 share, or keep the vectors as they are.",
            ),
        ] {
            assert_eq!(of(ours, pca), (verdict, bytes, sentence.to_owned()));
        }
    }

    #[test]
    fn more_axes_are_sought_where_few_do_not_keep_enough() {
        let (ctx, dim) = (Context::with_threads(2).unwrap(), 12);
        let value =
            |i: usize| ((i * i % 9973) as f32 * 0.37).sin() * 0.9_f32.powi((i % dim) as i32);
        let x = Matrix::new(300, dim, (0..300 * dim).map(value).collect()).unwrap();
        let params = EvaluationParams::default();
        let data = EvaluationData::new(&x);
        let sample = Sample::new(&ctx, &data, &params, &Unseen::Unknown).unwrap();
        let ids = sample.fitted(params.fit_rows);
        let rows = Subset::new(&x, &ids).unwrap();
        let with = (params.metric, params.seed);
        let graph = Baselines::graph(&ctx, &rows, 64, with.0, with.1).unwrap();
        let [few, all] = [4, dim].map(|most| {
            let curves = Curves::new(&ctx, data, (&sample, PART), with.1).unwrap();
            let forms = Closed::new(&ctx, &rows, &graph, with, most).unwrap();
            let graph = graph.clone();
            let mut search = Search { ctx: &ctx, rows: &rows, graph, forms, curves, done: 0 };
            (search.run(0.8).unwrap(), search.curves.finish())
        });
        assert!(all.0.iter().all(|d| d.is_some_and(|d| d > 4)), "{all:?}");
        assert_eq!(few, all);
    }

    #[test]
    fn dimensions_have_the_interval_of_their_recall() {
        let point = |n_components, value: f64| CurvePoint {
            n_components,
            recall: Estimate { value, low: value - 0.1, high: value + 0.1 },
        };
        let points = vec![point(4, 0.3), point(8, 0.5), point(12, 0.7)];
        let curves = vec![Curve { name: TLDR.to_owned(), points }];
        let params = EvaluationParams::default();
        let found = advice(0.5, &params, (1000, 20), [Some(8), None], curves, Vec::new());
        // 0.6 is half-way from 8 to 12, 0.4 from 4 to 8.
        assert_eq!(found.n_components_interval, Some([6, 10]));
        assert_eq!(found.pca_n_components_interval, None);
        let said = "TLDR keeps 50 % of the neighbours with 8 (95 %: 6 to 10) of 20 dimensions; PCA \
                    needs all 20.";
        assert_eq!(found.sentence, said);
        // Beyond what was measured the curve rises to 1 at D.
        let curve = &found.curves[0];
        assert_eq!(curve.reaches(0.8, 20, |r| r.low), 16);
        assert_eq!(curve.reaches(0.8, 20, |r| r.value), 15);
        assert_eq!(curve.reaches(0.1, 20, |r| r.value), 4);
    }
}
