//! Coordinates in which a search is cheap, and the proof that they lose no neighbour.
//!
//! # Scores
//!
//! Rows are moved and scaled to z = (x − μ)·σ, for cosine z = (x/‖x‖ − μ)·σ, with μ about the
//! mean and σ a power of two that brings every ‖z‖ to at most 1. Under every metric rows are
//! compared by a score that is symmetric and falls as the distance rises:
//!
//! ```text
//! s(x, y) = z_x · z_y + a_x + a_y,   a = −‖z‖²/2 (l2, cosine)   or   σ²(μ·x − ‖μ‖²/2) (ip)
//! s = −σ²‖x − y‖²/2 (l2),   σ²(cos − 1) (cosine),   σ² x·y (ip)
//! ```
//!
//! With V (P × D) the leading principal axes, u = Vz and r = ‖z − VᵀVz‖, Cauchy–Schwarz gives for
//! any p ≤ P the bound s ≤ u[..p]·u'[..p] + r r' + a + a': the residual r is one more coordinate.
//!
//! # Rounding
//!
//! What is computed in `f32` differs from this by at most E‖z‖‖z'‖ plus small multiples of |a| and
//! |a'|, where with ε = 2⁻²⁴ and γ_n = nε/(1 − nε) (Higham, *Accuracy and Stability*, 3.1; it holds
//! for any order of summation, with or without fused operations)
//!
//! - ‖computed Vz − Vz‖ ≤ η‖z‖, η = √P γ_D max‖v_k‖;
//! - V is orthonormal up to e = ‖VVᵀ − I‖, measured in `f64`;
//! - a product over p + 3 terms adds γ_{p+3} of the sum of their sizes;
//! - rounding z itself adds 2ε (l2, ip), and under cosine 3ε of the unit length.
//!
//! All of these enter the stored numbers once, so that the inner loops need not know: with
//! E = 2(e + 2η + η²) + 4γ_{P+4} + 8ε the stored residual is √(r² + 2E‖z‖²) ≥ r, for which
//! stored · stored' ≥ r r' + E‖z‖‖z'‖ (Cauchy–Schwarz again), and the stored offset is
//! a + 2γ_{P+4}|a| + 8ε‖z‖² + a constant that covers cosine's rounding and underflow. A pair's
//! stored score is then never below its true one.

use twinlearn_core::context::{Context, runs};
use twinlearn_core::cost;
use twinlearn_core::error::Result;
use twinlearn_core::linalg::{
    Effort, MatMut, MatRef, Matrix, gram, leading_bytes, leading_eigen, matmul, matmul_here,
};
use twinlearn_core::linalg::{arch, dot_f64};
use twinlearn_vectors::{Vectors, spread_ids};

use super::metric::Metric;
use crate::kernels::{move_rows, scan, squares};

/// ε: half the distance from 1 to the next `f32`.
const ROUNDING: f64 = 1.0 / (1u64 << 24) as f64;
/// Rows of a block in passes over all rows.
const BLOCK: usize = scan::TILE;
/// Rows that mean and axes are taken from: four for each dimension, within these bounds.
const SAMPLE: std::ops::RangeInclusive<usize> = 4096..=1 << 14;

/// γ_n.
fn gamma(n: usize) -> f64 {
    let x = n as f64 * ROUNDING;
    if x < 0.5 { x / (1.0 - x) } else { f64::INFINITY }
}

/// The moved and scaled coordinates of one search.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) metric: Metric,
    dim: usize,
    /// μ.
    mean: Vec<f32>,
    /// σ.
    scale: f64,
    /// V; without axes z itself is searched, and residuals hold nothing but rounding.
    axes: Option<Matrix>,
    /// e + 2η + η².
    basis_error: f64,
}

/// One set of rows in a frame.
#[derive(Debug)]
pub(super) struct Coordinates {
    /// u, row-major, `width` wide; empty without axes.
    pub(super) leading: Vec<f32>,
    pub(super) width: usize,
    /// For each of the asked-for numbers of leading coordinates, the stored residual of each row.
    pub(super) residuals: Vec<Vec<f32>>,
    /// The stored offsets.
    pub(super) offsets: Vec<f32>,
}

