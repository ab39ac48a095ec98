//! The inner loops of neighbour search: scores of two tiles of rows, filtered on the fly.
//!
//! Written once over `pulp`, which chooses the instruction set at run time (AVX-512, AVX2 with
//! FMA, NEON, else portable). The scores are bounds, so their last bits, which differ between
//! instruction sets, decide nothing.

// Loops here are written out: a closure handed to the standard library (`retain`, say) would be
// compiled apart, without the instruction set of the function it stands in.

use pulp::{Arch, Simd, WithSimd};
use twinlearn_core::linalg::{dot_f64, squared_distance_f64};

/// Rows of a tile: a multiple of both panel widths.
pub(crate) const TILE: usize = 480;
/// Rows of a left-hand panel.
const ROWS: usize = 6;
/// Columns of a right-hand panel, whatever the register width.
const COLUMNS: usize = 32;
/// Registers of columns that are computed at once: with `ROWS`, twelve accumulators.
const REGISTERS: usize = 2;

/// The limit of a row that has none yet: scores are far above it.
pub(crate) const NO_LIMIT: f32 = -1e30;
/// The offset of a row that pads a panel: it takes every score below [`NO_LIMIT`].
const PAD: f32 = -1e35;

/// A row of the left tile and one of the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pair {
    pub(crate) left: u16,
    pub(crate) right: u16,
}

/// Which operand of the product rows are packed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    Left,
    Right,
}

impl Operand {
    fn panel(self) -> usize {
        match self {
            Self::Left => ROWS,
            Self::Right => COLUMNS,
        }
    }
}

/// Rows rearranged so that a panel's k-th coordinates lie side by side.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    data: Vec<f32>,
    width: usize,
}

impl Packed {
    /// Packs `rows` (row-major, `width` wide); the last panel is padded with zeros.
    pub(crate) fn fill(&mut self, operand: Operand, rows: &[f32], width: usize) {
        let panel = operand.panel();
        let n = rows.len() / width;
        self.width = width;
        self.data.clear();
        self.data.resize(n.next_multiple_of(panel) * width, 0.0);
        for (rows, out) in rows.chunks(panel * width).zip(self.data.chunks_exact_mut(panel * width))
        {
            for (i, row) in rows.chunks_exact(width).enumerate() {
                for (&v, out) in row.iter().zip(out[i..].iter_mut().step_by(panel)) {
                    *out = v;
                }
            }
        }
    }

    /// The panels that hold rows `start..`, which begins a panel.
    fn panels_from(&self, start: usize) -> &[f32] {
        &self.data[start * self.width..]
    }
}

/// What a scan needs of one tile: packed rows from `start` on, and for each row (at most
/// [`TILE`]) an offset and a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScanSide<'a> {
    pub(crate) packed: &'a Packed,
    pub(crate) start: usize,
    pub(crate) offsets: &'a [f32],
    pub(crate) limits: &'a [f32],
}

/// Appends every pair whose score, `left · right + offset + offset`, reaches the lower of the two
/// rows' limits. Offsets and products are within ±1e20 and limits from [`NO_LIMIT`].
pub(crate) fn scan(arch: Arch, left: ScanSide<'_>, right: ScanSide<'_>, out: &mut Vec<Pair>) {
    assert_eq!(left.packed.width, right.packed.width);
    assert!(left.start.is_multiple_of(ROWS) && right.start.is_multiple_of(COLUMNS));
    arch.dispatch(Scan { left, right, out });
}

struct Scan<'a> {
    left: ScanSide<'a>,
    right: ScanSide<'a>,
    out: &'a mut Vec<Pair>,
}

fn padded(values: &[f32], pad: f32) -> [f32; TILE] {
    let mut out = [pad; TILE];
    out[..values.len()].copy_from_slice(values);
    out
}

