//! Compiles the CUDA kernels where the feature `cuda` asks for them: code for compute capability 8.0 and up, and for Hopper its own.

use std::path::{Path, PathBuf};
use std::process::Command;

const FOLDER: &str = "src/kernels/cuda";
/// Machine code for 8.0, its portable form for what comes after, and machine code for 9.0 with that chip's own instructions.
const TARGETS: [&str; 3] = [
    "-gencode=arch=compute_80,code=sm_80",
    "-gencode=arch=compute_80,code=compute_80",
    "-gencode=arch=compute_90a,code=sm_90a",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    println!("cargo::rerun-if-changed={FOLDER}");
    for variable in ["NVCC", "CUDA_HOME", "PATH"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    if let Err(reason) = compile() {
        println!("cargo::error={reason}");
    }
}

/// Makes `NAME.fatbin` in the output folder from each `NAME.cu`.
fn compile() -> Result<(), String> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let files = std::fs::read_dir(FOLDER).map_err(|error| format!("can't list {FOLDER}: {error}"))?;
    let mut sources: Vec<PathBuf> = files.filter_map(|file| Some(file.ok()?.path())).collect();
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "cu"));
    sources.sort();
    let nvcc = nvcc();
    for pair in sources.chunks(2) {
        let running: Vec<_> = pair.iter().map(|source| (source, start(&nvcc, source, &out))).collect();
        for (source, child) in running {
            let output = child?.wait_with_output().map_err(|error| format!("{}: {error}", nvcc.display()))?;
            if !output.status.success() {
                let text = String::from_utf8_lossy(&output.stderr).replace('\n', " | ");
                return Err(format!("{} failed on {}: {text}", nvcc.display(), source.display()));
            }
        }
    }
    Ok(())
}

fn start(nvcc: &Path, source: &Path, out: &Path) -> Result<std::process::Child, String> {
    let name = source.file_stem().unwrap_or_default().display().to_string();
    Command::new(nvcc)
        .args(["-fatbin", "-O3", "-std=c++17"])
        .args(TARGETS)
        .arg("-o")
        .arg(out.join(format!("{name}.fatbin")))
        .arg(source)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .map_err(|error| {
            format!(
                "feature `cuda` needs NVIDIA's compiler, and `{}` does not start: {error}; \
                 `cargo xtask cuda-toolkit` fetches one, docs/cuda.md says more",
                nvcc.display()
            )
        })
}

/// The compiler that the environment names, or the one on the path.
fn nvcc() -> PathBuf {
    if let Some(nvcc) = std::env::var_os("NVCC") {
        return nvcc.into();
    }
    match std::env::var_os("CUDA_HOME").map(|home| PathBuf::from(home).join("bin/nvcc")) {
        Some(nvcc) if nvcc.is_file() => nvcc,
        _ => "nvcc".into(),
    }
}
