//! `cf-train`: cross-validate, predict, evaluate and report survival models on bags of patch features.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