impl WithSimd for Scan<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { left, right, out } = self;
        let (n_left, n_right) = (left.offsets.len(), right.offsets.len());
        let width = left.packed.width;
        let left_offsets = padded(left.offsets, PAD);
        let left_limits = padded(left.limits, f32::INFINITY);
        let right_offsets = padded(right.offsets, PAD);
        let right_limits = padded(right.limits, f32::INFINITY);
        let (offsets, _) = S::as_simd_f32s(&right_offsets);
        let (limits, _) = S::as_simd_f32s(&right_limits);
        let lanes = S::F32_LANES;
        // Registers of a right-hand panel, and how many times `REGISTERS` of them.
        let in_panel = COLUMNS / lanes;
        let right_panels = right.packed.panels_from(right.start).chunks_exact(COLUMNS * width);
        for (p, panel) in right_panels.take(n_right.div_ceil(COLUMNS)).enumerate() {
            let (panel, _) = S::as_simd_f32s(panel);
            for group in (0..in_panel).step_by(REGISTERS) {
                let first = p * in_panel + group;
                let offsets = [offsets[first], offsets[first + 1]];
                let limits = [limits[first], limits[first + 1]];
                let left_panels = left.packed.panels_from(left.start).chunks_exact(ROWS * width);
                for (q, rows) in left_panels.take(n_left.div_ceil(ROWS)).enumerate() {
                    let first_row = q * ROWS;
                    let mut scores = [[simd.splat_f32s(0.0); REGISTERS]; ROWS];
                    for (row, scores) in scores.iter_mut().enumerate() {
                        let offset = simd.splat_f32s(left_offsets[first_row + row]);
                        for (score, &o) in scores.iter_mut().zip(&offsets) {
                            *score = simd.add_f32s(o, offset);
                        }
                    }
                    let (rows, _) = rows.as_chunks::<ROWS>();
                    for (a, b) in rows.iter().zip(panel.chunks_exact(in_panel)) {
                        let b = [b[group], b[group + 1]];
                        for (scores, &a) in scores.iter_mut().zip(a) {
                            let a = simd.splat_f32s(a);
                            for (score, &b) in scores.iter_mut().zip(&b) {
                                *score = simd.mul_add_f32s(a, b, *score);
                            }
                        }
                    }
                    for (row, scores) in scores.iter().enumerate() {
                        let row = first_row + row;
                        let limit = simd.splat_f32s(left_limits[row]);
                        for (r, (&score, &other)) in scores.iter().zip(&limits).enumerate() {
                            let lowest = simd.min_f32s(limit, other);
                            let reached = simd.greater_than_or_equal_f32s(score, lowest);
                            if simd.first_true_m32s(reached) < lanes {
                                let first_column = (first + r) * lanes;
                                append(simd, row, first_column, score, lowest, out);
                            }
                        }
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn append<S: Simd>(
    simd: S,
    row: usize,
    first_column: usize,
    score: S::f32s,
    lowest: S::f32s,
    out: &mut Vec<Pair>,
) {
    let (mut scores, mut limits) = ([0.0; COLUMNS], [0.0; COLUMNS]);
    let lanes = S::F32_LANES;
    simd.partial_store_f32s(&mut scores[..lanes], score);
    simd.partial_store_f32s(&mut limits[..lanes], lowest);
    let mut found = [Pair { left: 0, right: 0 }; COLUMNS];
    let mut n = 0;
    for (l, (score, limit)) in scores[..lanes].iter().zip(&limits[..lanes]).enumerate() {
        found[n] = Pair { left: row as u16, right: (first_column + l) as u16 };
        n += usize::from(score >= limit);
    }
    out.extend_from_slice(&found[..n]);
}

/// Row-major rows, of which row i is number `index[i]`: a tile's rows where they lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) width: usize,
    pub(crate) index: &'a [u32],
}

impl<'a> Rows<'a> {
    #[inline(always)]
    fn row(self, i: u16) -> &'a [f32] {
        &self.data[self.index[usize::from(i)] as usize * self.width..][..self.width]
    }
}

/// What [`refine`] needs of one tile: rows of which a leading part is compared, and for each row
/// a residual, an offset and a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefineSide<'a> {
    pub(crate) rows: Rows<'a>,
    pub(crate) residuals: &'a [f32],
    pub(crate) offsets: &'a [f32],
    pub(crate) limits: &'a [f32],
}

/// Keeps the pairs whose score over the first `leading` coordinates,
/// `left · right + residual · residual + offset + offset`, reaches the lower of their limits.
pub(crate) fn refine(
    arch: Arch,
    leading: usize,
    left: RefineSide<'_>,
    right: RefineSide<'_>,
    pairs: &mut Vec<Pair>,
) {
    arch.dispatch(Refine { leading, left, right, pairs });
}

struct Refine<'a> {
    leading: usize,
    left: RefineSide<'a>,
    right: RefineSide<'a>,
    pairs: &'a mut Vec<Pair>,
}

impl WithSimd for Refine<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { leading, left: a, right: b, pairs } = self;
        let mut kept = 0;
        for n in 0..pairs.len() {
            let pair = pairs[n];
            let (i, j) = (usize::from(pair.left), usize::from(pair.right));
            let x = &a.rows.row(pair.left)[..leading];
            let y = &b.rows.row(pair.right)[..leading];
            let product = dot_f32(simd, x, y);
            let score = product + a.residuals[i] * b.residuals[j] + (a.offsets[i] + b.offsets[j]);
            pairs[kept] = pair;
            kept += usize::from(score >= a.limits[i].min(b.limits[j]));
        }
        pairs.truncate(kept);
    }
}

/// What a screen compares rows by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Term {
    /// x · y, scaled by the two rows' factors.
    Dot,
    /// ‖x − y‖².
    SquaredDistance,
}

