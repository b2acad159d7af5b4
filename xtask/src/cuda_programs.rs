//! Programs with feature `cuda`, as Cargo makes them: the test programs of kernels, models, encoders and runs, and the products.

use std::path::{Path, PathBuf};

use crate::cuda_toolkit::Toolkit;
use crate::failure::Failure;
use crate::step::Step;

/// Packages that have a test program `cuda`, which needs a GPU and no Rust.
pub(crate) const TESTED: [&str; 4] = ["cf-layers", "cf-model", "patch-encoders", "cf-train"];

/// Builds the test programs of `packages`, in that order, for release.
pub(crate) fn tests(root: &Path, toolkit: &Toolkit, packages: &[&str]) -> Result<Vec<PathBuf>, Failure> {
    let messages = build(root, toolkit, &["test", "--no-run", "--test", "cuda"], packages)?;
    packages.iter().map(|package| made(&messages, "test", package)).collect()
}

/// Builds the programs of `packages`, which are called as these, for release.
pub(crate) fn products(root: &Path, toolkit: &Toolkit, packages: &[&str]) -> Result<Vec<PathBuf>, Failure> {
    let messages = build(root, toolkit, &["build"], packages)?;
    packages.iter().map(|package| made(&messages, "bin", package)).collect()
}

/// What Cargo says while it builds `packages` with feature `cuda` of each.
fn build(root: &Path, toolkit: &Toolkit, what: &[&str], packages: &[&str]) -> Result<String, Failure> {
    let features = packages.iter().map(|package| format!("{package}/cuda")).collect::<Vec<_>>().join(",");
    let mut args =
        [what, &["--release", "--message-format=json-render-diagnostics", "--features", &features]].concat();
    args.extend(packages.iter().flat_map(|package| ["-p", package]));
    toolkit.around(root, Step::cargo(root, &args))?.stdout()
}

/// The program of a kind that Cargo says it made of a package.
fn made(messages: &str, kind: &str, package: &str) -> Result<PathBuf, Failure> {
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let manifest = Path::new(message["manifest_path"].as_str()?);
        let is_it = message["target"]["kind"] == serde_json::json!([kind])
            && manifest.parent().is_some_and(|folder| folder.ends_with(package));
        message["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
    };
    messages
        .lines()
        .find_map(executable)
        .ok_or_else(|| Failure::new(format!("Cargo made no program ({kind}) of {package}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_its_kind_and_package() {
        let line = |package: &str, kind: &str, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/w/crates/{package}/Cargo.toml","target":{{"kind":["{kind}"]}},"executable":{executable}}}"#
            )
        };
        let messages = [
            line("cf-model", "lib", "null"),
            line("cf-train", "bin", r#""/t/cf-train""#),
            line("cf-train", "test", r#""/t/cuda-1""#),
            line("cf-model", "test", r#""/t/cuda-2""#),
            "not JSON".to_owned(),
        ]
        .join("\n");
        assert_eq!(made(&messages, "test", "cf-model").unwrap(), Path::new("/t/cuda-2"));
        assert_eq!(made(&messages, "bin", "cf-train").unwrap(), Path::new("/t/cf-train"));
        let missing = made(&messages, "bin", "cf-model").unwrap_err().to_string();
        assert_eq!(missing, "Cargo made no program (bin) of cf-model");
    }
}
