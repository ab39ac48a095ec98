//! Batches of rows, read ahead of their use by a thread of their own.

use std::io;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use rand::Rng;
use twinlearn_core::context::Context;
use twinlearn_core::error::{Error, Result};
use twinlearn_core::linalg::Matrix;
use twinlearn_core::random::{Purpose, generator};
use twinlearn_vectors::Vectors;

use super::lists::{self, Drawn, PARTNERS, Places};
use crate::nn::InputFrame;
use crate::pairs::Pairs;

/// Batches in memory: the one in use and the one being read.
const BUFFERS: usize = 2;
/// Rows a task reads at once.
const ROWS: usize = 32;

/// What batches are made of.
pub(super) struct Source<'a> {
    pub(super) ctx: &'a Context,
    /// In the coordinates of training, but for the frame.
    pub(super) x: &'a dyn Vectors,
    pub(super) pairs: &'a Pairs,
    pub(super) kind: Kind<'a>,
    /// Anchors in a batch, queries among them.
    pub(super) batch: usize,
    pub(super) seed: u64,
}

/// How anchors come by other rows.
pub(super) enum Kind<'a> {
    /// Each is paired with one row of its list.
    Pairs {
        /// The coordinates that rows are wanted in, if not their own.
        frame: Option<InputFrame>,
        /// The standard deviation of the noise that each number of a partner gets.
        noise: Option<f64>,
    },
    /// Each brings some rows of its list, and all are weighted ([`lists`]).
    Lists {
        /// Whether lists are sorted, nearest first.
        is_sorted: bool,
        /// Anchors of another kind.
        queries: Option<Queries<'a>>,
    },
}

/// Queries as anchors.
#[derive(Clone, Copy)]
pub(super) struct Queries<'a> {
    /// In the coordinates of training.
    pub(super) x: &'a dyn Vectors,
    /// Their lists among the rows.
    pub(super) pairs: &'a Pairs,
    /// How many there are in a batch.
    pub(super) batch: usize,
}

/// Rows of one step.
pub(super) struct Batch {
    /// Anchors, then other rows.
    pub(super) rows: Matrix,
    /// What each row stands for to each anchor; empty where that is not asked for.
    pub(super) weights: Matrix,
}

impl Batch {
    fn new(source: &Source<'_>) -> Self {
        let weights = match source.kind {
            Kind::Pairs { .. } => Matrix::zeros(0, 0),
            Kind::Lists { .. } => Matrix::zeros(source.batch, source.n_rows()),
        };
        Self { rows: Matrix::zeros(source.n_rows(), source.x.dim()), weights }
    }
}

/// Rows of a batch of so many anchors.
pub(super) fn rows_of(is_listed: bool, batch: usize) -> usize {
    if is_listed { (1 + PARTNERS) * batch } else { 2 * batch }
}

