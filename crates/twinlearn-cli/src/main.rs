//! The command line of twinlearn.
//!
//! `args` says what can be asked for, `commands` resolve it into calls of the library, `ui` shows
//! progress and prints, `typed` names in errors what was typed. Exit codes: 0 ok, 1 failure, 2 usage.

mod args;
mod commands;
mod events;
mod heap;
mod hyperparameters;
mod logs;
mod terminal;
mod typed;
mod ui;

use std::env;
use std::ffi::OsString;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use clap::{CommandFactory, FromArgMatches};

use crate::args::{Cli, Command};
use crate::terminal::{fail, lock};
use crate::typed::Typed;
use crate::ui::{Screen, Ui};

fn main() -> ExitCode {
    let line: Vec<OsString> = env::args_os().collect();
    let mut command = Cli::command();
    let matches = command.get_matches_mut();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|e| e.format(&mut command).exit());
    let typed = Typed::of(&command, &matches, &line);
    // A panic is a defect of ours: one line says so, too. The library catches those of decoders
    // itself, for damaged files; nothing should be printed of them.
    let last = Arc::<Mutex<String>>::default();
    let kept = Arc::clone(&last);
    panic::set_hook(Box::new(move |info| *lock(&kept) = info.to_string().replace('\n', " ")));
    match panic::catch_unwind(AssertUnwindSafe(|| run(cli, &typed))) {
        Ok(code) => code,
        Err(_) => fail(&format_args!("internal error, please report it: {}", lock(&last))),
    }
}

fn run(cli: Cli, typed: &Typed) -> ExitCode {
    // The demo searches many times over and is read for its table.
    let plans = !matches!(cli.command, Command::Demo(_));
    let ui = match Ui::new(Screen { on_stderr: cli.command.fills_stdout(), plans }) {
        Ok(ui) => ui,
        Err(error) => return fail(&typed.naming(error)),
    };
    let result = match cli.command {
        Command::Fit(args) => commands::fit::run(&ui, &args),
        Command::Transform(args) => commands::transform::run(&ui, &args),
        Command::Knn(args) => commands::knn::run(&ui, &args),
        Command::Search(args) => commands::search::run(&ui, &args),
        Command::Eval(args) => commands::eval::run(&ui, &args),
        Command::Advise(args) => commands::advise::run(&ui, &args),
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Demo(args) => commands::demo::run(&ui, &args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&typed.naming(error)),
    }
}
