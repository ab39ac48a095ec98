//! Standard output and error: the only place that prints.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};

use twinlearn::{Error, Result};

/// Prints a line on stderr. Where nobody can read it, it is not missed.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Prints the one line that says what went wrong.
pub(crate) fn fail(error: &dyn Display) -> ExitCode {
    tell(&format!("error: {error}"));
    ExitCode::FAILURE
}

/// Prints a result. A reader that has gone away (`| head`) is no failure.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::Io { path: PathBuf::from("stdout"), action: "write", source: e })
        }
        _ => Ok(()),
    }
}

/// What a mutex holds.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere must not hide itself behind a second one here.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
