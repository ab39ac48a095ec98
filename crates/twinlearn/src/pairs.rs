//! Who may be paired with whom: the lists that training draws partners from.

use twinlearn_core::error::{Error, Result};
use twinlearn_core::random::{Purpose, below, generator, shuffled, subset};
use twinlearn_knn::KnnGraph;

/// For each anchor the rows it may be paired with, as one flat list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pairs {
    anchors: Vec<u32>,
    /// The partners of anchor number i are `partners[starts[i]..starts[i + 1]]`.
    starts: Vec<usize>,
    partners: Vec<u32>,
    /// Rows that there are, anchors or not.
    n_rows: usize,
}

impl Pairs {
    /// Every row for which `trains` holds, with those of its first `n_neighbors` neighbours (of
    /// ragged lists all; itself passed over) for which it holds too. Rows left without a partner
    /// are no anchors.
    pub(crate) fn from_graph(
        graph: &KnnGraph,
        n_neighbors: usize,
        trains: impl Fn(u32) -> bool,
    ) -> Result<Self> {
        let most = if graph.is_ragged() { usize::MAX } else { n_neighbors };
        let mut pairs =
            Self { anchors: Vec::new(), starts: vec![0], partners: Vec::new(), n_rows: 0 };
        for row in (0..graph.n_rows() as u32).filter(|&row| trains(row)) {
            pairs.n_rows += 1;
            let others = graph.neighbors(row as usize).iter().filter(|&&id| id != row);
            let before = pairs.partners.len();
            pairs.partners.extend(others.take(most).filter(|&&id| trains(id)));
            if pairs.partners.len() > before {
                pairs.anchors.push(row);
                pairs.starts.push(pairs.partners.len());
            }
        }
        if pairs.anchors.len() < 2 {
            return Err(Error::invalid(
                "knn_graph",
                "at least 2 rows with a neighbour other than themselves",
                pairs.anchors.len(),
            ));
        }
        Ok(pairs)
    }

    /// Queries `ids`, each with those of its list (k rows each in `lists`) for which `trains` holds;
    /// rows are `n_rows`. Queries left without a row are no anchors.
    pub(crate) fn of_queries(
        ids: &[u32],
        lists: &[u32],
        k: usize,
        n_rows: usize,
        trains: impl Fn(u32) -> bool,
    ) -> Result<Self> {
        let (anchors, partners) = (Vec::new(), Vec::new());
        let mut pairs = Self { anchors, starts: vec![0], partners, n_rows };
        for (&id, list) in ids.iter().zip(lists.chunks_exact(k)) {
            let before = pairs.partners.len();
            pairs.partners.extend(list.iter().filter(|&&id| trains(id)));
            if pairs.partners.len() > before {
                pairs.anchors.push(id);
                pairs.starts.push(pairs.partners.len());
            }
        }
        if pairs.anchors.is_empty() {
            let expected = "at least one with a row that is trained on among its neighbours";
            return Err(Error::invalid("queries", expected, "none"));
        }
        Ok(pairs)
    }

    /// Every row with itself alone, for partners made of it.
    pub(crate) fn selves(rows: &[u32]) -> Self {
        let (anchors, partners) = (rows.to_vec(), rows.to_vec());
        Self { anchors, starts: (0..=rows.len()).collect(), partners, n_rows: rows.len() }
    }

    /// At most `most` of the anchors, drawn by `seed`, with their lists.
    pub(crate) fn some(self, seed: u64, most: usize) -> Self {
        if self.len() <= most {
            return self;
        }
        let numbers = subset(&mut generator(seed, Purpose::Anchors, 1), self.len(), most);
        let (anchors, partners) = (Vec::with_capacity(most), Vec::new());
        let mut some = Self { anchors, starts: vec![0], partners, n_rows: self.n_rows };
        for number in numbers {
            let (anchor, list) = self.list(number as usize);
            some.anchors.push(anchor);
            some.partners.extend_from_slice(list);
            some.starts.push(some.partners.len());
        }
        some
    }

    /// The number of rows that train, anchors or not.
    pub(crate) fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Whether rows are paired with others than themselves.
    pub(crate) fn has_lists(&self) -> bool {
        self.anchors != self.partners
    }

    /// The number of anchors.
    pub(crate) fn len(&self) -> usize {
        self.anchors.len()
    }

    /// Anchor number `i` and the rows that it may be paired with.
    pub(crate) fn list(&self, i: usize) -> (u32, &[u32]) {
        (self.anchors[i], &self.partners[self.starts[i]..self.starts[i + 1]])
    }

    /// The numbers of all anchors in a fresh random order.
    pub(crate) fn order(&self, seed: u64, epoch: usize) -> Vec<u32> {
        shuffled(self.anchors.len(), &mut generator(seed, Purpose::Order, epoch as u32))
    }

