//! Batches of anchors with rows of their lists of neighbours, for the neighbourhood-KL loss.
//!
//! Some of the nearest rows of each anchor's list and some of the others are drawn; every anchor
//! looks at all rows of the batch. The weight of a row says how many of the whole set it stands for:
//! (rows of its part of the list) / (drawn from it) for those drawn for the anchor itself, 0 for the
//! anchor and for other rows of its list that happen to be there, and for the rest (rows outside the
//! list) / (such rows in the batch). Sums over a list are then unbiased; the rest come as anchors, evenly,
//! and with other anchors' lists, where rows that are in many lists come more often.

use std::ops::Range;

use rand::Rng;
use twinlearn_core::random::{Purpose, below, generator, shuffled};

use crate::pairs::Pairs;

/// The ranks that are near.
pub(super) const NEAR: usize = 10;
/// Rows drawn from each part of a list.
const DRAWN: usize = 2;
/// Rows drawn for an anchor.
pub(super) const PARTNERS: usize = 2 * DRAWN;

/// Anchors, by their numbers in the lists, and what was drawn for each.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Drawn {
    pub(super) anchor: u32,
    pub(super) partners: [u32; PARTNERS],
    /// How many rows each of them stands for.
    pub(super) weights: [f32; PARTNERS],
}

/// All anchors in a fresh random order, each with rows of its list. Lists are sorted, nearest first;
/// others have one part.
pub(super) fn epoch(pairs: &Pairs, is_sorted: bool, seed: u64, epoch: usize) -> Vec<Drawn> {
    let mut rng = generator(seed, Purpose::Partner, epoch as u32);
    let order = pairs.order(seed, epoch);
    order.into_iter().map(|anchor| draw(pairs, anchor, is_sorted, &mut rng)).collect()
}

/// `count` queries, each as often as any other but for one, with rows of their lists.
pub(super) fn queries(pairs: &Pairs, seed: u64, epoch: usize, count: usize) -> Vec<Drawn> {
    let mut rng = generator(seed, Purpose::Queries, epoch as u32);
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let order = shuffled(pairs.len(), &mut rng);
        let wanted = count - all.len();
        all.extend(order.into_iter().take(wanted).map(|q| draw(pairs, q, true, &mut rng)));
    }
    all
}

fn draw(pairs: &Pairs, anchor: u32, is_sorted: bool, rng: &mut impl Rng) -> Drawn {
    let list = pairs.list(anchor as usize).1;
    let near = if is_sorted { list.len().min(NEAR) } else { list.len() };
    let (near, far) = list.split_at(near);
    let mut drawn = Drawn { anchor, partners: [0; PARTNERS], weights: [0.0; PARTNERS] };
    // Without a second part both draws are from the first.
    let parts = if far.is_empty() { [(near, 2), (near, 2)] } else { [(near, 1), (far, 1)] };
    for (i, (part, times)) in parts.into_iter().enumerate() {
        let n = part.len() as u32;
        let first = below(rng, n);
        let second = match n {
            1 => first,
            _ => (first + 1 + below(rng, n - 1)) % n,
        };
        for (j, place) in [first, second].into_iter().enumerate() {
            drawn.partners[DRAWN * i + j] = part[place as usize];
            drawn.weights[DRAWN * i + j] = n as f32 / (DRAWN * times) as f32;
        }
    }
    drawn
}

/// Where rows are in a batch.
pub(super) struct Places {
    /// Row and place, by row.
    sorted: Vec<(u32, u32)>,
    /// The places of queries, which nobody looks at.
    queries: Range<usize>,
}

impl Places {
    /// The places of `anchors`, then of `n_queries` queries, then of what was drawn for all of them.
    pub(super) fn new(anchors: &[u32], n_queries: usize, drawn: &[u32]) -> Self {
        let first = (anchors.len() + n_queries) as u32;
        let mut sorted: Vec<_> =
            anchors.iter().copied().zip(0..).chain(drawn.iter().copied().zip(first..)).collect();
        sorted.sort_unstable();
        Self { sorted, queries: anchors.len()..anchors.len() + n_queries }
    }

    fn of(&self, row: u32) -> impl Iterator<Item = usize> {
        let first = self.sorted.partition_point(|&(r, _)| r < row);
        self.sorted[first..].iter().take_while(move |&&(r, _)| r == row).map(|&(_, p)| p as usize)
    }

