//! A candidate neighbour, the one order they are put in, and the nearest few of many.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A row and its distance. Ordered by distance, then by id: the nearest first, ties by the
/// smaller id. Distances are never NaN: inputs are finite.
#[derive(Clone, Copy, Debug)]
pub(super) struct Neighbor {
    pub(super) distance: f64,
    pub(super) id: u32,
}

impl Ord for Neighbor {
    fn cmp(&self, other: &Self) -> Ordering {
        self.distance.total_cmp(&other.distance).then(self.id.cmp(&other.id))
    }
}

impl PartialOrd for Neighbor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Neighbor {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Neighbor {}

/// The nearest `capacity` of the candidates pushed so far. What it holds in the end does not
/// depend on the order of the pushes.
#[derive(Clone, Debug, Default)]
pub(super) struct Nearest {
    heap: BinaryHeap<Neighbor>,
    capacity: usize,
    /// No candidate farther than this can be among the nearest.
    limit: f64,
}

impl Nearest {
    /// `limit`: a distance within which at least `capacity` candidates are known to lie, or
    /// infinity.
    pub(super) fn new(capacity: usize, limit: f64) -> Self {
        Self { heap: BinaryHeap::with_capacity(capacity), capacity, limit }
    }

    pub(super) fn limit(&self) -> f64 {
        self.limit
    }

    /// How many have entered, up to the capacity.
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether the candidate entered. It must not have been pushed before.
    #[inline]
    pub(super) fn push(&mut self, candidate: Neighbor) -> bool {
        if candidate.distance > self.limit {
            return false;
        }
        if self.heap.len() < self.capacity {
            self.heap.push(candidate);
        } else {
            let Some(mut farthest) = self.heap.peek_mut() else { return false };
            if candidate >= *farthest {
                return false;
            }
            *farthest = candidate;
        }
        if self.heap.len() == self.capacity
            && let Some(farthest) = self.heap.peek()
        {
            self.limit = self.limit.min(farthest.distance);
        }
        true
    }

    /// The nearest first.
    pub(super) fn into_sorted(self) -> Vec<Neighbor> {
        self.heap.into_sorted_vec()
    }
}

/// From finds by position to the best `k` ids by row.
pub(super) fn in_row_order(order: &[u32], finds: Vec<Nearest>, k: usize) -> Vec<u32> {
    let mut ids = vec![0; order.len() * k];
    for (&row, finds) in order.iter().zip(finds) {
        let out = &mut ids[row as usize * k..][..k];
        out.iter_mut().zip(finds.into_sorted()).for_each(|(id, find)| *id = find.id);
    }
    ids
}
