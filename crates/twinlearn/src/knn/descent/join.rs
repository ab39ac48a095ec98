//! A round of joining: every row looks at the neighbours of its neighbours.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::context::{Context, lock};
use crate::error::Result;
use crate::knn::exact::plan::Plan;
use crate::knn::exact::set::{Block, Limits, Set};
use crate::knn::frame::Frame;
use crate::knn::neighbor::{Nearest, Neighbor};
use crate::linalg::kernels::arch;
use crate::linalg::kernels::scan::{Pair, RefineSide, Rows, exact, refine, screen};

/// Neighbours of a row that take part, and as many rows that it is a neighbour of.
const SHARE: usize = 24;
/// Rows of a task.
const ROWS: usize = 256;
/// The flag of a neighbour that the row did not have a round ago.
const FRESH: u32 = 1 << 31;

/// Bytes of working memory of the search beside the set's.
pub(super) fn bytes(n: usize, kept: usize) -> usize {
    n * (kept * size_of::<Neighbor>() + 64 + 4 * (4 * SHARE + 2))
}

/// For every row the neighbours that take part in a round: its own and those whose it is.
pub(super) struct Lists {
    /// The nearest [`SHARE`] of each row, with flags; its own number where it has fewer.
    forward: Vec<u32>,
    /// Rows (with flags) whose list this row is in, at most [`SHARE`].
    backward: Vec<u32>,
    counts: Vec<u8>,
}

impl Lists {
    pub(super) fn new(n: usize) -> Self {
        // No row is its own neighbour, so at first all are fresh.
        let forward = (0..n as u32).flat_map(|id| [id; SHARE]).collect();
        Self { forward, backward: vec![0; n * SHARE], counts: vec![0; n] }
    }

    /// Takes up what the rows know now.
    pub(super) fn update(&mut self, ctx: &Context, nearest: &[Nearest], round: usize) {
        ctx.for_each_chunk(&mut self.forward, ROWS * SHARE, |c, lists| {
            for (i, list) in lists.chunks_exact_mut(SHARE).enumerate() {
                let row = c * ROWS + i;
                let mut known: Vec<Neighbor> = nearest[row].iter().collect();
                known.sort_unstable();
                let mut before: Vec<u32> = list.iter().map(|id| id & !FRESH).collect();
                before.sort_unstable();
                list.fill(row as u32);
                for (slot, Neighbor { id, .. }) in list.iter_mut().zip(known) {
                    let fresh = before.binary_search(&id).is_err();
                    *slot = if fresh { id | FRESH } else { id };
                }
            }
        });
        // Rows enter the lists of their neighbours in another order each round, so that rows with
        // many admirers hear of all of them in time.
        let n = nearest.len();
        self.counts.fill(0);
        let start = round * (n / 7 + 1);
        for i in 0..n {
            let row = (start + i) % n;
            for &entry in &self.forward[row * SHARE..(row + 1) * SHARE] {
                let (id, fresh) = (entry & !FRESH, entry & FRESH);
                let count = &mut self.counts[id as usize];
                if id as usize != row && usize::from(*count) < SHARE {
                    self.backward[id as usize * SHARE + usize::from(*count)] = row as u32 | fresh;
                    *count += 1;
                }
            }
        }
    }

    fn of(&self, row: u32) -> impl Iterator<Item = u32> {
        let row = row as usize;
        let forward = &self.forward[row * SHARE..(row + 1) * SHARE];
        let backward = &self.backward[row * SHARE..][..usize::from(self.counts[row])];
        forward.iter().chain(backward).copied()
    }
}

#[derive(Default)]
struct Workspace {
    /// For each row the last number of `stamp` at which it was a candidate.
    seen: Vec<u32>,
    /// Rises with every row that looks.
    stamp: u32,
    candidates: Vec<u32>,
    residuals: Vec<f32>,
    offsets: Vec<f32>,
    pairs: Vec<Pair>,
    own: Block,
    others: Block,
    sums: Vec<f64>,
}

