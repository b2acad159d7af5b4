//! `wsi-extract`: from whole slide images to bags of patch features.

mod args;
mod batch;
mod convert_weights;
mod encode;
mod error;
mod inspect;
mod lattice;
mod output;
mod overview;
mod preview;
mod render;
mod render_plan;
mod resolution_args;
mod run;
mod slides;
mod tissue;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Arguments, Command};
use cf_cli::{Log, LogFormat};
use error::CliError;

/// Encoders make and drop tensors of many megabytes.
#[global_allocator]
static ALLOCATOR: patch_encoders::TensorAllocator = patch_encoders::TensorAllocator::new();

fn main() -> ExitCode {
    if let Some(ended) = cf_cli::pages::write_if_asked(Arguments::command()) {
        return ended;
    }
    let arguments = Arguments::parse();
    let log = Log { quiet: arguments.quiet, format: arguments.log_format };
    if log.format == LogFormat::Json {
        log.format.start(if log.quiet { "error" } else { "info" });
    }
    match dispatch(&arguments.command, log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.format.say_error(&error, error.exit_code());
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(command: &Command, log: Log) -> Result<(), CliError> {
    match command {
        Command::Inspect(inspect) => inspect::run(inspect, log),
        Command::Lattice(lattice) => lattice::run(lattice, log),
        Command::Tissue(tissue) => tissue::run(tissue, log),
        Command::Run(run) => run::run(run, log),
        Command::Encode(encode) => encode::run(encode, log),
        Command::Render(render) => render::run(render, log),
        Command::ConvertWeights(convert) => convert_weights::run(convert),
    }
}