/// The length of every row, in `f64`.
pub(super) fn row_norms(ctx: &Context, x: &dyn Vectors) -> Result<Vec<f64>> {
    let mut norms = vec![0.0; x.n_rows()];
    ctx.try_for_each_chunk(&mut norms, BLOCK, |b, out| {
        let mut rows = vec![0.0; out.len() * x.dim()];
        x.read_rows(b * BLOCK, &mut rows)?;
        squares(arch(), &rows, x.dim(), x.dim(), out);
        out.iter_mut().for_each(|square| *square = square.sqrt());
        Ok(())
    })?;
    Ok(norms)
}

/// How many rows mean and axes are taken from.
pub(super) fn sample_len(n_rows: usize, dim: usize) -> usize {
    (4 * dim).clamp(*SAMPLE.start(), *SAMPLE.end()).min(n_rows)
}

/// Bytes that a frame is made in: the sample and, with axes, what they are found from.
pub(super) fn frame_bytes(n_rows: usize, dim: usize, components: usize) -> usize {
    let (sample, square) = (4 * dim * sample_len(n_rows, dim), 4 * dim * dim);
    match components {
        0 => sample,
        p => (sample + square).max(3 * square).max(leading_bytes(dim, p)),
    }
}

/// Seconds of one thread to find the axes of a frame.
pub(super) fn frame_seconds(n_rows: usize, dim: usize, components: usize) -> f64 {
    let square = (dim * dim) as f64;
    let covariance = cost::product(sample_len(n_rows, dim) as f64 * square / 2.0);
    covariance + cost::leading(dim, components, Effort::ROUGH)
}

impl Frame {
    /// A frame around the mean of `x`, with up to `components` axes (0 for none). `largest` is the
    /// greatest length of any row that will be searched.
    pub(super) fn new(
        ctx: &Context,
        x: &dyn Vectors,
        norms: &[f64],
        metric: Metric,
        components: usize,
        largest: f64,
    ) -> Result<Self> {
        let dim = x.dim();
        let largest = if metric == Metric::Cosine { 1.0 } else { largest };
        // ‖x − μ‖ ≤ 2 · largest, as μ is an average; a little more for its rounding.
        let scale = power_of_two_below(1.0 / (2.001 * largest));
        let ids = spread_ids(x.n_rows(), sample_len(x.n_rows(), dim));
        let mut frame =
            Self { metric, dim, mean: vec![0.0; dim], scale, axes: None, basis_error: 0.0 };
        let mut sample = vec![0.0; ids.len() * dim];
        ctx.try_for_each_chunk(&mut sample, BLOCK * dim, |b, out| {
            x.gather(&ids[b * BLOCK..][..out.len() / dim], out)
        })?;
        let mut sum = vec![0.0; dim];
        for (row, &id) in sample.chunks_exact(dim).zip(&ids) {
            let gain = frame.gain(norms[id as usize]);
            sum.iter_mut().zip(row).for_each(|(s, &v)| *s += f64::from(v) * gain);
        }
        let count = ids.len() as f64;
        frame.mean = sum.iter().map(|s| (s / count) as f32).collect();
        if components == 0 {
            return Ok(frame);
        }

        ctx.for_each_chunk(&mut sample, BLOCK * dim, |b, rows| {
            let n = rows.len() / dim;
            let norms = ids[b * BLOCK..][..n].iter().map(|&id| norms[id as usize]);
            frame.move_rows(rows, norms);
        });
        let mut covariance = Matrix::<f32>::zeros(dim, dim);
        gram(ctx, MatRef::new(&sample, ids.len(), dim).t(), 0.0, covariance.view_mut());
        drop(sample);
        let covariance: Vec<f64> = covariance.into_vec().into_iter().map(f64::from).collect();
        let covariance = Matrix::new(dim, dim, covariance)?;
        let p = components.min(dim);
        let (_, axes) = leading_eigen(ctx, covariance, p, None, Effort::ROUGH)?;
        let axes = axes.into_vec().into_iter().map(|v| v as f32).collect();
        let axes = Matrix::new(p, dim, axes)?;
        frame.basis_error = basis_error(ctx, &axes);
        frame.axes = Some(axes);
        Ok(frame)
    }

    /// What a row of length `norm` is multiplied by before μ is taken off.
    fn gain(&self, norm: f64) -> f64 {
        match self.metric {
            Metric::Cosine if norm > 0.0 => 1.0 / norm,
            _ => 1.0,
        }
    }

