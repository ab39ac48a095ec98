//! The rows as they are scored.

use half::bf16;
use twinlearn_core::context::{Context, runs};
use twinlearn_core::error::Result;
use twinlearn_core::linalg::arch;
use twinlearn_core::linalg::{MatMut, MatRef, matmul_here};
use twinlearn_vectors::Vectors;

use crate::frame::Frame;
use crate::kernels::{half_distances, products, unpack};

/// Rows of a block in the pass that makes them.
const BLOCK: usize = 256;
/// Coordinates that rows are padded to a multiple of, with zeros.
const LANES: usize = 32;

/// How coordinates are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precision {
    /// As `bf16`. A row is read many times from memory and added up once, so half the bytes are nearly
    /// half the time. Rounding (2⁻⁹ of each coordinate) drowns what is nearer than that to each other.
    Half,
    /// As `f32`, and compared by differences: whatever differs in the rows differs here.
    Whole,
}

/// Rows by position, with a score of pairs that falls as the distance rises. u are the leading
/// coordinates of z, and a as in `frame`:
///
/// ```text
/// s(x, y) = u · u' + a + a'                   (half)
/// s(x, y) = −‖u − u'‖²/2 + b + b',  b = a + ‖z‖²/2   (whole; b = 0 under l2 and cosine)
/// ```
///
/// Half takes what is left out of two rows to be orthogonal, whole takes it to be equal, as it is of
/// rows of one tight cluster.
pub(super) struct Space {
    precision: Precision,
    /// In half word j of a row holds coordinates j and j + width/2, in whole coordinate j.
    words: Vec<u32>,
    width: usize,
    offsets: Vec<f32>,
    /// The number of the row at each position.
    ids: Vec<u32>,
}

impl Precision {
    /// Words of a row.
    fn stride(self, width: usize) -> usize {
        match self {
            Self::Half => width / 2,
            Self::Whole => width,
        }
    }
}

/// Coordinates of a row, padding included, when `axes` are kept.
fn padded(axes: usize) -> usize {
    axes.next_multiple_of(LANES)
}

impl Space {
    /// Bytes of a row.
    pub(super) fn row_bytes(precision: Precision, axes: usize) -> usize {
        4 * precision.stride(padded(axes)) + 4 + 4
    }

    /// All rows, at the positions of their numbers.
    pub(super) fn new(
        ctx: &Context,
        frame: &Frame,
        x: &dyn Vectors,
        norms: &[f64],
        precision: Precision,
        axes: usize,
    ) -> Result<Self> {
        let (n, dim, width) = (x.n_rows(), x.dim(), padded(axes));
        let stride = precision.stride(width);
        let mut words = vec![0; n * stride];
        let blocks: Vec<_> = runs(n, BLOCK).collect();
        let mut offsets = vec![0.0; n];
        let mut pieces: Vec<(&mut [u32], &mut [f32])> =
            words.chunks_mut(BLOCK * stride).zip(offsets.chunks_mut(BLOCK)).collect();
        ctx.try_for_each_chunk(&mut pieces, 1, |b, piece| {
            let (words, offsets) = &mut piece[0];
            let block = blocks[b].clone();
            let mut raw = vec![0.0; block.len() * dim];
            x.read_rows(block.start, &mut raw)?;
            let mut z = raw.clone();
            frame.move_rows(&mut z, norms[block.clone()].iter().copied());
            match precision {
                Precision::Half => offsets.copy_from_slice(&frame.offsets(&raw, &z)),
                Precision::Whole => offsets.copy_from_slice(&frame.remainders(&raw, &z)),
            }
            let u = frame.turn(&z);
            let rows = u.chunks_exact(u.len() / block.len());
            for (words, u) in words.chunks_exact_mut(stride).zip(rows) {
                match precision {
                    Precision::Half => pack(u, words),
                    Precision::Whole => words.iter_mut().zip(u).for_each(|(w, v)| *w = v.to_bits()),
                }
            }
            Ok(())
        })?;
        Ok(Self { precision, words, width, offsets, ids: (0..n as u32).collect() })
    }

    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn offset(&self, position: u32) -> f32 {
        self.offsets[position as usize]
    }