    /// All anchors in a fresh random order, each with a partner drawn uniformly from its list.
    pub(crate) fn epoch(&self, seed: u64, epoch: usize) -> Vec<(u32, u32)> {
        let mut rng = generator(seed, Purpose::Partner, epoch as u32);
        let pair = |i: u32| {
            let (anchor, choices) = self.list(i as usize);
            (anchor, choices[below(&mut rng, choices.len() as u32) as usize])
        };
        self.order(seed, epoch).into_iter().map(pair).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> KnnGraph {
        KnnGraph::from_indices(4, &[1, 2, 1, 0, 0, 3, 2, 1]).unwrap()
    }

    #[test]
    fn queries_have_lists_of_rows_that_train() {
        let lists = [0, 1, 2, 3, 3, 0];
        let pairs = Pairs::of_queries(&[4, 7, 9], &lists, 2, 3, |row| row != 3).unwrap();
        assert_eq!((pairs.len(), pairs.n_rows()), (3, 3));
        assert_eq!([pairs.list(0), pairs.list(1)], [(4, &[0, 1][..]), (7, &[2][..])]);
        let pairs = Pairs::of_queries(&[4, 7], &[3, 3, 0, 3], 2, 3, |row| row != 3).unwrap();
        assert_eq!((pairs.len(), pairs.list(0)), (1, (7, &[0][..])));
        let error = Pairs::of_queries(&[4], &[3, 3], 2, 3, |row| row != 3).unwrap_err().to_string();
        assert!(error.starts_with("queries: expected at least one with a row"), "{error}");
    }

    #[test]
    fn some_anchors_keep_their_lists_and_all_rows() {
        let indices: Vec<i64> = (0..50).flat_map(|i| [(i + 1) % 50, (i + 2) % 50]).collect();
        let graph = KnnGraph::from_indices(50, &indices).unwrap();
        let all = Pairs::from_graph(&graph, 2, |_| true).unwrap();
        let some = all.clone().some(3, 20);
        assert_eq!((some.len(), some.n_rows()), (20, 50));
        assert!(some.anchors.is_sorted_by(|a, b| a < b));
        for i in 0..20 {
            let (anchor, list) = some.list(i);
            assert_eq!(list, [(anchor + 1) % 50, (anchor + 2) % 50]);
        }
        assert_eq!(some, all.clone().some(3, 20));
        assert_ne!(some, all.clone().some(4, 20));
        assert_eq!(all.clone(), all.some(3, 50));
    }

    #[test]
    fn rows_held_out_are_neither_anchors_nor_partners() {
        let pairs = Pairs::from_graph(&graph(), 2, |row| row != 1).unwrap();
        // Row 1 is out; row 3 keeps 2, row 0 keeps 2, row 2 keeps 0 and 3.
        let want = Pairs {
            anchors: vec![0, 2, 3],
            starts: vec![0, 1, 3, 4],
            partners: vec![2, 0, 3, 2],
            n_rows: 3,
        };
        assert_eq!(pairs, want);
    }

    #[test]
    fn self_is_passed_over_before_neighbours_are_counted() {
        let pairs = Pairs::from_graph(&graph(), 1, |_| true).unwrap();
        assert_eq!(pairs.partners, [1, 0, 0, 2]);
    }

    #[test]
    fn an_epoch_visits_every_anchor_once_and_draws_uniformly() {
        let pairs = Pairs::from_graph(&graph(), 2, |_| true).unwrap();
        let mut counts = [0_u32; 2];
        for epoch in 0..2000 {
            let drawn = pairs.epoch(7, epoch);
            let mut anchors: Vec<u32> = drawn.iter().map(|p| p.0).collect();
            anchors.sort_unstable();
            assert_eq!(anchors, [0, 1, 2, 3]);
            for (anchor, partner) in drawn {
                if anchor == 2 {
                    counts[usize::from(partner == 3)] += 1;
                }
            }
        }
        // 2000 fair draws: five standard deviations are 112.
        assert!(counts[0].abs_diff(1000) < 112, "{counts:?}");
        assert_eq!(pairs.epoch(7, 3), pairs.epoch(7, 3));
        assert_ne!(pairs.epoch(7, 3), pairs.epoch(8, 3));
    }

    #[test]
    fn a_graph_of_rows_with_themselves_has_no_pairs() {
        let graph = KnnGraph::from_indices(2, &[0, 1]).unwrap();
        let message = Pairs::from_graph(&graph, 1, |_| true).unwrap_err().to_string();
        assert!(message.ends_with("a neighbour other than themselves, got 0"), "{message}");
    }

    #[test]
    fn ragged_lists_are_taken_whole() {
        let graph = KnnGraph::from_lists(&[vec![1, 0, 2, 3], vec![], vec![2], vec![0]]).unwrap();
        let pairs = Pairs::from_graph(&graph, 1, |_| true).unwrap();
        let want = Pairs {
            anchors: vec![0, 3],
            starts: vec![0, 3, 4],
            partners: vec![1, 2, 3, 0],
            n_rows: 4,
        };
        assert_eq!(pairs, want, "rows without another are no anchors");
    }
}
