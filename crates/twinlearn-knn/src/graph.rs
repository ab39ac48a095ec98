//! Who is near whom, as lists of row numbers.

use twinlearn_core::error::{Error, Result};

/// For each row, or each query of a search, its neighbours, best first: `k` each, or lists of any lengths.
///
/// ```
/// let graph = twinlearn_knn::KnnGraph::from_indices(3, &[1, 2, 0, 2, 1, 0])?;
/// assert_eq!((graph.n_rows(), graph.k()), (3, 2));
/// assert_eq!(graph.neighbors(1), [0, 2]);
/// # Ok::<(), twinlearn_knn::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnnGraph {
    n_rows: usize,
    /// The length of each list, or of the longest.
    k: usize,
    /// For lists of any lengths where each begins, and the end of the last.
    starts: Option<Vec<usize>>,
    /// Whether lists are of any lengths and orders.
    is_ragged: bool,
    ids: Vec<u32>,
}

impl KnnGraph {
    pub(super) fn new(n_rows: usize, ids: Vec<u32>) -> Self {
        Self { n_rows, k: ids.len() / n_rows.max(1), starts: None, is_ragged: false, ids }
    }

    /// A graph computed elsewhere: `indices` holds `n_rows` rows, best first. A row's own index
    /// may occur in it and is passed over in training.
    ///
    /// # Errors
    /// When `indices` is empty or not `n_rows` whole rows, or an index is not a row.
    pub fn from_indices(n_rows: usize, indices: &[i64]) -> Result<Self> {
        if n_rows == 0 || indices.is_empty() || !indices.len().is_multiple_of(n_rows) {
            return Err(Error::invalid(
                "knn_graph",
                format_args!("whole rows of neighbours for {n_rows} rows"),
                format_args!("{} indices", indices.len()),
            ));
        }
        let mut ids = Vec::with_capacity(indices.len());
        for (row, list) in indices.chunks_exact(indices.len() / n_rows).enumerate() {
            append(row, list, n_rows, &mut ids)?;
        }
        Ok(Self::new(n_rows, ids))
    }

    /// Pairs known otherwise (from an oracle: clicks, captions, translations): list i has the
    /// partners of row i and may be empty. Training draws from all of a list, whatever
    /// `n_neighbors`, and passes over a row's own index.
    ///
    /// # Errors
    /// When all lists are empty or an index is not below the number of lists.
    ///
    /// ```
    /// let graph = twinlearn_knn::KnnGraph::from_lists(&[vec![2], vec![], vec![0, 1]])?;
    /// assert_eq!(graph.neighbors(2), [0, 1]);
    /// # Ok::<(), twinlearn_knn::Error>(())
    /// ```
    pub fn from_lists(lists: &[impl AsRef<[i64]>]) -> Result<Self> {
        let n_rows = lists.len();
        let (mut ids, mut starts) = (Vec::new(), vec![0]);
        for (row, list) in lists.iter().enumerate() {
            append(row, list.as_ref(), n_rows, &mut ids)?;
            starts.push(ids.len());
        }
        if ids.is_empty() {
            return Err(Error::invalid("knn_graph", "a list with an index", "empty lists alone"));
        }
        let k = starts.windows(2).map(|ends| ends[1] - ends[0]).max().unwrap_or(0);
        Ok(Self { n_rows, k, starts: Some(starts), is_ragged: true, ids })
    }

    /// The lists of some rows alone, in `ids` one after the other, of one length and each best first;
    /// those of other rows are empty. `anchors` rise.
    ///
    /// # Errors
    /// When `ids` is not one list for each anchor, anchors do not rise, or an anchor or index is not
    /// below `n_rows`.
    ///
    /// ```
    /// let graph = twinlearn_knn::KnnGraph::of_anchors(5, &[1, 4], vec![0, 2, 3, 1])?;
    /// assert_eq!([graph.neighbors(1), graph.neighbors(2)], [&[0, 2][..], &[]]);
    /// # Ok::<(), twinlearn_knn::Error>(())
    /// ```
    pub fn of_anchors(n_rows: usize, anchors: &[u32], ids: Vec<u32>) -> Result<Self> {
        let expected = format!("a list for each of {} rows", anchors.len()).to_string();
        if ids.is_empty() || !ids.len().is_multiple_of(anchors.len()) {
            return Err(Error::invalid("knn_graph", expected, format_args!("{} ids", ids.len())));
        }
        if let Some(id) = anchors.iter().chain(&ids).find(|&&id| id as usize >= n_rows) {
            return Err(Error::invalid(
                "knn_graph",
                format_args!("indices from 0 to {}", n_rows - 1),
                id,
            ));
        }
        if !anchors.is_sorted_by(|a, b| a < b) {
            return Err(Error::invalid("knn_graph", "anchors that rise", "others"));
        }
        let k = ids.len() / anchors.len();
        let mut starts = vec![0; n_rows + 1];
        anchors.iter().for_each(|&anchor| starts[anchor as usize + 1] = k);
        for i in 0..n_rows {
            starts[i + 1] += starts[i];
        }
        Ok(Self { n_rows, k, starts: Some(starts), is_ragged: false, ids })
    }

