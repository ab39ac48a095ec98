//! Training as files that grow while it goes on: JSON lines, and events for TensorBoard.
//!
//! A write that fails is reported once, and training goes on without the log.

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use twinlearn::{EpochReport, Error, OutputFile, Result, StepReport};

use crate::args::is_stdout;
use crate::events::EventFile;
use crate::terminal::{lock, tell};

/// The logs that are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Logs<'a> {
    /// A file of JSON lines, one for each step.
    pub(crate) steps: Option<&'a Path>,
    /// A folder for event files.
    pub(crate) tensorboard: Option<&'a Path>,
    /// The run's folder, which is made later: a log may lie in it.
    pub(crate) folder: Option<&'a Path>,
    /// Whether the run is resumed, and its logs with it.
    pub(crate) resume: bool,
}

impl Logs<'_> {
    pub(crate) fn open(self) -> Result<Vec<Box<dyn Log>>> {
        let mut logs: Vec<Box<dyn Log>> = Vec::new();
        let make = |folder: &Path| {
            let fail = |source| Error::Io { path: folder.to_owned(), action: "create", source };
            std::fs::create_dir_all(folder).map_err(fail)
        };
        if let Some(path) = self.steps {
            if let Some(folder) = self.folder.filter(|folder| path.parent() == Some(folder)) {
                make(folder)?;
            }
            // An unwritable place fails now, not after the graph.
            if !is_stdout(path) {
                drop(OutputFile::create(path)?);
            }
            logs.push(Box::new(JsonLines(Growing::new(path, self.resume))));
        }
        if let Some(folder) = self.tensorboard {
            make(folder)?;
            drop(OutputFile::create(folder.join("events"))?);
            logs.push(Box::new(Events(Growing::new(folder, self.resume))));
        }
        Ok(logs)
    }
}

/// Takes note of training.
pub(crate) trait Log: Send + Sync {
    fn step(&self, report: &StepReport);
    fn epoch(&self, report: &EpochReport);
}

/// Something written to as long as that works. It begins with the first note, so that a run
/// refused before it leaves an older log as it was.
struct Growing<W> {
    path: PathBuf,
    /// Whether it goes on from the step of a checkpoint.
    resume: bool,
    state: Mutex<State<W>>,
}

enum State<W> {
    Waiting,
    Open(W),
    Failed,
}

impl<W> Growing<W> {
    fn new(path: &Path, resume: bool) -> Self {
        Self { path: path.to_owned(), resume, state: Mutex::new(State::Waiting) }
    }

    fn write<E: std::fmt::Display>(
        &self,
        open: impl FnOnce(&Path) -> std::result::Result<W, E>,
        write: impl FnOnce(&mut W) -> std::result::Result<(), E>,
    ) {
        let mut state = lock(&self.state);
        // What is taken out comes back only if it still works.
        let result = match std::mem::replace(&mut *state, State::Failed) {
            State::Failed => return,
            State::Open(writer) => Ok(writer),
            State::Waiting => open(&self.path),
        };
        match result.and_then(|mut writer| write(&mut writer).map(|()| writer)) {
            Ok(writer) => *state = State::Open(writer),
            Err(e) => {
                tell(&format!("warning: {}: cannot write the log: {e}", self.path.display()));
            }
        }
    }
}

struct JsonLines(Growing<Box<dyn Write + Send>>);

/// Opens a log to append to from a step: its lines from there on are removed.
fn from_step(path: &Path, step: usize) -> io::Result<File> {
    #[derive(serde::Deserialize)]
    struct Line {
        step: usize,
    }
    let text = std::fs::read(path).unwrap_or_default();
    let is_before = |line: &&[u8]| {
        let line: Option<Line> = serde_json::from_slice(line).ok();
        line.is_some_and(|line| line.step < step)
    };
    let lines = text.split_inclusive(|&byte| byte == b'\n').take_while(is_before);
    let kept: usize = lines.map(<[u8]>::len).sum();
    let mut file = File::options().write(true).create(true).truncate(false).open(path)?;
    file.set_len(kept as u64)?;
    file.seek(io::SeekFrom::End(0))?;
    Ok(file)
}

impl Log for JsonLines {
    fn step(&self, report: &StepReport) {
        let open = |path: &Path| {
            if is_stdout(path) {
                return Ok(Box::new(io::stdout()) as Box<dyn Write + Send>);
            }
            // Only a file has something to go on from.
            let file = match self.0.resume && path.is_file() {
                true => from_step(path, report.step),
                false => File::create(path),
            };
            file.map(|file| Box::new(BufWriter::new(file)) as Box<dyn Write + Send>)
        };
        self.0.write(open, |file| -> io::Result<()> {
            serde_json::to_writer(&mut *file, report)?;
            file.write_all(b"\n")?;
            file.flush()
        });
    }

    fn epoch(&self, _: &EpochReport) {}
}

struct Events(Growing<EventFile>);

impl Events {
    fn scalars(&self, step: usize, values: &[(&str, f64)]) {
        let step = step as i64;
        let open = |folder: &Path| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            // TensorBoard knows its files by this name.
            let (now, id) = (now.as_secs(), std::process::id());
            let name = format!("events.out.tfevents.{now:010}.twinlearn.{id}");
            EventFile::create(&folder.join(name), self.0.resume.then_some(step))
        };
        self.0.write(open, |events| events.scalars(step, values));
    }
}

impl Log for Events {
    fn step(&self, r: &StepReport) {
        let values = [
            ("step/loss", r.loss),
            ("step/on_diagonal", r.on_diagonal),
            ("step/off_diagonal", r.off_diagonal),
            ("step/learning_rate", r.learning_rate),
            ("step/rows_per_second", r.rows_per_second),
        ];
        self.scalars(r.step, &values);
    }

    fn epoch(&self, r: &EpochReport) {
        let mut values = vec![("epoch/loss", r.loss)];
        values.extend(r.recall.map(|recall| ("epoch/recall", recall)));
        self.scalars(r.step, &values);
    }
}
