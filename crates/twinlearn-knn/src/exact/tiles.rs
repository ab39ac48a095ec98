//! Two tiles of rows compared: bound, refine, screen, decide.

use twinlearn_core::linalg::arch;

use super::plan::Plan;
use super::set::{Block, Limits, Set};
use crate::frame::Frame;
use crate::kernels::scan::{Pair, exact, refine, scan, screen};
use crate::neighbor::Neighbor;

/// One of two tiles: the rows of a block of a set from `start` on, and how far they look.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) set: &'a Set<'a>,
    pub(super) block: &'a Block,
    pub(super) start: usize,
    pub(super) limits: &'a Limits,
}

impl Side<'_> {
    pub(super) fn id(&self, row: u16) -> u32 {
        self.block.ids[self.start + usize::from(row)]
    }

    pub(super) fn norms(&self) -> &[f64] {
        &self.block.norms[self.start..]
    }
}

/// The pairs of two tiles that are near enough for one of their rows, with their distances.
#[derive(Default)]
pub(super) struct Survivors {
    pairs: Vec<Pair>,
    sums: Vec<f64>,
    distances: Vec<f64>,
}

impl Survivors {
    /// Looks at the pairs for which `is_meant`.
    pub(super) fn find(
        &mut self,
        (frame, plan): (&Frame, &Plan),
        (left, right): (Side<'_>, Side<'_>),
        is_meant: impl Fn(&Pair) -> bool,
    ) {
        let Self { pairs, sums, distances } = self;
        let sides = [left, right];
        pairs.clear();
        let [a, b] = sides.map(|side| side.block.scan(side.start, side.limits));
        scan(arch(), a, b, pairs);
        pairs.retain(is_meant);
        if let [_, refined] = plan.levels[..] {
            let [a, b] = sides.map(|side| side.block.refine(side.set, side.start, side.limits));
            refine(arch(), refined, a, b, pairs);
        }
        let term = frame.metric.term();
        if plan.screens {
            let [a, b] = sides.map(|side| side.block.screen(side.set, side.start, side.limits));
            screen(arch(), term, a, b, pairs);
        }
        let [a, b] = sides.map(|side| side.block.rows(side.set, side.start));
        exact(arch(), term, a, b, pairs, sums);
        let (a, b) = (left.norms(), right.norms());
        distances.clear();
        distances.extend(pairs.iter().zip(&*sums).map(|(pair, &sum)| {
            frame.metric.distance_of(sum, a[usize::from(pair.left)], b[usize::from(pair.right)])
        }));
    }

    /// Rows of the left tile, each with one of the right tile.
    pub(super) fn of_left(&self, right: Side<'_>) -> impl Iterator<Item = (usize, Neighbor)> {
        self.pairs.iter().zip(&self.distances).map(move |(pair, &distance)| {
            (usize::from(pair.left), Neighbor { distance, id: right.id(pair.right) })
        })
    }

    /// Rows of the right tile, each with one of the left tile.
    pub(super) fn of_right(&self, left: Side<'_>) -> impl Iterator<Item = (usize, Neighbor)> {
        self.pairs.iter().zip(&self.distances).map(move |(pair, &distance)| {
            (usize::from(pair.right), Neighbor { distance, id: left.id(pair.left) })
        })
    }
}