impl Source<'_> {
    /// Rows in a batch.
    pub(super) fn n_rows(&self) -> usize {
        rows_of(matches!(self.kind, Kind::Lists { .. }), self.batch)
    }

    /// Queries among the anchors of a batch.
    pub(super) fn n_queries(&self) -> usize {
        match &self.kind {
            Kind::Lists { queries: Some(queries), .. } => queries.batch,
            _ => 0,
        }
    }

    /// Whole batches in an epoch.
    pub(super) fn steps_per_epoch(&self) -> usize {
        self.pairs.len() / self.batch
    }

    /// Reads the anchors of a batch to the first half of `out`, their partners to the second.
    pub(super) fn gather_pairs(
        &self,
        frame: Option<&InputFrame>,
        noise: Option<f64>,
        chosen: &[(u32, u32)],
        step: usize,
        out: &mut Matrix,
    ) -> Result<()> {
        let (anchors, partners): (Vec<u32>, Vec<u32>) = chosen.iter().copied().unzip();
        let ids = [anchors, partners].concat();
        let dim = self.x.dim();
        self.ctx.try_for_each_chunk(out.as_mut_slice(), ROWS * dim, |c, out| {
            self.x.gather(&ids[c * ROWS..][..out.len() / dim], out)?;
            if let Some(noise) = noise {
                for (i, row) in (c * ROWS..).zip(out.chunks_exact_mut(dim)) {
                    if i >= chosen.len() {
                        self.add_noise(noise, step, i, row);
                    }
                }
            }
            if let Some(frame) = frame {
                frame.move_rows(out);
            }
            Ok(())
        })
    }

    /// Reads anchors, those that are rows first, and then what was drawn for each; weighs all.
    fn gather_lists(
        &self,
        queries: Option<&Queries<'_>>,
        rows: &[Drawn],
        asked: &[Drawn],
        out: &mut Batch,
    ) -> Result<()> {
        let dim = self.x.dim();
        let all: Vec<&Drawn> = rows.iter().chain(asked).collect();
        let anchors: Vec<u32> = rows.iter().map(|d| self.pairs.list(d.anchor as usize).0).collect();
        let partners: Vec<u32> = all.iter().flat_map(|d| d.partners).collect();
        let read = |x: &dyn Vectors, ids: &[u32], out: &mut [f32]| {
            self.ctx.try_for_each_chunk(out, ROWS * dim, |c, out| {
                x.gather(&ids[c * ROWS..][..out.len() / dim], out)
            })
        };
        let (first, rest) = out.rows.as_mut_slice().split_at_mut(anchors.len() * dim);
        let (second, rest) = rest.split_at_mut(asked.len() * dim);
        read(self.x, &anchors, first)?;
        if let Some(queries) = queries {
            let ids: Vec<u32> =
                asked.iter().map(|d| queries.pairs.list(d.anchor as usize).0).collect();
            read(queries.x, &ids, second)?;
        }
        read(self.x, &partners, rest)?;

        let places = Places::new(&anchors, asked.len(), &partners);
        let n = out.weights.cols();
        self.ctx.for_each_chunk(out.weights.as_mut_slice(), n, |i, weights| {
            let own = all.len() + PARTNERS * i;
            let (pairs, itself) = match queries {
                Some(queries) if i >= rows.len() => (queries.pairs, None),
                _ => (self.pairs, Some(anchors[i])),
            };
            let list = pairs.list(all[i].anchor as usize).1;
            places.weigh(all[i], itself, list, self.pairs.n_rows(), own, weights);
        });
        Ok(())
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
    fn run(&self, epochs: Range<usize>, full: &SyncSender<Result<Batch>>, empty: &Receiver<Batch>) {
        for epoch in epochs {
            let steps = self.steps_per_epoch();
            let mut read = Reader::new(self, epoch);
            for i in 0..steps {
                let Ok(mut batch) = empty.recv() else { return };
                let read = read.batch(i, &mut batch).map(|()| batch);
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
                let _ = empty.send(Batch::new(self));
            }
            let reader = thread::Builder::new().name("twinlearn-reader".to_owned());
            reader
                .spawn_scoped(scope, move || self.run(epochs, &full_in, &empty_out))
                .map_err(|e: io::Error| Error::invalid("threads", "one more thread", e))?;
            work(Feed { full, empty })
        })
    }
}

/// What was drawn for one epoch.
struct Reader<'a> {
    source: &'a Source<'a>,
    epoch: usize,
    pairs: Vec<(u32, u32)>,
    rows: Vec<Drawn>,
    queries: Vec<Drawn>,
}

impl<'a> Reader<'a> {
    fn new(source: &'a Source<'a>, epoch: usize) -> Self {
        let mut reader =
            Self { source, epoch, pairs: Vec::new(), rows: Vec::new(), queries: Vec::new() };
        let Source { pairs, seed, .. } = *source;
        match &source.kind {
            Kind::Pairs { .. } => reader.pairs = pairs.epoch(seed, epoch),
            Kind::Lists { is_sorted, queries } => {
                reader.rows = lists::epoch(pairs, *is_sorted, seed, epoch);
                if let Some(queries) = queries {
                    let count = source.steps_per_epoch() * queries.batch;
                    reader.queries = lists::queries(queries.pairs, seed, epoch, count);
                }
            }
        }
        reader
    }

