//! A code of either kind.

use twinlearn_core::context::Context;
use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::Matrix;
use twinlearn_knn::Metric;
use twinlearn_vectors::Vectors;

use crate::product::ProductCode;
use crate::scalar::{ScalarCode, prepare};
use crate::spec::CodeSpec;

/// Rows that a task encodes at once.
const ROWS: usize = 256;

/// What makes rows bytes, and tells what bytes stand for.
///
/// ```
/// use twinlearn_codes::{Bits, Codec, Context, Matrix, Metric, RowMoments, ScalarCode};
/// let rows = Matrix::new(3, 4, vec![3.0, 1.0, 0.0, 0.2, -1.0, 2.0, 1.0, 0.0, 0.5, 0.5, -2.0, 1.0])?;
/// let moments = RowMoments::of(Metric::Cosine, rows.as_slice(), 4);
/// let codec = Codec::Scalar(ScalarCode::new(Metric::Cosine, Bits::new(4)?, moments)?);
/// let codes = codec.encode(&Context::new()?, &rows)?;
/// assert_eq!(codes.len(), 3 * codec.row_bytes());
/// let about = codec.decode(&codes)?; // about of length 1, as only directions are kept
/// assert!((about.row(0)[0] - 3.0 / 10.04_f32.sqrt()).abs() < 0.1);
/// # Ok::<(), twinlearn_codes::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Codec {
    /// Every number by a few bits.
    Scalar(ScalarCode),
    /// Groups of numbers by their nearest centres.
    Product(ProductCode),
}

impl Codec {
    /// Which code it is.
    #[must_use]
    pub fn spec(&self) -> CodeSpec {
        match self {
            Self::Scalar(code) => CodeSpec::Scalar(code.bits()),
            Self::Product(code) => CodeSpec::Product(code.row_bytes()),
        }
    }

    /// d, the numbers of a row.
    #[must_use]
    pub fn dim(&self) -> usize {
        match self {
            Self::Scalar(code) => code.dim(),
            Self::Product(code) => code.dim(),
        }
    }

    /// Bytes of a row.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        match self {
            Self::Scalar(code) => code.row_bytes(),
            Self::Product(code) => code.row_bytes(),
        }
    }

    /// The metric that codes are compared by.
    #[must_use]
    pub fn metric(&self) -> Metric {
        match self {
            Self::Scalar(code) => code.metric(),
            Self::Product(code) => code.metric(),
        }
    }

    /// The codes of rows, row after row. A row's code does not depend on those beside it. What has no
    /// direction under cosine (zeros) has some code all the same.
    ///
    /// # Errors
    /// When rows have another dimension or cannot be read, or the work is cancelled.
    pub fn encode(&self, ctx: &Context, rows: &dyn Vectors) -> Result<Vec<u8>> {
        let (dim, bytes) = (self.dim(), self.row_bytes());
        if rows.dim() != dim {
            return Err(Error::invalid(
                "X",
                format_args!("vectors of dimension {dim}"),
                rows.dim(),
            ));
        }
        let mut codes = vec![0; rows.n_rows() * bytes];
        ctx.try_for_each_chunk(&mut codes, ROWS * bytes, |c, codes| {
            let mut some = vec![0.0; codes.len() / bytes * dim];
            rows.read_rows(c * ROWS, &mut some)?;
            match self {
                Self::Scalar(code) => code.encode(&mut some, codes),
                Self::Product(code) => {
                    some.chunks_exact_mut(dim).for_each(|row| prepare(code.metric(), row));
                    // Products of a matrix differ by its shape, so all have one.
                    some.resize(ROWS * dim, 0.0);
                    let mut all = vec![0; ROWS * bytes];
                    code.encode(&some, &mut all);
                    codes.copy_from_slice(&all[..codes.len()]);
                }
            }
            Ok(())
        })?;
        Ok(codes)
    }

    /// What codes stand for, row after row: under cosine directions, of a length about 1.
    ///
    /// # Errors
    /// When they are not whole rows, or a length in them is not finite.
    pub fn decode(&self, codes: &[u8]) -> Result<Matrix> {
        let (dim, bytes) = (self.dim(), self.row_bytes());
        if !codes.len().is_multiple_of(bytes) {
            let expected = format!("rows of {bytes} bytes");
            return Err(Error::invalid("codes", expected, format_args!("{} bytes", codes.len())));
        }
        let mut rows = Matrix::zeros(codes.len() / bytes, dim);
        for (row, code) in rows.as_mut_slice().chunks_exact_mut(dim).zip(codes.chunks_exact(bytes))
        {
            self.decode_turned(code, row);
            check_finite(row)?;
        }
        let all = rows.as_mut_slice();
        match self {
            Self::Scalar(code) => code.turn_back(all),
            // Products of a matrix differ by its shape, so each row has its own.
            Self::Product(code) => all
                .chunks_exact_mut(dim)
                .for_each(|row| row.copy_from_slice(&code.turned_back(row))),
        }
        Ok(rows)
    }

    /// Writes what a code stands for, turned as [`turned`](Self::turned) turns rows.
    ///
    /// # Panics
    /// When `code` and `out` are not one row of bytes and of numbers.
    pub fn decode_turned(&self, code: &[u8], out: &mut [f32]) {
        match self {
            Self::Scalar(own) => own.decode(code, out),
            Self::Product(own) => own.decode(code, out),
        }
    }

    /// Rows turned as those of [`decode_turned`](Self::decode_turned) are: between such rows distances are
    /// as before, up to a scale of all.
    ///
    /// # Errors
    /// When rows cannot be read.
    pub fn turned(&self, rows: &dyn Vectors) -> Result<Matrix> {
        let (n, dim) = (rows.n_rows(), self.dim());
        let mut turned = Matrix::zeros(n, dim);
        rows.read_rows(0, turned.as_mut_slice())?;
        let all = turned.as_mut_slice();
        match self {
            Self::Scalar(code) => code.turn(all),
            Self::Product(code) => {
                all.chunks_exact_mut(dim).for_each(|row| row.copy_from_slice(&code.turned(row)));
            }
        }
        Ok(turned)
    }
}

/// Refuses a row whose length was stored as what is no number: it would be before or behind all others.
pub(crate) fn check_finite(row: &[f32]) -> Result<()> {
    match row.iter().find(|v| !v.is_finite()) {
        None => Ok(()),
        Some(v) => Err(Error::invalid("codes", "lengths that are finite (codes are damaged)", v)),
    }
}
