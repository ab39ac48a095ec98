//! Exact search of codes by products of bytes: rows whose score may be among the best by bounds are kept,
//! and reckoned in `f64` at the end. So the result is that of comparing every row, whatever the processor.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicUsize, Ordering};

use twinlearn_core::context::Context;
use twinlearn_core::cost::beside;
use twinlearn_core::error::Result;
use twinlearn_core::linalg::{Matrix, dot_here};
use twinlearn_core::progress::{Event, Stage};
use twinlearn_knn::Metric;
use twinlearn_vectors::Vectors;

use crate::codec::Codec;
use crate::decoded::{Decoded, to_bytes};
use crate::kernels::{Asking, Kernel, NUMBERS, QUERIES, ROWS, Scores};
use crate::small::{BLOCK, Block, Most, Small};

/// Queries that a thread looks at in one pass over the rows, at most.
const PASS: usize = 2048;

/// Searches, as [`search_codes`](crate::search_codes) does, with turned queries.
pub(crate) fn search(
    ctx: &Context,
    kernel: Kernel,
    (codec, codes): (&Codec, &dyn Vectors),
    queries: &Matrix,
    k: usize,
) -> Result<Vec<u32>> {
    let small = Small::new(codec);
    let base = Decoded::new(codec, codes)?;
    let (n, threads) = (queries.rows(), ctx.n_threads());
    let per_query = small.strides() * NUMBERS + 2 * size_of::<Near>() + 16 * (most_held(k) + k);
    let fixed = small.block_bytes() + BLOCK * codec.row_bytes() * 5;
    beside(ctx, threads * (fixed + QUERIES * per_query), "this search of codes")?;
    let room = ctx.memory_limit().map_or(usize::MAX, |limit| limit / threads - fixed);
    let pass = (room / per_query).clamp(QUERIES, PASS) / QUERIES * QUERIES;
    let pass = pass.min(n.div_ceil(threads).next_multiple_of(QUERIES));
    let passes = n.div_ceil(pass);
    // Where there are few queries, threads share the rows.
    let blocks = codes.n_rows().div_ceil(BLOCK);
    let parts = threads.div_ceil(passes).min(blocks);
    let done = AtomicUsize::new(0);
    let look = |task: usize| {
        let (pass_of, part) = (task / parts, task % parts);
        let first = pass_of * pass;
        let mut search = Pass::new(&small, queries, first..(first + pass).min(n), k);
        for block in part * blocks / parts..(part + 1) * blocks / parts {
            ctx.check_cancelled()?;
            search.look(kernel, codes, block)?;
            search.settle(&base, false)?;
        }
        search.settle(&base, true)?;
        let seen = done.fetch_add(search.near.len(), Ordering::Relaxed) + search.near.len();
        ctx.emit(&Event::StageProgress { stage: Stage::Knn, done: seen / parts });
        Ok(search.near.into_iter().map(|near| near.settled).collect::<Vec<_>>())
    };
    let found = ctx.stage(Stage::Knn, n, || ctx.try_map(passes * parts, look))?;
    let mut ids = Vec::with_capacity(n * k);
    for of_pass in found.chunks(parts) {
        for i in 0..of_pass[0].len() {
            let mut all: Vec<(f64, u32)> =
                of_pass.iter().flat_map(|part| &part[i]).copied().collect();
            best(&mut all, k);
            ids.extend(all.into_iter().map(|(_, id)| id));
        }
    }
    Ok(ids)
}

/// Rows that a query holds before those are left out that have fallen behind, and that are looked at where
/// that leaves too many.
fn most_held(k: usize) -> usize {
    4 * k + 256
}

/// Sorts, and leaves the `k` nearest.
fn best(all: &mut Vec<(f64, u32)>, k: usize) {
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    all.truncate(k);
}

/// The bits of a float as a number in the order of floats, and that number as the bits.
fn in_order(bits: i32) -> i32 {
    bits ^ ((bits >> 31) as u32 >> 1) as i32
}

