//! A CUDA toolkit made of PyPI's wheels, for machines without one: pip downloads, checks hashes and unpacks.

use std::fs;
use std::path::{Path, PathBuf};

use super::Parts;
use crate::failure::Failure;
use crate::step::Step;

const VERSION: &str = "13.0";
const COMPILER: &str = "xtask/cuda/compiler.txt";
const LIBRARIES: &str = "xtask/cuda/libraries.txt";
/// The smallest of the wheels, which tells whether there is a way to them.
const SMALLEST: &str = "nvidia-cuda-crt==13.0.88";
/// In a finished toolkit: the lists that it was made of.
const STAMP: &str = "made-of.txt";

impl Parts {
    fn lists(self) -> &'static [&'static str] {
        match self {
            Self::Compiler => &[COMPILER],
            Self::All => &[COMPILER, LIBRARIES],
        }
    }

    /// The lists' text.
    fn wanted(self, root: &Path) -> Result<String, Failure> {
        self.lists()
            .iter()
            .map(|list| {
                let path = root.join(list);
                fs::read_to_string(&path).map_err(|error| Failure::io("read", &path, &error))
            })
            .collect()
    }
}

/// The Python whose pip downloads.
pub(super) fn python() -> String {
    std::env::var("CF_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// The toolkit in `folder`, if it is whole and has these parts.
pub(super) fn assembled(root: &Path, folder: &Path, parts: Parts) -> Result<Option<PathBuf>, Failure> {
    let home = folder.join(VERSION);
    let Ok(made_of) = fs::read_to_string(home.join(STAMP)) else { return Ok(None) };
    Ok(made_of.starts_with(&parts.wanted(root)?).then_some(home))
}

/// Whether pip gets a wheel.
pub(super) fn reachable(root: &Path, folder: &Path) -> bool {
    let probe = folder.join("probe").display().to_string();
    let found =
        Step::new(root, python(), &["-m", "pip", "download", "--no-deps", "--dest", &probe, SMALLEST])
            .succeeds();
    // What it left is a few kilobytes; that it cannot be removed is no reason to stop.
    let _ = fs::remove_dir_all(&probe);
    found
}

/// Downloads and unpacks what is not there yet, and returns the toolkit's folder.
pub(super) fn assemble(root: &Path, folder: &Path, parts: Parts) -> Result<PathBuf, Failure> {
    if let Some(home) = assembled(root, folder, parts)? {
        return Ok(home);
    }
    if !cfg!(target_os = "linux") {
        return Err(Failure::new("no CUDA toolkit is installed, and PyPI has its compiler for Linux only"));
    }
    fs::create_dir_all(folder).map_err(|error| Failure::io("make", folder, &error))?;
    let site = folder.join("site");
    remove(&site)?;
    eprintln!("downloading CUDA {VERSION} from PyPI into {}", folder.display());
    let site_text = site.display().to_string();
    let mut args = vec![
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--no-deps",
        "--no-compile",
    ];
    args.extend(["--require-hashes", "--only-binary=:all:", "--target", &site_text]);
    args.extend(parts.lists().iter().flat_map(|list| ["-r", list]));
    Step::new(root, python(), &args).run_logged(&folder.join("pip.log"))?;

    // Every wheel puts its files here, as a toolkit has them.
    let unpacked = site.join("nvidia/cu13");
    link(root, "lib", &unpacked.join("lib64"))?;
    let lib = unpacked.join("lib");
    for entry in fs::read_dir(&lib).map_err(|error| Failure::io("read", &lib, &error))? {
        let entry = entry.map_err(|error| Failure::io("read", &lib, &error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // `libcublas.so.13` is found by linkers as `libcublas.so`.
        if let Some((stem, _)) = name.split_once(".so.") {
            link(root, &name, &lib.join(format!("{stem}.so")))?;
        }
    }
    let stamp = unpacked.join(STAMP);
    fs::write(&stamp, parts.wanted(root)?).map_err(|error| Failure::io("write", &stamp, &error))?;
    let home = folder.join(VERSION);
    remove(&home)?;
    fs::rename(&unpacked, &home).map_err(|error| Failure::io("move", &unpacked, &error))?;
    remove(&site)?;
    Ok(home)
}

fn link(root: &Path, to: &str, path: &Path) -> Result<(), Failure> {
    Step::new(root, "ln", &["-sfn", to, &path.display().to_string()]).run()
}

fn remove(folder: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::io("remove", folder, &error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A compiler that is there is not downloaded again, and libraries that are not there are not taken for found.
    #[test]
    fn a_whole_toolkit_serves_the_kernels_and_a_compiler_does_not_serve_the_programs() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let folder = std::env::temp_dir().join(format!("cuda-toolkit-{}", std::process::id()));
        let home = folder.join(VERSION);
        fs::create_dir_all(&home).unwrap();
        let found = |parts| assembled(&root, &folder, parts).unwrap();
        assert_eq!(found(Parts::Compiler), None);
        fs::write(home.join(STAMP), Parts::Compiler.wanted(&root).unwrap()).unwrap();
        assert_eq!((found(Parts::Compiler), found(Parts::All)), (Some(home.clone()), None));
        fs::write(home.join(STAMP), Parts::All.wanted(&root).unwrap()).unwrap();
        assert_eq!((found(Parts::Compiler), found(Parts::All)), (Some(home.clone()), Some(home)));
        fs::remove_dir_all(&folder).unwrap();
    }
}
