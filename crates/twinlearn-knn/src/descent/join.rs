//! A round of joining: every row looks at the neighbours of its neighbours.

use std::sync::Mutex;

use twinlearn_core::context::{Context, lock};
use twinlearn_core::error::Result;

use super::list::{FRESH, List};
use super::space::Space;

/// Rows of a task.
const ROWS: usize = 256;

/// For every row the neighbours that take part in a round: the best of its own, and rows that it
/// is a neighbour of.
pub(super) struct Parts {
    share: usize,
    /// Room for 2 · share of each row: fresh ones from the front, others from the back.
    slots: Vec<u32>,
    /// How many of each kind.
    counts: Vec<[u16; 2]>,
}

impl Parts {
    /// Bytes of a row.
    pub(super) fn row_bytes(share: usize) -> usize {
        8 * share + 4
    }

    pub(super) fn new(n: usize, share: usize) -> Self {
        Self { share, slots: vec![0; n * 2 * share], counts: vec![[0; 2]; n] }
    }

    /// Takes up what the rows know now; returns how many of their neighbours are fresh.
    pub(super) fn update(&mut self, lists: &mut [List], round: usize) -> usize {
        let (n, share) = (lists.len(), self.share);
        self.counts.fill([0; 2]);
        for (row, list) in lists.iter().enumerate() {
            for entry in list.entries().iter().take(share) {
                self.push(row, entry.id);
            }
        }
        let fresh = self.counts.iter().map(|count| usize::from(count[0])).sum();
        // Rows enter the lists of their neighbours in another order each round, so that rows with
        // many admirers hear of all of them in time.
        let start = round * (n / 7 + 1);
        for i in 0..n {
            let row = (start + i) % n;
            for entry in lists[row].entries().iter().take(share) {
                self.push((entry.id & !FRESH) as usize, row as u32 | entry.id & FRESH);
            }
            lists[row].take_part(share);
        }
        fresh
    }

    /// Adds to a row's part while there is room.
    fn push(&mut self, row: usize, entry: u32) {
        let room = 2 * self.share;
        let slots = &mut self.slots[row * room..][..room];
        let [fresh, stale] = &mut self.counts[row];
        let taken = usize::from(*fresh) + usize::from(*stale);
        if taken == room {
            return;
        }
        if entry & FRESH != 0 {
            slots[usize::from(*fresh)] = entry & !FRESH;
            *fresh += 1;
        } else {
            *stale += 1;
            slots[room - usize::from(*stale)] = entry;
        }
    }

    /// The fresh and the other rows of a row's part.
    fn of(&self, row: u32) -> [&[u32]; 2] {
        let room = 2 * self.share;
        let slots = &self.slots[row as usize * room..][..room];
        let [fresh, stale] = self.counts[row as usize];
        [&slots[..usize::from(fresh)], &slots[room - usize::from(stale)..]]
    }
}

#[derive(Default)]
struct Workspace {
    /// For each row the last number of `stamp` at which it was a candidate.
    seen: Vec<u32>,
    /// Rises with every row that looks.
    stamp: u32,
    candidates: Vec<u32>,
    row: Vec<f32>,
    scores: Vec<f32>,
}

/// One round.
pub(super) fn round(ctx: &Context, space: &Space, parts: &Parts, lists: &mut [List]) -> Result<()> {
    let workspaces = Mutex::new(Vec::<Workspace>::new());
    ctx.try_for_each_chunk(lists, ROWS, |c, lists| {
        let mut workspace = lock(&workspaces).pop().unwrap_or_default();
        workspace.seen.resize(space.len(), 0);
        for (i, list) in lists.iter_mut().enumerate() {
            let row = (c * ROWS + i) as u32;
            workspace.gather(parts, row);
            workspace.look(space, row, list);
        }
        lock(&workspaces).push(workspace);
        Ok(())
    })
}

impl Workspace {
    /// The neighbours of `row`'s neighbours, where one of the two steps is fresh.
    fn gather(&mut self, parts: &Parts, row: u32) {
        let room = 2 * parts.share;
        self.candidates.resize(room * room + 1, 0);
        self.stamp += 1;
        let mark = self.stamp;
        self.seen[row as usize] = mark;
        let [fresh, stale] = parts.of(row);
        let mut count = 0;
        // Whether a row is new is hard to foresee, so it is written down in any case, and stays
        // if it is.
        let mut look = |rows: &[u32]| {
            for &id in rows {
                let seen = &mut self.seen[id as usize];
                self.candidates[count] = id;
                count += usize::from(*seen != mark);
                *seen = mark;
            }
        };
        for &near in fresh {
            parts.of(near).into_iter().for_each(&mut look);
        }
        for &near in stale {
            look(parts.of(near)[0]);
        }
        self.candidates.truncate(count);
    }

    /// Shows `row` its candidates.
    fn look(&mut self, space: &Space, row: u32, list: &mut List) {
        let Self { candidates, row: own, scores, .. } = self;
        own.resize(space.width(), 0.0);
        space.unpack(row, own);
        space.scores(row, own, candidates, scores);
        for (&other, &score) in candidates.iter().zip(&*scores) {
            if score >= list.limit() {
                list.offer(score, other);
            }
        }
    }
}
