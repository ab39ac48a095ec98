//! The dimension at which floats keep enough.

use std::collections::BTreeMap;

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_core::progress::{Event, Stage};
use twinlearn_knn::{KnnGraph, Metric};
use twinlearn_vectors::{Subset, Vectors};

use super::super::baselines::Baselines;
use super::super::curves::{Curves, PCA, TLDR};
use super::super::data::Reduction;
use super::super::params::tldr;
use crate::model::Model;
use crate::trainer::{FitData, SharedForms, Trainer};

/// The smallest dimension that is tried.
pub(super) const SMALLEST: usize = 4;

/// Closed forms, at every d up to the most.
pub(super) struct Closed {
    most: usize,
    pub(super) baselines: Baselines,
    /// That all fits begin from.
    shared: SharedForms,
}

impl Closed {
    pub(super) fn new(
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

pub(super) struct Search<'a> {
    pub(super) ctx: &'a Context,
    /// That everything is fitted on.
    pub(super) rows: &'a Subset<'a>,
    pub(super) graph: KnnGraph,
    pub(super) forms: Closed,
    pub(super) curves: Curves<'a>,
    /// What was fitted, by its dimension.
    pub(super) models: BTreeMap<usize, Model>,
}

impl Search<'_> {
    /// The smallest dimensions of TLDR and of PCA that keep enough.
    pub(super) fn run(&mut self, keep: f64) -> Result<[Option<usize>; 2]> {
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
        while high - low > (high / 20).max(1) {
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
        self.seek(d)?;
        self.measure_tldr(d)?;
        self.curves.measure_baselines(&self.forms.baselines, d)
    }

    /// Seeks closed forms up to d.
    pub(super) fn seek(&mut self, d: usize) -> Result<()> {
        if d > self.forms.most {
            let Self { rows, graph, curves, .. } = self;
            let with = (curves.sample.metric, curves.seed);
            self.forms = Closed::new(curves.ctx, *rows, graph, with, rows.dim())?;
        }
        Ok(())
    }

    fn measure_tldr(&mut self, d: usize) -> Result<()> {
        self.fit(d)?;
        self.curves.measure(TLDR, &Reduction::Model(&self.models[&d]))
    }

    /// Fits to d dimensions, if that was not done.
    pub(super) fn fit(&mut self, d: usize) -> Result<()> {
        if self.models.contains_key(&d) {
            return Ok(());
        }
        self.seek(d)?;
        let params = tldr(d, self.curves.sample.metric, self.curves.seed)?;
        let fit = Trainer::new(params)
            .sharing(&self.forms.shared)
            .fit_data(self.curves.ctx, FitData::new(self.rows).graph(self.graph.clone()))?;
        self.models.insert(d, fit.model);
        let done = self.models.len();
        self.ctx.emit(&Event::StageProgress { stage: Stage::Advise, done });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use twinlearn_core::linalg::Matrix;

    use super::super::super::curves::PART;
    use super::super::super::data::EvaluationData;
    use super::super::super::params::EvaluationParams;
    use super::super::super::sample::Sample;
    use super::super::super::unseen::Unseen;
    use super::*;

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
            let mut search =
                Search { ctx: &ctx, rows: &rows, graph, forms, curves, models: BTreeMap::new() };
            (search.run(0.8).unwrap(), search.curves.finish())
        });
        assert!(all.0.iter().all(|d| d.is_some_and(|d| d > 4)), "{all:?}");
        assert_eq!(few, all);
    }
}
