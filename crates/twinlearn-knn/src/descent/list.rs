//! What a row has found so far.

use crate::kernels::scan::NO_LIMIT;

/// The flag of a neighbour that has not taken part in a round of joining yet.
pub(super) const FRESH: u32 = 1 << 31;

/// A row (with a flag) and the score of the pair: the higher, the nearer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) score: f32,
    pub(super) id: u32,
}

/// The best-scored rows of those that were offered, the best first, ties by the smaller id.
#[derive(Clone, Debug, Default)]
pub(super) struct List(Vec<Entry>);

impl List {
    pub(super) fn new(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// No score below this enters.
    pub(super) fn limit(&self) -> f32 {
        match self.0.last() {
            Some(last) if self.0.len() == self.0.capacity() => last.score,
            _ => NO_LIMIT,
        }
    }

    /// Takes a row up, unless it is there or others are better; returns whether it did.
    pub(super) fn offer(&mut self, score: f32, id: u32) -> bool {
        let entries = &mut self.0;
        let known = |entry: &Entry| entry.id & !FRESH == id;
        let better = |e: &Entry| e.score > score || (e.score == score && e.id & !FRESH < id);
        let full = entries.len() == entries.capacity();
        if full && entries.last().is_none_or(better) || entries.iter().any(known) {
            return false;
        }
        if full {
            entries.pop();
        }
        let place = entries.partition_point(better);
        entries.insert(place, Entry { score, id: id | FRESH });
        true
    }

    /// Takes up the best of some rows, when it has none. They are put in another order.
    pub(super) fn fill(&mut self, offers: &mut [Entry]) {
        let order = |a: &Entry, b: &Entry| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id));
        let kept = self.0.capacity().min(offers.len());
        if kept < offers.len() {
            offers.select_nth_unstable_by(kept, order);
        }
        let best = &mut offers[..kept];
        best.sort_unstable_by(order);
        self.0.extend(best.iter().map(|e| Entry { id: e.id | FRESH, ..*e }));
    }

    /// The rows, with flags, the best first.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The best `n` are fresh no more.
    pub(super) fn take_part(&mut self, n: usize) {
        for entry in self.0.iter_mut().take(n) {
            entry.id &= !FRESH;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_whatever_the_order() {
        let offers = [(0.5, 3), (0.9, 1), (0.5, 2), (0.1, 7), (0.9, 1), (0.7, 4)];
        for turn in 0..offers.len() {
            let mut list = List::new(3);
            let entered: Vec<bool> = offers
                .iter()
                .cycle()
                .skip(turn)
                .take(6)
                .map(|&(s, id)| list.offer(s, id))
                .collect();
            let found: Vec<u32> = list.entries().iter().map(|e| e.id & !FRESH).collect();
            assert_eq!(found, [1, 4, 2], "beginning with offer {turn}");
            assert_eq!(list.limit(), 0.5);
            assert!(entered[0], "an empty list takes anything");
        }
    }

    #[test]
    fn only_those_that_took_part_are_stale() {
        let mut list = List::new(4);
        assert_eq!(list.limit(), NO_LIMIT);
        for (score, id) in [(0.1, 1), (0.3, 3), (0.2, 2)] {
            list.offer(score, id);
        }
        list.take_part(2);
        let fresh: Vec<bool> = list.entries().iter().map(|e| e.id & FRESH != 0).collect();
        assert_eq!(fresh, [false, false, true]);
    }
}
