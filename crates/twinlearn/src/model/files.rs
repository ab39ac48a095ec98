//! From files to files.

use std::fmt::Display;
use std::path::Path;

use half::f16;
use twinlearn_codes::Codec;
use twinlearn_core::context::Context;
use twinlearn_core::cost::{self, beside};
use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::Matrix;
use twinlearn_core::progress::{Event, Plan, Stage};
use twinlearn_vectors::{OutputDtype, ReducedFile, VectorSource, check_output};

use super::coded::encode_run;
use super::search::{CodesNote, NOTE};
use super::{Model, ScalarQuantiser};
use crate::nn::encode_bytes;

/// How reduced vectors are written.
#[derive(Clone, Debug, PartialEq)]
pub struct TransformOptions {
    l2_norm: bool,
    dtype: Option<OutputDtype>,
    codec: Option<Codec>,
    column: String,
    keep_original: bool,
}

impl Default for TransformOptions {
    fn default() -> Self {
        let column = "reduced".to_owned();
        Self { l2_norm: false, dtype: None, codec: None, column, keep_original: false }
    }
}

impl TransformOptions {
    /// Whether every reduced vector is scaled to length 1; default false.
    #[must_use]
    pub fn l2_norm(mut self, l2_norm: bool) -> Self {
        self.l2_norm = l2_norm;
        self
    }

    /// The type of the numbers; default what the file's extension says (`.f16bin`, `.i8bin`), else
    /// `f32`.
    #[must_use]
    pub fn dtype(mut self, dtype: Option<OutputDtype>) -> Self {
        self.dtype = dtype;
        self
    }

    /// What makes reduced vectors codes ([`Model::codec`]), which are then written as bytes, beside neither
    /// `l2_norm` nor `dtype`; default none.
    #[must_use]
    pub fn codec(mut self, codec: Option<Codec>) -> Self {
        self.codec = codec;
        self
    }

    /// The column that a table gets; default `reduced`.
    #[must_use]
    pub fn column(mut self, column: impl Into<String>) -> Self {
        self.column = column.into();
        self
    }

    /// Whether a table keeps the column of the original vectors; default false.
    #[must_use]
    pub fn keep_original(mut self, keep_original: bool) -> Self {
        self.keep_original = keep_original;
        self
    }
}

