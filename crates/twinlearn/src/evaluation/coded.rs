//! Codes that are judged, and what takes as many bytes beside them.

use twinlearn_codes::{Bits, CodeSpec, Codec, ProductCode};
use twinlearn_core::context::Context;
use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::Matrix;

use super::baselines::Baselines;
use super::curves::best_form;
use super::data::{EvaluationData, Reduction};
use super::formats::{Format, Kept, Side, reduced};
use super::params::EvaluationParams;
use super::results::MethodKind;
use super::sample::Sample;
use crate::linear_map::LinearMap;

/// Rows that formats are made by, at most.
pub(super) const MADE_BY: usize = 20_000;
/// Dimensions of the rows that OPQ is learned on, at most; it is of the leading axes where there are more.
pub(super) const MOST_OPQ: usize = 512;

/// How many ways to keep vectors are judged: the full vectors, `n_given` reductions, and what they are
/// compared with.
pub(super) fn n_judged(params: &EvaluationParams, n_given: usize, has_baselines: bool) -> usize {
    let hamming = usize::from(params.bits.is_some_and(|bits| bits.get() == 1));
    1 + n_given * (3 + hamming) + if has_baselines { 5 } else { 0 }
}

/// Bytes of working memory, and about the multiplications, that formats for rows of `widest` numbers take,
/// with a product code for such of `dim`.
pub(super) fn cost(threads: usize, n_rows: usize, dim: usize, widest: usize) -> (usize, f64) {
    let (n, dim) = (n_rows.min(MADE_BY), dim.min(MOST_OPQ));
    let rows = 4 * n * widest.max(dim);
    (rows + ProductCode::training_bytes(threads, n, dim), ProductCode::training_work(n, dim))
}

/// What is judged, by the name of the reduction.
pub(super) type Judged<'a> = (MethodKind, String, Kept<'a>);

/// Makes formats for the rows of an evaluation.
pub(super) struct Formats<'a> {
    ctx: &'a Context,
    data: EvaluationData<'a>,
    params: &'a EvaluationParams,
    /// Rows that formats are made by.
    ids: Vec<u32>,
}

impl<'a> Formats<'a> {
    pub(super) fn new(
        ctx: &'a Context,
        data: EvaluationData<'a>,
        sample: &Sample,
        params: &'a EvaluationParams,
    ) -> Self {
        Self { ctx, data, params, ids: sample.fitted(params.fit_rows.min(MADE_BY)) }
    }

    /// The codes of each reduction that was given, then the same reduction kept in other ways.
    pub(super) fn given<'b>(
        &self,
        reductions: &[(&str, Reduction<'b>)],
    ) -> Result<Vec<Judged<'b>>> {
        let own = |(_, reduction): &(&str, Reduction<'_>)| match reduction {
            Reduction::Model(model) => model.codec(self.params.bits).map(Some),
            _ => Ok(None),
        };
        let codecs = reductions.iter().map(own).collect::<Result<Vec<_>>>()?;
        let spec = match self.params.bits {
            Some(bits) => CodeSpec::Scalar(bits),
            None => match codecs.iter().flatten().next() {
                Some(codec) => codec.spec(),
                None => {
                    let expected = "a model among what is judged, whose product code it is";
                    return Err(Error::invalid("codes", expected, "none"));
                }
            },
        };
        let mut all = Vec::new();
        for ((name, reduction), codec) in reductions.iter().zip(codecs) {
            let rows = || self.reduced(reduction);
            let code = match codec {
                Some(codec) => Format::Code(codec),
                None => self.code(spec, &rows()?)?,
            };
            let int8 = match reduction {
                Reduction::Model(model) => model.quantiser(false).cloned().map(Format::Int8),
                _ => None,
            };
            let int8 = match int8 {
                Some(int8) => int8,
                None => Format::int8(&rows()?),
            };
            let hamming = match (&code, self.params.bits.map(Bits::get)) {
                (Format::Code(codec), Some(1)) => Some(Format::Hamming(codec.clone())),
                _ => None,
            };
            let mut add = |kind, format| {
                all.push((kind, (*name).to_owned(), Kept { reduction: *reduction, format }));
            };
            add(MethodKind::Given, code);
            let others = hamming.into_iter().chain([int8, Format::Floats]);
            others.for_each(|format| add(MethodKind::OtherFormat, format));
        }
        Ok(all)
    }