    /// Batch `i` of the epoch.
    fn batch(&mut self, i: usize, out: &mut Batch) -> Result<()> {
        let source = self.source;
        match &source.kind {
            Kind::Pairs { frame, noise } => {
                let chosen = &self.pairs[i * source.batch..][..source.batch];
                let step = self.epoch * source.steps_per_epoch() + i;
                source.gather_pairs(frame.as_ref(), *noise, chosen, step, &mut out.rows)
            }
            Kind::Lists { queries, .. } => {
                let asked = source.n_queries();
                let n = source.batch - asked;
                let (rows, asked) = (&self.rows[i * n..][..n], &self.queries[i * asked..][..asked]);
                source.gather_lists(queries.as_ref(), rows, asked, out)
            }
        }
    }
}

/// The end where batches come out.
pub(super) struct Feed {
    full: Receiver<Result<Batch>>,
    empty: Sender<Batch>,
}

impl Feed {
    /// Bytes of the batches in memory, of `batch` anchors each, from rows of dimension `dim`.
    pub(super) fn bytes(is_listed: bool, batch: usize, dim: usize) -> usize {
        let rows = rows_of(is_listed, batch);
        let weights = if is_listed { batch * rows } else { 0 };
        BUFFERS * size_of::<f32>() * (rows * dim + weights)
    }

    /// The next batch.
    pub(super) fn next(&self) -> Result<Batch> {
        // The reader ends before its last batch only by a panic, which its scope passes on.
        self.full.recv().unwrap_or(Err(Error::Cancelled))
    }

    /// Gives a batch back to be filled again.
    pub(super) fn give_back(&self, batch: Batch) {
        // After the last batch nobody wants it.
        let _ = self.empty.send(batch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_batches() {
        let (ctx, x) = (Context::with_threads(2).unwrap(), Matrix::zeros(60, 7));
        let graph: Vec<i64> = (0..60).map(|i| (i + 1) % 60).collect();
        let graph = twinlearn_knn::KnnGraph::from_indices(60, &graph).unwrap();
        let pairs = Pairs::from_graph(&graph, 1, |_| true).unwrap();
        let lists = Kind::Lists { is_sorted: true, queries: None };
        for kind in [Kind::Pairs { frame: None, noise: None }, lists] {
            let is_listed = matches!(kind, Kind::Lists { .. });
            let source = Source { ctx: &ctx, x: &x, pairs: &pairs, kind, batch: 20, seed: 3 };
            let Batch { rows, weights } = Batch::new(&source);
            let numbers = rows.as_slice().len() + weights.as_slice().len();
            assert_eq!(Feed::bytes(is_listed, 20, 7), BUFFERS * 4 * numbers);
        }
    }

    #[test]
    fn batches_hold_anchors_and_partners_in_the_order_of_the_epochs() {
        let ctx = Context::with_threads(2).unwrap();
        let x = Matrix::new(90, 3, (0..270).map(|i| i as f32).collect()).unwrap();
        let graph: Vec<i64> = (0..90).map(|i| (i + 1) % 90).collect();
        let graph = twinlearn_knn::KnnGraph::from_indices(90, &graph).unwrap();
        let pairs = Pairs::from_graph(&graph, 1, |_| true).unwrap();
        let source = |noise| Source {
            ctx: &ctx,
            x: &x,
            pairs: &pairs,
            kind: Kind::Pairs { frame: None, noise },
            batch: 40,
            seed: 3,
        };
        let read = |noise: Option<f64>, epochs: Range<usize>| {
            let source = source(noise);
            let n = epochs.len() * source.steps_per_epoch();
            let take = |feed: Feed| {
                let mut all = Vec::new();
                for _ in 0..n {
                    let batch = feed.next()?;
                    all.push(batch.rows.clone());
                    feed.give_back(batch);
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
