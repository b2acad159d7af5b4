//! `cf-heatmap`: where a model looks, on the slide.

mod args;
mod error;
mod output;
mod render;
mod serve;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Arguments, Command};

/// A model's pass makes and drops tensors of many megabytes.
#[global_allocator]
static ALLOCATOR: cf_model::kernels::TensorAllocator = cf_model::kernels::TensorAllocator::new();

fn main() -> ExitCode {
    if let Some(ended) = cf_cli::pages::write_if_asked(Arguments::command()) {
        return ended;
    }
    let arguments = Arguments::parse();
    start_log(arguments.quiet);
    let done = match &arguments.command {
        Command::Render(render) => render::run(render, arguments.quiet),
        Command::Serve(serve) => serve::run(serve, arguments.quiet),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nowhere is left to report that stderr is closed.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Warnings of the libraries, such as that of rows in another order than a model was trained on.
fn start_log(quiet: bool) {
    let level = if quiet { "error" } else { "warn" };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_target(false)
        .init();
}
