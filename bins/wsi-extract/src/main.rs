//! `wsi-extract`: from whole slide images to bags of patch features.

mod args;
mod error;
mod inspect;
mod lattice;
mod output;
mod tissue;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};
use error::CliError;

fn main() -> ExitCode {
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
        Command::Inspect(inspect) => inspect::run(inspect),
        Command::Lattice(lattice) => lattice::run(lattice, arguments.quiet),
        Command::Tissue(tissue) => tissue::run(tissue, arguments.quiet),
    }
}
