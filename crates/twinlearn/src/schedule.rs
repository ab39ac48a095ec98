//! The learning rate over a run: linear warm-up, then cosine.

/// Rises linearly to `base` over `warmup_steps` steps, then falls along a half cosine towards
/// `base / 1000`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Schedule {
    base: f64,
    warmup_steps: usize,
    total_steps: usize,
}

/// The share of the base rate that the cosine ends at.
const END: f64 = 1e-3;

impl Schedule {
    /// `warmup_steps` must be below `total_steps`.
    pub(crate) fn new(base: f64, warmup_steps: usize, total_steps: usize) -> Self {
        debug_assert!(warmup_steps < total_steps);
        Self { base, warmup_steps, total_steps }
    }

    /// Whether the rate has fallen to `share` of its highest at `step`. In the warm-up it has not.
    pub(crate) fn is_low(&self, step: usize, share: f64) -> bool {
        step >= self.warmup_steps && self.at(step) <= share * self.base
    }

    /// The rate of step `step`, counted from 0. The first step of a warm-up already moves.
    pub(crate) fn at(&self, step: usize) -> f64 {
        if step < self.warmup_steps {
            return self.base * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let done = (step - self.warmup_steps) as f64;
        let share = done / (self.total_steps - self.warmup_steps) as f64;
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * share).cos());
        self.base * (cosine + END * (1.0 - cosine))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_then_falls_to_a_thousandth() {
        let s = Schedule::new(0.8, 4, 104);
        assert_eq!([0, 1, 2, 3].map(|i| s.at(i)), [0.2, 0.4, 0.6000000000000001, 0.8]);
        assert_eq!(s.at(4), 0.8);
        assert!((s.at(54) - 0.8 * 0.5005).abs() < 1e-12, "half way");
        assert!((s.at(104) - 0.0008).abs() < 1e-12, "the end");
        assert!((4..104).all(|i| s.at(i + 1) < s.at(i)));
    }

    #[test]
    fn without_warm_up_the_first_rate_is_the_base() {
        assert_eq!(Schedule::new(0.3, 0, 1).at(0), 0.3);
    }
}
