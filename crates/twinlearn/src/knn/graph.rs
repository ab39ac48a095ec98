//! The k-nearest-neighbour graph as an array.

use crate::error::{Error, Result};

/// `k` neighbours for each of `n_rows` rows, best first.
///
/// ```
/// let graph = twinlearn::KnnGraph::from_indices(3, &[1, 2, 0, 2, 1, 0])?;
/// assert_eq!((graph.n_rows(), graph.k()), (3, 2));
/// assert_eq!(graph.neighbors(1), [0, 2]);
/// # Ok::<(), twinlearn::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnnGraph {
    n_rows: usize,
    k: usize,
    ids: Vec<u32>,
}

impl KnnGraph {
    pub(super) fn new(n_rows: usize, ids: Vec<u32>) -> Self {
        Self { n_rows, k: ids.len() / n_rows.max(1), ids }
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
        let k = indices.len() / n_rows;
        let id = |(i, &index): (usize, &i64)| match u32::try_from(index) {
            Ok(id) if (id as usize) < n_rows => Ok(id),
            _ => Err(Error::invalid(
                "knn_graph",
                format_args!("indices from 0 to {}", n_rows - 1),
                format_args!("{index} in row {}", i / k),
            )),
        };
        let ids = indices.iter().enumerate().map(id).collect::<Result<_>>()?;
        Ok(Self { n_rows, k, ids })
    }

    /// The number of rows, N.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The number of neighbours of each row.
    #[must_use]
    pub fn k(&self) -> usize {
        self.k
    }

    /// The neighbours of row `i`, best first.
    ///
    /// # Panics
    /// When `i` is not below [`n_rows`](Self::n_rows).
    #[must_use]
    pub fn neighbors(&self, i: usize) -> &[u32] {
        &self.ids[i * self.k..(i + 1) * self.k]
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