    /// Rows x become z.
    pub(super) fn move_rows(&self, rows: &mut [f32], norms: impl Iterator<Item = f64>) {
        let gains: Vec<f64> = norms.map(|norm| self.gain(norm)).collect();
        move_rows(arch(), rows, &gains, &self.mean, self.scale);
    }

    /// The leading coordinates of moved rows, row after row.
    pub(super) fn turn(&self, z: &[f32]) -> Vec<f32> {
        let Some(axes) = &self.axes else { return z.to_vec() };
        let (n, width) = (z.len() / self.dim, axes.rows());
        let mut u = vec![0.0; n * width];
        let z = MatRef::new(z, n, self.dim);
        matmul_here(1.0, z, axes.view().t(), 0.0, MatMut::new(&mut u, n, width));
        u
    }

    /// The leading coordinates of μσ.
    pub(super) fn turned_mean(&self) -> Vec<f32> {
        let scaled: Vec<f32> =
            self.mean.iter().map(|m| (f64::from(*m) * self.scale) as f32).collect();
        self.turn(&scaled)
    }

    /// The coordinates of all rows, with residuals for each number of leading coordinates in
    /// `levels` (rising; the last is how many are kept). Without axes the one level is D.
    pub(super) fn coordinates(
        &self,
        ctx: &Context,
        x: &dyn Vectors,
        norms: &[f64],
        levels: &[usize],
    ) -> Result<Coordinates> {
        let (n, dim) = (x.n_rows(), self.dim);
        let width = if self.axes.is_some() { levels[levels.len() - 1] } else { 0 };
        let mut leading = vec![0.0; n * width];
        // A row's residuals side by side, then its offset.
        let stride = levels.len() + 1;
        let mut scalars = vec![0.0; n * stride];
        let blocks: Vec<_> = runs(n, BLOCK).collect();
        let mut pieces: Vec<(&mut [f32], &mut [f32])> = Vec::with_capacity(blocks.len());
        let (mut u, mut s) = (&mut leading[..], &mut scalars[..]);
        for block in &blocks {
            let (u_piece, u_rest) = u.split_at_mut(block.len() * width);
            let (s_piece, s_rest) = s.split_at_mut(block.len() * stride);
            pieces.push((u_piece, s_piece));
            (u, s) = (u_rest, s_rest);
        }
        ctx.try_for_each_chunk(&mut pieces, 1, |b, piece| {
            let (u, s) = &mut piece[0];
            let block = blocks[b].clone();
            let mut raw = vec![0.0; block.len() * dim];
            x.read_rows(block.start, &mut raw)?;
            let mut z = raw.clone();
            self.move_rows(&mut z, norms[block.clone()].iter().copied());
            if let Some(axes) = &self.axes {
                let axes = MatRef::new(&axes.as_slice()[..width * dim], width, dim);
                let (z, u) =
                    (MatRef::new(&z, block.len(), dim), MatMut::new(u, block.len(), width));
                matmul_here(1.0, z, axes.t(), 0.0, u);
            }
            self.scalars(&raw, &z, u, width, levels, s);
            Ok(())
        })?;
        let column = |c: usize| scalars.iter().skip(c).step_by(stride).copied().collect();
        Ok(Coordinates {
            residuals: (0..levels.len()).map(column).collect(),
            offsets: column(levels.len()),
            leading,
            width,
        })
    }

    /// The stored residuals of each row side by side, then its offset.
    fn scalars(
        &self,
        raw: &[f32],
        z: &[f32],
        u: &[f32],
        width: usize,
        levels: &[usize],
        out: &mut [f32],
    ) {
        let stride = levels.len() + 1;
        let terms = if width > 0 { width } else { self.dim };
        let product = gamma(terms + 4);
        let error = 2.0 * self.basis_error + 4.0 * product + 8.0 * ROUNDING;
        let mut all = vec![0.0; out.len() / stride];
        squares(arch(), z, self.dim, self.dim, &mut all);
        let mut leading = vec![0.0; all.len()];
        for (l, &level) in levels.iter().enumerate() {
            if width > 0 {
                squares(arch(), u, width, level, &mut leading);
            } else {
                leading.copy_from_slice(&all);
            }
            for ((out, all), part) in out.chunks_exact_mut(stride).zip(&all).zip(&leading) {
                out[l] = round_up(((all - part).max(0.0) + 2.0 * error * all).sqrt());
            }
        }
        let cosine = if self.metric == Metric::Cosine { 64.0 * ROUNDING } else { 0.0 };
        let constant = 1e-30 + cosine * self.scale * self.scale;
        let rows = out.chunks_exact_mut(stride).zip(raw.chunks_exact(self.dim));
        for ((out, raw), &square) in rows.zip(&all) {
            let exact = self.offset(raw, square);
            let slack = 2.0 * product * exact.abs() + 8.0 * ROUNDING * square + constant;
            out[levels.len()] = round_up(exact + slack);
        }
    }

