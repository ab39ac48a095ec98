//! Long calls: without the GIL, on pools that are kept, ended by Ctrl-C.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use pyo3::exceptions::PyUserWarning;
use pyo3::prelude::*;
use pyo3::types::PyList;
use twinlearn::{CancelToken, Context, Error, Event, Observer, Result};

use crate::error::raised;

/// How often a waiting call looks for signals.
const PATIENCE: Duration = Duration::from_millis(50);

/// How a call is made.
#[pyclass(frozen, module = "twinlearn._twinlearn")]
pub(crate) struct Job {
    /// Threads; one for each core where it is none.
    threads: Option<usize>,
    /// A bound on the working memory of searches, in bytes.
    memory: Option<usize>,
    /// Called with the name of an event, what it is about and a number.
    tell: Option<Py<PyAny>>,
    /// Where warnings are left for the caller to issue, who may have something to lose by them: a filter
    /// can make them errors. Without it they are issued here.
    warnings: Option<Py<PyList>>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The context with so many threads. Pools are kept, because making one takes longer than reducing a
/// row, but not across a fork, which does not copy threads.
fn context(threads: Option<usize>) -> PyResult<Context> {
    type Pools = BTreeMap<(u32, Option<usize>), Context>;
    static POOLS: OnceLock<Mutex<Pools>> = OnceLock::new();
    let mut pools = lock(POOLS.get_or_init(Mutex::default));
    let key = (std::process::id(), threads);
    if let Some(context) = pools.get(&key) {
        return Ok(context.clone());
    }
    let context = threads.map_or_else(Context::new, Context::with_threads).map_err(raised)?;
    pools.insert(key, context.clone());
    Ok(context)
}

/// Keeps warnings, which belong to the calling thread, and tells Python of the rest.
struct Teller {
    tell: Option<Py<PyAny>>,
    warnings: Mutex<Vec<String>>,
}

impl Observer for Teller {
    fn on_event(&self, event: &Event<'_>) {
        if let Event::Warning(line) = event {
            lock(&self.warnings).push((*line).to_owned());
        }
        let Some(tell) = &self.tell else { return };
        let line;
        let (what, name, number) = match event {
            Event::StageStarted { stage, total } => ("start", stage.name(), *total as f64),
            Event::StageProgress { stage, done } => ("progress", stage.name(), *done as f64),
            Event::StageFinished { stage, elapsed } => {
                ("finish", stage.name(), elapsed.as_secs_f64())
            }
            Event::Plan(plan) => {
                line = format!("{plan:#}");
                ("plan", line.as_str(), 0.0)
            }
            Event::Note(line) => ("plan", *line, 0.0),
            _ => return,
        };
        Python::attach(|py| {
            // Telling is no part of the work.
            if let Err(error) = tell.call1(py, (what, name, number)) {
                error.write_unraisable(py, None);
            }
        });
    }
}

/// What Ctrl-C left to be raised.
fn signals(py: Python<'_>) -> PyResult<()> {
    py.check_signals()
}

#[pymethods]
impl Job {
    #[new]
    #[pyo3(signature = (*, threads=None, memory=None, tell=None, warnings=None))]
    fn new(
        threads: Option<usize>,
        memory: Option<usize>,
        tell: Option<Py<PyAny>>,
        warnings: Option<Py<PyList>>,
    ) -> Self {
        Self { threads, memory, tell, warnings }
    }
}

impl Job {
    /// Runs work of less than a millisecond without the GIL.
    pub(crate) fn run_small<R: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&Context) -> Result<R> + Send,
    ) -> PyResult<R> {
        let context = context(self.threads)?;
        py.detach(|| work(&context)).map_err(raised)
    }

    /// Runs `work` on a thread of its own without the GIL, while this one looks for Ctrl-C.
    pub(crate) fn run<R: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&Context) -> Result<R> + Send,
    ) -> PyResult<R> {
        let token = CancelToken::default();
        let teller = Arc::new(Teller {
            tell: self.tell.as_ref().map(|tell| tell.clone_ref(py)),
            warnings: Mutex::default(),
        });
        let mut context =
            context(self.threads)?.cancel_token(token.clone()).observer(Arc::clone(&teller) as _);
        if let Some(memory) = self.memory {
            context = context.memory(memory);
        }
        let mut stopped = None;
        let result = py.detach(|| {
            thread::scope(|scope| {
                let (sender, receiver) = mpsc::channel();
                let worker = scope.spawn(move || {
                    // The receiver is gone only when this thread is.
                    let _ = sender.send(work(&context));
                });
                loop {
                    match receiver.recv_timeout(PATIENCE) {
                        Ok(result) => return result,
                        Err(mpsc::RecvTimeoutError::Timeout) => {
                            if let Err(error) = Python::attach(signals) {
                                stopped.get_or_insert(error);
                                token.cancel();
                            }
                        }
                        Err(mpsc::RecvTimeoutError::Disconnected) => match worker.join() {
                            Ok(()) => return Err(Error::Cancelled),
                            Err(panic) => std::panic::resume_unwind(panic),
                        },
                    }
                }
            })
        });
        if let Some(error) = stopped {
            return Err(error);
        }
        let result = result.map_err(raised)?;
        let category = py.get_type::<PyUserWarning>();
        for line in lock(&teller.warnings).drain(..) {
            if let Some(kept) = &self.warnings {
                kept.bind(py).append(line)?;
                continue;
            }
            let line = std::ffi::CString::new(line).unwrap_or_default();
            PyErr::warn(py, &category, &line, 2)?;
        }
        Ok(result)
    }
}
