//! Where work runs and whom it tells: a thread pool of our own, a progress sink, a cancel token.
//!
//! This is the only module that touches rayon. Work is cut by the size of the problem, never by
//! the number of threads, and results are combined in the order of the cut: so the same input
//! gives the same bits at any number of threads.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::error::{Error, Result};

/// A flag that asks long operations to stop. Clones share the flag.
///
/// ```
/// let token = twinlearn::CancelToken::default();
/// token.clone().cancel();
/// assert!(token.is_cancelled());
/// ```
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Asks every operation that holds this token to stop with [`Error::Cancelled`].
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether [`cancel`](Self::cancel) was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A part of the work that takes long enough to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Vectors are read from files; counted in rows.
    Load,
    /// Every value is checked to be finite; counted in rows.
    Check,
    /// The nearest-neighbour graph; counted in rows.
    Knn,
    /// Mean and covariance for PCA; counted in rows.
    Pca,
    /// The covariance of rows with their neighbours; counted in rows.
    Spectral,
    /// The short race before training; counted in steps.
    Choose,
    /// Training; counted in steps.
    Train,
    /// Training the linear encoder that one with hidden layers begins with.
    Linear,
    /// Training on for nested sizes.
    Nest,
    /// The same fit on rows alone, to tell what training on queries is worth.
    Compare,
    /// The principal axes of the reduced vectors; counted in rows.
    Whiten,
    /// Held-out recall while fitting, counted in rows; what reductions keep, counted in reductions.
    Evaluate,
    /// Dimensions tried, at most so many.
    Advise,
    /// Encoding rows; counted in rows.
    Transform,
}

impl Stage {
    /// A short lower-case name, e.g. `knn`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Check => "check",
            Self::Knn => "knn",
            Self::Pca => "pca",
            Self::Spectral => "spectral",
            Self::Choose => "choose",
            Self::Train => "train",
            Self::Linear => "linear",
            Self::Nest => "nest",
            Self::Compare => "compare",
            Self::Whiten => "whiten",
            Self::Evaluate => "evaluate",
            Self::Advise => "advise",
            Self::Transform => "transform",
        }
    }
}

/// One optimiser step, as told to an [`Observer`].
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct StepReport {
    /// Steps done so far, this one included (1-based).
    pub step: usize,
    /// The epoch this step belongs to (0-based).
    pub epoch: usize,
    /// The loss of this batch, scaled as it is minimised.
    pub loss: f64,
    /// The part of `loss` from the diagonal of the cross-correlation matrix; 0 under other losses.
    pub on_diagonal: f64,
    /// The part of `loss` from off the diagonal; 0 under other losses.
    pub off_diagonal: f64,
    /// The learning rate of this step.
    pub learning_rate: f64,
    /// Anchors handled per second in this step.
    pub rows_per_second: f64,
}

/// One pass over the anchors, as told to an [`Observer`].
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct EpochReport {
    /// Epochs done so far, this one included (1-based).
    pub epoch: usize,
    /// Steps done so far.
    pub step: usize,
    /// The mean loss of its steps.
    pub loss: f64,
    /// recall@10 on the held-out rows; none without them and in the reference recipe.
    pub recall: Option<f64>,
    /// Whether that is the best so far, the start included.
    pub is_best: bool,
}

