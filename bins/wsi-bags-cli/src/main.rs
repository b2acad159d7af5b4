//! Bags of patch features on the command line: convert and inspect.

mod args;
mod convert;
mod error;
mod inspect;
mod output;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Arguments, Command};
use error::CliError;

fn main() -> ExitCode {
    if let Some(ended) = cf_cli::pages::write_if_asked(Arguments::command()) {
        return ended;
    }
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nowhere is left to report that stderr is closed.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), CliError> {
    match &arguments.command {
        Command::Convert(convert) => convert::run(convert, arguments.quiet),
        Command::Inspect(inspect) => inspect::run(inspect, arguments.quiet),
    }
}
