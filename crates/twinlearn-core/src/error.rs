//! The one error type: every message names the thing, what was expected and what came.

use std::fmt::{self, Display, Write};
use std::path::{Path, PathBuf};

/// What can go wrong. [`Display`] is one line that names the thing, what was expected and what
/// came.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter or an array is not usable.
    #[error("{}: expected {}, got {}", OneLine(name), OneLine(expected), OneLine(actual))]
    Invalid {
        /// The parameter or array, by the name all three faces share, e.g. `n_neighbors`.
        name: String,
        /// What would have been right.
        expected: String,
        /// What came.
        actual: String,
    },
    /// A vector holds NaN or an infinity (after rounding to `f32`).
    #[error(
        "{}: expected finite numbers{}, got {value} in row {row}, column {column}",
        OneLine(name),
        if value.is_nan() { "" } else { " in the range of f32 (3.4e38)" }
    )]
    NonFinite {
        /// The array.
        name: String,
        /// Its row, counted from 0.
        row: usize,
        /// Its column, counted from 0.
        column: usize,
        /// The offending value.
        value: f32,
    },
    /// A row of zeros has no direction, so it has no cosine.
    #[error(
        "{}: expected rows of non-zero length under metric cosine, got all zeros in row {row}",
        OneLine(name)
    )]
    ZeroRow {
        /// The array.
        name: String,
        /// Its row, counted from 0.
        row: usize,
    },
    /// A file is not what it should be.
    #[error("{}: expected {}, got {}", OneLine(path.display()), OneLine(expected), OneLine(actual))]
    File {
        /// The file.
        path: PathBuf,
        /// What it should have held.
        expected: String,
        /// What it held.
        actual: String,
    },
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", OneLine(path.display()))]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, e.g. `open`.
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The caller's [`CancelToken`](crate::CancelToken) was set.
    #[error("interrupted")]
    Cancelled,
}

/// Text in which names from files stand, with what would end the line, colour it or turn it round
/// written as Rust writes such characters.
struct OneLine<T>(T);

impl<T: Display> Display for OneLine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        for c in self.0.to_string().chars() {
            match c.is_control() || turns(c) {
                true => write!(f, "{}", c.escape_default())?,
                false => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A parameter or array that is not usable.
    pub fn invalid(name: impl Into<String>, expected: impl Display, actual: impl Display) -> Self {
        Self::Invalid {
            name: name.into(),
            expected: expected.to_string(),
            actual: actual.to_string(),
        }
    }

    /// A file that is not what it should be.
    pub fn file(path: &Path, expected: impl Display, actual: impl Display) -> Self {
        Self::File {
            path: path.to_owned(),
            expected: expected.to_string(),
            actual: actual.to_string(),
        }
    }

    /// An answer of the operating system; `action` completes "cannot …".
    pub fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_whatever_names_hold() {
        let path = Path::new("a\nb.parquet");
        let said = Error::file(path, "a column", "x\u{1b}[31m, y\r, \u{202e}z, é").to_string();
        assert_eq!(said, "a\\nb.parquet: expected a column, got x\\u{1b}[31m, y\\r, \\u{202e}z, é");
        let wrong = Error::invalid("column", "a name", "a\tb").to_string();
        assert_eq!(wrong, "column: expected a name, got a\\tb");
        let wrong = Error::ZeroRow { name: "a\nb.npy".to_owned(), row: 3 }.to_string();
        assert!(wrong.starts_with("a\\nb.npy: expected rows of non-zero length"), "{wrong}");
    }
}
