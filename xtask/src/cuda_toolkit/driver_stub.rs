//! What programs link to in place of the driver, which is part of no toolkit made of wheels.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::failure::Failure;
use crate::step::Step;

/// Writes `lib/stubs/libcuda.so` into a toolkit, if the one that is there lacks a function.
///
/// It answers every call with an error; at run time the loader finds the driver's own library under the same name.
pub(super) fn write(root: &Path, home: &Path) -> Result<(), Failure> {
    let names = driver_functions(root)?;
    let folder = home.join("lib/stubs");
    let (source, library) = (folder.join("libcuda.c"), folder.join("libcuda.so"));
    let program = program(&names);
    if library.is_file() && fs::read_to_string(&source).is_ok_and(|there| there == program) {
        return Ok(());
    }
    fs::create_dir_all(&folder).map_err(|error| Failure::io("make", &folder, &error))?;
    fs::write(&source, program).map_err(|error| Failure::io("write", &source, &error))?;
    let (source, library) = (source.display().to_string(), library.display().to_string());
    let args = ["-shared", "-fPIC", "-O1", "-Wl,-soname,libcuda.so.1", "-o", &library, &source];
    Step::new(root, "cc", &args).run()
}

/// The driver's functions that programs may link to.
pub(crate) fn driver_functions(root: &Path) -> Result<BTreeSet<String>, Failure> {
    let bindings = bindings(root)?;
    let text = fs::read_to_string(&bindings).map_err(|error| Failure::io("read", &bindings, &error))?;
    let names: BTreeSet<String> = functions(&text).into_iter().map(str::to_owned).collect();
    if names.is_empty() {
        return Err(Failure::new(format!("{} declares no function `cu...`", bindings.display())));
    }
    Ok(names)
}

/// The file in which `cudarc`, through which Candle reaches the driver, declares its functions.
fn bindings(root: &Path) -> Result<PathBuf, Failure> {
    let args = ["metadata", "--format-version", "1", "--features", "cf-layers/cuda"];
    let metadata = Step::cargo(root, &args).stdout()?;
    let metadata: Value = serde_json::from_str(&metadata)
        .map_err(|error| Failure::new(format!("`cargo metadata` printed no JSON: {error}")))?;
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    packages
        .iter()
        .find(|package| package["name"] == "cudarc")
        .and_then(|package| Path::new(package["manifest_path"].as_str()?).parent())
        .map(|folder| folder.join("src/driver/sys/mod.rs"))
        .ok_or_else(|| Failure::new("`cargo metadata` names no package `cudarc` with feature cf-layers/cuda"))
}

/// The driver's functions that Rust text declares.
fn functions(text: &str) -> BTreeSet<&str> {
    text.split("fn ")
        .skip(1)
        .filter_map(|after| after.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next())
        .filter(|name| is_driver_function(name))
        .collect()
}

/// Whether a name is one of the driver's: `cu`, and a capital.
pub(crate) fn is_driver_function(name: &str) -> bool {
    name.strip_prefix("cu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
}

fn program(names: &BTreeSet<impl std::fmt::Display>) -> String {
    // CUDA_ERROR_STUB_LIBRARY.
    names.iter().fold(String::new(), |mut out, name| {
        let _ = writeln!(out, "int {name}(void) {{ return 34; }}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drivers_functions_are_told_from_the_rest() {
        let text = "pub fn cuInit(flags: u32) -> CUresult;\nfn cuMemAlloc_v2(a: u8);\nfn cuInit();\nfn culib() {}\nfn custom() {}";
        assert_eq!(functions(text).into_iter().collect::<Vec<_>>(), ["cuInit", "cuMemAlloc_v2"]);
        assert_eq!(program(&functions("fn cuInit(")), "int cuInit(void) { return 34; }\n");
    }
}
