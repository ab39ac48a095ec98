//! Where work runs and where it reports: a thread pool of our own, a progress sink, a cancel token.
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
use crate::progress::{Event, Observer, Silent, Stage};

/// A flag that asks long operations to stop. Clones share the flag.
///
/// ```
/// let token = twinlearn_core::CancelToken::default();
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

/// Where long operations run: threads, progress sink, cancel token. Clones share the threads.
///
/// ```
/// let ctx = twinlearn_core::Context::with_threads(2)?;
/// # let _ = ctx;
/// # Ok::<(), twinlearn_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Context {
    pool: Arc<rayon::ThreadPool>,
    observer: Arc<dyn Observer>,
    cancel: CancelToken,
    memory: Option<usize>,
    reserved: usize,
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
            reserved: 0,
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

    /// Takes `bytes` off the bound on memory, where there is one, for what is held beside the work.
    /// Refusals of work that needs more add it to what they ask for.
    #[must_use]
    pub fn reserve(mut self, bytes: usize) -> Self {
        if let Some(memory) = &mut self.memory {
            *memory = memory.saturating_sub(bytes);
            self.reserved += bytes;
        }
        self
    }

    /// What [`reserve`](Self::reserve) took.
    pub fn reserved(&self) -> usize {
        self.reserved
    }

    /// The same threads, memory and cancel token, without an observer: for small work inside a stage.
    pub fn quiet(&self) -> Self {
        self.clone().observer(Arc::new(Silent))
    }

    /// The bound that [`memory`](Self::memory) set, if any.
    pub fn memory_limit(&self) -> Option<usize> {
        self.memory
    }

    /// The number of threads: for what each of them needs. Results never depend on it.
    #[must_use]
    pub fn n_threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Asks whether to go on.
    ///
    /// # Errors
    /// [`Cancelled`](Error::Cancelled) once the token was cancelled.
    pub fn check_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Sends `event` to the observer.
    pub fn emit(&self, event: &Event<'_>) {
        self.observer.on_event(event);
    }

    /// Sends [`Event::Warning`] to the observer.
    pub fn warn(&self, message: &str) {
        self.emit(&Event::Warning(message));
    }

    /// Reports that `stage` begins, runs `work`, and reports that it ended and how long it took.
    pub fn stage<R>(
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
    /// use twinlearn_core::Context;
    /// let bytes = Context::new()?.abandonable(|| std::fs::read("X.npy"))?;
    /// # let _ = bytes;
    /// # Ok::<(), twinlearn_core::Error>(())
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
    pub fn for_each(&self, n: usize, task: impl Fn(usize) + Send + Sync) {
        if n == 1 {
            return task(0);
        }
        self.pool.install(|| (0..n).into_par_iter().with_max_len(1).for_each(task));
    }

    /// Runs `task(0..n)` on the pool and returns the results in the order of the tasks; the first
    /// error in that order wins. Stops early when cancelled.
    pub fn try_map<R: Send>(
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
    pub fn try_in_order(
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
    pub fn for_each_chunk<T: Send>(
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
    pub fn try_for_each_chunk<T: Send>(
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
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Cuts `0..n` into runs of `size`; the last may be shorter.
pub fn runs(n: usize, size: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
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
