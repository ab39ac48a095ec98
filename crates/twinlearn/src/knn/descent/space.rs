//! The rows as they are scored.

use half::bf16;

use crate::context::{Context, runs};
use crate::data::Vectors;
use crate::error::Result;
use crate::knn::frame::Frame;
use crate::linalg::kernels::{arch, scores, unpack};

/// Rows of a block in the pass that makes them.
const BLOCK: usize = 256;
/// Coordinates that rows are padded to a multiple of, with zeros.
const LANES: usize = 32;

/// Rows by position, with the score s(x, y) = u · u' + a + a', in which u are the leading
/// coordinates and what is left out of two rows is taken to be orthogonal.
///
/// A row is read many times from memory and added up once, so it is kept in half the bytes:
/// word j of `words` holds coordinates j and j + width/2 as `bf16`, whose rounding (2⁻⁹ of each)
/// is far below what is left out.
pub(super) struct Space {
    words: Vec<u32>,
    width: usize,
    offsets: Vec<f32>,
    /// The number of the row at each position.
    ids: Vec<u32>,
}

/// Coordinates of a row, padding included, when `axes` are kept.
fn padded(axes: usize) -> usize {
    axes.next_multiple_of(LANES)
}

impl Space {
    /// Bytes of a row.
    pub(super) fn row_bytes(axes: usize) -> usize {
        padded(axes) * 2 + 4 + 4
    }

    /// All rows, at the positions of their numbers.
    pub(super) fn new(
        ctx: &Context,
        frame: &Frame,
        x: &dyn Vectors,
        norms: &[f64],
        axes: usize,
    ) -> Result<Self> {
        let (n, dim, width) = (x.n_rows(), x.dim(), padded(axes));
        let mut words = vec![0; n * width / 2];
        let blocks: Vec<_> = runs(n, BLOCK).collect();
        let mut offsets = vec![0.0; n];
        let mut pieces: Vec<(&mut [u32], &mut [f32])> =
            words.chunks_mut(BLOCK * width / 2).zip(offsets.chunks_mut(BLOCK)).collect();
        ctx.try_for_each_chunk(&mut pieces, 1, |b, piece| {
            let (words, offsets) = &mut piece[0];
            let block = blocks[b].clone();
            let mut raw = vec![0.0; block.len() * dim];
            x.read_rows(block.start, &mut raw)?;
            let mut z = raw.clone();
            frame.move_rows(&mut z, norms[block.clone()].iter().copied());
            offsets.copy_from_slice(&frame.offsets(&raw, &z));
            let u = frame.turn(&z);
            let rows = u.chunks_exact(u.len() / block.len());
            for (words, u) in words.chunks_exact_mut(width / 2).zip(rows) {
                pack(u, words);
            }
            Ok(())
        })?;
        Ok(Self { words, width, offsets, ids: (0..n as u32).collect() })
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
        let width = self.width / 2;
        &self.words[position as usize * width..][..width]
    }

    /// The coordinates of a row.
    pub(super) fn unpack(&self, position: u32, out: &mut [f32]) {
        unpack(arch(), self.words(position), out);
    }

    /// The first coordinates of a row, at most half of them.
    pub(super) fn head(&self, position: u32, n: usize) -> impl Iterator<Item = f32> {
        self.words(position).iter().take(n).map(|word| f32::from_bits(word & 0xffff_0000))
    }

    /// The products u · u' of a row with others.
    pub(super) fn products(&self, row: &[f32], others: &[u32], out: &mut Vec<f32>) {
        scores(arch(), row, &self.words, others, out);
    }

    /// Moves the rows so that the one at `order[i]` comes to position i.
    pub(super) fn arrange(&mut self, order: &[u32]) {
        let width = self.width / 2;
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
