//! The votes of neighbours.

use std::collections::BTreeMap;

use twinlearn_core::error::{Error, Result};

/// The share of queries whose label is the commonest among their `k` neighbours' (ties to the
/// smaller label, as scikit-learn's `KNeighborsClassifier`).
///
/// `found` holds rows of `k` indices into `labels`.
///
/// # Errors
/// When the lengths do not fit or an index is not one of `labels`.
pub fn knn_accuracy(found: &[u32], k: usize, labels: &[i64], query_labels: &[i64]) -> Result<f64> {
    let scores = accuracy_scores(found, k, labels, query_labels)?;
    Ok(scores.iter().sum::<f64>() / scores.len() as f64)
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
        assert!(knn_accuracy(&[9], 1, &[0], &[0]).is_err());
    }
}
