//! Timed runs of one benchmark case each; `cargo xtask bench` starts a process per case, so that each peak of memory is its own.

mod attention;
mod bags;
mod extract;
mod kernels;
mod lattice;
mod model;
mod neighbours;
mod timing;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tensors of many megabytes are made and dropped all the time.
#[global_allocator]
static ALLOCATOR: cf_model::kernels::TensorAllocator = cf_model::kernels::TensorAllocator::new();

/// Timed runs of one benchmark case each.
#[derive(Debug, Parser)]
#[command(version, after_help = "Example: cf-bench model mean/train/f32 --repeats 5")]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// A model at full width: inference, or a training step (forward, backward and optimiser) of one bag.
    Model(model::Arguments),
    /// One kernel, or its reference.
    Kernels(kernels::Arguments),
    /// Attention alone, forward and backward, in bf16.
    Attention(attention::Arguments),
    /// The nearest patches of every patch of a bag.
    Neighbours(neighbours::Arguments),
    /// Reading one bag of features from disk.
    Bags(bags::Arguments),
    /// From a slide to features.
    Extract(extract::Arguments),
}

fn main() -> ExitCode {
    let measured = match Arguments::parse().bench {
        Bench::Model(arguments) => model::run(&arguments),
        Bench::Kernels(arguments) => kernels::run(&arguments),
        Bench::Attention(arguments) => attention::run(&arguments),
        Bench::Neighbours(arguments) => neighbours::run(&arguments),
        Bench::Bags(arguments) => bags::run(&arguments),
        Bench::Extract(arguments) => extract::run(&arguments),
    };
    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "a binary that prints its result")]
    match measured {
        Ok(measured) => {
            println!("{measured}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