/// What a query has found.
#[derive(Default)]
struct Near {
    /// The k best of the least that scores can be.
    best: BinaryHeap<Reverse<i32>>,
    /// The least of them, as scores: what cannot reach it is not among the k nearest.
    least: f32,
    /// Rows that may be, and the most that their scores can be.
    held: Vec<(f32, u32)>,
    /// Distances that were reckoned: the k least.
    settled: Vec<(f64, u32)>,
}

impl Near {
    fn take(&mut self, k: usize, (score, margin): (f32, f32), id: u32) {
        self.held.push((score + margin, id));
        // Rows that are always looked at say nothing of others.
        if score < f32::INFINITY {
            self.best.push(Reverse(in_order((score - margin).to_bits() as i32)));
            if self.best.len() > k {
                self.best.pop();
            }
            if self.best.len() == k
                && let Some(&Reverse(least)) = self.best.peek()
            {
                self.least = f32::from_bits(in_order(least) as u32);
            }
        }
    }
}

/// What a query is scored by.
struct Query {
    /// ‖q‖, and that of what rounding to bytes leaves of q ∘ τ, over what scores are divided by.
    length: f64,
    rest: f64,
    own: f64,
    /// The length of the bytes, times `factor`.
    bytes: f64,
    factor: f64,
    shift: f64,
    part: f64,
}

impl Query {
    /// Writes its bytes.
    fn new(small: &Small<'_>, metric: Metric, query: &[f32], bytes: &mut [i8]) -> Self {
        let length = dot_here(query, query).sqrt();
        let scale = match metric {
            Metric::Cosine => length,
            Metric::Ip => length * small.length,
            Metric::L2 => length * small.length + small.length.powi(2),
        };
        let scale = if scale > 0.0 { scale } else { 1.0 };
        let scaled: Vec<f64> =
            query.iter().zip(&small.steps).map(|(&q, &s)| f64::from(q) * f64::from(s)).collect();
        let most = scaled.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        let step = if most > 0.0 { most / 127.0 } else { 1.0 };
        let (mut rest, mut sum, mut square) = (0.0, 0.0, 0.0);
        for (byte, v) in bytes.iter_mut().zip(&scaled) {
            let rounded = (v / step).round();
            *byte = rounded as i8;
            rest += (v - step * rounded).powi(2);
            sum += rounded;
            square += rounded * rounded;
        }
        let factor = step * small.factor / scale;
        Self {
            length: length / scale,
            rest: rest.sqrt() * small.factor / scale,
            own: small.centre().map_or(0.0, |centre| dot_here(query, centre)) / scale,
            bytes: factor * square.sqrt(),
            factor,
            shift: factor * small.offset * sum,
            part: match metric {
                Metric::L2 => small.length.powi(2) / (2.0 * scale),
                _ => 1.0,
            },
        }
    }

    /// The most that a score of a block's rows differs from what is reckoned of bytes.
    fn margin(&self, most: &Most, rounding: f64) -> f32 {
        let bytes = self.rest * most.small + self.length * most.error;
        let reckoned = most.own * self.own.abs()
            + most.factor * self.shift.abs()
            + most.small * self.bytes
            + most.part * self.part;
        (1.001 * bytes + rounding * (2.0 * reckoned + self.length * most.length)) as f32
    }
}

/// What a group of queries is scored by; those that it lacks reach nothing.
fn asking(of: &[Query]) -> Asking {
    let all = |get: fn(&Query) -> f64| -> [f32; QUERIES] {
        std::array::from_fn(|j| of.get(j).map_or(0.0, |of| get(of) as f32))
    };
    Asking {
        own: all(|of| of.own),
        factor: all(|of| of.factor),
        shift: all(|of| of.shift),
        part: all(|of| of.part),
        least: [f32::INFINITY; QUERIES],
    }
}

/// One pass over rows, for some queries.
struct Pass<'a> {
    small: &'a Small<'a>,
    queries: &'a Matrix,
    first: usize,
    k: usize,
    of: Vec<Query>,
    /// For each group of queries the words of all strides, and what it is scored by.
    words: Vec<i32>,
    asking: Vec<Asking>,
    near: Vec<Near>,
    block: Block,
    numbers: Vec<f32>,
    codes: Vec<u8>,
    scores: Scores,
}

