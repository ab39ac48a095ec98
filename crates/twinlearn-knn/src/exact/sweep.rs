//! The sweep over pairs of tiles: bound, refine, screen, decide.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use twinlearn_core::context::{Context, lock};
use twinlearn_core::error::Result;
use twinlearn_core::linalg::arch;
use twinlearn_core::progress::{Event, Stage};

use super::plan::Plan;
use super::set::{Block, Limits, Set};
use crate::frame::Frame;
use crate::kernels::scan::{Operand, Pair, TILE, exact, refine, scan, screen};
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
    pairs: Vec<Pair>,
    sums: Vec<f64>,
    candidates: [Vec<(u16, Neighbor)>; 2],
    limits: [Limits; 2],
}

impl Sweep<'_> {
    /// Every pair. `nearest` is what the rows at each position know already, and then what they
    /// found.
    pub(super) fn every_pair(&self, nearest: Vec<Nearest>) -> Result<Vec<Nearest>> {
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
        let n = self.left.len();
        let done = AtomicUsize::new(0);
        self.run(nearest, block, &tasks, || {
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            let rows = n * done / tasks.len();
            self.ctx.emit(&Event::StageProgress { stage: Stage::Knn, done: rows });
        })
    }

    fn run(
        &self,
        mut nearest: Vec<Nearest>,
        block: usize,
        tasks: &[(usize, usize)],
        done: impl Fn() + Send + Sync,
    ) -> Result<Vec<Nearest>> {
        let n = nearest.len();
        let mut finds = Vec::with_capacity(n.div_ceil(TILE));
        for t in (0..n.div_ceil(TILE)).rev() {
            finds.push(Mutex::new(self.finds(t, nearest.split_off(t * TILE))));
        }
        finds.reverse();
        let workspaces = Mutex::new(Vec::<Workspace>::new());
        self.ctx.try_in_order(tasks.len(), |t| {
            let mut workspace = lock(&workspaces).pop().unwrap_or_default();
            let result = self.blocks(block, tasks[t], &finds, &mut workspace);
            lock(&workspaces).push(workspace);
            done();
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
            let norm = self.left.norms[self.left.order[tile * TILE + i] as usize];
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
            let ids = &set.order[b * block..((b + 1) * block).min(set.len())];
            out.load(self.frame, self.plan, set, ids, operand)
        };
        load(self.left, i, Operand::Left, &mut left)?;
        load(self.right.unwrap_or(self.left), j, Operand::Right, &mut right)?;
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
        let (left_set, right_set) = (self.left, self.right.unwrap_or(self.left));
        let Workspace { pairs, sums, candidates, limits, .. } = workspace;
        let [left_limits, right_limits] = limits;
        left_limits.clone_from(&lock(left_finds).limits);
        match right_finds {
            Some(finds) => right_limits.clone_from(&lock(finds).limits),
            None => {
                let n = right.tile_len(right_tile);
                *right_limits = Limits::out_of_reach(self.frame, self.plan, n);
            }
        }

        pairs.clear();
        let (a, b) = (left.scan(left_tile, left_limits), right.scan(right_tile, right_limits));
        scan(arch(), a, b, pairs);
        if diagonal {
            pairs.retain(|pair| pair.left < pair.right);
        } else if self.same_ids && self.right.is_some() {
            let (a, b) = (&left.ids[left_tile..], &right.ids[right_tile..]);
            pairs.retain(|pair| a[usize::from(pair.left)] != b[usize::from(pair.right)]);
        }
        if let [_, refined] = self.plan.levels[..] {
            let a = left.refine(left_set, left_tile, left_limits);
            let b = right.refine(right_set, right_tile, right_limits);
            refine(arch(), refined, a, b, pairs);
        }
        let term = self.frame.metric.term();
        if self.plan.screens {
            let a = left.screen(left_set, left_tile, left_limits);
            let b = right.screen(right_set, right_tile, right_limits);
            screen(arch(), term, a, b, pairs);
        }
        let (a, b) = (left.rows(left_set, left_tile), right.rows(right_set, right_tile));
        exact(arch(), term, a, b, pairs, sums);

        let [for_left, for_right] = candidates;
        for_left.clear();
        for_right.clear();
        for (pair, &sum) in pairs.iter().zip(&*sums) {
            let (i, j) = (usize::from(pair.left) + left_tile, usize::from(pair.right) + right_tile);
            let distance = self.frame.metric.distance_of(sum, left.norms[i], right.norms[j]);
            for_left.push((pair.left, Neighbor { distance, id: right.ids[j] }));
            for_right.push((pair.right, Neighbor { distance, id: left.ids[i] }));
        }
        self.push(left_finds, for_left, &left.norms[left_tile..]);
        if let Some(finds) = right_finds {
            self.push(finds, for_right, &right.norms[right_tile..]);
        }
    }

    fn push(&self, finds: &Mutex<Finds>, candidates: &[(u16, Neighbor)], norms: &[f64]) {
        let mut finds = lock(finds);
        let Finds { nearest, limits } = &mut *finds;
        for &(row, candidate) in candidates {
            let row = usize::from(row);
            let nearest = &mut nearest[row];
            let before = nearest.limit();
            if nearest.push(candidate) && nearest.limit() < before {
                limits.set(self.frame, self.plan, row, norms[row], nearest.limit());
            }
        }
    }
}
