//! `cargo xtask ci`: what a change must pass, cheapest first.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::cuda_programs::TESTED;
use crate::cuda_toolkit::{self, Parts};
use crate::failure::Failure;
use crate::step::{Step, shown_time};
use crate::{browser, cuda_kernels, notebooks, test, tidy};

/// One stage: its name, the line that repeats it, and what it does.
struct Stage {
    name: &'static str,
    rerun: &'static str,
    check: fn(&Path) -> Result<(), Failure>,
}

const STAGES: [Stage; 14] = [
    Stage {
        name: "fmt",
        rerun: "cargo fmt --all",
        check: |root| Step::cargo(root, &["fmt", "--all", "--check"]).run(),
    },
    Stage {
        name: "clippy",
        rerun: "cargo clippy --workspace --all-targets -- -D warnings",
        check: |root| {
            Step::cargo(root, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).run()
        },
    },
    Stage { name: "test", rerun: "cargo xtask test", check: |root| test::run(root, &[]) },
    Stage {
        name: "docs",
        rerun: "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --workspace",
        check: |root| {
            Step::cargo(root, &["doc", "--no-deps", "--workspace"]).env("RUSTDOCFLAGS", "-D warnings").run()
        },
    },
    Stage { name: "tidy", rerun: "cargo xtask tidy", check: |root| tidy::run(root, tidy::Mode::Check) },
    Stage { name: "deny", rerun: "cargo deny check licenses bans sources", check: deny },
    Stage { name: "browser", rerun: "cargo xtask browser", check: browser::run },
    Stage {
        name: "notebooks",
        rerun: "cargo xtask notebooks --compile",
        check: |root| notebooks::run(root, notebooks::Proof::Compile),
    },
    Stage {
        name: "metrics alone",
        rerun: "cargo xtask test -p survival-metrics --all-features",
        check: metrics_alone,
    },
    Stage { name: "hdf5", rerun: "cargo xtask test -p wsi-bags --features hdf5", check: hdf5 },
    Stage {
        name: "old processor",
        rerun: "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER='qemu-x86_64 -cpu Haswell' cargo test -p cf-layers",
        check: old_processor,
    },
    Stage { name: "cuda kernels", rerun: "cargo xtask cuda-kernels", check: cuda_kernels::run },
    Stage {
        name: "openslide",
        rerun: "cargo xtask test -p wsi-slides --features openslide",
        check: openslide,
    },
    Stage {
        name: "macOS",
        rerun: "cargo clippy --workspace --lib --bins --target aarch64-apple-darwin -- -D warnings",
        check: mac_os,
    },
];

/// What only a machine with a GPU can show.
const GPU_STAGES: [Stage; 6] = [
    Stage { name: "GPU", rerun: "nvidia-smi -L", check: cuda_toolkit::need_gpu },
    Stage { name: "cuda kernels", rerun: "cargo xtask cuda-kernels", check: cuda_kernels::run },
    Stage {
        name: "cuda clippy",
        rerun: "cargo clippy --release -p cf-bench -p cf-layers -p cf-model -p cf-train -p patch-encoders -p wsi-extract \
                --features cf-bench/cuda,wsi-extract/cuda --all-targets -- -D warnings",
        check: |root| {
            let lint = ["clippy", "--release", "-p", "cf-bench", "-p", "wsi-extract", "--all-targets"];
            let features = ["--features", "cf-bench/cuda,wsi-extract/cuda"];
            let tested = TESTED.map(|package| ["-p", package]);
            with_cuda(root, &[&lint[..], &tested.concat(), &features, &["--", "-D", "warnings"]].concat())
        },
    },
    Stage {
        name: "cuda tests",
        rerun: "cargo test --release -p cf-layers -p cf-model -p cf-train -p patch-encoders \
                --features cf-train/cuda,patch-encoders/cuda --test cuda",
        check: |root| {
            let tested = TESTED.map(|package| ["-p", package]).concat();
            let features = ["--features", "cf-train/cuda,patch-encoders/cuda", "--test", "cuda"];
            with_cuda(root, &[&["test", "--release"], &tested[..], &features].concat())
        },
    },
    Stage {
        name: "cuda memcheck",
        rerun: "CF_TEST_SMALL=1 CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER='compute-sanitizer --tool memcheck --error-exitcode 9' \
                cargo test --release -p cf-layers --features cuda --test cuda",
        check: |root| sanitize(root, "memcheck"),
    },
    Stage {
        name: "cuda racecheck",
        rerun: "CF_TEST_SMALL=1 CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER='compute-sanitizer --tool racecheck --error-exitcode 9' \
                cargo test --release -p cf-layers --features cuda --test cuda",
        check: |root| sanitize(root, "racecheck"),
    },
];

