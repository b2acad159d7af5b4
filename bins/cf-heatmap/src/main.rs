//! `cf-heatmap`: where a model looks, on the slide.

mod args;
mod error;
mod output;
mod render;
mod serve;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};

/// A model's pass makes and drops tensors of many megabytes.
#[global_allocator]
static ALLOCATOR: cf_model::kernels::TensorAllocator = cf_model::kernels::TensorAllocator::new();

fn main() -> ExitCode {
    let arguments = Arguments::parse();
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