/// What [`screen`] needs of one tile: its rows, and for each a factor and the bounds (one
/// for each direction of the comparison) that a pair must pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScreenSide<'a> {
    pub(crate) rows: Rows<'a>,
    /// Scales a row's products; unused by [`Term::SquaredDistance`].
    pub(crate) factors: &'a [f32],
    /// The least scaled product, or the largest squared distance, that is of interest.
    pub(crate) bounds: &'a [f32],
}

/// Keeps the pairs whose comparison in `f32` passes one of their bounds. Sums that overflow are
/// kept.
pub(crate) fn screen(
    arch: Arch,
    term: Term,
    left: ScreenSide<'_>,
    right: ScreenSide<'_>,
    pairs: &mut Vec<Pair>,
) {
    arch.dispatch(Screen { term, left, right, pairs });
}

struct Screen<'a> {
    term: Term,
    left: ScreenSide<'a>,
    right: ScreenSide<'a>,
    pairs: &'a mut Vec<Pair>,
}

impl WithSimd for Screen<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { term, left: a, right: b, pairs } = self;
        let mut kept = 0;
        for n in 0..pairs.len() {
            let pair = pairs[n];
            let (i, j) = (usize::from(pair.left), usize::from(pair.right));
            let (x, y) = (a.rows.row(pair.left), b.rows.row(pair.right));
            let (value, passes) = match term {
                Term::Dot => {
                    let value = dot_f32(simd, x, y) * a.factors[i] * b.factors[j];
                    (value, value >= a.bounds[i].min(b.bounds[j]))
                }
                Term::SquaredDistance => {
                    let value = squared_distance_f32(simd, x, y);
                    (value, value <= a.bounds[i].max(b.bounds[j]))
                }
            };
            pairs[kept] = pair;
            kept += usize::from(passes || !value.is_finite());
        }
        pairs.truncate(kept);
    }
}

/// The exact comparison of every pair, by `dot_f64` or `squared_distance_f64`.
pub(crate) fn exact(
    arch: Arch,
    term: Term,
    left: Rows<'_>,
    right: Rows<'_>,
    pairs: &[Pair],
    out: &mut Vec<f64>,
) {
    out.clear();
    out.resize(pairs.len(), 0.0);
    arch.dispatch(Exact { term, left, right, pairs, out });
}

struct Exact<'a> {
    term: Term,
    left: Rows<'a>,
    right: Rows<'a>,
    pairs: &'a [Pair],
    out: &'a mut [f64],
}

impl WithSimd for Exact<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (out, pair) in self.out.iter_mut().zip(self.pairs) {
            let (x, y) = (self.left.row(pair.left), self.right.row(pair.right));
            *out = match self.term {
                Term::Dot => dot_f64(x, y),
                Term::SquaredDistance => squared_distance_f64(x, y),
            };
        }
    }
}

/// Accumulators of a sum in `f32`: enough to hide the latency of the additions.
const ACCUMULATORS: usize = 4;

#[inline(always)]
fn dot_f32<S: Simd>(simd: S, x: &[f32], y: &[f32]) -> f32 {
    sum_f32(simd, x, y, |sum, a, b| simd.mul_add_f32s(a, b, sum))
}

#[inline(always)]
fn squared_distance_f32<S: Simd>(simd: S, x: &[f32], y: &[f32]) -> f32 {
    sum_f32(simd, x, y, |sum, a, b| {
        let d = simd.sub_f32s(a, b);
        simd.mul_add_f32s(d, d, sum)
    })
}

