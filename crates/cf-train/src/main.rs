//! `cf-train`: cross-validate, predict, evaluate and report survival models on bags of patch features.

mod cli;

use std::process::ExitCode;

/// Training makes and drops tensors of many megabytes all the time.
#[global_allocator]
static ALLOCATOR: cf_model::kernels::TensorAllocator = cf_model::kernels::TensorAllocator::new();

fn main() -> ExitCode {
    cli::run()
}
