//! What codes stand for as small numbers: bytes, by which scores are bounded before they are reckoned.
//!
//! A row x̂ is c + f (V ∘ τ) but for an error δ: V whole numbers less an offset, f a number of the row, τ
//! one for each column. Of scalar codes V are the levels, τ is 1 and δ is 0; of product codes c is 0, f is 1
//! and V are the centres over τ, rounded.

use twinlearn_core::linalg::{dot_here, vectorised};
use twinlearn_knn::Metric;

use crate::codec::Codec;
use crate::kernels::{Coefficients, NUMBERS, ROWS, STRIDE};
use crate::product::ProductCode;
use crate::scalar::ScalarCode;

/// Panels of a block.
const PANELS: usize = 8;
/// Rows of a block.
pub(crate) const BLOCK: usize = PANELS * ROWS;
/// Rows shorter than this share of 1 under cosine, whose direction is rounding, are always looked at.
const SHORT: f64 = 1e-6;

/// How codes become small numbers.
pub(crate) struct Small<'a> {
    metric: Metric,
    dim: usize,
    kind: Kind<'a>,
    /// About how long rows are.
    pub(crate) length: f64,
    /// About how large f is.
    pub(crate) factor: f64,
    /// What is taken off the bytes.
    pub(crate) offset: f64,
    /// τ.
    pub(crate) steps: Vec<f32>,
}

enum Kind<'a> {
    Scalar { code: &'a ScalarCode, square: f64 },
    Product { code: &'a ProductCode, groups: Vec<Group> },
}

/// The centres of a group as bytes, and of each three squares: its own, of V, of the error.
struct Group {
    width: usize,
    bytes: Vec<u8>,
    squares: Vec<[f32; 3]>,
}

/// What is known of a row beside its bytes.
struct Row {
    /// ‖x̂‖², ‖V‖² and ‖δ‖².
    square: f64,
    small: f64,
    error: f64,
    factor: f64,
}

/// The largest of a block's rows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Most {
    pub(crate) own: f64,
    pub(crate) factor: f64,
    pub(crate) part: f64,
    /// factor · ‖V‖.
    pub(crate) small: f64,
    /// ‖δ‖, and ‖x̂‖ with f ‖V‖, over what rows are divided by.
    pub(crate) error: f64,
    pub(crate) length: f64,
}

/// Some rows as small numbers, in panels.
pub(crate) struct Block {
    bytes: Vec<u8>,
    own: Vec<[f32; ROWS]>,
    factor: Vec<[f32; ROWS]>,
    part: Vec<[f32; ROWS]>,
    pub(crate) most: Most,
}

impl<'a> Small<'a> {
    pub(crate) fn new(codec: &'a Codec) -> Self {
        let (metric, dim) = (codec.metric(), codec.dim());
        match codec {
            Codec::Scalar(code) => {
                let centre = code.turned();
                let square = dot_here(centre, centre);
                let mean = f64::from(code.moments().lengths[0]);
                let steps = vec![1.0; dim];
                let offset = f64::from((1_u32 << code.bits().get()) - 1) / 2.0;
                let length = positive(square.sqrt() + mean);
                let factor = positive(mean);
                let kind = Kind::Scalar { code, square };
                Self { metric, dim, kind, length, factor, offset, steps }
            }
            Codec::Product(code) => {
                let centres = code.centres();
                let mut steps = vec![0.0_f32; dim];
                for row in centres.as_slice().chunks_exact(dim) {
                    steps.iter_mut().zip(row).for_each(|(most, v)| *most = most.max(v.abs()));
                }
                steps.iter_mut().for_each(|step| *step = positive((*step / 127.0).into()) as f32);
                let mut from = 0;
                let groups = code.books().iter().map(|book| {
                    let group = Group::new(book.as_slice(), &steps[from..from + book.cols()]);
                    from += book.cols();
                    group
                });
                let groups = groups.collect();
                let kind = Kind::Product { code, groups };
                Self { metric, dim, kind, length: 1.0, factor: 1.0, offset: 128.0, steps }
            }
        }
    }

    pub(crate) fn metric(&self) -> Metric {
        self.metric
    }

    /// The share that rounding may change scores by: that of sixteen sums of `f32`, of which rows' lengths
    /// are made, and a few more.
    pub(crate) fn rounding(&self) -> f64 {
        1e-6 + 8e-9 * self.dim as f64
    }

    /// Bytes of a block.
    pub(crate) fn block_bytes(&self) -> usize {
        BLOCK * (self.strides() * NUMBERS + 3 * size_of::<f32>())
    }

    /// Strides of a panel.
    pub(crate) fn strides(&self) -> usize {
        self.dim.div_ceil(NUMBERS)
    }

    /// c, where it is not 0.
    pub(crate) fn centre(&self) -> Option<&[f32]> {
        match &self.kind {
            Kind::Scalar { code, .. } => Some(code.turned()),
            Kind::Product { .. } => None,
        }
    }