#[inline(always)]
fn sum_f32<S: Simd>(
    simd: S,
    x: &[f32],
    y: &[f32],
    add: impl Fn(S::f32s, S::f32s, S::f32s) -> S::f32s,
) -> f32 {
    let ((x, x_rest), (y, y_rest)) = (S::as_simd_f32s(x), S::as_simd_f32s(y));
    let mut sums = [simd.splat_f32s(0.0); ACCUMULATORS];
    let (x_whole, x_tail) = x.as_chunks::<ACCUMULATORS>();
    let (y_whole, y_tail) = y.as_chunks::<ACCUMULATORS>();
    for (x, y) in x_whole.iter().zip(y_whole) {
        for ((sum, &x), &y) in sums.iter_mut().zip(x).zip(y) {
            *sum = add(*sum, x, y);
        }
    }
    for ((sum, &x), &y) in sums.iter_mut().zip(x_tail).zip(y_tail) {
        *sum = add(*sum, x, y);
    }
    if !x_rest.is_empty() {
        let (x, y) = (simd.partial_load_f32s(x_rest), simd.partial_load_f32s(y_rest));
        sums[ACCUMULATORS - 1] = add(sums[ACCUMULATORS - 1], x, y);
    }
    let [a, b, c, d] = sums;
    simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wave(n: usize, phase: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * 0.61 + phase).sin()).collect()
    }

    /// Every instruction set that this machine has, and the portable code.
    fn archs() -> [Arch; 2] {
        [Arch::Scalar, Arch::new()]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn scans_find_what_the_plain_loop_finds(
            n_left in 1usize..=TILE,
            n_right in 1usize..=TILE,
            width in 1usize..50,
            limit in -2.0f32..2.0,
        ) {
            let (x, y) = (wave(n_left * width, 0.2), wave(n_right * width, 0.8));
            let (a, b) = (wave(n_left, 0.4), wave(n_right, 0.9));
            // Each right-hand row's limit is another one, and some rows have none.
            let left_limits = vec![limit; n_left];
            let mut right_limits: Vec<f32> =
                (0..n_right).map(|j| limit - 0.5 + (j % 7) as f32 / 5.0).collect();
            right_limits[n_right / 2] = NO_LIMIT;
            let margin = 1e-4;
            let (mut must, mut may) = (Vec::new(), Vec::new());
            for i in 0..n_left {
                for j in 0..n_right {
                    let (row, other) = (&x[i * width..][..width], &y[j * width..][..width]);
                    let s = dot_f64(row, other) as f32 + a[i] + b[j];
                    let pair = Pair { left: i as u16, right: j as u16 };
                    let lowest = left_limits[i].min(right_limits[j]);
                    if s >= lowest + margin { must.push(pair); }
                    if s >= lowest - margin { may.push(pair); }
                }
            }
            let (mut left, mut right) = (Packed::default(), Packed::default());
            left.fill(Operand::Left, &x, width);
            right.fill(Operand::Right, &y, width);
            for arch in archs() {
                let mut found = Vec::new();
                scan(
                    arch,
                    ScanSide { packed: &left, start: 0, offsets: &a, limits: &left_limits },
                    ScanSide { packed: &right, start: 0, offsets: &b, limits: &right_limits },
                    &mut found,
                );
                found.sort_unstable();
                prop_assert!(must.iter().all(|p| found.binary_search(p).is_ok()));
                prop_assert!(found.iter().all(|p| may.binary_search(p).is_ok()));
            }
        }

        #[test]
        fn sums_equal_the_exact_ones(n in 1usize..300) {
            let (x, y) = (wave(n, 0.1), wave(n, 0.7));
            let plain: f64 = x.iter().zip(&y).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            prop_assert!((dot_f64(&x, &y) - plain).abs() < 1e-12 * n as f64);
            for arch in archs() {
                let pair = [Pair { left: 0, right: 0 }];
                let mut out = Vec::new();
                for (term, want) in
                    [(Term::Dot, dot_f64(&x, &y)), (Term::SquaredDistance, squared_distance_f64(&x, &y))]
                {
                    let rows = |data| Rows { data, width: n, index: &[0] };
                    exact(arch, term, rows(&x), rows(&y), &pair, &mut out);
                    prop_assert_eq!(out[0].to_bits(), want.to_bits(), "the same bits everywhere");
                    for (slack, kept) in [(1e-3, true), (-1e-3, false)] {
                        let sign = if term == Term::Dot { -1.0 } else { 1.0 };
                        let bound = [want as f32 + sign * slack * (n as f32)];
                        let a = ScreenSide { rows: rows(&x), factors: &[1.0], bounds: &bound };
                        let b = ScreenSide { rows: rows(&y), factors: &[1.0], bounds: &bound };
                        let mut pairs = pair.to_vec();
                        screen(arch, term, a, b, &mut pairs);
                        prop_assert_eq!(!pairs.is_empty(), kept);
                    }
                }
            }
        }

        #[test]
        fn refining_keeps_what_reaches_a_limit(leading in 1usize..40) {
            let (x, y) = (wave(40, 0.1), wave(40, 0.2));
            let want = dot_f64(&x[..leading], &y[..leading]) as f32 + 0.5 * 0.25 + 1.0 + 2.0;
            for arch in archs() {
                for (slack, kept) in [(-1e-3, true), (1e-3, false)] {
                    let limits = ([want + slack], [want + 1.0]);
                    let side = |data, residual, offset, limits| RefineSide {
                        rows: Rows { data, width: 40, index: &[0] }, residuals: residual, offsets: offset, limits,
                    };
                    let mut pairs = vec![Pair { left: 0, right: 0 }];
                    let a = side(&x, &[0.5], &[1.0], &limits.0);
                    let b = side(&y, &[0.25], &[2.0], &limits.1);
                    refine(arch, leading, a, b, &mut pairs);
                    prop_assert_eq!(!pairs.is_empty(), kept);
                }
            }
        }
    }
}
