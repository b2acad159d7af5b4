//! Bags of patch features on the command line: convert and inspect.

mod args;
mod convert;
mod error;
mod inspect;
mod output;
mod remarks;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Arguments, Command};
use cf_cli::Log;
use error::CliError;

fn main() -> ExitCode {
    if let Some(ended) = cf_cli::pages::write_if_asked(Arguments::command()) {
        return ended;
    }
    let arguments = Arguments::parse();
    let log = Log { quiet: arguments.quiet, format: arguments.log_format };
    log.format.start(if log.quiet { "error" } else { "warn" });
    match run(&arguments, log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.format.say_error(&error, error.exit_code());
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(arguments: &Arguments, log: Log) -> Result<(), CliError> {
    match &arguments.command {
        Command::Convert(convert) => convert::run(convert, log),
        Command::Inspect(inspect) => inspect::run(inspect, log),
    }
}
