//! Reduced vectors as codes of a few bytes.

use twinlearn_codes::{Bits, CodeSpec, Codec, ProductCode, ScalarCode};
use twinlearn_core::context::Context;
use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::Matrix;
use twinlearn_core::progress::Stage;
use twinlearn_knn::Metric;
use twinlearn_vectors::{Subset, Vectors, check_row, spread_ids};

use super::Model;
use super::codes::Codes;
use crate::nn::encode;
use crate::params::Params;

/// Rows that a product code is learned from, at most.
const MOST_CODED: usize = 65_536;

impl Model {
    /// What makes reduced vectors codes of so many bits a number, or with none by the product code that
    /// the model was fitted with ([`codes`](crate::Hyperparameters::codes)). Reduced vectors go in as
    /// [`transform`](Self::transform) gives them: a codec scales them to length 1 under cosine.
    ///
    /// ```
    /// use twinlearn::{Bits, Context, DenseVectors, Matrix, Params, Trainer, search_codes};
    /// let data = (0..300 * 8).map(|i| ((i * 7919) % 101) as f32 * 0.01).collect();
    /// let (ctx, x) = (Context::new()?, Matrix::new(300, 8, data)?);
    /// let model = Trainer::new(Params::builder().n_components(4).build()?).fit(&ctx, &x)?.model;
    ///
    /// let codec = model.codec(Some(Bits::new(4)?))?;
    /// let z = model.transform(&ctx, &x, false)?;
    /// let codes = codec.encode(&ctx, &z)?; // 2 bytes a row, and where that pays 2 for its length
    /// let codes = DenseVectors::new(&codes, codec.row_bytes())?;
    /// let near = search_codes(&ctx, &codec, &codes, &z, 10)?; // 10 row numbers for each query
    /// assert_eq!(near.len(), 300 * 10);
    /// # Ok::<(), twinlearn::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the model has no product code, or was made before models knew of codes.
    pub fn codec(&self, bits: Option<Bits>) -> Result<Codec> {
        let Some(Codes { moments, product, .. }) = &self.codes else {
            let expected = "one with what codes need: fitted by this version, and of all its numbers or a \
                            nested size";
            let got = "one without (of the first numbers of solver pca, say)";
            return Err(Error::invalid("model", expected, got));
        };
        match (bits, product) {
            (Some(bits), _) => {
                ScalarCode::new(self.params.metric, bits, moments.clone()).map(Codec::Scalar)
            }
            (None, Some(product)) => Ok(Codec::Product(product.clone())),
            (None, None) => {
                let expected = "one fitted with a product code (codes pq:16, say)";
                let got = "one without (a product code is of all numbers, not of the first)";
                Err(Error::invalid("model", expected, got))
            }
        }
    }

    /// The codes of the reduced rows of `x`, N × [`Codec::row_bytes`] bytes.
    ///
    /// # Errors
    /// As [`transform`](Self::transform); when a row is reduced to zeros under cosine, which have no
    /// direction.
    pub fn encode(&self, ctx: &Context, codec: &Codec, x: &dyn Vectors) -> Result<Vec<u8>> {
        encode_run(ctx, codec, &self.transform(ctx, x, false)?, 0)
    }

    /// The codec whose codes have so many bytes a row: the product code that the model was fitted with, or a
    /// scalar code.
    ///
    /// # Errors
    /// When none has, or several have; and as [`codec`](Self::codec).
    pub fn codec_of(&self, row_bytes: usize) -> Result<Codec> {
        let mut all =
            Bits::ALL.into_iter().map(|bits| self.codec(Some(bits))).collect::<Result<Vec<_>>>()?;
        all.extend(self.codec(None).ok());
        let listed = |codecs: &[&Codec]| {
            let listed = codecs.iter().map(|c| format!("{} ({})", c.spec(), c.row_bytes()));
            listed.collect::<Vec<_>>().join(", ")
        };
        let fitting: Vec<&Codec> = all.iter().filter(|c| c.row_bytes() == row_bytes).collect();
        match fitting[..] {
            [one] => Ok(one.clone()),
            [] => {
                let expected = format!(
                    "codes of the model, of so many bytes: {}",
                    listed(&all.iter().collect::<Vec<_>>())
                );
                Err(Error::invalid("codes", expected, format_args!("rows of {row_bytes} bytes")))
            }
            _ => {
                let expected =
                    format!("to be told which they are (bits, or codes): {}", listed(&fitting));
                Err(Error::invalid("codes", expected, format_args!("rows of {row_bytes} bytes")))
            }
        }
    }

    /// With the product code that its parameters ask for, learned from what becomes of checked rows.
    pub(crate) fn with_product(mut self, ctx: &Context, rows: &dyn Vectors) -> Result<Self> {
        let (Some(CodeSpec::Product(bytes)), Some(codes)) = (self.params.codes, &mut self.codes)
        else {
            return Ok(self);
        };
        let ids = spread_ids(rows.n_rows(), MOST_CODED);
        codes.product = Some(ctx.stage(Stage::Codes, ids.len(), || {
            let some = Subset::new(rows, &ids)?;
            let reduced = encode(&ctx.quiet(), &self.inference, &some)?;
            ProductCode::train(ctx, self.params.metric, &reduced, bytes, self.params.seed)
        })?);
        Ok(self)
    }

    /// Bytes and about the multiplications that learning the product code takes, of so many rows.
    pub(crate) fn product_cost(threads: usize, params: &Params, n_rows: usize) -> (usize, f64) {
        let (n, d) = (n_rows.min(MOST_CODED), params.n_components);
        match params.codes {
            Some(_) => {
                (ProductCode::training_bytes(threads, n, d), ProductCode::training_work(n, d))
            }
            None => (0, 0.0),
        }
    }
}

/// The codes of reduced rows, of which the first has number `first` in an error.
pub(super) fn encode_run(
    ctx: &Context,
    codec: &Codec,
    reduced: &Matrix,
    first: usize,
) -> Result<Vec<u8>> {
    let need_direction = codec.metric() == Metric::Cosine;
    for (i, row) in reduced.as_slice().chunks_exact(reduced.cols()).enumerate() {
        check_row("reduced vectors", first + i, row, need_direction)?;
    }
    codec.encode(ctx, reduced)
}
