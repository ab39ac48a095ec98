//! One set of rows of a search, and its tiles as the kernels take them.

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_vectors::Vectors;

use super::order::Order;
use super::plan::Plan;
use crate::frame::{Coordinates, Frame};
use crate::kernels::scan::{Operand, Packed, RefineSide, Rows, ScanSide, ScreenSide, TILE};

/// One set of rows of a search.
pub(super) struct Set<'a> {
    pub(super) rows: &'a dyn Vectors,
    pub(super) order: Order,
    /// By row.
    pub(super) norms: Vec<f64>,
    /// By row.
    pub(super) coordinates: Coordinates,
}

impl<'a> Set<'a> {
    pub(super) fn new(
        ctx: &Context,
        rows: &'a dyn Vectors,
        norms: Vec<f64>,
        frame: &Frame,
        plan: &Plan,
    ) -> Result<Self> {
        let coordinates = frame.coordinates(ctx, rows, &norms, &plan.levels)?;
        Ok(Self { rows, order: Order::given(rows.n_rows()), norms, coordinates })
    }

    pub(super) fn len(&self) -> usize {
        self.order.ids.len()
    }

    /// The first `width` coordinates of some rows, row after row.
    pub(super) fn leading(&self, ids: &[u32], width: usize) -> Vec<f32> {
        let Coordinates { leading, width: kept, .. } = &self.coordinates;
        ids.iter().flat_map(|&id| &leading[id as usize * kept..][..width]).copied().collect()
    }
}

/// For some rows how far each looks: as a score, and as the bound of the screen.
#[derive(Clone, Debug, Default)]
pub(super) struct Limits {
    pub(super) scores: Vec<f32>,
    pub(super) bounds: Vec<f32>,
}

impl Limits {
    /// `n` rows that look for nothing.
    pub(super) fn out_of_reach(frame: &Frame, plan: &Plan, n: usize) -> Self {
        Self { scores: vec![f32::INFINITY; n], bounds: vec![plan.out_of_reach(frame.metric); n] }
    }

    /// Row `i`, of length `norm`, looks no farther than `distance`.
    pub(super) fn set(&mut self, frame: &Frame, plan: &Plan, i: usize, norm: f64, distance: f64) {
        self.scores[i] = frame.limit(distance);
        self.bounds[i] = plan.screen_bound(frame.metric, norm, distance);
    }
}

/// Some rows of a set, with what the kernels need of them side by side.
#[derive(Default)]
pub(super) struct Block {
    pub(super) ids: Vec<u32>,
    pub(super) norms: Vec<f64>,
    packed: Packed,
    offsets: Vec<f32>,
    /// The residuals of the last level.
    residuals: Vec<f32>,
    factors: Vec<f32>,
    /// The rows themselves, unless they can be read where they lie.
    rows: Vec<f32>,
    /// Where in `rows`, or in all rows, each row is.
    index: Vec<u32>,
}

impl Block {
    /// Takes up the rows `ids` of `set`; packed for a scan.
    pub(super) fn load(
        &mut self,
        frame: &Frame,
        plan: &Plan,
        set: &Set<'_>,
        ids: &[u32],
        operand: Operand,
    ) -> Result<()> {
        let dim = set.rows.dim();
        self.ids.clear();
        self.ids.extend_from_slice(ids);
        self.index.clear();
        if set.rows.as_f32().is_some() {
            self.index.extend_from_slice(ids);
        } else {
            self.index.extend(0..ids.len() as u32);
            self.rows.resize(ids.len() * dim, 0.0);
            set.rows.gather(ids, &mut self.rows)?;
        }
        let pick = |from: &[f32], to: &mut Vec<f32>| {
            to.clear();
            to.extend(ids.iter().map(|&id| from[id as usize]));
        };
        let coordinates = &set.coordinates;
        pick(&coordinates.offsets, &mut self.offsets);
        pick(&coordinates.residuals[coordinates.residuals.len() - 1], &mut self.residuals);
        self.norms.clear();
        self.norms.extend(ids.iter().map(|&id| set.norms[id as usize]));
        self.factors.clear();
        self.factors.extend(self.norms.iter().map(|&norm| plan.factor(frame.metric, norm)));

        // The scanned rows: leading coordinates (without axes the moved rows), then the residual.
        let first = &coordinates.residuals[0];
        let width = plan.levels[0];
        let mut scanned = Vec::with_capacity(ids.len() * (width + 1));
        if coordinates.width > 0 {
            for &id in ids {
                let row = &coordinates.leading[id as usize * coordinates.width..];
                scanned.extend_from_slice(&row[..width]);
                scanned.push(first[id as usize]);
            }
        } else {
            let mut moved = vec![0.0; ids.len() * dim];
            set.rows.gather(ids, &mut moved)?;
            frame.move_rows(&mut moved, self.norms.iter().copied());
            for (row, &id) in moved.chunks_exact(dim).zip(ids) {
                scanned.extend_from_slice(row);
                scanned.push(first[id as usize]);
            }
        }
        self.packed.fill(operand, &scanned, width + 1);
        Ok(())
    }

    /// The number of rows of the tile that begins at row `start`.
    pub(super) fn tile_len(&self, start: usize) -> usize {
        TILE.min(self.ids.len() - start)
    }

    pub(super) fn rows<'b>(&'b self, set: &'b Set<'_>, start: usize) -> Rows<'b> {
        let data = set.rows.as_f32().unwrap_or(&self.rows);
        Rows { data, width: set.rows.dim(), index: &self.index[start..] }
    }

    pub(super) fn scan<'b>(&'b self, start: usize, limits: &'b Limits) -> ScanSide<'b> {
        let offsets = &self.offsets[start..][..limits.scores.len()];
        ScanSide { packed: &self.packed, start, offsets, limits: &limits.scores }
    }

    /// For a refinement to the coordinates of the last level.
    pub(super) fn refine<'b>(
        &'b self,
        set: &'b Set<'_>,
        start: usize,
        limits: &'b Limits,
    ) -> RefineSide<'b> {
        let coordinates = &set.coordinates;
        let (data, width) = (&coordinates.leading, coordinates.width);
        RefineSide {
            rows: Rows { data, width, index: &self.ids[start..] },
            residuals: &self.residuals[start..],
            offsets: &self.offsets[start..],
            limits: &limits.scores,
        }
    }

    pub(super) fn screen<'b>(
        &'b self,
        set: &'b Set<'_>,
        start: usize,
        limits: &'b Limits,
    ) -> ScreenSide<'b> {
        let factors = &self.factors[start..];
        ScreenSide { rows: self.rows(set, start), factors, bounds: &limits.bounds }
    }
}
