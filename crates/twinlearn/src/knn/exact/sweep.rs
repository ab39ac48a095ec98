//! The sweep over pairs of tiles: bound, refine, screen, decide.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Set;
use super::plan::Plan;
use crate::context::{Context, Event, Stage, lock};
use crate::error::Result;
use crate::knn::frame::Frame;
use crate::knn::neighbor::{Nearest, Neighbor};
use crate::linalg::kernels::arch;
use crate::linalg::kernels::scan::{
    Operand, Packed, Pair, RefineSide, Rows, ScanSide, ScreenSide, TILE, exact, refine, scan,
    screen,
};

/// What the rows of one tile have found, and the limits that follow from it.
struct Finds {
    nearest: Vec<Nearest>,
    limits: Limits,
}

/// For each row of a tile how far it looks: as a score, and as the bound of the screen.
#[derive(Clone, Default)]
struct Limits {
    scores: Vec<f32>,
    bounds: Vec<f32>,
}

/// One of the two sets of a sweep. A symmetric sweep has one set on both sides.
pub(super) struct Sweep<'a> {
    pub(super) ctx: &'a Context,
    pub(super) frame: &'a Frame,
    pub(super) plan: &'a Plan,
    pub(super) left: &'a Set<'a>,
    /// Nothing when the left set is searched against itself.
    pub(super) right: Option<&'a Set<'a>>,
    pub(super) k: usize,
}

/// The rows of a block of tiles, in the forms that the steps need.
#[derive(Default)]
struct Block {
    /// The first position.
    start: usize,
    ids: Vec<u32>,
    packed: Packed,
    leading: Vec<f32>,
    offsets: Vec<f32>,
    residuals: Vec<f32>,
    norms: Vec<f64>,
    factors: Vec<f32>,
    /// The rows themselves, unless they can be read where they lie.
    rows: Vec<f32>,
    /// Where in `rows`, or in all rows, each row is.
    index: Vec<u32>,
}

#[derive(Default)]
struct Workspace {
    left: Block,
    right: Block,
    pairs: Vec<Pair>,
    sums: Vec<f64>,
    candidates: [Vec<(u16, Neighbor)>; 2],
    limits: [Limits; 2],
}