/// What a long operation tells while it runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A stage begins; `total` is in the stage's own unit.
    StageStarted {
        /// Which.
        stage: Stage,
        /// How many units it has.
        total: usize,
    },
    /// `done` units of a stage are finished.
    StageProgress {
        /// Which.
        stage: Stage,
        /// Units finished so far.
        done: usize,
    },
    /// A stage is over.
    StageFinished {
        /// Which.
        stage: Stage,
        /// How long it took.
        elapsed: Duration,
    },
    /// One training step is done.
    Step(&'a StepReport),
    /// One epoch is done.
    Epoch(&'a EpochReport),
    /// How the stage that follows will be done, in one line.
    Plan(&'a str),
    /// Something the user should know that does not stop the work.
    Warning(&'a str),
}

/// A sink for progress. It is called from the thread that called the library and from its worker
/// threads, so it must be quick and must not panic.
pub trait Observer: Send + Sync {
    /// Called for every event.
    fn on_event(&self, event: &Event<'_>);
}

/// The observer that listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn on_event(&self, _: &Event<'_>) {}
}

/// Where long operations run: threads, progress sink, cancel token. Clones share the threads.
///
/// ```
/// let ctx = twinlearn::Context::with_threads(2)?;
/// # let _ = ctx;
/// # Ok::<(), twinlearn::Error>(())
/// ```
#[derive(Clone)]
pub struct Context {
    pool: Arc<rayon::ThreadPool>,
    observer: Arc<dyn Observer>,
    cancel: CancelToken,
    memory: Option<usize>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("threads", &self.pool.current_num_threads())
            .finish_non_exhaustive()
    }
}

/// How many threads are accepted: more is a typing error, not a machine.
const MAX_THREADS: usize = 1024;

/// How often a wait looks at the cancel token.
const PATIENCE: Duration = Duration::from_millis(50);

impl Context {
    /// A context with one thread for each available core.
    ///
    /// # Errors
    /// When the system refuses to start threads.
    pub fn new() -> Result<Self> {
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::with_threads(cores.min(MAX_THREADS))
    }

    /// A context with `threads` threads. Results do not depend on the number.
    ///
    /// # Errors
    /// When `threads` is 0 or above 1024, or the system refuses to start them.
    pub fn with_threads(threads: usize) -> Result<Self> {
        if threads == 0 || threads > MAX_THREADS {
            return Err(Error::invalid(
                "threads",
                format_args!("a number from 1 to {MAX_THREADS}"),
                threads,
            ));
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("twinlearn-{i}"))
            .build()
            .map_err(|e| Error::invalid("threads", format_args!("{threads} new threads"), e))?;
        Ok(Self {
            pool: Arc::new(pool),
            observer: Arc::new(Silent),
            cancel: CancelToken::default(),
            memory: None,
        })
    }

    /// Sends progress to `observer`.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Stops when `token` is cancelled.
    #[must_use]
    pub fn cancel_token(mut self, token: CancelToken) -> Self {
        self.cancel = token;
        self
    }

    /// Bounds the working memory of searches, fits, evaluations and transforms from files to `bytes`,
    /// beside input and output; what needs more is refused. Without it a search takes what is
    /// fastest. Exact results do not depend on it.
    #[must_use]
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// The same threads, memory and cancel token, telling nobody: for small work inside a stage.
    pub(crate) fn quiet(&self) -> Self {
        self.clone().observer(Arc::new(Silent))
    }

    pub(crate) fn memory_limit(&self) -> Option<usize> {
        self.memory
    }

    /// The number of threads: for what each of them needs. Results never depend on it.
    #[must_use]
    pub fn n_threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    pub(crate) fn check_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    pub(crate) fn emit(&self, event: &Event<'_>) {
        self.observer.on_event(event);
    }

    pub(crate) fn warn(&self, message: &str) {
        self.emit(&Event::Warning(message));
    }

    /// Tells that `stage` begins, runs `work`, and tells that it ended and how long it took.
    pub(crate) fn stage<R>(
        &self,
        stage: Stage,
        total: usize,
        work: impl FnOnce() -> Result<R>,
    ) -> Result<R> {
        self.emit(&Event::StageStarted { stage, total });
        let start = Instant::now();
        let result = work()?;
        self.emit(&Event::StageFinished { stage, elapsed: start.elapsed() });
        Ok(result)
    }

    /// Runs work that cannot look at the cancel token, such as opening a file. It gets a thread of its
    /// own, which is left to itself when cancelled.
    ///
    /// # Errors
    /// [`Cancelled`](Error::Cancelled), or when the system refuses to start a thread.
    ///
    /// ```no_run
    /// use twinlearn::{Context, VectorSource};
    /// let x = Context::new()?.abandonable(|| VectorSource::open("shards/*.parquet"))??;
    /// # let _ = x;
    /// # Ok::<(), twinlearn::Error>(())
    /// ```
    pub fn abandonable<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R> {
        let (sender, receiver) = mpsc::channel();
        let name = "twinlearn-work".to_owned();
        let spawned = thread::Builder::new().name(name).spawn(move || sender.send(work()).is_ok());
        let thread = spawned.map_err(|e| Error::invalid("threads", "one more thread", e))?;
        loop {
            self.check_cancelled()?;
            match receiver.recv_timeout(PATIENCE) {
                Ok(result) => return Ok(result),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                // Only a panic ends the thread without a result.
                Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
                    Ok(_) => return Err(Error::Cancelled),
                    Err(panic) => std::panic::resume_unwind(panic),
                },
            }
        }
    }

    /// Runs `task(0..n)` on the pool, in any order.
    pub(crate) fn for_each(&self, n: usize, task: impl Fn(usize) + Send + Sync) {
        if n == 1 {
            return task(0);
        }
        self.pool.install(|| (0..n).into_par_iter().with_max_len(1).for_each(task));
    }

    /// Runs `task(0..n)` on the pool and returns the results in the order of the tasks; the first
    /// error in that order wins. Stops early when cancelled.
    pub(crate) fn try_map<R: Send>(
        &self,
        n: usize,
        task: impl Fn(usize) -> Result<R> + Send + Sync,
    ) -> Result<Vec<R>> {
        let guarded = |i| {
            self.check_cancelled()?;
            task(i)
        };
        let results: Vec<Result<R>> =
            self.pool.install(|| (0..n).into_par_iter().with_max_len(1).map(guarded).collect());
        results.into_iter().collect()
    }

    /// Runs `task(0..n)` on the pool, begun about in this order: for tasks that go better when
    /// earlier ones are done, though their outcome may not depend on it. Stops early at an error
    /// or when cancelled.
    pub(crate) fn try_in_order(
        &self,
        n: usize,
        task: impl Fn(usize) -> Result<()> + Send + Sync,
    ) -> Result<()> {
        self.pool.install(|| {
            (0..n).par_bridge().try_for_each(|i| {
                self.check_cancelled()?;
                task(i)
            })
        })
    }

    /// Cuts `data` into runs of `chunk` elements and hands each, with its number, to `task`.
    pub(crate) fn for_each_chunk<T: Send>(
        &self,
        data: &mut [T],
        chunk: usize,
        task: impl Fn(usize, &mut [T]) + Send + Sync,
    ) {
        let run = |(i, part): (usize, &mut [T])| task(i, part);
        if data.len() <= chunk {
            return data.chunks_mut(chunk.max(1)).enumerate().for_each(run);
        }
        self.pool.install(|| data.par_chunks_mut(chunk).with_max_len(1).enumerate().for_each(run));
    }

    /// [`for_each_chunk`](Self::for_each_chunk) for tasks that can fail. Stops early when
    /// cancelled; which of several errors wins follows the order of the chunks.
    pub(crate) fn try_for_each_chunk<T: Send>(
        &self,
        data: &mut [T],
        chunk: usize,
        task: impl Fn(usize, &mut [T]) -> Result<()> + Send + Sync,
    ) -> Result<()> {
        let run = |(i, part): (usize, &mut [T])| {
            self.check_cancelled()?;
            task(i, part)
        };
        if data.len() <= chunk {
            return data.chunks_mut(chunk.max(1)).enumerate().try_for_each(run);
        }
        let results: Vec<Result<()>> = self.pool.install(|| {
            data.par_chunks_mut(chunk.max(1)).with_max_len(1).enumerate().map(run).collect()
        });
        results.into_iter().collect()
    }
}

/// Locks; a panic elsewhere must not hide itself behind a second one here.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Cuts `0..n` into runs of `size`; the last may be shorter.
pub(crate) fn runs(n: usize, size: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    (0..n.div_ceil(size)).map(move |i| i * size..((i + 1) * size).min(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_everything_once() {
        let got: Vec<_> = runs(10, 4).collect();
        assert_eq!(got, [0..4, 4..8, 8..10]);
        assert_eq!(runs(0, 4).len(), 0);
    }

    #[test]
    fn cancelling_stops_a_map() {
        let token = CancelToken::default();
        let ctx = Context::with_threads(2).unwrap().cancel_token(token.clone());
        token.cancel();
        let result = ctx.try_map(10, Ok);
        assert!(matches!(result, Err(Error::Cancelled)));
    }

    #[test]
    fn cancelling_leaves_work_that_cannot_look() {
        let token = CancelToken::default();
        let ctx = Context::with_threads(1).unwrap().cancel_token(token.clone());
        assert_eq!(ctx.abandonable(|| 7).unwrap(), 7);
        let (release, wait) = mpsc::channel::<()>();
        let result = ctx.abandonable(move || {
            token.cancel();
            // Until the other end is dropped, after the result was seen.
            wait.recv()
        });
        assert!(matches!(result, Err(Error::Cancelled)));
        drop(release);
    }

    #[test]
    fn zero_threads_are_refused() {
        let message = Context::with_threads(0).unwrap_err().to_string();
        assert_eq!(message, "threads: expected a number from 1 to 1024, got 0");
    }
}