    /// a of a row x with ‖z‖² = `square`.
    fn offset(&self, raw: &[f32], square: f64) -> f64 {
        match self.metric {
            Metric::L2 | Metric::Cosine => -0.5 * square,
            Metric::Ip => {
                let mean = &self.mean;
                self.scale * self.scale * (dot_f64(mean, raw) - 0.5 * dot_f64(mean, mean))
            }
        }
    }

    /// The offsets a of rows x that became z, rounded to nearest.
    pub(super) fn offsets(&self, raw: &[f32], z: &[f32]) -> Vec<f32> {
        self.offsets_with(raw, z, 0.0)
    }

    /// a + ‖z‖²/2 of rows x that became z: what is left of the offset when scores are of differences.
    /// 0 under l2 and cosine.
    pub(super) fn remainders(&self, raw: &[f32], z: &[f32]) -> Vec<f32> {
        self.offsets_with(raw, z, 0.5)
    }

    /// a + `share` · ‖z‖², rounded to nearest.
    fn offsets_with(&self, raw: &[f32], z: &[f32], share: f64) -> Vec<f32> {
        let mut all = vec![0.0; z.len() / self.dim];
        squares(arch(), z, self.dim, self.dim, &mut all);
        let offset =
            |(raw, &square): (&[f32], &f64)| (self.offset(raw, square) + share * square) as f32;
        raw.chunks_exact(self.dim).zip(&all).map(offset).collect()
    }

    /// Searches z itself from here on.
    pub(super) fn drop_axes(&mut self) {
        (self.axes, self.basis_error) = (None, 0.0);
    }

    /// The score of a pair at this distance (by [`Metric::distance`]), rounded down with room for
    /// the rounding of that distance: the limit of rows that look for nothing farther.
    pub(super) fn limit(&self, distance: f64) -> f32 {
        if distance == f64::INFINITY {
            return scan::NO_LIMIT;
        }
        let factor = self.scale * self.scale * if self.metric == Metric::L2 { 0.5 } else { 1.0 };
        let score = -distance * factor;
        // f64 sums of D terms: far below ε even for D of millions, relative to the terms' size,
        // which is at most 1 after scaling.
        (score - ROUNDING * score.abs() - ROUNDING * ROUNDING * self.dim as f64) as f32
            - f32::MIN_POSITIVE
    }
}

/// The next `f32` not below x.
fn round_up(x: f64) -> f32 {
    let near = x as f32;
    if f64::from(near) < x { near.next_up() } else { near }
}

fn power_of_two_below(x: f64) -> f64 {
    // Rows of zeros alone give an infinite x; the range keeps squares and products finite.
    x.log2().floor().clamp(-160.0, 160.0).exp2()
}

/// e + 2η + η² for axes V.
fn basis_error(ctx: &Context, axes: &Matrix) -> f64 {
    let (p, dim) = (axes.rows(), axes.cols());
    let wide: Vec<f64> = axes.as_slice().iter().map(|&v| v.into()).collect();
    let mut product = Matrix::<f64>::zeros(p, p);
    let wide = MatRef::new(&wide, p, dim);
    matmul(ctx, 1.0, wide, wide.t(), 0.0, product.view_mut());
    let (mut square, mut longest) = (0.0, 1.0_f64);
    for i in 0..p {
        longest = longest.max(product.row(i)[i].sqrt());
        for (j, v) in product.row(i).iter().enumerate() {
            square += (v - f64::from(u8::from(i == j))).powi(2);
        }
    }
    let eta = (p as f64).sqrt() * gamma(dim) * longest;
    square.sqrt() + 2.0 * eta + eta * eta
}