    /// The number of rows, N.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The number of neighbours of each row; of ragged lists, of the longest.
    #[must_use]
    pub fn k(&self) -> usize {
        self.k
    }

    /// Whether this was made [`from_lists`](Self::from_lists), whose lengths may differ.
    #[must_use]
    pub fn is_ragged(&self) -> bool {
        self.is_ragged
    }

    /// The neighbours of row `i`, best first.
    ///
    /// # Panics
    /// When `i` is not below [`n_rows`](Self::n_rows).
    #[must_use]
    pub fn neighbors(&self, i: usize) -> &[u32] {
        match &self.starts {
            Some(starts) => &self.ids[starts[i]..starts[i + 1]],
            None => &self.ids[i * self.k..(i + 1) * self.k],
        }
    }

    /// All neighbours, row after row.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// All neighbours, row after row, as the `i64` that `.npy` files of indices hold.
    #[must_use]
    pub fn to_indices(&self) -> Vec<i64> {
        self.ids.iter().map(|&id| id.into()).collect()
    }
}

/// Takes up the list of row `row`.
fn append(row: usize, list: &[i64], n_rows: usize, ids: &mut Vec<u32>) -> Result<()> {
    for &index in list {
        match u32::try_from(index) {
            Ok(id) if (id as usize) < n_rows => ids.push(id),
            _ => {
                return Err(Error::invalid(
                    "knn_graph",
                    format_args!("indices from 0 to {}", n_rows - 1),
                    format_args!("{index} in row {row}"),
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_anchors_are_theirs_alone() {
        let graph = KnnGraph::of_anchors(4, &[0, 2], vec![1, 3, 0, 1]).unwrap();
        let lists = [0, 1, 2, 3].map(|i| graph.neighbors(i));
        assert_eq!(lists, [&[1, 3][..], &[], &[0, 1], &[]]);
        assert!(!graph.is_ragged());
        for (anchors, ids, wanted) in [
            (&[2, 0][..], vec![1, 3, 0, 1], "expected anchors that rise"),
            (&[2, 2], vec![1, 3, 0, 1], "expected anchors that rise"),
            (&[0, 2], vec![1, 3, 0], "expected a list for each of 2 rows, got 3 ids"),
            (&[], vec![1], "expected a list for each of 0 rows"),
            (&[0, 4], vec![1, 3], "expected indices from 0 to 3, got 4"),
            (&[0, 2], vec![1, 9], "expected indices from 0 to 3, got 9"),
        ] {
            let error = KnnGraph::of_anchors(4, anchors, ids).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn bad_graphs_are_named() {
        let error = |n, ids: &[i64]| KnnGraph::from_indices(n, ids).unwrap_err().to_string();
        assert_eq!(
            error(3, &[1, 2, 0, 2, 1]),
            "knn_graph: expected whole rows of neighbours for 3 rows, got 5 indices"
        );
        assert_eq!(
            error(2, &[1, 0, 2, 0]),
            "knn_graph: expected indices from 0 to 1, got 2 in row 1"
        );
        assert_eq!(error(2, &[1, -1]), "knn_graph: expected indices from 0 to 1, got -1 in row 1");
    }

    #[test]
    fn bad_lists_are_named() {
        let error = |lists: &[Vec<i64>]| KnnGraph::from_lists(lists).unwrap_err().to_string();
        assert_eq!(
            error(&[vec![1], vec![0, 2]]),
            "knn_graph: expected indices from 0 to 1, got 2 in row 1"
        );
        assert_eq!(
            error(&[vec![], vec![]]),
            "knn_graph: expected a list with an index, got empty lists alone"
        );
        assert_eq!(error(&[]), "knn_graph: expected a list with an index, got empty lists alone");
    }
}
