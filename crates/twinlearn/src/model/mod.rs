//! A fitted model: the encoder, ready to transform, and what made it.

mod coded;
mod codes;
mod file;
mod files;
mod nested;
mod quantiser;
mod record;
mod search;
mod view;

use std::ops::Range;

use self::codes::Codes;
pub use self::file::MODEL_ENDING;
pub use self::files::TransformOptions;
pub use self::quantiser::ScalarQuantiser;
pub use self::record::{
    HeldOut, NestedReport, QueryRecord, QueryReport, RowsAlone, TrainingRecord, ValidationReport,
};
pub use self::search::CodeSearch;
pub use self::view::ReducedView;
use crate::linear_map::LinearMap;
use crate::nn::{Network, encode, encode_rows};
use crate::params::{Params, ParamsBuilder};
use twinlearn_core::context::{Context, runs};
use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::{Matrix, scale_to_unit};
use twinlearn_core::progress::{Event, Stage};
use twinlearn_vectors::{Centred, Subset, Vectors, check_row, spread_ids};

/// A fitted encoder.
#[derive(Clone, Debug)]
pub struct Model {
    params: Params,
    encoder: Network<f32>,
    projector: Option<Network<f32>>,
    /// The encoder with batch norm folded away.
    inference: Network<f32>,
    /// None in models of schema version 1.
    ranges: Option<Ranges>,
    /// None in models of a schema version below 4.
    codes: Option<Codes>,
    /// What is taken off rows in `f64`, where they lie far from 0 and near each other (metric l2).
    origin: Option<Vec<f64>>,
    training: TrainingRecord,
}

/// The ranges of the reduced vectors, by which they are made bytes.
#[derive(Clone, Debug)]
struct Ranges {
    plain: ScalarQuantiser,
    /// The ranges of reduced vectors scaled to length 1.
    unit: ScalarQuantiser,
    /// The same of their first numbers, for each nested size.
    nested: Vec<ScalarQuantiser>,
}

/// Rows that ranges are taken from, at most.
const RANGE_ROWS: usize = 10_000;

/// About how many input elements there are in a block of rows that are transformed.
const BLOCK_ELEMENTS: usize = 1 << 21;

impl Model {
    pub(crate) fn new(
        params: Params,
        encoder: Network<f32>,
        projector: Option<Network<f32>>,
        training: TrainingRecord,
    ) -> Self {
        let inference = encoder.folded();
        let (ranges, codes, origin) = (None, None, None);
        Self { params, encoder, projector, inference, ranges, codes, origin, training }
    }

    /// With the weights that the input is multiplied by made those of other coordinates.
    pub(crate) fn with_input(mut self, of: impl Fn(&Matrix) -> Result<Matrix>) -> Result<Self> {
        *self.encoder.first_weight_mut() = of(self.encoder.first_weight())?;
        self.inference = self.encoder.folded();
        Ok(self)
    }

    /// A model that first subtracts `origin` from every row.
    pub(crate) fn of_origin(self, origin: Option<&[f64]>) -> Self {
        Self { origin: origin.map(<[f64]>::to_vec), ..self }
    }

    /// The same model of rows from which `origin` is taken already.
    pub(crate) fn about(&self, origin: &[f64]) -> Self {
        let own = self.origin.clone().unwrap_or_else(|| vec![0.0; origin.len()]);
        let left: Vec<f64> = own.iter().zip(origin).map(|(own, taken)| own - taken).collect();
        self.clone().of_origin(Some(&left))
    }

    /// With the ranges and moments of what becomes of checked rows: of an even sample, where they are many.
    pub(crate) fn with_ranges(self, ctx: &Context, rows: &dyn Vectors) -> Result<Self> {
        let ids = spread_ids(rows.n_rows(), RANGE_ROWS);
        let reduced = encode(&ctx.quiet(), &self.inference, &Subset::new(rows, &ids)?)?;
        let plain = ScalarQuantiser::of(&reduced);
        let codes = Codes::of(&self.params, &reduced);
        let unit = |mut reduced: Matrix| {
            let width = reduced.cols();
            for row in reduced.as_mut_slice().chunks_exact_mut(width) {
                scale_to_unit(row);
            }
            ScalarQuantiser::of(&reduced)
        };
        let sizes = self.params.nested.iter();
        let nested = sizes.map(|&size| unit(reduced.first_columns(size))).collect();
        let ranges = Some(Ranges { plain, unit: unit(reduced), nested });
        Ok(Self { ranges, codes: Some(codes), ..self })
    }

    /// What makes reduced vectors bytes: those of [`transform`](Self::transform) with the same
    /// `l2_norm`. None in models of schema version 1.
    #[must_use]
    pub fn quantiser(&self, l2_norm: bool) -> Option<&ScalarQuantiser> {
        let ranges = self.ranges.as_ref()?;
        Some(if l2_norm { &ranges.unit } else { &ranges.plain })
    }

    /// Encoder and, if it was retained, projector.
    pub(crate) fn networks(&self) -> (&Network<f32>, Option<&Network<f32>>) {
        (&self.encoder, self.projector.as_ref())
    }

    /// A builder of parameters that begins with this model: what it was made with are the defaults, and
    /// `init` is model. What belongs to a loss (τ, `centre_target`, λ, the optimizer, `n_neighbors`,
    /// `batch_size`, …) stays where the loss stays. The schedule (`epochs`, `warmup_epochs`,
    /// `learning_rate`) is that of a new fit. The seed stays, so that on the same rows the same ones are
    /// held out: others, the model was trained on.
    #[must_use]
    pub fn fine_tune(&self) -> ParamsBuilder {
        ParamsBuilder::going_on(&self.params, self.training.n_rows)
    }

