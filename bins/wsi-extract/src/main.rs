//! `wsi-extract`: from whole slide images to bags of patch features.

mod args;
mod batch;
mod convert_weights;
mod encode;
mod error;
mod inspect;
mod lattice;
mod output;
mod render;
mod render_plan;
mod run;
mod tissue;

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
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nowhere is left to report that stderr is closed.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(arguments: &Arguments) -> Result<(), CliError> {
    match &arguments.command {
        Command::Inspect(inspect) => inspect::run(inspect),
        Command::Lattice(lattice) => lattice::run(lattice, arguments.quiet),
        Command::Tissue(tissue) => tissue::run(tissue, arguments.quiet),
        Command::Run(run) => run::run(run, arguments.quiet),
        Command::Encode(encode) => encode::run(encode, arguments.quiet),
        Command::Render(render) => render::run(render, arguments.quiet),
        Command::ConvertWeights(convert) => convert_weights::run(convert),
    }
}
