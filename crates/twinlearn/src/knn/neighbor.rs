//! A candidate neighbour and the one order they are put in.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A row and its distance. Ordered by distance, then by id: the nearest first, ties by the
/// smaller id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Neighbor<D> {
    pub(super) distance: D,
    pub(super) id: u32,
}

pub(super) trait Distance: Copy {
    fn compare(self, other: Self) -> Ordering;
}

impl Distance for f32 {
    fn compare(self, other: Self) -> Ordering {
        self.total_cmp(&other)
    }
}

impl Distance for f64 {
    fn compare(self, other: Self) -> Ordering {
        self.total_cmp(&other)
    }
}

impl<D: Distance> Ord for Neighbor<D> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.distance.compare(other.distance).then(self.id.cmp(&other.id))
    }
}

impl<D: Distance> PartialOrd for Neighbor<D> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<D: Distance> PartialEq for Neighbor<D> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<D: Distance> Eq for Neighbor<D> {}

/// The nearest `capacity` of the candidates pushed so far.
#[derive(Clone, Debug)]
pub(super) struct Nearest {
    heap: BinaryHeap<Neighbor<f32>>,
    capacity: usize,
    /// No candidate at this distance or beyond can enter. NaN never occurs: inputs are finite.
    limit: f32,
}

impl Nearest {
    pub(super) fn new(capacity: usize) -> Self {
        Self { heap: BinaryHeap::with_capacity(capacity + 1), capacity, limit: f32::INFINITY }
    }

    #[inline]
    pub(super) fn push(&mut self, distance: f32, id: u32) {
        // Ids come in rising order, so a tie with the farthest kept is lost by the newcomer.
        if distance >= self.limit && self.heap.len() == self.capacity {
            return;
        }
        self.heap.push(Neighbor { distance, id });
        if self.heap.len() > self.capacity {
            self.heap.pop();
        }
        if self.heap.len() == self.capacity
            && let Some(farthest) = self.heap.peek()
        {
            self.limit = farthest.distance;
        }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = u32> {
        self.heap.iter().map(|n| n.id)
    }
}
