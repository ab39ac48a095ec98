//! Batches of rows, read ahead of their use by a thread of their own.

use std::io;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use rand::Rng;

use crate::context::Context;
use crate::data::Vectors;
use crate::error::{Error, Result};
use crate::linalg::Matrix;
use crate::nn::InputFrame;
use crate::pairs::Pairs;
use crate::random::{Purpose, generator};

/// Batches in memory: the one in use and the one being read.
const BUFFERS: usize = 2;
/// Rows a task reads at once.
const ROWS: usize = 32;

/// What batches are made of.
pub(super) struct Source<'a> {
    pub(super) ctx: &'a Context,
    pub(super) x: &'a dyn Vectors,
    pub(super) pairs: &'a Pairs,
    /// The coordinates that rows are wanted in, if not their own.
    pub(super) frame: Option<InputFrame>,
    /// The standard deviation of the noise that each number of a partner gets.
    pub(super) noise: Option<f64>,
    pub(super) batch: usize,
    pub(super) seed: u64,
}

impl Source<'_> {
    /// Whole batches in an epoch.
    pub(super) fn steps_per_epoch(&self) -> usize {
        self.pairs.len() / self.batch
    }

    /// Reads the anchors of a batch to the first half of `out`, their partners to the second.
    pub(super) fn gather(
        &self,
        chosen: &[(u32, u32)],
        step: usize,
        out: &mut Matrix,
    ) -> Result<()> {
        let (anchors, partners): (Vec<u32>, Vec<u32>) = chosen.iter().copied().unzip();
        let ids = [anchors, partners].concat();
        let dim = self.x.dim();
        self.ctx.try_for_each_chunk(out.as_mut_slice(), ROWS * dim, |c, out| {
            self.x.gather(&ids[c * ROWS..][..out.len() / dim], out)?;
            if let Some(noise) = self.noise {
                for (i, row) in (c * ROWS..).zip(out.chunks_exact_mut(dim)) {
                    if i >= chosen.len() {
                        self.add_noise(noise, step, i, row);
                    }
                }
            }
            if let Some(frame) = &self.frame {
                frame.move_rows(out);
            }
            Ok(())
        })
    }

    /// Gaussian noise by Box and Muller, from a part of the step's stream that is the row's own.
    fn add_noise(&self, noise: f64, step: usize, row: usize, values: &mut [f32]) {
        let mut rng = generator(self.seed, Purpose::Noise, step as u32);
        rng.set_word_pos((row * values.len().next_multiple_of(2)) as u128);
        let mut unit = || (f64::from(rng.next_u32()) + 0.5) / 4_294_967_296.0;
        for pair in values.chunks_mut(2) {
            let length = noise * (-2.0 * unit().ln()).sqrt();
            let (sin, cos) = (std::f64::consts::TAU * unit()).sin_cos();
            for (v, part) in pair.iter_mut().zip([cos, sin]) {
                *v = (f64::from(*v) + length * part) as f32;
            }
        }
    }

    /// Reads the batches of `epochs`, in order, until nobody wants them.
    fn run(
        &self,
        epochs: Range<usize>,
        full: &SyncSender<Result<Matrix>>,
        empty: &Receiver<Matrix>,
    ) {
        for epoch in epochs {
            let order = self.pairs.epoch(self.seed, epoch);
            for (i, chosen) in order.chunks_exact(self.batch).enumerate() {
                let Ok(mut rows) = empty.recv() else { return };
                let step = epoch * self.steps_per_epoch() + i;
                let read = self.gather(chosen, step, &mut rows).map(|()| rows);
                if full.send(read).is_err() {
                    return;
                }
            }
        }
    }

    /// Runs `work` with the batches of `epochs`.
    pub(super) fn feed<R>(
        &self,
        epochs: Range<usize>,
        work: impl FnOnce(Feed) -> Result<R>,
    ) -> Result<R> {
        thread::scope(|scope| {
            let (full_in, full) = sync_channel(BUFFERS);
            let (empty, empty_out) = channel();
            for _ in 0..BUFFERS {
                // The other end is here still.
                let _ = empty.send(Matrix::zeros(2 * self.batch, self.x.dim()));
            }
            let reader = thread::Builder::new().name("twinlearn-reader".to_owned());
            reader
                .spawn_scoped(scope, move || self.run(epochs, &full_in, &empty_out))
                .map_err(|e: io::Error| Error::invalid("threads", "one more thread", e))?;
            work(Feed { full, empty })
        })
    }
}

/// The end where batches come out.
pub(super) struct Feed {
    full: Receiver<Result<Matrix>>,
    empty: Sender<Matrix>,
}

impl Feed {
    /// The next batch.
    pub(super) fn next(&self) -> Result<Matrix> {
        // The reader ends before its last batch only by a panic, which its scope passes on.
        self.full.recv().unwrap_or(Err(Error::Cancelled))
    }

    /// Gives a batch back to be filled again.
    pub(super) fn give_back(&self, rows: Matrix) {
        // After the last batch nobody wants it.
        let _ = self.empty.send(rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_anchors_and_partners_in_the_order_of_the_epochs() {
        let ctx = Context::with_threads(2).unwrap();
        let x = Matrix::new(90, 3, (0..270).map(|i| i as f32).collect()).unwrap();
        let graph: Vec<i64> = (0..90).map(|i| (i + 1) % 90).collect();
        let graph = crate::knn::KnnGraph::from_indices(90, &graph).unwrap();
        let pairs = Pairs::from_graph(&graph, 1, |_| true).unwrap();
        let source = |noise| Source {
            ctx: &ctx,
            x: &x,
            pairs: &pairs,
            frame: None,
            noise,
            batch: 40,
            seed: 3,
        };
        let read = |noise: Option<f64>, epochs: Range<usize>| {
            let source = source(noise);
            let n = epochs.len() * source.steps_per_epoch();
            let take = |feed: Feed| {
                let mut all = Vec::new();
                for _ in 0..n {
                    let rows = feed.next()?;
                    all.push(rows.clone());
                    feed.give_back(rows);
                }
                Ok(all)
            };
            source.feed(epochs, take).unwrap()
        };
        let all = read(None, 0..3);
        for (i, (rows, epoch)) in all.iter().zip([0, 0, 1, 1, 2, 2]).enumerate() {
            let chosen = &pairs.epoch(3, epoch)[i % 2 * 40..][..40];
            for (row, &(anchor, partner)) in chosen.iter().enumerate() {
                assert_eq!(rows.row(row)[0], 3.0 * anchor as f32);
                assert_eq!(rows.row(40 + row)[0], 3.0 * partner as f32);
            }
        }
        assert!(read(None, 2..3) == all[4..], "an epoch does not need those before it");

        let noisy = read(Some(0.5), 0..3);
        let (mut sum, mut square) = (0.0, 0.0);
        for (noisy, plain) in noisy.iter().zip(&all) {
            assert_eq!(noisy.as_slice()[..120], plain.as_slice()[..120], "anchors stay");
            for (a, b) in noisy.as_slice()[120..].iter().zip(&plain.as_slice()[120..]) {
                sum += f64::from(a - b);
                square += f64::from(a - b).powi(2);
            }
        }
        // 720 draws: five standard deviations of their mean and of their mean square.
        assert!((sum / 720.0).abs() < 5.0 * 0.5 / 720_f64.sqrt());
        assert!((square / 720.0 - 0.25).abs() < 5.0 * 0.25 * (2.0 / 720_f64).sqrt());
        assert!(noisy[4..] == read(Some(0.5), 2..3));
    }
}