impl<'a> Pass<'a> {
    fn new(
        small: &'a Small<'a>,
        queries: &'a Matrix,
        run: std::ops::Range<usize>,
        k: usize,
    ) -> Self {
        let (strides, n) = (small.strides(), run.len());
        let mut words = vec![0; n.div_ceil(QUERIES) * QUERIES * strides];
        let mut bytes = vec![0_i8; strides * NUMBERS];
        let metric = small.metric();
        let of = run.clone().enumerate().map(|(i, row)| {
            let query = Query::new(small, metric, queries.row(row), &mut bytes);
            let (group, place) = (i / QUERIES, i % QUERIES);
            let group = &mut words[group * QUERIES * strides..][..QUERIES * strides];
            for (stride, four) in bytes.chunks_exact(NUMBERS).enumerate() {
                let four: [u8; NUMBERS] = std::array::from_fn(|i| four[i] as u8);
                group[stride * QUERIES + place] = i32::from_le_bytes(four);
            }
            query
        });
        let of: Vec<Query> = of.collect();
        let near = || Near { least: f32::MIN, ..Near::default() };
        Self {
            small,
            queries,
            first: run.start,
            k,
            asking: of.chunks(QUERIES).map(asking).collect(),
            of,
            words,
            near: (0..n).map(|_| near()).collect(),
            block: Block::new(small),
            numbers: Vec::new(),
            codes: Vec::new(),
            scores: Scores::default(),
        }
    }

    /// Scores the rows of a block.
    fn look(&mut self, kernel: Kernel, codes: &dyn Vectors, block: usize) -> Result<()> {
        let row_bytes = codes.dim();
        let start = block * BLOCK;
        let n = BLOCK.min(codes.n_rows() - start);
        self.numbers.resize(n * row_bytes, 0.0);
        codes.read_rows(start, &mut self.numbers)?;
        self.codes.resize(self.numbers.len(), 0);
        to_bytes(&self.numbers, &mut self.codes)?;
        self.small.fill(&self.codes, &mut self.block);
        let strides = self.small.strides();
        let groups = self.words.chunks_exact(strides * QUERIES).zip(&mut self.asking);
        for ((words, asking), (of, near)) in
            groups.zip(self.of.chunks(QUERIES).zip(self.near.chunks_mut(QUERIES)))
        {
            let margin = |of: &Query| of.margin(&self.block.most, self.small.rounding());
            let margins: [f32; QUERIES] = std::array::from_fn(|j| of.get(j).map_or(0.0, margin));
            for (p, (panel, rows)) in self.block.panels().enumerate() {
                for (j, near) in near.iter().enumerate() {
                    asking.least[j] = near.least - margins[j];
                }
                kernel.score(panel, words, (rows, asking), &mut self.scores);
                for (j, near) in near.iter_mut().enumerate() {
                    let mut reached = self.scores.reached[j];
                    while reached != 0 {
                        let i = reached.trailing_zeros() as usize;
                        reached &= reached - 1;
                        let id = (start + p * ROWS + i) as u32;
                        near.take(self.k, (self.scores.all[j][i], margins[j]), id);
                    }
                }
            }
        }
        Ok(())
    }

    /// Leaves out rows that have fallen behind, where many are held, and reckons the distances of the
    /// others where still many are, or `all` of them.
    fn settle(&mut self, base: &Decoded<'_>, all: bool) -> Result<()> {
        let most = most_held(self.k);
        let metric = self.small.metric();
        let (mut ids, mut rows) = (Vec::new(), Vec::new());
        for (i, near) in self.near.iter_mut().enumerate() {
            if !all && near.held.len() < most {
                continue;
            }
            let least = near.least;
            near.held.retain(|(score, _)| *score >= least);
            if !all && near.held.len() < most / 2 {
                continue;
            }
            let query = self.queries.row(self.first + i);
            ids.clear();
            ids.extend(near.held.drain(..).map(|(_, id)| id));
            rows.resize(ids.len() * query.len(), 0.0);
            base.gather(&ids, &mut rows)?;
            let distances = rows.chunks_exact(query.len()).map(|row| metric.distance(query, row));
            near.settled.extend(distances.zip(ids.iter().copied()));
            best(&mut near.settled, self.k);
        }
        Ok(())
    }
}
