//! Reduced vectors as codes of a few bytes.

use twinlearn_codes::{Bits, CodeSpec, Codec, ProductCode, RowMoments, ScalarCode};
use twinlearn_core::context::Context;
use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::{Matrix, scale_to_unit};
use twinlearn_core::progress::Stage;
use twinlearn_knn::Metric;
use twinlearn_vectors::{Mismatch, Named, Subset, Tensors, Vectors, spread_ids};

use super::Model;
use crate::nn::encode;
use crate::params::Params;

/// Rows that a product code is learned from, at most.
const MOST_CODED: usize = 65_536;

/// What codes of reduced vectors need.
#[derive(Clone, Debug)]
pub(super) struct Codes {
    moments: RowMoments,
    /// The same of the first numbers, for each nested size.
    nested: Vec<RowMoments>,
    product: Option<ProductCode>,
}

impl Codes {
    /// For reduced rows like these; without a product code.
    pub(super) fn of(params: &Params, reduced: &Matrix) -> Self {
        let of = |rows: &Matrix| RowMoments::of(params.metric, rows.as_slice(), rows.cols());
        let nested = params.nested.iter().map(|&size| of(&reduced.first_columns(size)));
        Self { moments: of(reduced), nested: nested.collect(), product: None }
    }

    /// The first `size` numbers, which are nested size number `place`.
    pub(super) fn prefix(&self, place: Option<usize>) -> Option<Self> {
        let place = place?;
        let moments = self.nested.get(place)?.clone();
        Some(Self { moments, nested: self.nested[..place].to_vec(), product: None })
    }

    /// Its arrays in the model file.
    pub(super) fn arrays(&self, params: &Params) -> Vec<Named<&[f32]>> {
        let mut all: Vec<Named<&[f32]>> = Vec::new();
        let sizes = params.nested.iter().map(|size| format!("codes_{size}"));
        let prefixes = std::iter::once("codes".to_owned()).chain(sizes);
        for (prefix, moments) in prefixes.zip(std::iter::once(&self.moments).chain(&self.nested)) {
            let RowMoments { centre, lengths } = moments;
            all.push((format!("{prefix}.centre"), vec![centre.len()], centre));
            all.push((format!("{prefix}.lengths"), vec![lengths.len()], lengths));
        }
        if let Some(product) = &self.product {
            for (name, of) in [("rotation", product.rotation()), ("centres", product.centres())] {
                all.push((format!("codes.{name}"), vec![of.rows(), of.cols()], of.as_slice()));
            }
        }
        all
    }

    /// Reads them; `n_centres` are those of a product code, if there is one.
    pub(super) fn read(
        arrays: &mut Tensors<'_>,
        params: &Params,
        n_centres: Option<usize>,
    ) -> std::result::Result<Self, Mismatch> {
        let d = params.n_components;
        let wrong = |error: Error| (error.to_string(), "others".to_owned());
        let mut moments = |prefix: &str, d: usize| {
            let mut moments = RowMoments { centre: vec![0.0; d], lengths: [0.0; 2] };
            arrays.fill(&format!("{prefix}.centre"), &[d], &mut moments.centre)?;
            arrays.fill(&format!("{prefix}.lengths"), &[2], &mut moments.lengths)?;
            match moments.lengths.iter().find(|&&v| v < 0.0) {
                Some(bad) => Err((format!("lengths from 0 in {prefix}"), bad.to_string())),
                None => Ok(moments),
            }
        };
        let own = moments("codes", d)?;
        let nested = params.nested.iter().map(|&size| moments(&format!("codes_{size}"), size));
        let nested = nested.collect::<std::result::Result<_, _>>()?;
        let product = match (n_centres, params.codes) {
            (Some(count), Some(CodeSpec::Product(bytes))) if (1..=256).contains(&count) => {
                // A lying header must not make us allocate more than the file holds.
                if d.checked_mul(d).is_none_or(|n| n > arrays.n_values()) {
                    return Err((format!("a rotation of {d} × {d}"), "fewer numbers".to_owned()));
                }
                let mut matrix = |name: &str, rows: usize| {
                    let mut values = Matrix::zeros(rows, d);
                    arrays.fill(name, &[rows, d], values.as_mut_slice()).map(|()| values)
                };
                let rotation = matrix("codes.rotation", d)?;
                let centres = matrix("codes.centres", count)?;
                Some(
                    ProductCode::from_parts(params.metric, rotation, centres, bytes)
                        .map_err(wrong)?,
                )
            }
            (Some(count), _) => {
                return Err(("codes pq:M with 1 to 256 centres".to_owned(), count.to_string()));
            }
            (None, _) => None,
        };
        Ok(Self { moments: own, nested, product })
    }

    /// The centres of each group of a product code, if there is one.
    pub(super) fn n_centres(&self) -> Option<usize> {
        self.product.as_ref().map(|product| product.centres().rows())
    }
}

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
            let expected = "one with what codes need (fitted anew, with this n_components)";
            return Err(Error::invalid("model", expected, "one without, as earlier versions made"));
        };
        match (bits, product) {
            (Some(bits), _) => {
                ScalarCode::new(self.params.metric, bits, moments.clone()).map(Codec::Scalar)
            }
            (None, Some(product)) => Ok(Codec::Product(product.clone())),
            (None, None) => {
                let expected = "a model fitted with a product code (codes pq:16, say)";
                Err(Error::invalid("model", expected, "one without"))
            }
        }
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
                let expected = format!("bits, or codes, to tell them apart: {}", listed(&fitting));
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
            let mut reduced = encode(&ctx.quiet(), &self.inference, &some)?;
            let (metric, dim) = (self.params.metric, reduced.cols());
            if metric == Metric::Cosine {
                reduced.as_mut_slice().chunks_exact_mut(dim).for_each(|row| {
                    scale_to_unit(row);
                });
            }
            ProductCode::train(ctx, metric, &reduced, bytes, self.params.seed)
        })?);
        Ok(self)
    }

    /// Bytes and about the multiplications that learning the product code takes, of so many rows.
    pub(crate) fn product_cost(params: &Params, n_rows: usize) -> (usize, f64) {
        let (n, d) = (n_rows.min(MOST_CODED), params.n_components);
        match params.codes {
            Some(_) => (ProductCode::training_bytes(n, d), ProductCode::training_work(n, d)),
            None => (0, 0.0),
        }
    }
}