/// Names a program for Cargo to start test programs with, on Linux.
const RUNNER: &str = if cfg!(target_arch = "aarch64") {
    "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER"
} else {
    "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER"
};

/// Cargo, where CUDA's compiler and libraries are found.
fn with_cuda(root: &Path, args: &[&str]) -> Result<(), Failure> {
    let toolkit = cuda_toolkit::provide(root, Parts::All)?;
    toolkit.around(root, Step::cargo(root, args))?.run()
}

/// The tests of kernels at small sizes under `compute-sanitizer`, where the machine has it.
fn sanitize(root: &Path, tool: &str) -> Result<(), Failure> {
    let toolkit = cuda_toolkit::provide(root, Parts::All)?;
    let beside = toolkit.home.join("bin/compute-sanitizer");
    let sanitizer =
        if beside.is_file() { beside.display().to_string() } else { "compute-sanitizer".to_owned() };
    if !Step::new(root, &sanitizer, &["--version"]).succeeds() {
        println!("skipped: no `compute-sanitizer` (part of a CUDA toolkit, not of its wheels)");
        return Ok(());
    }
    let test = ["test", "--release", "-p", "cf-layers", "--features", "cuda", "--test", "cuda"];
    let step = Step::cargo(root, &test)
        .env(RUNNER, &format!("{sanitizer} --tool {tool} --error-exitcode 9"))
        .env("CF_TEST_SMALL", "1");
    toolkit.around(root, step)?.run()
}

/// Licences, crates and registries of the lock file against `deny.toml`; advisories where their database can be had.
fn deny(root: &Path) -> Result<(), Failure> {
    if !Step::cargo(root, &["deny", "--version"]).succeeds() {
        println!("skipped: no `cargo deny` (`cargo install cargo-deny`)");
        return Ok(());
    }
    Step::cargo(root, &["deny", "check", "licenses", "bans", "sources"]).run()?;
    if !Step::cargo(root, &["deny", "fetch", "db"]).succeeds() {
        println!("advisories skipped: the database cannot be reached");
        return Ok(());
    }
    Step::cargo(root, &["deny", "check", "--disable-fetch", "advisories"]).run()
}

/// `survival-metrics` as others depend on it: without what the workspace turns on, and with all that can be.
fn metrics_alone(root: &Path) -> Result<(), Failure> {
    Step::cargo(root, &["check", "-q", "-p", "survival-metrics", "--no-default-features"]).run()?;
    let lint = ["clippy", "-q", "-p", "survival-metrics", "--all-features", "--all-targets"];
    Step::cargo(root, &[&lint[..], &["--", "-D", "warnings"]].concat()).run()?;
    test::run(root, &["-p", "survival-metrics", "--all-features"].map(str::to_owned))
}

/// The kernels on an emulated processor without AVX-512; the quicker of their tests, since emulation is slow.
fn old_processor(root: &Path) -> Result<(), Failure> {
    const TESTS: [&str; 9] = [
        "bf16_products",
        "linear",
        "layer_norm",
        "conv2d",
        "attention_survives",
        "attention_of_wide_heads_equals",
        "feed_forward_equals",
        "gate_equals",
        "gelu_equals",
    ];
    if !cfg!(all(target_arch = "x86_64", target_os = "linux"))
        || !Step::new(root, "qemu-x86_64", &["-version"]).succeeds()
    {
        println!("skipped: no `qemu-x86_64` (Debian: qemu-user)");
        return Ok(());
    }
    let test = ["test", "-q", "-p", "cf-layers", "--test", "kernels", "--"];
    Step::cargo(root, &[&test[..], &TESTS].concat()).env(RUNNER, "qemu-x86_64 -cpu Haswell").run()
}

