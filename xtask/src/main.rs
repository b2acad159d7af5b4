//! `cargo xtask`: the developer commands of this workspace.
//!
//! It depends on no crate of the workspace, so that it builds in seconds on a bare machine; the products are
//! reached by running their binaries.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool: what it finds goes to stdout, why it failed to stderr"
)]

mod bench;
mod browser;
mod ci;
mod cluster;
mod cuda_emulator;
mod cuda_kernels;
mod cuda_pack;
mod cuda_programs;
mod cuda_toolkit;
mod demo;
mod dist;
mod failure;
mod files;
mod fixtures;
mod fuzz;
mod notebooks;
mod slides;
mod step;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use failure::Failure;

const USAGE: &str = "\
cargo xtask COMMAND

  demo                      build, draw slides with a known answer, make bags of them, cross-validate, write the report
  test [ARGS]...            every test of the default build; ARGS go to the test runner
  ci                        fmt, clippy, test, docs, tidy: what a change must pass; with --cuda: the kernels' and models' tests on a GPU
  browser                   the report of a small run in headless Chromium, where the machine has it and Playwright
  cluster                   a study on a real Slurm of this machine, disturbed, and through Snakemake: the same bytes as without
  bench NAME [ARGS]...      time `model`, `baselines`, `kernels`, `bags`, `metrics` or `extract` against the Python stack: --json, --record, --cases A,B, --python PATH;
                            model --device cuda:N: on a GPU, against PyTorch on the same; --measured FILE: what bench_cuda.py wrote elsewhere
  cuda-emulate [-p PACKAGE]... [--races] [ARGS]...
                            the tests that need a GPU on a machine without, thread by thread: kernels, models and encoders, an hour;
                            -p cf-train: whole runs, another; --races: fails where two threads touch the same memory and nothing orders
                            them; ARGS, such as the name of a test, go to the test programs
  cuda-kernels              compile the CUDA kernels and hold their registers and spills against a budget; needs no GPU
  cuda-pack                 test programs, products and benchmark for a machine with a GPU and no Rust, in one archive with `check.sh`
  cuda-toolkit              what a build with feature `cuda` needs, as lines to `eval`: an installed toolkit, else one made of PyPI's wheels
                            below target; --kernels-only: the compiler alone
  dist [--check]            stripped programs with man pages, completions, demo and checksums, packed under target/dist;
                            --check: carries out the image recipes and the demo in a bare Debian (root, debootstrap)
  fuzz [TARGET] [--seconds N]
                            try the readers of foreign bytes with made-up ones, ten minutes each (nightly, cargo-fuzz)
  fixtures [--python PATH]  run the PyTorch oracles that write fixtures/reference
  fixtures slides [ARGS]... draw slides with a known answer, a cohort per kind of signal, below target/slides:
                            --patients N, --seed S, --base 20|40
  notebooks [--compile]     execute examples/notebooks with evcxr, which is installed below target; or compile their cells
  tidy [--write]            the house rules; --write regenerates docs/benchmarks.md
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let root = workspace_root();
    let done = match args.split_first() {
        Some((command, rest)) => run(&root, command, rest),
        None => Err(Failure::usage("no command given")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            if failure.is_usage() {
                eprint!("\n{USAGE}");
            }
            failure.exit_code()
        }
    }
}

fn run(root: &Path, command: &str, rest: &[String]) -> Result<(), Failure> {
    match (command, rest) {
        ("test", args) => test::run(root, args),
        ("demo", []) => demo::run(root),
        ("ci", []) => ci::run(root),
        ("ci", [flag]) if flag == "--cuda" => ci::run_on_gpu(root),
        ("browser", []) => browser::run(root),
        ("cluster", []) => cluster::run(root),
        ("bench", args) => bench::run(root, &bench::Options::parse(args)?),
        ("cuda-emulate", args) => cuda_emulator::run(root, args),
        ("cuda-kernels", []) => cuda_kernels::run(root),
        ("cuda-pack", []) => cuda_pack::run(root),
        ("cuda-toolkit", []) => cuda_toolkit::run(root, cuda_toolkit::Parts::All),
        ("cuda-toolkit", [flag]) if flag == "--kernels-only" => {
            cuda_toolkit::run(root, cuda_toolkit::Parts::Compiler)
        }
        ("dist", []) => dist::run(root),
        ("dist", [flag]) if flag == "--check" => dist::check(root),
        ("fuzz", args) => fuzz::run(root, &fuzz::Options::parse(args)?),
        ("fixtures", []) => fixtures::run(root, "python3"),
        ("fixtures", [flag, python]) if flag == "--python" => fixtures::run(root, python),
        ("fixtures", [what, args @ ..]) if what == "slides" => slides::fixtures(root, args),
        ("notebooks", []) => notebooks::run(root, notebooks::Proof::Execute),
        ("notebooks", [flag]) if flag == "--compile" => notebooks::run(root, notebooks::Proof::Compile),
        ("tidy", []) => tidy::run(root, tidy::Mode::Check),
        ("tidy", [flag]) if flag == "--write" => tidy::run(root, tidy::Mode::Write),
        ("help" | "--help" | "-h", _) => {
            print!("{USAGE}");
            Ok(())
        }
        (
            "demo" | "ci" | "browser" | "cluster" | "cuda-kernels" | "cuda-pack" | "cuda-toolkit" | "dist"
            | "fixtures" | "notebooks" | "tidy",
            _,
        ) => Err(Failure::usage(format!("`{command}` does not take `{}`", rest.join(" ")))),
        _ => Err(Failure::usage(format!("no command `{command}`"))),
    }
}

/// The workspace root: the folder above this crate's manifest, wherever the checkout lies now.
fn workspace_root() -> PathBuf {
    let manifest_dir =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let mut root = PathBuf::from(manifest_dir);
    root.pop();
    root
}
