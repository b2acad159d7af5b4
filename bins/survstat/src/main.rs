//! Survival statistics of a CSV file on the command line.

mod args;
mod auc;
mod brier;
mod cindex;
mod compare;
mod cox;
mod error;
mod grouping;
mod km;
mod logrank;
mod output;
mod sample;
mod table;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Arguments, Command};
use error::CliError;

fn main() -> ExitCode {
    if let Some(ended) = cf_cli::pages::write_if_asked(Arguments::command()) {
        return ended;
    }
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nowhere is left to report that stderr is closed.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), CliError> {
    let report = match &arguments.command {
        Command::Cindex(arguments) => cindex::run(arguments)?,
        Command::Km(arguments) => km::run(arguments)?,
        Command::Logrank(arguments) => logrank::run(arguments)?,
        Command::Brier(arguments) => brier::run(arguments)?,
        Command::Auc(arguments) => auc::run(arguments)?,
        Command::Cox(arguments) => cox::run(arguments)?,
        Command::Compare(arguments) => compare::run(arguments)?,
    };
    match std::io::stdout().lock().write_all(report.as_bytes()) {
        // The reader has seen enough, as in `survstat km ... | head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(CliError::Write),
    }
}
