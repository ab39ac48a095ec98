//! Seeded random numbers, one independent stream for each purpose.
//!
//! A stream is named by what it is for and a counter, so that nothing that happened before an
//! epoch is needed to draw that epoch again.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What random numbers are drawn for. The values are part of what a seed means: never reuse one.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Purpose {
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
}

/// The generator for `purpose` in round `round` (an epoch, or 0) of a run with this seed.
pub(crate) fn generator(seed: u64, purpose: Purpose, round: u32) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(u64::from(purpose as u8) << 32 | u64::from(round));
    rng
}
