//! Neighbours found again, and the votes of neighbours.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// The mean share of `truth` found again: |truthᵢ ∩ foundᵢ| / k, averaged over rows.
///
/// Both are rows of `k` indices, in any order within a row.
///
/// # Errors
/// When the two differ in length or are not whole rows of `k`.
///
/// ```
/// let recall = twinlearn::recall_at_k(&[1, 2, 3, 4], &[2, 9, 4, 3], 2)?;
/// assert_eq!(recall, 0.75);
/// # Ok::<(), twinlearn::Error>(())
/// ```
pub fn recall_at_k(truth: &[u32], found: &[u32], k: usize) -> Result<f64> {
    recall_scores(truth, found, k).map(mean)
}

/// [`recall_at_k`] of every row.
pub(crate) fn recall_scores(truth: &[u32], found: &[u32], k: usize) -> Result<Vec<f64>> {
    if k == 0 || truth.is_empty() || truth.len() != found.len() || !truth.len().is_multiple_of(k) {
        return Err(Error::invalid(
            "found",
            format_args!("{} indices in rows of {k}", truth.len()),
            found.len(),
        ));
    }
    let share = |(truth, found): (&[u32], &[u32])| {
        found.iter().filter(|id| truth.contains(id)).count() as f64 / k as f64
    };
    Ok(truth.chunks_exact(k).zip(found.chunks_exact(k)).map(share).collect())
}

fn mean(scores: Vec<f64>) -> f64 {
    scores.iter().sum::<f64>() / scores.len() as f64
}

/// The share of queries whose label is the commonest among their `k` neighbours' (ties to the
/// smaller label, as scikit-learn's `KNeighborsClassifier`).
///
/// `found` holds rows of `k` indices into `labels`.
///
/// # Errors
/// When the lengths do not fit or an index is not one of `labels`.
pub fn knn_accuracy(found: &[u32], k: usize, labels: &[i64], query_labels: &[i64]) -> Result<f64> {
    accuracy_scores(found, k, labels, query_labels).map(mean)
}

/// For every query 1 where [`knn_accuracy`] counts it as right, else 0.
pub(crate) fn accuracy_scores(
    found: &[u32],
    k: usize,
    labels: &[i64],
    query_labels: &[i64],
) -> Result<Vec<f64>> {
    if query_labels.is_empty() || found.len() != query_labels.len() * k {
        return Err(Error::invalid(
            "query_labels",
            format_args!("one for each row of {k} of the {} indices", found.len()),
            query_labels.len(),
        ));
    }
    let mut scores = Vec::with_capacity(query_labels.len());
    for (row, &own) in found.chunks_exact(k).zip(query_labels) {
        let mut votes = BTreeMap::new();
        for &id in row {
            let label = labels.get(id as usize).ok_or_else(|| {
                Error::invalid("labels", format_args!("a label for row {id}"), labels.len())
            })?;
            *votes.entry(*label).or_insert(0_usize) += 1;
        }
        let most = votes.values().max().copied();
        let winner = votes.iter().find(|(_, count)| Some(**count) == most);
        scores.push(f64::from(u8::from(winner.is_some_and(|(&label, _)| label == own))));
    }
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_smaller_label() {
        let labels = [5, 3, 3, 5];
        assert_eq!(knn_accuracy(&[0, 1, 2, 3], 4, &labels, &[3]).unwrap(), 1.0);
        assert_eq!(knn_accuracy(&[0, 3, 1, 0, 1, 2], 3, &labels, &[5, 5]).unwrap(), 0.5);
    }

    #[test]
    fn lengths_are_checked() {
        assert!(recall_at_k(&[1, 2, 3], &[1, 2, 3], 2).is_err());
        assert!(recall_at_k(&[1, 2], &[1], 1).is_err());
        assert!(knn_accuracy(&[9], 1, &[0], &[0]).is_err());
    }
}
