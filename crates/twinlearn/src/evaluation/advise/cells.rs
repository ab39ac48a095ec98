//! What reductions keep of the neighbours, in one format after the other.

use std::collections::BTreeMap;

use twinlearn_codes::{Bits, CodeSpec};
use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_core::linalg::Matrix;

use super::super::curves::best_form;
use super::super::data::Reduction;
use super::super::formats::{Format, Kept, Side, reduced};
use super::super::sample::Sample;
use super::dimensions::Search;
use crate::linear_map::LinearMap;

/// What reduces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Method {
    Tldr,
    Pca,
    /// Nothing: the vectors as they are.
    Full,
}

impl Method {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tldr => "TLDR",
            Self::Pca => "PCA",
            Self::Full => "full vectors",
        }
    }
}

/// What is asked of a format, before there are rows to make it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Floats,
    Code(CodeSpec),
    /// A byte for each number, by its range.
    Int8,
    /// Whether numbers are above 0.
    Signs(Side),
}

/// A way to keep vectors, and what it keeps of the neighbours of each query.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) method: Method,
    pub(super) asked: Asked,
    pub(super) n_components: usize,
    pub(super) format: String,
    pub(super) row_bytes: usize,
    pub(super) scores: Vec<f64>,
}

impl Cell {
    /// The mean over the queries that cells are chosen by: every other one.
    pub(super) fn chosen_by(&self) -> f64 {
        mean(self.scores.iter().step_by(2))
    }

    /// The scores of the others: the reported recall is their mean.
    pub(super) fn told(&self) -> Vec<f64> {
        let others: Vec<f64> = self.scores.iter().skip(1).step_by(2).copied().collect();
        if others.is_empty() { self.scores.clone() } else { others }
    }
}

fn mean<'a>(scores: impl Iterator<Item = &'a f64>) -> f64 {
    let (sum, n) = scores.fold((0.0, 0), |(sum, n), score| (sum + score, n + 1));
    sum / f64::from(n.max(1))
}

/// Cells as they are measured.
pub(super) struct Cells<'a, 'b> {
    pub(super) ctx: &'a Context,
    pub(super) search: &'a mut Search<'b>,
    pub(super) sample: &'a Sample,
    /// Rows that formats are made by.
    pub(super) ids: &'a [u32],
    /// Rows that are found, of which those that are neighbours count.
    pub(super) count: usize,
    /// The form of PCA that keeps most as floats, at each dimension.
    forms: BTreeMap<usize, LinearMap>,
    pub(super) all: Vec<Cell>,
}

impl<'a, 'b> Cells<'a, 'b> {
    pub(super) fn new(
        ctx: &'a Context,
        search: &'a mut Search<'b>,
        (sample, ids): (&'a Sample, &'a [u32]),
        count: usize,
    ) -> Self {
        Self { ctx, search, sample, ids, count, forms: BTreeMap::new(), all: Vec::new() }
    }

    /// Measures vectors of `d` numbers in a format; returns the cell's place.
    pub(super) fn measure(&mut self, method: Method, d: usize, asked: Asked) -> Result<usize> {
        let known =
            |cell: &Cell| (cell.method, cell.n_components, cell.asked) == (method, d, asked);
        if let Some(place) = self.all.iter().position(known) {
            return Ok(place);
        }
        self.prepare(method, d)?;
        let (data, reduction) = (self.search.curves.data, self.reduction(method, d));
        let rows = || reduced(self.ctx, &reduction, data.x, self.ids);
        let format = match asked {
            Asked::Floats => Format::Floats,
            Asked::Signs(queries) => Format::Signs { queries },
            Asked::Int8 => Format::int8(&rows()?),
            Asked::Code(spec) => self.code(spec, &rows()?)?,
        };
        let kept = Kept { reduction, format };
        let scores = self.sample.kept_recall(self.ctx, &data, &kept, self.count)?;
        let (format, row_bytes) = (kept.format.name(), kept.row_bytes());
        self.all.push(Cell { method, asked, n_components: d, format, row_bytes, scores });
        Ok(self.all.len() - 1)
    }

    /// Measures floats, and codes of 8 to 1 bits.
    pub(super) fn measure_all(&mut self, method: Method, d: usize) -> Result<()> {
        self.measure(method, d, Asked::Floats)?;
        for bits in Bits::ALL {
            self.measure(method, d, Asked::Code(CodeSpec::Scalar(bits)))?;
        }
        Ok(())
    }

    /// Bytes of codes of so many bits of `d` numbers.
    pub(super) fn scalar_bytes(&mut self, method: Method, d: usize, bits: Bits) -> Result<usize> {
        self.prepare(method, d)?;
        let (data, reduction) = (self.search.curves.data, self.reduction(method, d));
        let rows = reduced(self.ctx, &reduction, data.x, self.ids)?;
        Ok(self.code(CodeSpec::Scalar(bits), &rows)?.row_bytes(d))
    }

    fn code(&self, spec: CodeSpec, rows: &Matrix) -> Result<Format> {
        let with = (self.sample.metric, self.search.curves.seed);
        Format::code(self.ctx, with, spec, rows)
    }

    /// What was prepared.
    fn reduction(&self, method: Method, d: usize) -> Reduction<'_> {
        let data = &self.search.curves.data;
        match method {
            Method::Tldr => Reduction::Model(&self.search.models[&d]),
            Method::Pca => Reduction::Map(&self.forms[&d]),
            Method::Full => Reduction::Reduced { x: data.x, queries: data.queries },
        }
    }

    /// Fits, or chooses the form of PCA.
    fn prepare(&mut self, method: Method, d: usize) -> Result<()> {
        match method {
            Method::Tldr => self.search.fit(d),
            Method::Pca if !self.forms.contains_key(&d) => {
                self.search.seek(d)?;
                let data = self.search.curves.data;
                let (baselines, of) = (&self.search.forms.baselines, (&data, self.sample));
                let chosen_by = |scores: &[f64]| scores.iter().step_by(2).sum();
                let (_, map) = best_form(self.ctx, of, (baselines, d), chosen_by)?;
                self.forms.insert(d, map);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
