//! `cf-heatmap`: where a model looks, on the slide.

mod args;
mod chosen_model;
mod error;
mod output;
mod render;
mod serve;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Arguments, Command};
use cf_cli::LogFormat;

/// A model's pass makes and drops tensors of many megabytes.
#[global_allocator]
static ALLOCATOR: cf_model::kernels::TensorAllocator = cf_model::kernels::TensorAllocator::new();

fn main() -> ExitCode {
    if let Some(ended) = cf_cli::pages::write_if_asked(Arguments::command()) {
        return ended;
    }
    let arguments = Arguments::parse();
    let (quiet, log_format) = (arguments.quiet, arguments.log_format);
    // Libraries warn, such as of rows in another order than a model was trained on.
    log_format.start(if quiet { "error" } else { "warn" });
    // A bar between lines of JSON would break them.
    let show_bars = !quiet && log_format == LogFormat::Text && std::io::stderr().is_terminal();
    let done = match &arguments.command {
        Command::Render(render) => render::run(render, show_bars),
        Command::Serve(serve) => serve::run(serve, quiet),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log_format.say_error(&error, error.exit_code());
            ExitCode::from(error.exit_code())
        }
    }
}
