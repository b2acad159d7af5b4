//! Survival statistics of a CSV file on the command line.

mod args;
mod auc;
mod brier;
mod choices;
mod cindex;
mod compare;
mod cox;
mod cox_terms;
mod error;
mod grouping;
mod km;
mod logrank;
mod output;
mod rmst;
mod sample;
mod table;
mod table_text;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Arguments, Command};
use error::CliError;

fn main() -> ExitCode {
    if let Some(ended) = cf_cli::pages::write_if_asked(Arguments::command()) {
        return ended;
    }
    let arguments = Arguments::parse();
    arguments.log_format.start(if arguments.quiet { "error" } else { "warn" });
    match run(&arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            arguments.log_format.say_error(&error, error.exit_code());
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: &Command) -> Result<(), CliError> {
    let report = match command {
        Command::Cindex(arguments) => cindex::run(arguments)?,
        Command::Km(arguments) => km::run(arguments)?,
        Command::Rmst(arguments) => rmst::run(arguments)?,
        Command::Logrank(arguments) => logrank::run(arguments)?,
        Command::Brier(arguments) => brier::run(arguments)?,
        Command::Auc(arguments) => auc::run(arguments)?,
        Command::Cox(arguments) => cox::run(arguments)?,
        Command::Compare(arguments) => compare::run(arguments)?,
    };
    cf_cli::print(&report).map_err(CliError::Write)
}
