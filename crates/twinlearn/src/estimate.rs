//! Means with intervals.

use rand::Rng;
use serde::{Deserialize, Serialize};
use twinlearn_core::error::{Error, Result};
use twinlearn_core::random::{Purpose, below, generator};

/// Resamples that an interval is taken from.
const RESAMPLES: u32 = 1000;
/// Below so many differences, their spread is taken to be at least that.
const FEW: usize = 20;
const LEAST_SPREAD: f64 = 0.2;

/// A mean over queries or rows, and its 95 % bootstrap interval (percentiles of 1000 resamples;
/// Efron, 1979).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean.
    pub value: f64,
    /// The 2.5th percentile.
    pub low: f64,
    /// The 97.5th percentile.
    pub high: f64,
}

impl Estimate {
    /// A paired difference of recalls, in words: what is ahead of `other`, and by how many points.
    #[must_use]
    pub fn beside(&self, other: &str) -> String {
        let Self { value, low, high } = *self;
        let points = |low: f64, high: f64| {
            let [value, low, high] = [value.abs(), low, high].map(|v| 100.0 * v);
            format!("{value:.1} points (95 %: {low:.1} to {high:.1})")
        };
        if low > 0.0 {
            format!("{} more than {other}", points(low, high))
        } else if high < 0.0 {
            format!("{} less than {other}", points(-high, -low))
        } else {
            // Rounded, and never a negative zero.
            let [low, high] = [low, high].map(|v| (1000.0 * v).round() / 10.0 + 0.0);
            format!("no measurable difference from {other} (95 %: {low:+.1} to {high:+.1} points)")
        }
    }

    /// Estimates the mean of a − b, where `a` and `b` are two methods' scores of the same queries or
    /// rows, in one order; resamples are drawn by `seed`. Fewer than twenty scores say next to nothing about
    /// their spread: the interval is then two standard errors wide to either side, for a standard
    /// deviation of at least 0.2.
    ///
    /// # Errors
    /// When there are no scores, or not as many of the one as of the other.
    ///
    /// # Examples
    /// ```
    /// use twinlearn::Estimate;
    ///
    /// let gain = Estimate::paired(&[0.9, 0.5, 0.8, 0.7], &[0.8, 0.4, 0.7, 0.6], 0)?;
    /// assert!((gain.value - 0.1).abs() < 1e-9 && (gain.low + 0.1).abs() < 1e-9);
    /// assert!(Estimate::paired(&[0.9], &[0.8, 0.4], 0).is_err());
    /// # Ok::<(), twinlearn::Error>(())
    /// ```
    pub fn paired(a: &[f64], b: &[f64], seed: u64) -> Result<Self> {
        if a.is_empty() {
            return Err(Error::invalid("scores", "at least one", "none"));
        }
        if a.len() != b.len() {
            let expected = format!("{} of either method", a.len());
            return Err(Error::invalid("scores", expected, b.len()));
        }
        Ok(Self::of_difference(a, b, seed))
    }

    /// Estimates `statistic`, a function of the indices of items: once over all of them, then over
    /// each resample. Equal seeds and counts give equal resamples, so that methods are compared
    /// on the same ones.
    fn resampled(
        count: usize,
        seed: u64,
        resamples: u32,
        statistic: impl Fn(&[u32]) -> f64,
    ) -> Self {
        let mut ids: Vec<u32> = (0..count as u32).collect();
        let value = statistic(&ids);
        let mut values: Vec<f64> = (0..resamples)
            .map(|round| {
                let mut rng = generator(seed, Purpose::Bootstrap, round);
                draw(&mut rng, &mut ids);
                statistic(&ids)
            })
            .collect();
        values.sort_by(f64::total_cmp);
        let at = |q: f64| values[((values.len() - 1) as f64 * q).round() as usize];
        Self { value, low: at(0.025), high: at(0.975) }
    }

