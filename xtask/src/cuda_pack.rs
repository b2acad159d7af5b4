//! `cargo xtask cuda-pack`: what a machine with a GPU and without Rust needs to check this build.

use std::path::Path;

use crate::cuda_programs::{self, TESTED};
use crate::cuda_toolkit::{self, Parts};
use crate::demo::fresh_folder;
use crate::failure::Failure;
use crate::files::{copy, write};
use crate::step::Step;

/// Packages whose programs are packed; a program is called as its package.
const PRODUCTS: [&str; 3] = ["cf-bench", "cf-train", "wsi-extract"];
/// What the benchmark beside PyTorch is made of.
const BENCHMARK: [&str; 5] =
    ["bench_cuda.py", "bench_cases.py", "cuda_peer.py", "crossfusion_oracle.py", "crossfusion_peer.py"];
const NAME: &str = "crossfusion-cuda";

/// Builds everything with feature `cuda` and packs it as `target/cuda-pack/crossfusion-cuda.tar.xz`.
pub(crate) fn run(root: &Path) -> Result<(), Failure> {
    let toolkit = cuda_toolkit::provide(root, Parts::All)?;
    let tests = cuda_programs::tests(root, &toolkit, &TESTED)?;
    let products = cuda_programs::products(root, &toolkit, &PRODUCTS)?;
    let folder = fresh_folder(root, "cuda-pack")?;
    let tree = folder.join(NAME);
    for (package, program) in TESTED.iter().zip(&tests) {
        // cf-layers, cf-model, cf-train, patch-encoders: layers, model, train, encoders.
        let name = package.split_once('-').map_or(*package, |(_, name)| name);
        add_program(root, program, &tree.join("tests").join(name))?;
    }
    for (name, program) in PRODUCTS.iter().zip(&products) {
        add_program(root, program, &tree.join("bin").join(name))?;
    }
    for name in BENCHMARK {
        copy(&root.join("fixtures/generate").join(name), &tree.join("bench").join(name))?;
    }
    for name in ["check.sh", "folds.toml"] {
        copy(&root.join("xtask/cuda/pack").join(name), &tree.join(name))?;
    }
    write(&tree.join("COMMIT"), &commit(root))?;
    // The programs hold the same kernels: a dictionary that reaches from one to the next makes one of seven copies.
    let pack = format!("tar -cf {NAME}.tar {NAME} && xz -T1 --lzma2=preset=3,dict=512MiB {NAME}.tar");
    Step::new(&folder, "sh", &["-c", &pack]).run()?;
    println!(
        "packed: target/cuda-pack/{NAME}.tar.xz\nthere: tar xJf {NAME}.tar.xz && sh {NAME}/check.sh OUT"
    );
    Ok(())
}

fn add_program(root: &Path, program: &Path, to: &Path) -> Result<(), Failure> {
    copy(program, to)?;
    Step::new(root, "strip", &[&to.display().to_string()]).run()
}

/// The commit of the sources, and whether they differ from it; for the record of a benchmark.
fn commit(root: &Path) -> String {
    let described = ["describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"];
    let named = Step::new(root, "git", &described).stdout_quietly().unwrap_or_else(|| "unknown".to_owned());
    format!("{}\n", named.trim())
}