    /// What takes as many bytes as `first`, and what databases do by themselves. `pca` is the best form of
    /// PCA, at the dimension of `first` and at that of OPQ.
    pub(super) fn baselines<'b>(
        &self,
        first: &Kept<'_>,
        full: Reduction<'b>,
        [pca, leading]: [&'b (String, LinearMap); 2],
    ) -> Result<Vec<Judged<'b>>> {
        let bytes = first.row_bytes();
        let d = pca.1.weight().rows();
        let mut all = Vec::new();
        let mut add = |name: &str, reduction, format| {
            all.push((MethodKind::Baseline, name.to_owned(), Kept { reduction, format }));
        };
        add("full vectors", full, Format::int8(&self.reduced(&full)?));
        for queries in [Side::Bits, Side::Floats] {
            add("full vectors", full, Format::Signs { queries });
        }
        // The most bits that fit into as many bytes.
        let fits = |bits: &&Bits| d * bits.get() <= 8 * bytes;
        if let Some(bits) = Bits::ALL.iter().rev().find(fits) {
            let reduction = Reduction::Map(&pca.1);
            let code = self.code(CodeSpec::Scalar(*bits), &self.reduced(&reduction)?)?;
            add(&pca.0, reduction, code);
        }
        let (name, reduction) = match self.data.x.dim() <= MOST_OPQ {
            true => ("OPQ of full vectors".to_owned(), full),
            false => (format!("OPQ of {}", leading.0), Reduction::Map(&leading.1)),
        };
        if bytes <= reduction.n_components() {
            let code = self.code(CodeSpec::Product(bytes), &self.reduced(&reduction)?)?;
            add(&name, reduction, code);
        }
        Ok(all)
    }

    /// The forms of PCA that keep most as floats, at the dimension of a code and at that of OPQ.
    pub(super) fn forms(
        &self,
        sample: &Sample,
        baselines: &Baselines,
        d: usize,
    ) -> Result<[(String, LinearMap); 2]> {
        let best = |d: usize| {
            best_form(self.ctx, (&self.data, sample), (baselines, d), |scores| scores.iter().sum())
        };
        let own = best(d)?;
        let leading = if self.data.x.dim() > MOST_OPQ { best(MOST_OPQ)? } else { own.clone() };
        Ok([own, leading])
    }

    /// A code like `spec` of such rows.
    fn code(&self, spec: CodeSpec, rows: &Matrix) -> Result<Format> {
        let with = (self.params.metric, self.params.seed);
        Format::code(self.ctx, with, spec, rows)
    }

    /// What formats of a reduction are made by.
    fn reduced(&self, reduction: &Reduction<'_>) -> Result<Matrix> {
        reduced(self.ctx, reduction, self.data.x, &self.ids)
    }
}

/// Notes on the codes that are judged.
pub(super) fn notes(first: &Kept<'_>, candidates: Option<usize>) -> Vec<String> {
    let mut notes = vec![
        "Queries are compared as floats with what bytes stand for (signs/f32: with the signs of the full \
         vectors); Hamming and signs: bits with bits."
            .to_owned(),
    ];
    if let Format::Code(Codec::Product(_)) = &first.format {
        let kilobytes = first.format.shared_bytes() as f64 / 1e3;
        notes.push(format!("All codes share a rotation and centres: {kilobytes:.0} kB."));
    }
    if let Some(count) = candidates {
        notes.push(format!(
            "Rescored: the {count} candidates that codes find are put in order by the full vectors."
        ));
    }
    notes
}