    /// The number of the row at each position; the rest is done with.
    pub(super) fn into_ids(self) -> Vec<u32> {
        self.ids
    }

    fn words(&self, position: u32) -> &[u32] {
        let stride = self.precision.stride(self.width);
        &self.words[position as usize * stride..][..stride]
    }

    /// The coordinates of a row.
    pub(super) fn unpack(&self, position: u32, out: &mut [f32]) {
        let words = self.words(position);
        match self.precision {
            Precision::Half => unpack(arch(), words, out),
            Precision::Whole => {
                out.iter_mut().zip(words).for_each(|(v, &w)| *v = f32::from_bits(w));
            }
        }
    }

    /// The first coordinates of a row, at most half of them.
    pub(super) fn head(&self, position: u32, n: usize) -> impl Iterator<Item = f32> {
        let mask = match self.precision {
            Precision::Half => 0xffff_0000,
            Precision::Whole => !0,
        };
        self.words(position).iter().take(n).map(move |word| f32::from_bits(word & mask))
    }

    /// The scores of a row, at some position and with these coordinates, with others.
    pub(super) fn scores(&self, position: u32, row: &[f32], others: &[u32], out: &mut Vec<f32>) {
        match self.precision {
            Precision::Half => products(arch(), row, &self.words, others, out),
            Precision::Whole => half_distances(arch(), row, &self.words, others, out),
        }
        let own = self.offset(position);
        for (score, &other) in out.iter_mut().zip(others) {
            *score += self.offset(other) + own;
        }
    }

    /// The part of the score that offsets are added to, for every pair of some rows.
    pub(super) fn pairs(&self, rows: &[u32]) -> Vec<f32> {
        let (n, width) = (rows.len(), self.width);
        let mut all = vec![0.0; n * width];
        all.chunks_exact_mut(width).zip(rows).for_each(|(out, &id)| self.unpack(id, out));
        let mut found = vec![0.0; n * n];
        match self.precision {
            Precision::Half => {
                let all = MatRef::new(&all, n, width);
                matmul_here(1.0, all, all.t(), 0.0, MatMut::new(&mut found, n, n));
            }
            Precision::Whole => {
                let mut distances = Vec::new();
                for (row, out) in all.chunks_exact(width).zip(found.chunks_exact_mut(n)) {
                    half_distances(arch(), row, &self.words, rows, &mut distances);
                    out.copy_from_slice(&distances);
                }
            }
        }
        found
    }

    /// Moves the rows so that the one at `order[i]` comes to position i.
    pub(super) fn arrange(&mut self, order: &[u32]) {
        let width = self.precision.stride(self.width);
        let mut row = vec![0; width];
        let mut placed = vec![false; order.len()];
        // Along each cycle of the permutation, so that no second copy is needed.
        for start in 0..order.len() {
            if placed[start] {
                continue;
            }
            row.copy_from_slice(&self.words[start * width..][..width]);
            let mut to = start;
            loop {
                placed[to] = true;
                let from = order[to] as usize;
                if from == start {
                    self.words[to * width..][..width].copy_from_slice(&row);
                    break;
                }
                self.words.copy_within(from * width..(from + 1) * width, to * width);
                to = from;
            }
        }
        self.offsets = order.iter().map(|&at| self.offsets[at as usize]).collect();
        self.ids = order.iter().map(|&at| self.ids[at as usize]).collect();
    }
}

fn pack(u: &[f32], words: &mut [u32]) {
    let half = |j: usize| u32::from(bf16::from_f32(u.get(j).copied().unwrap_or(0.0)).to_bits());
    let n = words.len();
    for (j, word) in words.iter_mut().enumerate() {
        *word = half(j) << 16 | half(j + n);
    }
}
