//! Neighbours found again.

use twinlearn_core::error::{Error, Result};

/// The mean share of `truth` found again: |truthᵢ ∩ foundᵢ| / k, averaged over rows.
///
/// Both are rows of `k` indices, in any order within a row.
///
/// # Errors
/// When the two differ in length or are not whole rows of `k`.
///
/// ```
/// let recall = twinlearn_knn::recall_at_k(&[1, 2, 3, 4], &[2, 9, 4, 3], 2)?;
/// assert_eq!(recall, 0.75);
/// # Ok::<(), twinlearn_knn::Error>(())
/// ```
pub fn recall_at_k(truth: &[u32], found: &[u32], k: usize) -> Result<f64> {
    let scores = recall_scores(truth, found, k)?;
    Ok(scores.iter().sum::<f64>() / scores.len() as f64)
}

/// [`recall_at_k`] of every row.
pub fn recall_scores(truth: &[u32], found: &[u32], k: usize) -> Result<Vec<f64>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_checked() {
        assert!(recall_at_k(&[1, 2, 3], &[1, 2, 3], 2).is_err());
        assert!(recall_at_k(&[1, 2], &[1], 1).is_err());
    }
}
