//! `cargo xtask cuda-toolkit`: the CUDA compiler and libraries that feature `cuda` is built with.

pub(crate) mod driver_stub;
mod wheels;

use std::path::{Path, PathBuf};

use crate::demo::target_directory;
use crate::failure::Failure;
use crate::step::Step;

/// The first release that compiles for Hopper's own instructions, and additions of two numbers at once.
const OLDEST: Version = Version { major: 12, minor: 1 };
/// Compute capability 9.0, where neither the environment nor a GPU says another.
const COMPUTE_CAPABILITY: &str = "90";

/// How much of a toolkit is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    /// What compiles kernels.
    Compiler,
    /// That, and the libraries that programs link to.
    All,
}

/// A folder with `bin/nvcc`, `include` and `lib64`.
#[derive(Debug)]
pub(crate) struct Toolkit {
    pub(crate) home: PathBuf,
    pub(crate) version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Toolkit {
    /// The toolkit in `home`, if its compiler runs.
    fn at(root: &Path, home: &Path) -> Option<Self> {
        let nvcc = home.join("bin/nvcc");
        if !nvcc.is_file() {
            return None;
        }
        let version = release(&Step::new(root, &nvcc, &["--version"]).stdout().ok()?)?;
        Some(Self { home: home.to_owned(), version })
    }

    pub(crate) fn nvcc(&self) -> PathBuf {
        self.home.join("bin/nvcc")
    }

    pub(crate) fn libraries(&self) -> PathBuf {
        self.home.join("lib64")
    }

    /// What a build with feature `cuda` reads from the environment, besides the search path.
    pub(crate) fn environment(&self, root: &Path) -> [(&'static str, String); 3] {
        let Version { major, minor } = self.version;
        [
            ("CUDA_HOME", self.home.display().to_string()),
            ("CUDARC_CUDA_VERSION", (major * 1000 + minor * 10).to_string()),
            ("CUDA_COMPUTE_CAP", compute_capability(root)),
        ]
    }

    /// The step with this toolkit: its compiler first on the path, its libraries found by what is run.
    pub(crate) fn around(&self, root: &Path, step: Step) -> Result<Step, Failure> {
        let step =
            self.environment(root).into_iter().fold(step, |step, (name, value)| step.env(name, &value));
        let step = step.env("PATH", &prepended("PATH", &self.home.join("bin"))?);
        Ok(step.env(LIBRARY_PATH, &prepended(LIBRARY_PATH, &self.libraries())?))
    }
}

/// Where the loader looks first.
const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

/// A list of folders from the environment, after `first`.
fn prepended(variable: &str, first: &Path) -> Result<String, Failure> {
    let list = std::env::var_os(variable).unwrap_or_default();
    let folders = std::env::split_paths(&list).filter(|folder| !folder.as_os_str().is_empty());
    let joined = std::env::join_paths(std::iter::once(first.to_owned()).chain(folders))
        .map_err(|error| Failure::new(format!("{variable} cannot be extended: {error}")))?;
    Ok(joined.to_string_lossy().into_owned())
}

/// Fails where the driver has no GPU to show.
pub(crate) fn need_gpu(root: &Path) -> Result<(), Failure> {
    if Step::new(root, "nvidia-smi", &["-L"]).succeeds() {
        return Ok(());
    }
    Err(Failure::new("no NVIDIA GPU: the driver's program `nvidia-smi` finds none")
        .with_next("nvidia-smi -L"))
}

/// Prints the lines of shell that a build needs; what was done goes to stderr.
pub(crate) fn run(root: &Path, parts: Parts) -> Result<(), Failure> {
    let toolkit = provide(root, parts)?;
    for (name, value) in toolkit.environment(root) {
        println!("export {name}='{value}'");
    }
    println!("export PATH=\"$CUDA_HOME/bin:$PATH\"");
    Ok(())
}

/// An installed toolkit, else one assembled below the target folder; says on stderr which.
pub(crate) fn provide(root: &Path, parts: Parts) -> Result<Toolkit, Failure> {
    let folder = target_directory(root)?.join("cuda-toolkit");
    if let Some(toolkit) = installed(root, &folder) {
        eprintln!("CUDA toolkit: {} in {}, installed", toolkit.version, toolkit.home.display());
        return Ok(toolkit);
    }
    let home = wheels::assemble(root, &folder, parts)?;
    if parts == Parts::All {
        driver_stub::write(root, &home)?;
    }
    let toolkit = Toolkit::at(root, &home).ok_or_else(|| {
        Failure::new(format!("{} does not run", home.join("bin/nvcc").display()))
            .with_next(format!("rm -r {}", folder.display()))
    })?;
    eprintln!("CUDA toolkit: {} in {}, from PyPI", toolkit.version, toolkit.home.display());
    Ok(toolkit)
}

/// Why [`provide`] could not find a compiler on this machine, if it could not.
pub(crate) fn unreachable(root: &Path) -> Result<Option<String>, Failure> {
    let folder = target_directory(root)?.join("cuda-toolkit");
    let there =
        installed(root, &folder).is_some() || wheels::assembled(root, &folder, Parts::Compiler)?.is_some();
    if there || wheels::reachable(root, &folder) {
        return Ok(None);
    }
    Ok(Some(format!(
        "no CUDA toolkit {OLDEST} or later is installed, and {} cannot download one",
        wheels::python()
    )))
}

/// The first toolkit of the usual places that is new enough; `assembled` is not one of them.
fn installed(root: &Path, assembled: &Path) -> Option<Toolkit> {
    let named = ["CUDA_HOME", "CUDA_PATH"].iter().filter_map(std::env::var_os).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).filter(|folder| folder.ends_with("bin"));
    let homes = named
        .chain(on_path.filter_map(|folder| {
            // The folder that a link leads to is the one with headers beside it.
            let nvcc = folder.join("nvcc").canonicalize().ok()?;
            Some(nvcc.parent()?.parent()?.to_owned())
        }))
        .chain([PathBuf::from("/usr/local/cuda")]);
    for home in homes.filter(|home| !home.starts_with(assembled)) {
        match Toolkit::at(root, &home) {
            Some(toolkit) if toolkit.version >= OLDEST => return Some(toolkit),
            Some(old) => {
                eprintln!("passed over: CUDA {} in {}, before {OLDEST}", old.version, home.display())
            }
            None => {}
        }
    }
    None
}

/// From the environment, else of the first GPU.
fn compute_capability(root: &Path) -> String {
    if let Ok(given) = std::env::var("CUDA_COMPUTE_CAP") {
        return given;
    }
    let query = ["--query-gpu=compute_cap", "--format=csv,noheader"];
    let smi = Step::new(root, "nvidia-smi", &query);
    let asked = if Step::new(root, "nvidia-smi", &["-L"]).succeeds() { smi.stdout().ok() } else { None };
    let first =
        asked.as_deref().and_then(|text| text.lines().next()).map(|line| line.trim().replace('.', ""));
    first
        .filter(|digits| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()))
        .unwrap_or_else(|| COMPUTE_CAPABILITY.to_owned())
}

/// What `nvcc --version` says after `release`.
fn release(text: &str) -> Option<Version> {
    let (_, rest) = text.split_once("release ")?;
    let (major, rest) = rest.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some(Version { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_read_from_what_the_compiler_says() {
        let said =
            "nvcc: NVIDIA (R) Cuda compiler driver\nCuda compilation tools, release 12.10, V12.10.55\n";
        assert_eq!(release(said), Some(Version { major: 12, minor: 10 }));
        assert_eq!(release("gcc 12"), None);
        assert!(Version { major: 12, minor: 10 } > Version { major: 12, minor: 9 });
    }

    #[test]
    fn cudarc_gets_its_own_form_of_the_version() {
        let toolkit = Toolkit { home: PathBuf::from("cuda"), version: Version { major: 12, minor: 9 } };
        let version = toolkit.environment(Path::new("."))[1].clone();
        assert_eq!(version, ("CUDARC_CUDA_VERSION", "12090".to_owned()));
    }
}