/// One round: what the rows at each position know after it, and how many neighbours entered.
pub(super) fn round(
    ctx: &Context,
    frame: &Frame,
    plan: &Plan,
    set: &Set<'_>,
    lists: &Lists,
    mut nearest: Vec<Nearest>,
) -> Result<(Vec<Nearest>, usize)> {
    let entered = AtomicUsize::new(0);
    let workspaces = Mutex::new(Vec::<Workspace>::new());
    ctx.try_for_each_chunk(&mut nearest, ROWS, |c, nearest| {
        let mut workspace = lock(&workspaces).pop().unwrap_or_default();
        workspace.seen.resize(set.len(), 0);
        for (i, nearest) in nearest.iter_mut().enumerate() {
            let row = set.order[c * ROWS + i];
            workspace.gather(lists, row);
            let found = workspace.look(frame, plan, set, row, nearest)?;
            entered.fetch_add(found, Ordering::Relaxed);
        }
        lock(&workspaces).push(workspace);
        Ok(())
    })?;
    Ok((nearest, entered.into_inner()))
}

impl Workspace {
    /// The neighbours of `row`'s neighbours, where one of the two steps is fresh.
    fn gather(&mut self, lists: &Lists, row: u32) {
        self.candidates.clear();
        self.stamp += 1;
        let mark = self.stamp;
        self.seen[row as usize] = mark;
        for near in lists.of(row) {
            for far in lists.of(near & !FRESH) {
                let id = far & !FRESH;
                let seen = &mut self.seen[id as usize];
                if (near | far) & FRESH != 0 && *seen != mark {
                    *seen = mark;
                    self.candidates.push(id);
                }
            }
        }
    }

    /// Shows `row` its candidates; returns how many entered.
    fn look(
        &mut self,
        frame: &Frame,
        plan: &Plan,
        set: &Set<'_>,
        row: u32,
        nearest: &mut Nearest,
    ) -> Result<usize> {
        let mut limits = Limits { scores: vec![0.0], bounds: vec![0.0] };
        limits.set(frame, plan, 0, set.norms[row as usize], nearest.limit());
        let coordinates = &set.coordinates;
        if coordinates.width > 0 {
            for (l, &level) in plan.levels.iter().enumerate() {
                self.refine(set, row, level, &coordinates.residuals[l], &limits);
            }
        }
        if self.candidates.is_empty() {
            return Ok(0);
        }
        self.own.load(frame, plan, set, &[row], None)?;
        self.others.load(frame, plan, set, &self.candidates, None)?;
        self.pairs.clear();
        let right = 0..self.candidates.len() as u16;
        self.pairs.extend(right.map(|right| Pair { left: 0, right }));
        let term = frame.metric.term();
        if plan.screens {
            let none = Limits::out_of_reach(frame, plan, self.candidates.len());
            let a = self.own.screen(set, 0, &limits);
            let b = self.others.screen(set, 0, &none);
            screen(arch(), term, a, b, &mut self.pairs);
        }
        let (a, b) = (self.own.rows(set, 0), self.others.rows(set, 0));
        exact(arch(), term, a, b, &self.pairs, &mut self.sums);
        let mut entered = 0;
        for (pair, &sum) in self.pairs.iter().zip(&self.sums) {
            let other = usize::from(pair.right);
            let (own_norm, norm) = (self.own.norms[0], self.others.norms[other]);
            let distance = frame.metric.distance_of(sum, own_norm, norm);
            let id = self.others.ids[other];
            entered += usize::from(nearest.push_once(Neighbor { distance, id }));
        }
        Ok(entered)
    }

    /// Keeps the candidates that may be within the limits by their first `level` coordinates.
    fn refine(
        &mut self,
        set: &Set<'_>,
        row: u32,
        level: usize,
        residuals: &[f32],
        limits: &Limits,
    ) {
        let coordinates = &set.coordinates;
        let (data, width) = (&coordinates.leading[..], coordinates.width);
        let Self { candidates, residuals: others, offsets, pairs, .. } = self;
        others.clear();
        others.extend(candidates.iter().map(|&id| residuals[id as usize]));
        offsets.clear();
        offsets.extend(candidates.iter().map(|&id| coordinates.offsets[id as usize]));
        pairs.clear();
        pairs.extend((0..candidates.len() as u16).map(|right| Pair { left: 0, right }));
        let own = RefineSide {
            rows: Rows { data, width, index: &[row] },
            residuals: &[residuals[row as usize]],
            offsets: &[coordinates.offsets[row as usize]],
            limits: &limits.scores,
        };
        let none = vec![f32::INFINITY; candidates.len()];
        let all = RefineSide {
            rows: Rows { data, width, index: candidates },
            residuals: others,
            offsets,
            limits: &none,
        };
        refine(arch(), level, own, all, pairs);
        for (kept, pair) in pairs.iter().enumerate() {
            candidates[kept] = candidates[usize::from(pair.right)];
        }
        candidates.truncate(pairs.len());
    }
}