    /// Reads codes, at most [`BLOCK`] of them.
    pub(crate) fn fill(&self, codes: &[u8], block: &mut Block) {
        let row_bytes = match &self.kind {
            Kind::Scalar { code, .. } => code.row_bytes(),
            Kind::Product { code, .. } => code.row_bytes(),
        };
        let mut numbers = vec![0; self.strides() * NUMBERS];
        block.most = Most::default();
        for i in 0..BLOCK {
            let (panel, row) = (i / ROWS, i % ROWS);
            let of = [&mut block.own, &mut block.factor, &mut block.part];
            let [own, factor, part] = of.map(|values| &mut values[panel][row]);
            let Some(code) = codes.get(i * row_bytes..(i + 1) * row_bytes) else {
                // No row: below every score.
                (*own, *factor, *part) = (0.0, 0.0, f32::INFINITY);
                continue;
            };
            let read = self.read(code, &mut numbers);
            let bytes = &mut block.bytes[panel * self.strides() * STRIDE..];
            let strides = bytes.chunks_exact_mut(STRIDE).zip(numbers.chunks_exact(NUMBERS));
            for (stride, numbers) in strides {
                stride[row * NUMBERS..][..NUMBERS].copy_from_slice(numbers);
            }
            let norm = read.square.max(0.0).sqrt();
            let (scale, share) = match self.metric {
                Metric::Cosine => (1.0 / norm, 0.0),
                Metric::Ip => (1.0, 0.0),
                Metric::L2 => (1.0, read.square / self.length.powi(2)),
            };
            let scaled = scale * read.factor / self.factor;
            let all = [scale, scaled, share].map(|v| v as f32);
            let is_short = self.metric == Metric::Cosine && norm < SHORT;
            if is_short || all.iter().any(|v| !v.is_finite()) {
                // Above every score.
                (*own, *factor, *part) = (0.0, 0.0, f32::NEG_INFINITY);
                continue;
            }
            [*own, *factor, *part] = all;
            let most = &mut block.most;
            most.own = most.own.max(scale);
            most.factor = most.factor.max(scaled);
            most.part = most.part.max(share);
            most.small = most.small.max(scaled * read.small.sqrt());
            most.error = most.error.max(scale * read.error.sqrt());
            most.length = most.length.max(scale * (norm + read.factor * read.small.sqrt()));
        }
    }

    /// Writes the numbers of a code.
    fn read(&self, code: &[u8], numbers: &mut [u8]) -> Row {
        match &self.kind {
            Kind::Scalar { code: own, square } => {
                let bits = own.bits().get();
                let (per_byte, mask) = (8 / bits, u8::MAX >> (8 - bits));
                let used = (self.dim * bits).div_ceil(8);
                for (numbers, &byte) in numbers.chunks_mut(per_byte).zip(&code[..used]) {
                    for (i, number) in numbers.iter_mut().enumerate() {
                        *number = byte >> (8 - bits * (i + 1)) & mask;
                    }
                }
                let offset = self.offset as f32;
                let (mut small, mut inner) = (0.0_f32, 0.0_f32);
                vectorised(
                    #[inline(always)]
                    || {
                        let mut lanes = [[0.0_f32; 16]; 2];
                        let all = numbers[..self.dim].chunks(16).zip(own.turned().chunks(16));
                        for (numbers, centre) in all {
                            for (i, (&number, c)) in numbers.iter().zip(centre).enumerate() {
                                let v = f32::from(number) - offset;
                                lanes[0][i] += v * v;
                                lanes[1][i] += v * c;
                            }
                        }
                        [small, inner] = lanes.map(|lanes| lanes.iter().sum());
                    },
                );
                let (small, inner) = (f64::from(small), f64::from(inner));
                let factor = own.length_of(&code[used..]) / small.sqrt();
                let square = square + 2.0 * factor * inner + factor * factor * small;
                Row { square, small, error: 0.0, factor }
            }
            Kind::Product { groups, .. } => {
                let mut sums = [0.0_f64; 3];
                let mut rest = numbers;
                for (group, &code) in groups.iter().zip(code) {
                    // What names no centre stands for the last.
                    let c = usize::from(code).min(group.squares.len() - 1);
                    let (own, others) = rest.split_at_mut(group.width);
                    own.copy_from_slice(&group.bytes[c * group.width..][..group.width]);
                    let squares = group.squares[c].map(f64::from);
                    sums.iter_mut().zip(squares).for_each(|(sum, square)| *sum += square);
                    rest = others;
                }
                let [square, small, error] = sums;
                Row { square, small, error, factor: 1.0 }
            }
        }
    }
}

/// `v`, or 1 where it is not above 0.
fn positive(v: f64) -> f64 {
    if v > 0.0 && v.is_finite() { v } else { 1.0 }
}

impl Group {
    fn new(centres: &[f32], steps: &[f32]) -> Self {
        let width = steps.len();
        let mut bytes = Vec::with_capacity(centres.len());
        let mut squares = Vec::with_capacity(centres.len() / width);
        for centre in centres.chunks_exact(width) {
            let mut sums = [0.0_f32; 3];
            for (&v, &step) in centre.iter().zip(steps) {
                let small = (v / step).round().clamp(-127.0, 127.0);
                let of = [v, small, v - step * small];
                sums.iter_mut().zip(of).for_each(|(sum, v)| *sum += v * v);
                bytes.push((small + 128.0) as u8);
            }
            squares.push(sums);
        }
        Self { width, bytes, squares }
    }
}

impl Block {
    pub(crate) fn new(small: &Small<'_>) -> Self {
        let values = || vec![[0.0; ROWS]; PANELS];
        let bytes = vec![0; PANELS * small.strides() * STRIDE];
        let (own, factor, part) = (values(), values(), values());
        Self { bytes, own, factor, part, most: Most::default() }
    }

    /// Its panels, and what their rows are scored by.
    pub(crate) fn panels(&self) -> impl Iterator<Item = (&[u8], Coefficients<'_>)> {
        let bytes = self.bytes.chunks_exact(self.bytes.len() / PANELS);
        let of = self.own.iter().zip(&self.factor).zip(&self.part);
        bytes.zip(of.map(|((own, factor), part)| Coefficients { own, factor, part }))
    }
}