    /// Estimates the mean of a − b, item by item; they are not empty.
    pub(crate) fn of_difference(a: &[f64], b: &[f64], seed: u64) -> Self {
        let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        let n = differences.len();
        if n >= FEW {
            return Self::of_mean(&differences, seed).without_rounding();
        }
        let value = differences.iter().sum::<f64>() / n as f64;
        let square = differences.iter().map(|v| (v - value).powi(2)).sum::<f64>();
        let spread = (square / (n.max(2) - 1) as f64).sqrt().max(LEAST_SPREAD);
        let half = 2.0 * spread / (n as f64).sqrt();
        Self { value, low: (value - half).max(-1.0), high: (value + half).min(1.0) }
            .without_rounding()
    }

    /// Means of differences that cancel are 0, not what rounding leaves of them: a verdict is about signs.
    fn without_rounding(self) -> Self {
        let of = |v: f64| if v.abs() < 1e-12 { 0.0 } else { v };
        Self { value: of(self.value), low: of(self.low), high: of(self.high) }
    }

    /// Estimates the mean of `scores`, which are not empty.
    pub(crate) fn of_mean(scores: &[f64], seed: u64) -> Self {
        let mean =
            |ids: &[u32]| ids.iter().map(|&id| scores[id as usize]).sum::<f64>() / ids.len() as f64;
        Self::resampled(scores.len(), seed, RESAMPLES, mean)
    }
}

fn draw(rng: &mut impl Rng, ids: &mut [u32]) {
    let count = ids.len() as u32;
    ids.iter_mut().for_each(|id| *id = below(rng, count));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_normal_law() {
        // Uniform on 0..1: mean 1/2, σ of the mean 1/√(12 · 3000).
        let scores: Vec<f64> = (0..3000).map(|i| f64::from(i * 7 % 3000) / 2999.0).collect();
        let got = Estimate::of_mean(&scores, 3);
        let half = 1.96 / (12.0_f64 * 3000.0).sqrt();
        assert!((got.value - 0.5).abs() < 1e-9);
        assert!((got.value - got.low - half).abs() < 0.12 * half, "{got:?}");
        assert!((got.high - got.value - half).abs() < 0.12 * half, "{got:?}");
        assert_eq!(got, Estimate::of_mean(&scores, 3));
        assert_ne!(got, Estimate::of_mean(&scores, 4));
    }

    #[test]
    fn few_scores_tell_little() {
        let of = |a: &[f64], b: &[f64]| Estimate::paired(a, b, 0).unwrap();
        let one = of(&[0.3], &[0.5]);
        assert!((one.value + 0.2).abs() < 1e-12 && one.low < -0.5 && one.high > 0.1, "{one:?}");
        let few = of(&[0.5; 19], &[0.5; 19]);
        assert!(few.low < -0.09 && few.high > 0.09, "{few:?}");
        assert_eq!(of(&[0.5; 20], &[0.5; 20]), Estimate { value: 0.0, low: 0.0, high: 0.0 });
        let error = Estimate::paired(&[], &[], 0).unwrap_err().to_string();
        assert_eq!(error, "scores: expected at least one, got none");
    }

    /// Gains and losses of a tenth, as many of both: their sum is rounding, of either sign.
    #[test]
    fn what_cancels_is_zero() {
        for n in [9, 20, 57, 200] {
            let a: Vec<f64> = (0..n).map(|i| f64::from(i % 10) / 10.0).collect();
            let b: Vec<f64> = (0..n).map(|i| f64::from((i + 3) % 10) / 10.0 - 0.3).collect();
            let c: Vec<f64> = b.iter().map(|v| v + 1e-17).collect();
            let same = Estimate::of_difference(&b, &c, 1);
            assert_eq!(same.value, 0.0);
            assert!(n < 20 || (same.low, same.high) == (0.0, 0.0), "{same:?}");
            let got = Estimate::of_difference(&a, &b, 1);
            assert!([got.low, got.high].iter().all(|&v| v == 0.0 || v.abs() > 1e-12), "{got:?}");
        }
    }

    #[test]
    fn no_zero_is_negative() {
        let none = Estimate { value: 0.0, low: -0.0002, high: 0.0002 };
        let said = "no measurable difference from PCA (95 %: +0.0 to +0.0 points)";
        assert_eq!(none.beside("PCA"), said);
    }
}
