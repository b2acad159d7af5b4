//! `cargo xtask notebooks`: the notebooks of `examples/notebooks`, executed by the Rust kernel of evcxr, or compiled.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::bench::own_python;
use crate::demo::target_directory;
use crate::failure::Failure;
use crate::files::{make_folder, write};
use crate::step::Step;

const FOLDER: &str = "examples/notebooks";
const KERNEL: &str = "evcxr_jupyter";
const KERNEL_VERSION: &str = "0.22.0";
/// What executes them, beside the kernel.
const REQUIREMENTS: &str = "examples/notebooks/requirements.txt";

/// How to prove that they work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Every cell runs in the kernel: minutes, since the kernel itself is built first.
    Execute,
    /// The cells of a notebook compile as one program against the workspace.
    Compile,
}

/// Executes every notebook and leaves it with its outputs in `target/notebooks`. Where the kernel cannot be built, the
/// notebooks are compiled instead.
pub(crate) fn run(root: &Path, proof: Proof) -> Result<(), Failure> {
    let target = target_directory(root)?;
    let work = target.join("notebooks");
    make_folder(&work)?;
    let notebooks = all(root)?;
    let kernel = match proof {
        Proof::Execute => kernel(root, &target),
        Proof::Compile => None,
    };
    match kernel {
        Some(kernel) => execute(root, &kernel, &work, &notebooks),
        None => notebooks.iter().try_for_each(|notebook| compile(root, &target, &work, notebook)),
    }
}

/// The notebooks, sorted.
fn all(root: &Path) -> Result<Vec<PathBuf>, Failure> {
    let folder = root.join(FOLDER);
    let entries = std::fs::read_dir(&folder).map_err(|error| Failure::io("list", &folder, &error))?;
    let mut notebooks: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "ipynb"))
        .collect();
    notebooks.sort();
    Ok(notebooks)
}

/// The kernel: what an earlier call installed below the target folder, or a fresh install; `None` where that fails.
fn kernel(root: &Path, target: &Path) -> Option<PathBuf> {
    let folder = target.join("evcxr");
    let binary = folder.join("bin").join(KERNEL).with_extension(std::env::consts::EXE_EXTENSION);
    if !binary.is_file() {
        let folder = folder.display().to_string();
        let install = ["install", KERNEL, "--version", KERNEL_VERSION, "--locked", "--root", &folder];
        if let Err(failure) = Step::cargo(root, &install).run() {
            println!("{failure}");
            println!("{KERNEL} cannot be built here: the notebooks are compiled, not executed");
            return None;
        }
    }
    Some(binary)
}

fn execute(root: &Path, kernel: &Path, work: &Path, notebooks: &[PathBuf]) -> Result<(), Failure> {
    let python = own_python(root, &work.join("python"), REQUIREMENTS)?;
    // Found through JUPYTER_PATH: nothing is written outside the target folder.
    let share = work.join("share/jupyter");
    let spec = share.join("kernels/rust");
    make_folder(&spec)?;
    let text = json!({
        "argv": [kernel.display().to_string(), "--control_file", "{connection_file}"],
        "display_name": "Rust",
        "language": "rust",
    });
    write(&spec.join("kernel.json"), &format!("{text:#}\n"))?;
    for notebook in notebooks {
        let script = root.join(FOLDER).join("execute.py").display().to_string();
        let out = work.join(notebook.file_name().unwrap_or_default()).display().to_string();
        Step::new(root, &python, &[&script, &notebook.display().to_string(), &out])
            .env("JUPYTER_PATH", &share.display().to_string())
            .run()?;
    }
    Ok(())
}

/// Checks a notebook's cells as the `main` of a package beside the workspace, which shares its lock file and target folder.
fn compile(root: &Path, target: &Path, work: &Path, notebook: &Path) -> Result<(), Failure> {
    let text = std::fs::read_to_string(notebook).map_err(|error| Failure::io("read", notebook, &error))?;
    let document: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::new(format!("{} is no JSON: {error}", notebook.display())))?;
    let name = notebook.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let program = Program::of_cells(&code_cells(&document), &root.join(FOLDER));

    let package = work.join(&name);
    make_folder(&package.join("src"))?;
    let workspace = root.join("Cargo.toml");
    let workspace =
        std::fs::read_to_string(&workspace).map_err(|error| Failure::io("read", &workspace, &error))?;
    // The same profile, or the dependencies would be compiled again.
    let profile = workspace.find("[profile.dev]").and_then(|at| workspace.get(at..)).unwrap_or_default();
    let manifest = format!(
        "[package]\nname = \"{name}\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n{}\n{profile}",
        program.dependencies
    );
    write(&package.join("Cargo.toml"), &manifest)?;
    write(&package.join("src/main.rs"), &program.source)?;
    let lock = root.join("Cargo.lock");
    std::fs::copy(&lock, package.join("Cargo.lock")).map_err(|error| Failure::io("copy", &lock, &error))?;
    let manifest = package.join("Cargo.toml").display().to_string();
    Step::cargo(root, &["check", "--quiet", "--manifest-path", &manifest])
        .env("CARGO_TARGET_DIR", &target.display().to_string())
        .run()?;
    println!("{name}: {} cells compile", program.n_cells);
    Ok(())
}

/// The source of each code cell.
fn code_cells(notebook: &Value) -> Vec<String> {
    let cells = notebook["cells"].as_array().map(Vec::as_slice).unwrap_or_default();
    let code = cells.iter().filter(|cell| cell["cell_type"] == "code");
    code.map(|cell| match &cell["source"] {
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        source => source.as_str().unwrap_or_default().to_owned(),
    })
    .collect()
}

/// Cells as one program.
#[derive(Debug, PartialEq)]
struct Program {
    /// Lines of the manifest.
    dependencies: String,
    source: String,
    n_cells: usize,
}

impl Program {
    /// `:dep` lines become dependencies, whose paths start from `folder`; other commands of the kernel go.
    fn of_cells(cells: &[String], folder: &Path) -> Self {
        let mut program = Self {
            dependencies: String::new(),
            source: "fn main() -> Result<(), Box<dyn std::error::Error>> {\n".to_owned(),
            n_cells: cells.len(),
        };
        for (number, cell) in cells.iter().enumerate() {
            let _ = writeln!(program.source, "// code cell {}", number + 1);
            for line in cell.lines() {
                if let Some(dependency) = line.strip_prefix(":dep ") {
                    let path = format!("path = \"{}/", folder.display());
                    let _ = writeln!(program.dependencies, "{}", dependency.replace("path = \"", &path));
                } else if !line.starts_with(':') {
                    let _ = writeln!(program.source, "{line}");
                }
            }
        }
        program.source.push_str("Ok(())\n}\n");
        program
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_become_one_program() {
        let notebook = json!({"cells": [
            {"cell_type": "markdown", "source": ["# Title"]},
            {"cell_type": "code", "source": [":opt 3\n", ":dep a = { path = \"../a\" }\n", ":dep b = \"1\""]},
            {"cell_type": "code", "source": "let x = 1;"},
        ]});
        let program = Program::of_cells(&code_cells(&notebook), Path::new("/n"));
        assert_eq!(program.dependencies, "a = { path = \"/n/../a\" }\nb = \"1\"\n");
        assert!(program.source.contains("// code cell 2\nlet x = 1;\nOk(())\n}"), "{}", program.source);
        assert!(!program.source.contains(":opt"));
        assert_eq!(program.n_cells, 2);
    }
}
