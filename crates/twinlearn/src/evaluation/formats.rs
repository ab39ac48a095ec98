//! How reduced vectors are kept: as they are, or in a few bytes.

use twinlearn_codes::{CodeSpec, Codec, ProductCode, RowMoments, ScalarCode};
use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_core::linalg::Matrix;
use twinlearn_knn::Metric;
use twinlearn_vectors::{Vectors, copied};

use super::data::{EvaluationData, Reduction};
use crate::model::ScalarQuantiser;

/// How vectors are kept, and compared.
#[derive(Clone, Debug)]
pub(super) enum Format {
    /// 32-bit floats.
    Floats,
    /// A byte for each number, by its range; queries stay floats.
    Int8(ScalarQuantiser),
    /// Codes; queries stay floats.
    Code(Codec),
    /// Codes of 1 bit, those of queries too, by Hamming distance.
    Hamming(Codec),
    /// Whether each number is above 0: the binary quantisation of databases. Queries stay floats, or are
    /// compared by Hamming distance.
    Signs { queries: Side },
}

/// What is compared with bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Floats,
    Bits,
}

impl Format {
    /// What it is for rows like these: int8 by their ranges.
    pub(super) fn int8(rows: &Matrix) -> Self {
        Self::Int8(ScalarQuantiser::of(rows))
    }

    /// A code like `spec` for reduced rows like these.
    pub(super) fn code(
        ctx: &Context,
        (metric, seed): (Metric, u64),
        spec: CodeSpec,
        rows: &Matrix,
    ) -> Result<Self> {
        Ok(Self::Code(match spec {
            CodeSpec::Scalar(bits) => {
                let moments = RowMoments::of(metric, rows.as_slice(), rows.cols());
                Codec::Scalar(ScalarCode::new(metric, bits, moments)?)
            }
            CodeSpec::Product(bytes) => {
                Codec::Product(ProductCode::train(ctx, metric, rows, bytes, seed)?)
            }
        }))
    }

    /// As tables name it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Floats => "f32".to_owned(),
            Self::Int8(_) => "int8".to_owned(),
            Self::Code(codec) => codec.spec().to_string(),
            Self::Hamming(_) => "Hamming".to_owned(),
            Self::Signs { queries: Side::Bits } => "signs".to_owned(),
            Self::Signs { queries: Side::Floats } => "signs/f32".to_owned(),
        }
    }

    /// Bytes of a vector of `dim` numbers, what it has beside its numbers included.
    pub(super) fn row_bytes(&self, dim: usize) -> usize {
        match self {
            Self::Floats => dim * size_of::<f32>(),
            Self::Int8(_) => dim,
            Self::Code(codec) | Self::Hamming(codec) => codec.row_bytes(),
            Self::Signs { .. } => dim.div_ceil(8),
        }
    }

    /// Bytes of what all vectors share: ranges, means, a rotation and centres.
    pub(super) fn shared_bytes(&self) -> usize {
        size_of::<f32>()
            * match self {
                Self::Floats | Self::Signs { .. } => 0,
                Self::Int8(quantiser) => 2 * quantiser.low().len(),
                Self::Code(Codec::Scalar(code)) | Self::Hamming(Codec::Scalar(code)) => {
                    code.dim() + 2
                }
                Self::Code(Codec::Product(code)) | Self::Hamming(Codec::Product(code)) => {
                    code.rotation().as_slice().len() + code.centres().as_slice().len()
                }
            }
    }

    /// What stands for rows in a search of them.
    fn base<'a>(
        &'a self,
        ctx: &Context,
        rows: Box<dyn Vectors + 'a>,
    ) -> Result<Box<dyn Vectors + 'a>> {
        let dim = rows.dim();
        match self {
            Self::Floats => Ok(rows),
            Self::Code(codec) => {
                let bytes = codec.encode(ctx, &*rows)?;
                let decode = |code: &[u8], out: &mut [f32]| codec.decode_turned(code, out);
                let decode = Box::new(decode);
                Ok(Box::new(Bytes { bytes, row_bytes: codec.row_bytes(), dim, decode }))
            }
            Self::Int8(quantiser) => {
                let encode = |row: &[f32], out: &mut [u8]| {
                    quantiser.encode_row(row, bytemuck::cast_slice_mut(out));
                };
                let decode = |code: &[u8], out: &mut [f32]| {
                    quantiser.decode_row(bytemuck::cast_slice(code), out);
                };
                let bytes = encoded(ctx, &*rows, dim, encode)?;
                Ok(Box::new(Bytes { bytes, row_bytes: dim, dim, decode: Box::new(decode) }))
            }
            Self::Hamming(codec) => Ok(bits(codec.encode(ctx, &*rows)?, codec.row_bytes(), dim)),
            Self::Signs { .. } => {
                let row_bytes = dim.div_ceil(8);
                let encode = |row: &[f32], out: &mut [u8]| {
                    for (byte, row) in out.iter_mut().zip(row.chunks(8)) {
                        *byte = (0..).zip(row).map(|(i, &v)| u8::from(v > 0.0) << (7 - i)).sum();
                    }
                };
                Ok(bits(encoded(ctx, &*rows, row_bytes, encode)?, row_bytes, dim))
            }
        }
    }

    /// What stands for queries.
    fn queries<'a>(
        &'a self,
        ctx: &Context,
        queries: Box<dyn Vectors + 'a>,
    ) -> Result<Box<dyn Vectors + 'a>> {
        match self {
            Self::Floats | Self::Int8(_) | Self::Signs { queries: Side::Floats } => Ok(queries),
            Self::Code(codec) => Ok(Box::new(codec.turned(&*queries)?)),
            Self::Hamming(_) | Self::Signs { .. } => self.base(ctx, queries),
        }
    }
}

