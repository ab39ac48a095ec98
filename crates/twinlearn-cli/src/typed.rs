//! Errors name a thing as it was typed: `-d` for `n_components`, `--learning-rate` for
//! `learning_rate`, the file for X.

use std::ffi::OsString;

use clap::{Arg, ArgMatches, Command};
use twinlearn::Error;

/// Names of the library whose flags are called otherwise in some commands.
const OTHER_NAMES: [(&str, &str); 9] = [
    ("codes", "own"),
    ("candidates", "rescore"),
    ("X", "x"),
    ("X", "original"),
    ("n_components", "dim"),
    ("model", "from"),
    ("knn_graph", "knn"),
    ("knn_method", "method"),
    ("knn_approximation", "approximation"),
];

/// Flags that bound what the machine has, whose names stand for that where they are not given.
const BOUNDS: [&str; 2] = ["memory", "threads"];

/// What stands for each of a command's arguments in a message.
pub(crate) struct Typed(Vec<(String, String)>);

impl Typed {
    /// Those of the sub-command that was given in `line`.
    pub(crate) fn of(command: &Command, matches: &ArgMatches, line: &[OsString]) -> Self {
        let given = matches.subcommand().and_then(|(name, matches)| {
            command.find_subcommand(name).map(|command| (command, matches))
        });
        let Some((command, matches)) = given else { return Self(Vec::new()) };
        let is_of_machine = |arg: &&Arg| {
            let id = arg.get_id().as_str();
            BOUNDS.contains(&id) && matches.get_raw(id).is_none()
        };
        let shown = |arg: &Arg| (arg.get_id().to_string(), as_typed(arg, matches, line));
        Self(command.get_arguments().filter(|arg| !is_of_machine(arg)).map(shown).collect())
    }

    /// The error with the name that was typed.
    pub(crate) fn naming(&self, mut error: Error) -> Error {
        if let Error::Invalid { name, .. }
        | Error::NonFinite { name, .. }
        | Error::ZeroRow { name, .. } = &mut error
        {
            let others = OTHER_NAMES.iter().filter(|(known, _)| *known == name.as_str());
            let names = std::iter::once(name.as_str()).chain(others.map(|(_, id)| *id));
            let mut shown = names.filter_map(|name| self.0.iter().find(|(id, _)| id == name));
            if let Some((_, shown)) = shown.next() {
                *name = shown.clone();
            }
        }
        error
    }
}

/// A flag as it was typed, its short form where none was; the value of an argument without one.
fn as_typed(arg: &Arg, matches: &ArgMatches, line: &[OsString]) -> String {
    let id = arg.get_id().as_str();
    let long = arg.get_long().map(|long| format!("--{long}"));
    let is_long = |long: &String| {
        line.iter().any(|typed| typed.to_string_lossy().split('=').next() == Some(long))
    };
    match (arg.get_short(), long) {
        (Some(short), long) if !long.as_ref().is_some_and(is_long) => format!("-{short}"),
        (_, Some(long)) => long,
        _ => {
            let mut values = matches.get_raw(id).into_iter().flatten();
            values.next().map_or_else(|| id.to_owned(), |v| v.to_string_lossy().into_owned())
        }
    }
}