    /// The hyper-parameters it was trained with.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// What its training did.
    #[must_use]
    pub fn training(&self) -> &TrainingRecord {
        &self.training
    }

    /// D, the dimension of the vectors it takes.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.encoder.in_width()
    }

    /// d, the dimension of the vectors it gives.
    #[must_use]
    pub fn n_components(&self) -> usize {
        self.encoder.out_width()
    }

    /// Whether the projector was retained.
    #[must_use]
    pub fn has_projector(&self) -> bool {
        self.projector.is_some()
    }

    /// The number of numbers in the encoder as it is applied (batch norm folded).
    #[must_use]
    pub fn n_inference_parameters(&self) -> usize {
        self.inference.parameters().iter().map(|p| p.2.len()).sum()
    }

    /// Every array of the model file: name, shape and values. Weights are out × in; the ranges of int8
    /// and what codes need come last.
    #[must_use]
    pub fn arrays(&self) -> Vec<(String, Vec<usize>, &[f32])> {
        let mut all = Vec::new();
        for (prefix, network) in
            [("encoder", Some(&self.encoder)), ("projector", self.projector.as_ref())]
        {
            let arrays = network.into_iter().flat_map(Network::arrays);
            all.extend(arrays.map(|(name, shape, v)| (format!("{prefix}.{name}"), shape, v)));
        }
        if let Some(Ranges { plain, unit, nested }) = &self.ranges {
            let mut named = vec![("ranges".to_owned(), plain), ("unit_ranges".to_owned(), unit)];
            for (size, quantiser) in self.params.nested.iter().zip(nested) {
                named.push((format!("unit_ranges_{size}"), quantiser));
            }
            for (prefix, quantiser) in named {
                for (name, values) in [("low", &quantiser.low), ("high", &quantiser.high)] {
                    all.push((format!("{prefix}.{name}"), vec![values.len()], &values[..]));
                }
            }
        }
        all.extend(self.codes.iter().flat_map(|codes| codes.arrays(&self.params)));
        all
    }

    /// The one linear map that the encoder is, where it is one (`linear`, and `flinear` with batch
    /// norm).
    #[must_use]
    pub fn linear_map(&self) -> Option<LinearMap> {
        let mut network = self.inference.clone();
        network.as_linear()?;
        if let Some(origin) = &self.origin {
            network.shift_input(origin, -1.0);
        }
        let (weight, bias) = network.as_linear()?;
        let bias = bias.map_or_else(|| vec![0.0; weight.rows()], <[f32]>::to_vec);
        Some(LinearMap { weight: weight.clone(), bias })
    }

    /// The same model without its projector.
    #[must_use]
    pub fn without_projector(self) -> Self {
        Self { projector: None, ..self }
    }

    /// Every row of `x` encoded: N × d. With `l2_norm` each row is scaled to length 1 (a row of
    /// zeros stays).
    ///
    /// # Errors
    /// When `x` has another dimension, a value is not finite, or the work is cancelled.
    pub fn transform(&self, ctx: &Context, x: &dyn Vectors, l2_norm: bool) -> Result<Matrix> {
        let mut out = Matrix::zeros(x.n_rows(), self.n_components());
        self.each_run(ctx, x, |run| {
            self.transform_run(ctx, x, run.clone(), 0, l2_norm, out.rows_slice_mut(run))
        })?;
        Ok(out)
    }

    /// [`transform`](Self::transform) block by block, in row order: memory does not grow with N.
    ///
    /// # Errors
    /// As `transform`, and what `sink` returns.
    pub fn transform_blocks(
        &self,
        ctx: &Context,
        x: &dyn Vectors,
        l2_norm: bool,
        mut sink: impl FnMut(&Matrix) -> Result<()>,
    ) -> Result<()> {
        self.each_run(ctx, x, |run| {
            let mut block = Matrix::zeros(run.len(), self.n_components());
            self.transform_run(ctx, x, run, 0, l2_norm, block.as_mut_slice())?;
            sink(&block)
        })
    }

    /// Rows that are read at once.
    fn run_rows(&self) -> usize {
        (BLOCK_ELEMENTS / self.n_features()).max(64)
    }

    fn check_dim(&self, dim: usize) -> Result<()> {
        let wanted = self.n_features();
        if dim == wanted {
            return Ok(());
        }
        let expected = format!("vectors of dimension {wanted}, which the model was fitted to");
        Err(Error::invalid("X", expected, dim))
    }

    /// Calls `each` with the rows of `x`, block by block, and tells of it.
    fn each_run(
        &self,
        ctx: &Context,
        x: &dyn Vectors,
        mut each: impl FnMut(Range<usize>) -> Result<()>,
    ) -> Result<()> {
        self.check_dim(x.dim())?;
        ctx.stage(Stage::Transform, x.n_rows(), || {
            for run in runs(x.n_rows(), self.run_rows()) {
                let done = run.end;
                each(run)?;
                ctx.emit(&Event::StageProgress { stage: Stage::Transform, done });
            }
            Ok(())
        })
    }

    /// Checks and encodes the rows `run`; in messages they are numbered from `first` on.
    fn transform_run(
        &self,
        ctx: &Context,
        x: &dyn Vectors,
        run: Range<usize>,
        first: usize,
        l2_norm: bool,
        out: &mut [f32],
    ) -> Result<()> {
        let finish = |i: usize, row: &[f32], z: &mut [f32]| {
            check_row("X", first + i, row, false)?;
            if l2_norm {
                scale_to_unit(z);
            }
            Ok(())
        };
        match &self.origin {
            Some(origin) => {
                encode_rows(ctx, &self.inference, &Centred::new(x, origin), run, out, finish)
            }
            None => encode_rows(ctx, &self.inference, x, run, out, finish),
        }
    }
}
