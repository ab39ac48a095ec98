//! Seeded random numbers, one independent stream for each purpose.
//!
//! A stream is named by what it is for and a counter, so that nothing that happened before an
//! epoch is needed to draw that epoch again.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What random numbers are drawn for. The values are part of what a seed means: never reuse one.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum Purpose {
    /// Weights at the start.
    Init = 0,
    /// The rows held out of training.
    HoldOut = 1,
    /// The order of the anchors in an epoch.
    Order = 2,
    /// The neighbour that each anchor is paired with in an epoch.
    Partner = 3,
    /// The random projection of the baselines.
    Projection = 4,
    /// The trees of an approximate neighbour search; rounds name tree, level and node.
    Forest = 5,
    /// The rows that a product quantiser is trained on and the centres it begins with.
    Quantiser = 6,
    /// The noise of gaussian pairs; rounds are steps.
    Noise = 7,
    /// The rows that an evaluation looks at, and those that are its queries.
    Sample = 8,
    /// The resamples of an interval; rounds are resamples.
    Bootstrap = 9,
    /// The pairs of neighbours whose differences are looked at.
    Differences = 10,
    /// The rows that a fit of more is made on.
    Anchors = 11,
    /// The order of queries in an epoch, and the rows drawn from their lists.
    Queries = 12,
    /// The rows that an approximate search is measured on.
    Probes = 13,
    /// Rows that an iteration for leading axes begins with.
    Subspace = 14,
}

/// The generator for `purpose` in round `round` (an epoch, or 0) of a run with this seed.
pub fn generator(seed: u64, purpose: Purpose, round: u32) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(u64::from(purpose as u8) << 32 | u64::from(round));
    rng
}

/// A uniform number below `n`, by Lemire's multiplication with rejection (arXiv 1805.10941).
pub fn below(rng: &mut impl Rng, n: u32) -> u32 {
    loop {
        let product = u64::from(rng.next_u32()) * u64::from(n);
        if product as u32 >= n.wrapping_neg() % n {
            return (product >> 32) as u32;
        }
    }
}

/// The numbers below `n` in random order (Fisher and Yates).
pub fn shuffled(n: usize, rng: &mut impl Rng) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    for i in (1..order.len()).rev() {
        order.swap(i, below(rng, i as u32 + 1) as usize);
    }
    order
}

/// `count` of `n` row numbers, rising, or all where there are fewer: what a sample of a large set is
/// drawn by.
///
/// ```
/// let rows = twinlearn_core::random::sample_rows(0, 100, 3);
/// assert!(rows.len() == 3 && rows.is_sorted() && rows[2] < 100);
/// ```
#[must_use]
pub fn sample_rows(seed: u64, n: usize, count: usize) -> Vec<u32> {
    sample(seed, 0, n, count)
}

/// [`sample_rows`] of an independent stream for each round.
pub fn sample(seed: u64, round: u32, n: usize, count: usize) -> Vec<u32> {
    subset(&mut generator(seed, Purpose::Sample, round), n, count.min(n))
}

/// `count` of the numbers below `n`, rising; every subset is equally likely (selection sampling,
/// Knuth, TAOCP 3.4.2, S).
pub fn subset(rng: &mut impl Rng, n: usize, count: usize) -> Vec<u32> {
    let mut missing = count as u64;
    let mut chosen = Vec::with_capacity(count);
    for id in 0..n {
        let left = (n - id) as u64;
        if (u64::from(rng.next_u32()) * left) >> 32 < missing {
            missing -= 1;
            chosen.push(id as u32);
        }
    }
    chosen
}