/// Rows of bits as numbers 1 and -1: the nearest by any metric are the nearest by Hamming distance.
fn bits<'a>(bytes: Vec<u8>, row_bytes: usize, dim: usize) -> Box<dyn Vectors + 'a> {
    let decode = |code: &[u8], out: &mut [f32]| {
        for (i, v) in out.iter_mut().enumerate() {
            *v = if code[i / 8] << (i % 8) & 128 != 0 { 1.0 } else { -1.0 };
        }
    };
    Box::new(Bytes { bytes, row_bytes, dim, decode: Box::new(decode) })
}

/// Rows that are read at once.
const ROWS: usize = 256;

/// The bytes that `encode` makes of each row.
fn encoded(
    ctx: &Context,
    rows: &dyn Vectors,
    row_bytes: usize,
    encode: impl Fn(&[f32], &mut [u8]) + Sync,
) -> Result<Vec<u8>> {
    let dim = rows.dim();
    let mut bytes = vec![0; rows.n_rows() * row_bytes];
    ctx.try_for_each_chunk(&mut bytes, ROWS * row_bytes, |c, bytes| {
        let mut some = vec![0.0; bytes.len() / row_bytes * dim];
        rows.read_rows(c * ROWS, &mut some)?;
        let pairs = some.chunks_exact(dim).zip(bytes.chunks_exact_mut(row_bytes));
        pairs.for_each(|(row, bytes)| encode(row, bytes));
        Ok(())
    })?;
    Ok(bytes)
}

/// Writes what the bytes of a row stand for.
type Decode<'a> = Box<dyn Fn(&[u8], &mut [f32]) + Send + Sync + 'a>;

/// Rows kept as bytes, decoded each time that they are read.
struct Bytes<'a> {
    bytes: Vec<u8>,
    row_bytes: usize,
    dim: usize,
    decode: Decode<'a>,
}

impl Vectors for Bytes<'_> {
    fn n_rows(&self) -> usize {
        self.bytes.len() / self.row_bytes
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let codes = self.bytes[start * self.row_bytes..].chunks_exact(self.row_bytes);
        codes.zip(out.chunks_exact_mut(self.dim)).for_each(|(code, out)| (self.decode)(code, out));
        Ok(())
    }
}

/// A reduction, and how what it gives is kept.
pub(super) struct Kept<'a> {
    pub(super) reduction: Reduction<'a>,
    pub(super) format: Format,
}

impl<'a> Kept<'a> {
    /// As 32-bit floats.
    pub(super) fn floats(reduction: Reduction<'a>) -> Self {
        Self { reduction, format: Format::Floats }
    }

    pub(super) fn row_bytes(&self) -> usize {
        self.format.row_bytes(self.reduction.n_components())
    }

    /// What stands for the rows `ids` of X.
    pub(super) fn rows<'b>(
        &'b self,
        ctx: &Context,
        x: &'b dyn Vectors,
        ids: &'b [u32],
    ) -> Result<Box<dyn Vectors + 'b>> {
        self.format.base(ctx, self.reduction.rows(ctx, x, ids)?)
    }

    /// What stands for the rows `ids` of the queries: of X itself where none are given.
    pub(super) fn queries<'b>(
        &'b self,
        ctx: &Context,
        data: &EvaluationData<'b>,
        ids: &'b [u32],
    ) -> Result<Box<dyn Vectors + 'b>> {
        self.format.queries(ctx, self.reduction.queries(ctx, data, ids)?)
    }
}

/// The reduced rows `ids` of X, by which formats are made.
pub(super) fn reduced(
    ctx: &Context,
    reduction: &Reduction<'_>,
    x: &dyn Vectors,
    ids: &[u32],
) -> Result<Matrix> {
    copied(ctx, &*reduction.rows(ctx, x, ids)?)
}
