//! The sweep over all pairs of tiles.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use twinlearn_core::context::{Context, lock};
use twinlearn_core::error::Result;
use twinlearn_core::progress::{Event, Stage};

use super::plan::Plan;
use super::set::{Block, Limits, Set};
use super::tiles::{Side, Survivors};
use crate::frame::Frame;
use crate::kernels::scan::{Operand, TILE};
use crate::neighbor::{Nearest, Neighbor};

/// A search of a set in another, or in itself.
pub(super) struct Sweep<'a> {
    pub(super) ctx: &'a Context,
    pub(super) frame: &'a Frame,
    pub(super) plan: &'a Plan,
    pub(super) left: &'a Set<'a>,
    /// Nothing when the left set is searched in itself: each pair then serves both its rows.
    pub(super) right: Option<&'a Set<'a>>,
    /// Whether equal ids of the two sets are one row, which is no neighbour of itself.
    pub(super) same_ids: bool,
}

/// What the rows of one tile have found, and the limits that follow from it.
struct Finds {
    nearest: Vec<Nearest>,
    limits: Limits,
}

#[derive(Default)]
struct Workspace {
    left: Block,
    right: Block,
    /// Which block of the right set `right` holds.
    held: Option<usize>,
    survivors: Survivors,
    limits: [Limits; 2],
}

impl Sweep<'_> {
    /// Every pair. `nearest` is what the rows at each position know already, and then what they
    /// found.
    pub(super) fn every_pair(&self, mut nearest: Vec<Nearest>) -> Result<Vec<Nearest>> {
        let block = self.plan.block_rows;
        let lefts = self.left.len().div_ceil(block);
        let tasks: Vec<_> = match self.right {
            // The diagonal first, then what lies near it: rows are sorted so that near rows
            // have near positions, and early finds lower the limits.
            None => (0..lefts).flat_map(|d| (d..lefts).map(move |j| (j - d, j))).collect(),
            Some(right) => {
                let rights = right.len().div_ceil(block);
                (0..rights).flat_map(|j| (0..lefts).map(move |i| (i, j))).collect()
            }
        };
        let n = nearest.len();
        let mut finds = Vec::with_capacity(n.div_ceil(TILE));
        for t in (0..n.div_ceil(TILE)).rev() {
            finds.push(Mutex::new(self.finds(t, nearest.split_off(t * TILE))));
        }
        finds.reverse();
        let done = AtomicUsize::new(0);
        let workspaces = Mutex::new(Vec::<Workspace>::new());
        self.ctx.try_in_order(tasks.len(), |t| {
            let mut workspace = lock(&workspaces).pop().unwrap_or_default();
            let result = self.blocks(block, tasks[t], &finds, &mut workspace);
            lock(&workspaces).push(workspace);
            let rows = n * (done.fetch_add(1, Ordering::Relaxed) + 1) / tasks.len();
            self.ctx.emit(&Event::StageProgress { stage: Stage::Knn, done: rows });
            result
        })?;
        let finds =
            finds.into_iter().map(|f| f.into_inner().unwrap_or_else(PoisonError::into_inner));
        nearest.extend(finds.flat_map(|f| f.nearest));
        Ok(nearest)
    }

    fn finds(&self, tile: usize, nearest: Vec<Nearest>) -> Finds {
        let n = nearest.len();
        let mut limits = Limits { scores: vec![0.0; n], bounds: vec![0.0; n] };
        for (i, nearest) in nearest.iter().enumerate() {
            let norm = self.left.norms[self.left.order.ids[tile * TILE + i] as usize];
            limits.set(self.frame, self.plan, i, norm, nearest.limit());
        }
        Finds { nearest, limits }
    }

    /// All pairs of tiles of a pair of blocks.
    fn blocks(
        &self,
        block: usize,
        (i, j): (usize, usize),
        finds: &[Mutex<Finds>],
        workspace: &mut Workspace,
    ) -> Result<()> {
        let mut left = std::mem::take(&mut workspace.left);
        let mut right = std::mem::take(&mut workspace.right);
        let load = |set: &Set<'_>, b: usize, operand, out: &mut Block| {
            let ids = &set.order.ids[b * block..((b + 1) * block).min(set.len())];
            out.load(self.frame, self.plan, set, ids, operand)
        };
        load(self.left, i, Operand::Left, &mut left)?;
        // Blocks of queries come after each other for one block of the base.
        if workspace.held != Some(j) {
            workspace.held = None;
            load(self.right.unwrap_or(self.left), j, Operand::Right, &mut right)?;
            workspace.held = Some(j);
        }
        for right_tile in (0..right.ids.len()).step_by(TILE) {
            for left_tile in (0..left.ids.len()).step_by(TILE) {
                let (a, b) = (i * block + left_tile, j * block + right_tile);
                if self.right.is_none() && a > b {
                    continue;
                }
                self.ctx.check_cancelled()?;
                let right_finds = self.right.is_none().then_some(b / TILE);
                self.tiles(
                    (&left, left_tile, &finds[a / TILE]),
                    (&right, right_tile, right_finds.map(|t| &finds[t])),
                    right_finds == Some(a / TILE),
                    workspace,
                );
            }
        }
        (workspace.left, workspace.right) = (left, right);
        Ok(())
    }

    /// One pair of tiles, each given by its block, its first row there and its finds; on the
    /// diagonal both are one.
    fn tiles(
        &self,
        (left, left_tile, left_finds): (&Block, usize, &Mutex<Finds>),
        (right, right_tile, right_finds): (&Block, usize, Option<&Mutex<Finds>>),
        diagonal: bool,
        workspace: &mut Workspace,
    ) {
        let Workspace { survivors, limits, .. } = workspace;
        let [left_limits, right_limits] = limits;
        left_limits.clone_from(&lock(left_finds).limits);
        match right_finds {
            Some(finds) => right_limits.clone_from(&lock(finds).limits),
            None => {
                let n = right.tile_len(right_tile);
                *right_limits = Limits::out_of_reach(self.frame, self.plan, n);
            }
        }
        let left = Side { set: self.left, block: left, start: left_tile, limits: left_limits };
        let set = self.right.unwrap_or(self.left);
        let right = Side { set, block: right, start: right_tile, limits: right_limits };
        let differ = self.same_ids && self.right.is_some();
        survivors.find((self.frame, self.plan), (left, right), |pair| match diagonal {
            true => pair.left < pair.right,
            false => !differ || left.id(pair.left) != right.id(pair.right),
        });
        self.push(left_finds, survivors.of_left(right), left.norms());
        if let Some(finds) = right_finds {
            self.push(finds, survivors.of_right(left), right.norms());
        }
    }

    fn push(
        &self,
        finds: &Mutex<Finds>,
        candidates: impl Iterator<Item = (usize, Neighbor)>,
        norms: &[f64],
    ) {
        let mut finds = lock(finds);
        let Finds { nearest, limits } = &mut *finds;
        for (row, candidate) in candidates {
            let nearest = &mut nearest[row];
            let before = nearest.limit();
            if nearest.push(candidate) && nearest.limit() < before {
                limits.set(self.frame, self.plan, row, norms[row], nearest.limit());
            }
        }
    }
}