impl Sweep<'_> {
    /// The nearest `k` of every left row, by position. `seeds` holds for each position a distance
    /// within which it is known to have `k` neighbours.
    pub(super) fn run(&self, seeds: &[f64]) -> Result<Vec<Vec<Neighbor>>> {
        let n = self.left.len();
        let finds: Vec<Mutex<Finds>> = seeds
            .chunks(TILE)
            .enumerate()
            .map(|(t, seeds)| Mutex::new(self.start(t, seeds)))
            .collect();
        let block = self.plan.block_rows;
        let lefts = n.div_ceil(block);
        let tasks: Vec<(usize, usize)> = match self.right {
            // The diagonal first, then what lies near it: rows are sorted so that near rows
            // have near positions, and early finds lower the limits.
            None => (0..lefts).flat_map(|d| (d..lefts).map(move |j| (j - d, j))).collect(),
            Some(right) => {
                let rights = right.len().div_ceil(block);
                (0..rights).flat_map(|j| (0..lefts).map(move |i| (i, j))).collect()
            }
        };
        let workspaces = Mutex::new(Vec::<Workspace>::new());
        let done = AtomicUsize::new(0);
        self.ctx.try_in_order(tasks.len(), |t| {
            let mut workspace = lock(&workspaces).pop().unwrap_or_default();
            let result = self.blocks(tasks[t], &finds, &mut workspace);
            lock(&workspaces).push(workspace);
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            let rows = n * done / tasks.len();
            self.ctx.emit(&Event::StageProgress { stage: Stage::Knn, done: rows });
            result
        })?;
        let finds = finds.into_iter().map(|f| f.into_inner().unwrap_or_else(|e| e.into_inner()));
        Ok(finds.flat_map(|f| f.nearest).map(Nearest::into_sorted).collect())
    }

    fn start(&self, tile: usize, seeds: &[f64]) -> Finds {
        let mut limits = Limits { scores: vec![0.0; seeds.len()], bounds: vec![0.0; seeds.len()] };
        for (i, &seed) in seeds.iter().enumerate() {
            self.set_limit(&mut limits, i, self.left.norm(tile * TILE + i), seed);
        }
        Finds { nearest: seeds.iter().map(|&s| Nearest::new(self.k, s)).collect(), limits }
    }

    fn set_limit(&self, limits: &mut Limits, i: usize, norm: f64, distance: f64) {
        limits.scores[i] = self.frame.limit(distance);
        limits.bounds[i] = self.plan.screen_bound(self.frame.metric, norm, distance);
    }

    /// All pairs of tiles of a pair of blocks.
    fn blocks(
        &self,
        (i, j): (usize, usize),
        finds: &[Mutex<Finds>],
        workspace: &mut Workspace,
    ) -> Result<()> {
        let symmetric = self.right.is_none();
        let mut left = std::mem::take(&mut workspace.left);
        let mut right = std::mem::take(&mut workspace.right);
        let loaded = self.load(self.left, i, Operand::Left, &mut left).and_then(|()| {
            self.load(self.right.unwrap_or(self.left), j, Operand::Right, &mut right)
        });
        let result = loaded.and_then(|()| {
            for right_tile in (0..right.ids.len()).step_by(TILE) {
                for left_tile in (0..left.ids.len()).step_by(TILE) {
                    let (a, b) = (left.start + left_tile, right.start + right_tile);
                    if symmetric && a > b {
                        continue;
                    }
                    self.ctx.check_cancelled()?;
                    self.tiles((&left, left_tile), (&right, right_tile), finds, workspace);
                }
            }
            Ok(())
        });
        (workspace.left, workspace.right) = (left, right);
        result
    }

    fn load(&self, set: &Set<'_>, block: usize, operand: Operand, out: &mut Block) -> Result<()> {
        let dim = set.rows.dim();
        let start = block * self.plan.block_rows;
        let end = (start + self.plan.block_rows).min(set.len());
        let ids = &set.order[start..end];
        out.start = start;
        out.ids.clear();
        out.ids.extend_from_slice(ids);
        out.index.clear();
        if set.rows.as_f32().is_some() {
            out.index.extend_from_slice(ids);
        } else {
            out.index.extend(0..ids.len() as u32);
            out.rows.resize(ids.len() * dim, 0.0);
            set.rows.gather(ids, &mut out.rows)?;
        }
        let pick = |from: &[f32], to: &mut Vec<f32>| {
            to.clear();
            to.extend(ids.iter().map(|&id| from[id as usize]));
        };
        let coordinates = &set.coordinates;
        pick(&coordinates.offsets, &mut out.offsets);
        pick(&coordinates.residuals[coordinates.residuals.len() - 1], &mut out.residuals);
        out.norms.clear();
        out.norms.extend(ids.iter().map(|&id| set.norms[id as usize]));
        out.factors.clear();
        out.factors.extend(out.norms.iter().map(|&norm| self.plan.factor(self.frame.metric, norm)));

        // The scanned rows: leading coordinates (without axes the moved rows), then the residual.
        let first = &coordinates.residuals[0];
        let width = self.plan.levels[0];
        let mut scanned = Vec::with_capacity(ids.len() * (width + 1));
        if coordinates.width > 0 {
            out.leading.clear();
            for &id in ids {
                let row = &coordinates.leading[id as usize * coordinates.width..];
                out.leading.extend_from_slice(&row[..coordinates.width]);
                scanned.extend_from_slice(&row[..width]);
                scanned.push(first[id as usize]);
            }
        } else {
            let mut moved = vec![0.0; ids.len() * dim];
            set.rows.gather(ids, &mut moved)?;
            self.frame.move_rows(&mut moved, out.norms.iter().copied());
            for (row, &id) in moved.chunks_exact(dim).zip(ids) {
                scanned.extend_from_slice(row);
                scanned.push(first[id as usize]);
            }
        }
        out.packed.fill(operand, &scanned, width + 1);
        Ok(())
    }

    /// One pair of tiles, each given by its block and its first row there.
    fn tiles(
        &self,
        (left, left_tile): (&Block, usize),
        (right, right_tile): (&Block, usize),
        finds: &[Mutex<Finds>],
        workspace: &mut Workspace,
    ) {
        let Workspace { pairs, sums, candidates, limits, .. } = workspace;
        let n_right = TILE.min(right.ids.len() - right_tile);
        let left_finds = (left.start + left_tile) / TILE;
        let right_finds = self.right.is_none().then_some((right.start + right_tile) / TILE);
        let diagonal = right_finds == Some(left_finds);
        let [left_limits, right_limits] = limits;
        left_limits.clone_from(&lock(&finds[left_finds]).limits);
        match right_finds {
            Some(tile) => right_limits.clone_from(&lock(&finds[tile]).limits),
            // Rows of the right set look for nothing.
            None => {
                let out_of_reach = self.plan.out_of_reach(self.frame.metric);
                right_limits.scores = vec![f32::INFINITY; n_right];
                right_limits.bounds = vec![out_of_reach; n_right];
            }
        }

        pairs.clear();
        scan(
            arch(),
            scan_side(left, left_tile, left_limits),
            scan_side(right, right_tile, right_limits),
            pairs,
        );
        if diagonal {
            pairs.retain(|pair| pair.left < pair.right);
        }
        if let [_, refined] = self.plan.levels[..] {
            let width = self.left.coordinates.width;
            refine(
                arch(),
                refined,
                refine_side(left, left_tile, width, left_limits),
                refine_side(right, right_tile, width, right_limits),
                pairs,
            );
        }
        let term = self.frame.metric.term();
        let left_rows = tile_rows(self.left, left, left_tile);
        let right_rows = tile_rows(self.right.unwrap_or(self.left), right, right_tile);
        if self.plan.screens {
            screen(
                arch(),
                term,
                screen_side(left, left_tile, left_rows, left_limits),
                screen_side(right, right_tile, right_rows, right_limits),
                pairs,
            );
        }
        exact(arch(), term, left_rows, right_rows, pairs, sums);

        let [for_left, for_right] = candidates;
        for_left.clear();
        for_right.clear();
        for (pair, &sum) in pairs.iter().zip(&*sums) {
            let (i, j) = (usize::from(pair.left) + left_tile, usize::from(pair.right) + right_tile);
            let distance = self.frame.metric.distance_of(sum, left.norms[i], right.norms[j]);
            for_left.push((pair.left, Neighbor { distance, id: right.ids[j] }));
            for_right.push((pair.right, Neighbor { distance, id: left.ids[i] }));
        }
        self.push(&finds[left_finds], for_left, &left.norms[left_tile..]);
        if let Some(tile) = right_finds {
            self.push(&finds[tile], for_right, &right.norms[right_tile..]);
        }
    }

    fn push(&self, finds: &Mutex<Finds>, candidates: &[(u16, Neighbor)], norms: &[f64]) {
        let mut finds = lock(finds);
        let Finds { nearest, limits } = &mut *finds;
        for &(row, candidate) in candidates {
            let row = usize::from(row);
            let before = nearest[row].limit();
            if nearest[row].push(candidate) && nearest[row].limit() < before {
                self.set_limit(limits, row, norms[row], nearest[row].limit());
            }
        }
    }
}

fn scan_side<'a>(block: &'a Block, start: usize, limits: &'a Limits) -> ScanSide<'a> {
    let offsets = &block.offsets[start..][..limits.scores.len()];
    ScanSide { packed: &block.packed, start, offsets, limits: &limits.scores }
}

fn refine_side<'a>(
    block: &'a Block,
    start: usize,
    width: usize,
    limits: &'a Limits,
) -> RefineSide<'a> {
    RefineSide {
        rows: &block.leading[start * width..],
        width,
        residuals: &block.residuals[start..],
        offsets: &block.offsets[start..],
        limits: &limits.scores,
    }
}

fn screen_side<'a>(
    block: &'a Block,
    start: usize,
    rows: Rows<'a>,
    limits: &'a Limits,
) -> ScreenSide<'a> {
    ScreenSide { rows, factors: &block.factors[start..], bounds: &limits.bounds }
}

fn tile_rows<'a>(set: &'a Set<'_>, block: &'a Block, start: usize) -> Rows<'a> {
    let data = set.rows.as_f32().unwrap_or(&block.rows);
    Rows { data, width: set.rows.dim(), index: &block.index[start..] }
}