    /// Writes the weights of all rows of the batch for one anchor. `itself` is the anchor's row, where
    /// it is one of them; `n_rows` are all that there are, `own` the places of those that were drawn
    /// for it.
    pub(super) fn weigh(
        &self,
        drawn: &Drawn,
        itself: Option<u32>,
        list: &[u32],
        n_rows: usize,
        own: usize,
        out: &mut [f32],
    ) {
        out.fill(1.0);
        out[self.queries.clone()].fill(0.0);
        let mut left = self.sorted.len();
        for row in itself.iter().chain(list) {
            for place in self.of(*row) {
                left -= usize::from(out[place] > 0.0);
                out[place] = 0.0;
            }
        }
        let outside = n_rows.saturating_sub(list.len() + usize::from(itself.is_some()));
        let each = if left > 0 { outside as f32 / left as f32 } else { 0.0 };
        for place in out.iter_mut().filter(|w| **w > 0.0) {
            *place = each;
        }
        for (weight, place) in drawn.weights.iter().zip(own..) {
            // Each is there once, but where a list has one row alone.
            out[place] = *weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinlearn_knn::KnnGraph;

    const ROWS: usize = 60;
    const LIST: usize = 20;
    const BATCH: usize = 6;

    /// Each row's list are the rows after it, on a ring.
    fn pairs() -> Pairs {
        let list = |i: usize| (1..=LIST).map(move |j| ((i + j) % ROWS) as i64);
        let ids: Vec<i64> = (0..ROWS).flat_map(list).collect();
        Pairs::from_graph(&KnnGraph::from_indices(ROWS, &ids).unwrap(), LIST, |_| true).unwrap()
    }

    #[test]
    fn weights_are_of_the_rows_that_each_stands_for() {
        let pairs = pairs();
        let value = |row: u32| (f64::from(row) * 0.7).sin() + 2.0;
        // For row 0: the sums over its list that batches estimate, and those over all other rows.
        let (mut near, mut far, mut count) = (0.0, 0.0, 0.0);
        for e in 0..4000 {
            for drawn in epoch(&pairs, true, 5, e).chunks_exact(BATCH) {
                let anchors: Vec<u32> =
                    drawn.iter().map(|d| pairs.list(d.anchor as usize).0).collect();
                let partners: Vec<u32> = drawn.iter().flat_map(|d| d.partners).collect();
                let places = Places::new(&anchors, 1, &partners);
                let all = [&anchors[..], &[u32::MAX], &partners].concat();
                for (i, d) in drawn.iter().enumerate() {
                    let (row, list) = pairs.list(d.anchor as usize);
                    let mut weights = vec![-1.0; all.len()];
                    let own = BATCH + 1 + PARTNERS * i;
                    places.weigh(d, Some(row), list, ROWS, own, &mut weights);
                    let sum: f32 = weights.iter().sum();
                    assert!((sum - (ROWS - 1) as f32).abs() < 1e-3, "{sum} for all other rows");
                    assert_eq!((weights[i], weights[BATCH]), (0.0, 0.0), "itself and the query");
                    if row != 0 {
                        continue;
                    }
                    count += 1.0;
                    for (&row, &weight) in all.iter().zip(&weights) {
                        match list.iter().position(|&id| id == row) {
                            Some(rank) if rank < NEAR => near += f64::from(weight) * value(row),
                            Some(_) => far += f64::from(weight) * value(row),
                            None => {}
                        }
                    }
                }
            }
        }
        let sum = |rows: Range<u32>| rows.map(value).sum::<f64>();
        let (near, far) = (near / count, far / count);
        assert!((near - sum(1..11)).abs() < 0.02 * sum(1..11), "{near} {}", sum(1..11));
        assert!((far - sum(11..21)).abs() < 0.02 * sum(11..21), "{far} {}", sum(11..21));
    }

    #[test]
    fn short_and_unsorted_lists_are_drawn_from_whole() {
        let lists = [vec![1], vec![0, 2, 3], vec![0], (0..14).filter(|&i| i != 3).collect()];
        let lists: Vec<Vec<i64>> = lists.into_iter().chain(vec![vec![]; 12]).collect();
        let graph = KnnGraph::from_lists(&lists).unwrap();
        let pairs = Pairs::from_graph(&graph, 1, |_| true).unwrap();
        for e in 0..50 {
            for drawn in epoch(&pairs, false, 1, e) {
                let list = pairs.list(drawn.anchor as usize).1;
                assert!(drawn.partners.iter().all(|id| list.contains(id)));
                let sum: f32 = drawn.weights.iter().sum();
                assert!((sum - list.len() as f32).abs() < 1e-5, "{sum} for {list:?}");
            }
        }
    }

    #[test]
    fn queries_come_equally_often() {
        let pairs = pairs();
        let mut counts = vec![0_usize; ROWS];
        for drawn in queries(&pairs, 2, 0, 5 * ROWS + 7) {
            counts[drawn.anchor as usize] += 1;
        }
        assert!(counts.iter().all(|c| (5..=6).contains(c)), "{counts:?}");
    }
}
