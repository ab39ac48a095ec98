//! What the user sees: bars and warnings on stderr, results on stdout.

use std::io;
use std::path::PathBuf;
use std::process;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use twinlearn::{CancelToken, Context, Error, Event, Observer, Result};

use crate::args::Resources;
use crate::logs::{Log, Logs};
use crate::terminal::{lock, print, tell};

/// As shells tell that a command was ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Seconds as people read them.
pub(crate) fn seconds(elapsed: Duration) -> String {
    format!("{:.2} s", elapsed.as_secs_f64())
}

/// Where results and plans are shown.
#[derive(Clone, Copy)]
pub(crate) struct Screen {
    /// Whether something else has standard output to itself.
    pub(crate) on_stderr: bool,
    /// Whether the plan of work is shown before it.
    pub(crate) plans: bool,
}

impl Screen {
    fn show(self, text: &str) -> Result<()> {
        if self.on_stderr {
            tell(text);
            return Ok(());
        }
        print(text)
    }
}

/// The terminal and Ctrl-C.
pub(crate) struct Ui {
    cancel: CancelToken,
    screen: Screen,
}

impl Ui {
    /// Routes Ctrl-C into a cancel token.
    pub(crate) fn new(screen: Screen) -> Result<Self> {
        let cancel = CancelToken::default();
        let token = cancel.clone();
        // A second one does not wait for work that cannot look at the token.
        let handler = move || match token.is_cancelled() {
            false => token.cancel(),
            true => process::exit(INTERRUPTED),
        };
        ctrlc::set_handler(handler).map_err(|e| Error::Io {
            path: PathBuf::from("Ctrl-C"),
            action: "listen to",
            source: io::Error::other(e),
        })?;
        Ok(Self { cancel, screen })
    }

    /// Shows a result.
    pub(crate) fn show(&self, text: &str) -> Result<()> {
        self.screen.show(text)
    }

    /// A context that shows its progress here and, when asked, logs its steps.
    pub(crate) fn context(&self, resources: &Resources, logs: Logs<'_>) -> Result<Context> {
        if resources.memory.is_some() {
            crate::heap::share_one_heap();
        }
        let context = match resources.threads {
            Some(threads) => Context::with_threads(threads),
            None => Context::new(),
        }?;
        let logs = logs.open()?;
        let details = resources.verbose;
        let sink = Sink { bar: Mutex::default(), screen: self.screen, details, logs };
        Ok(context.observer(Arc::new(sink)).cancel_token(self.cancel.clone()))
    }
}

/// A bar for the stage that runs, and the log. indicatif hides bars when stderr is no terminal.
struct Sink {
    bar: Mutex<Option<ProgressBar>>,
    screen: Screen,
    /// Whether plans are shown with their details.
    details: bool,
    logs: Vec<Box<dyn Log>>,
}

impl Sink {
    /// Shows a line above the bar. A reader that has gone away is noticed when the result is printed.
    fn show(&self, line: &str) {
        let _ = match &*lock(&self.bar) {
            Some(bar) => bar.suspend(|| self.screen.show(line)),
            None => self.screen.show(line),
        };
    }
}

impl Observer for Sink {
    fn on_event(&self, event: &Event<'_>) {
        match event {
            Event::StageStarted { stage, total } => {
                let style = "{prefix:>9} {bar:40} {pos}/{len} {elapsed} (left {eta}) {msg}";
                let style = ProgressStyle::with_template(style)
                    .unwrap_or_else(|_| ProgressStyle::default_bar());
                let bar = ProgressBar::new(*total as u64).with_style(style);
                *lock(&self.bar) = Some(bar.with_prefix(stage.name()));
            }
            Event::StageProgress { done, .. } => {
                if let Some(bar) = &*lock(&self.bar) {
                    bar.set_position(*done as u64);
                }
            }
            Event::StageFinished { .. } => {
                if let Some(bar) = lock(&self.bar).take() {
                    bar.finish_and_clear();
                }
            }
            Event::Step(report) => {
                if let Some(bar) = &*lock(&self.bar) {
                    bar.set_message(format!("loss {:.4}", report.loss));
                }
                self.logs.iter().for_each(|log| log.step(report));
            }
            Event::Epoch(report) => self.logs.iter().for_each(|log| log.epoch(report)),
            Event::Plan(plan) if self.screen.plans || self.details => {
                let line = if self.details { format!("{plan:#}") } else { plan.to_string() };
                self.show(&line);
            }
            Event::Note(line) if self.screen.plans || self.details => self.show(line),
            Event::Warning(message) => match &*lock(&self.bar) {
                Some(bar) => bar.suspend(|| tell(&format!("warning: {message}"))),
                None => tell(&format!("warning: {message}")),
            },
            _ => {}
        }
    }
}
