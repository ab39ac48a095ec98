//! What codes of reduced vectors need, and how it is kept in the model file.

use twinlearn_codes::{CodeSpec, ProductCode, RowMoments};
use twinlearn_core::error::Error;
use twinlearn_core::linalg::Matrix;
use twinlearn_vectors::{Mismatch, Named, Tensors};

use crate::params::Params;

/// What codes of reduced vectors need.
#[derive(Clone, Debug)]
pub(super) struct Codes {
    pub(super) moments: RowMoments,
    /// The same of the first numbers, for each nested size.
    nested: Vec<RowMoments>,
    pub(super) product: Option<ProductCode>,
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
    ) -> Result<Self, Mismatch> {
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
        let nested = nested.collect::<Result<_, _>>()?;
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