/// The C library's backend, where the machine has the library.
fn hdf5(root: &Path) -> Result<(), Failure> {
    if !Step::new(root, "pkg-config", &["--exists", "hdf5"]).succeeds() {
        println!("skipped: pkg-config finds no `hdf5` (Debian: libhdf5-dev)");
        return Ok(());
    }
    let lint = ["clippy", "-p", "wsi-bags", "-p", "wsi-bags-cli", "--features", "hdf5", "--all-targets"];
    Step::cargo(root, &[&lint[..], &["--", "-D", "warnings"]].concat()).run()?;
    test::run(root, &["-p", "wsi-bags", "--features", "hdf5"].map(str::to_owned))
}

/// Both slide readers compared, and the viewer's pyramid in OpenSlide, where the machine has OpenSlide.
fn openslide(root: &Path) -> Result<(), Failure> {
    if !Step::new(root, "pkg-config", &["--exists", "openslide"]).succeeds() {
        println!("skipped: pkg-config finds no `openslide` (Debian: libopenslide-dev, libclang-dev)");
        return Ok(());
    }
    let lint = ["clippy", "-p", "wsi-slides", "-p", "wsi-extract", "-p", "cf-viewer", "-p", "cf-heatmap"];
    let features = ["--features", "openslide", "--all-targets", "--", "-D", "warnings"];
    Step::cargo(root, &[&lint[..], &features].concat()).run()?;
    test::run(root, &["-p", "wsi-slides", "--features", "openslide"].map(str::to_owned))?;
    let pyramid = ["test", "-q", "-p", "cf-viewer", "--features", "openslide", "--test", "openslide"];
    Step::cargo(root, &pyramid).run()
}

/// The libraries and programs for Macs, as far as a compiler can tell on another system, where its standard library is.
fn mac_os(root: &Path) -> Result<(), Failure> {
    const TARGET: &str = "aarch64-apple-darwin";
    let folder = Step::new(root, "rustc", &["--print", "target-libdir", "--target", TARGET]);
    if !folder.stdout_quietly().is_some_and(|folder| Path::new(folder.trim()).is_dir()) {
        println!("skipped: no `{TARGET}` (`rustup target add {TARGET}`)");
        return Ok(());
    }
    let lint = ["clippy", "--workspace", "--lib", "--bins", "--target", TARGET, "--", "-D", "warnings"];
    Step::cargo(root, &lint).run()
}

/// What every change must pass.
pub(crate) fn run(root: &Path) -> Result<(), Failure> {
    run_stages(root, &STAGES)
}

/// What a change of the CUDA engine must pass besides, on a machine with a GPU; fails where there is none.
pub(crate) fn run_on_gpu(root: &Path) -> Result<(), Failure> {
    run_stages(root, &GPU_STAGES)
}

/// Runs the stages in order and stops at the first that fails.
fn run_stages(root: &Path, stages: &[Stage]) -> Result<(), Failure> {
    let start = Instant::now();
    let mut times: Vec<String> = Vec::with_capacity(stages.len());
    for stage in stages {
        println!("== {}", stage.name);
        let begun = Instant::now();
        let done = (stage.check)(root);
        let time = begun.elapsed();
        if let Err(failure) = done {
            eprintln!("{failure}");
            return Err(stopped(stage, &times, time));
        }
        println!("== {} passed in {}", stage.name, shown_time(time));
        times.push(format!("{} {}", stage.name, shown_time(time)));
    }
    println!(
        "ci: all {} stages passed in {}: {}",
        stages.len(),
        shown_time(start.elapsed()),
        times.join(", ")
    );
    Ok(())
}

fn stopped(stage: &Stage, passed: &[String], time: Duration) -> Failure {
    let passed = if passed.is_empty() { "none".to_owned() } else { passed.join(", ") };
    let message =
        format!("ci: `{}` failed after {}; passed before it: {passed}", stage.name, shown_time(time));
    Failure::new(message).with_next(stage.rerun)
}