impl Model {
    /// Reduces vectors in files into a file, in one pass, whose format its extension says: `.npy`,
    /// `.fbin`, `.f16bin`, `.i8bin`, `.parquet` or `.arrow`, and for codes `.u8bin` or those that have no
    /// type of numbers of their own. Tables keep the other columns of tables; an entry `twinlearn` of their
    /// metadata is a JSON object: with int8 the ranges as `low` and `high`, with codes their name as `codes`,
    /// `n_components`, and as `model` its [`checksum`](Self::checksum). Memory does not grow with N.
    ///
    /// # Errors
    /// As [`transform`](Self::transform); when `path` is one of the files of `source`; with a column or
    /// `keep_original` when it is no table; with f16 when a
    /// number is beyond ±65504; when files cannot be read or written, or the extension is
    /// none of those; with int8 when the model has no ranges. An older file stays as it was.
    pub fn transform_file(
        &self,
        ctx: &Context,
        source: &VectorSource,
        path: impl AsRef<Path>,
        options: &TransformOptions,
    ) -> Result<()> {
        self.check_dim(source.dim())?;
        check_output(path.as_ref(), source.files())?;
        if let Some(codec) = &options.codec {
            let refuse = |name, got: &dyn Display| {
                Err(Error::invalid(name, format_args!("none beside codes {}", codec.spec()), got))
            };
            if let Some(dtype) = options.dtype {
                return refuse("dtype", &dtype);
            }
            if options.l2_norm {
                return refuse("l2_norm", &true);
            }
            if codec.dim() != self.n_components() {
                let expected = format!("codes of {} numbers", self.n_components());
                return Err(Error::invalid("codes", expected, codec.dim()));
            }
        }
        let mut file = ReducedFile {
            path: path.as_ref(),
            n_components: options.codec.as_ref().map_or(self.n_components(), Codec::row_bytes),
            dtype: options.codec.as_ref().map(|_| OutputDtype::UInt8).or(options.dtype),
            column: &options.column,
            keep_original: options.keep_original,
            note: None,
        };
        if let (Some(codec), Err(_)) = (&options.codec, file.dtype()) {
            let expected = "a name ending in .npy, .u8bin, .parquet or .arrow for codes";
            return Err(Error::file(file.path, expected, codec.spec()));
        }
        let dtype = file.dtype()?;
        if dtype == OutputDtype::UInt8 && options.codec.is_none() {
            let expected = "codes for numbers of 8 bits without a sign (by bits, or codes)";
            return Err(Error::file(file.path, expected, "numbers"));
        }
        if !file.is_table()? {
            let is_column = options.column != TransformOptions::default().column;
            for (name, is_given) in
                [("column", is_column), ("keep_original", options.keep_original)]
            {
                if is_given {
                    let expected = "an output that is a table (.parquet or .arrow)";
                    return Err(Error::invalid(name, expected, file.path.display()));
                }
            }
        }
        let quantiser = match dtype {
            OutputDtype::Int8 => Some(self.quantiser(options.l2_norm).ok_or_else(|| {
                let expected = "a model with ranges for dtype int8 (fit it anew, or go on from it)";
                Error::invalid("model", expected, "one of an earlier version, without")
            })?),
            _ => None,
        };
        if let Some(quantiser) = quantiser {
            let ranges = serde_json::json!({ "low": quantiser.low(), "high": quantiser.high() });
            file.note = Some((NOTE.to_owned(), ranges.to_string()));
        }
        if let Some(codec) = &options.codec {
            let note = serde_json::json!(CodesNote::new(self, codec));
            file.note = Some((NOTE.to_owned(), note.to_string()));
        }
        let held = source.in_flight_bytes() + file.held_bytes(source)?;
        let plan = self.transform_plan(ctx, source, held)?;
        let writer = file.create(source)?;
        ctx.emit(&Event::Plan(&plan));
        ctx.stage(Stage::Transform, source.n_rows(), || {
            writer.write(self.run_rows(), &mut |first, rows| {
                let mut block = Matrix::zeros(rows.n_rows(), self.n_components());
                let run = 0..rows.n_rows();
                self.transform_run(ctx, rows, run, first, options.l2_norm, block.as_mut_slice())?;
                let done = first + rows.n_rows();
                ctx.emit(&Event::StageProgress { stage: Stage::Transform, done });
                match &options.codec {
                    Some(codec) => encode_run(ctx, codec, &block, first),
                    None => to_bytes(&block, first, dtype, quantiser),
                }
            })
        })
    }
}

impl Model {
    /// How [`transform_file`](Self::transform_file) goes about it. `held` are bytes of
    /// what is read and written.
    fn transform_plan(&self, ctx: &Context, source: &VectorSource, held: usize) -> Result<Plan> {
        let (run, d) = (self.run_rows().min(source.n_rows()), self.n_components());
        let multiplications = source.n_rows() as f64 * self.n_inference_parameters() as f64;
        let computing = cost::product(multiplications) / ctx.n_threads() as f64;
        let seconds = computing + cost::reading(source.n_bytes() as f64);
        // A block as it is and as it is written.
        let bytes = held + 2 * 4 * run * d + ctx.n_threads() * encode_bytes(self.n_features());
        beside(ctx, bytes, "this transform")?;
        let what = format!("{source} to {d} dimensions");
        let details = format!("one pass, in blocks of {run} rows");
        Ok(Plan { what, details, bytes, seconds })
    }
}

/// The numbers of rows as they are written; f16 refuses what it would make infinite. `first` is the
/// number of the first row.
fn to_bytes(
    rows: &Matrix,
    first: usize,
    dtype: OutputDtype,
    quantiser: Option<&ScalarQuantiser>,
) -> Result<Vec<u8>> {
    Ok(match (dtype, quantiser) {
        (OutputDtype::F16, _) => {
            let half: Vec<f16> = rows.as_slice().iter().map(|&v| f16::from_f32(v)).collect();
            if let Some(at) = half.iter().position(|v| v.is_infinite()) {
                return Err(Error::invalid(
                    "dtype",
                    "numbers within ±65504 for f16 (f32, or rows of length 1 by l2_norm, would hold \
                     them)",
                    format_args!(
                        "{:e} in row {}, column {} of the reduced vectors",
                        rows.as_slice()[at],
                        first + at / rows.cols(),
                        at % rows.cols()
                    ),
                ));
            }
            bytemuck::cast_slice(&half).to_vec()
        }
        (OutputDtype::Int8, Some(quantiser)) => {
            bytemuck::cast_slice(&quantiser.encode(rows)).to_vec()
        }
        _ => bytemuck::cast_slice(rows.as_slice()).to_vec(),
    })
}
