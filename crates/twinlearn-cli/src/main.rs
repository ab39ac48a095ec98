//! The command line of twinlearn.
//!
//! `args` says what can be asked for, `commands` resolve it into calls of the library, `ui` shows
//! progress and prints. Exit codes: 0 ok, 1 failure, 2 usage.

mod args;
mod commands;
mod logs;
mod ui;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::ui::Ui;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The demo searches many times over and is read for its table.
    let ui = match Ui::new(!matches!(cli.command, Command::Demo(_))) {
        Ok(ui) => ui,
        Err(error) => return ui::fail(&error),
    };
    let result = match cli.command {
        Command::Fit(args) => commands::fit::run(&ui, &args),
        Command::Transform(args) => commands::transform::run(&ui, &args),
        Command::Knn(args) => commands::knn::run(&ui, &args),
        Command::Eval(args) => commands::eval::run(&ui, &args),
        Command::Advise(args) => commands::advise::run(&ui, &args),
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Demo(args) => commands::demo::run(&ui, &args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ui::fail(&error),
    }
}
