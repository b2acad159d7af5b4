//! `cargo xtask dist`: the release archive. Stripped programs, their man pages and completions, a demo, checksums.

mod check;
mod elf;
mod recipe;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::demo::{fresh_folder, release_binary};
use crate::failure::Failure;
use crate::files::{copy, entries, write};
use crate::step::Step;

pub(crate) use check::run as check;

/// Packages with a program, and what the program is called.
const PROGRAMS: [(&str, &str); 5] = [
    ("cf-train", "cf-train"),
    ("wsi-extract", "wsi-extract"),
    ("wsi-bags-cli", "wsi-bags"),
    ("cf-heatmap", "cf-heatmap"),
    ("survstat", "survstat"),
];
/// What lies beside `bin` and `share`, and where it comes from.
const TEXTS: [(&str, &str); 6] = [
    ("demo.sh", "xtask/dist/demo.sh"),
    ("README.md", "README.md"),
    ("CHANGELOG.md", "CHANGELOG.md"),
    ("SECURITY.md", "SECURITY.md"),
    ("LICENSE", "LICENSE"),
    // Its script is part of cf-heatmap.
    ("LICENSE-openseadragon", "crates/cf-viewer/web/openseadragon/LICENSE.txt"),
];
/// Recipes of images, in which `{archive}` stands for the file name of the archive.
const RECIPES: [&str; 2] = ["Dockerfile", "apptainer.def"];
/// Where each shell looks below a prefix: the ending of the file's name (Zsh's has none, and starts with `_`), its folder.
const COMPLETIONS: [(&str, &str); 3] = [
    (".bash", "share/bash-completion/completions"),
    (".fish", "share/fish/vendor_completions.d"),
    ("", "share/zsh/site-functions"),
];
const SUMS: &str = "SHA256SUMS";

/// Where things lie in `target/dist`.
struct Release {
    /// `target/dist`.
    folder: PathBuf,
    /// Name of the archive, and of the one folder in it with `.tar.gz`.
    name: String,
}

impl Release {
    fn archive(&self) -> String {
        format!("{}.tar.gz", self.name)
    }
}

/// Builds the programs and packs them under `target/dist`, which is replaced.
pub(crate) fn run(root: &Path) -> Result<(), Failure> {
    make(root).map(drop)
}

fn make(root: &Path) -> Result<Release, Failure> {
    let packages: Vec<&str> = PROGRAMS.iter().flat_map(|(package, _)| ["-p", package]).collect();
    Step::cargo(root, &[&["build", "--release", "--locked"], &packages[..]].concat()).run()?;
    let folder = fresh_folder(root, "dist")?;
    let name = format!("crossfusion-{}-{}-linux-gnu", version(root)?, std::env::consts::ARCH);
    let tree = folder.join(&name);
    for (_, program) in PROGRAMS {
        let packed = tree.join("bin").join(program);
        copy(&release_binary(root, program)?, &packed)?;
        Step::new(root, "strip", &[text(&packed)?]).run()?;
        let found = elf::inspect(root, &packed)?;
        println!("{program}: needs {found}");
        add_pages(root, &tree, program)?;
    }
    for (to, from) in TEXTS {
        copy(&root.join(from), &tree.join(to))?;
    }
    let release = Release { folder, name };
    for recipe in RECIPES {
        let from = root.join("xtask/dist").join(recipe);
        let lines = std::fs::read_to_string(&from).map_err(|error| Failure::io("read", &from, &error))?;
        write(&release.folder.join(recipe), &lines.replace("{archive}", &release.archive()))?;
    }
    pack(&release)?;
    println!("packed: target/dist/{}", release.archive());
    Ok(release)
}

/// The version that all crates of the workspace share.
fn version(root: &Path) -> Result<String, Failure> {
    let metadata = Step::cargo(root, &["metadata", "--no-deps", "--format-version", "1"]).stdout()?;
    let metadata: Value = serde_json::from_str(&metadata)
        .map_err(|error| Failure::new(format!("`cargo metadata` printed no JSON: {error}")))?;
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    packages
        .iter()
        .find(|package| package["name"] == "cf-train")
        .and_then(|package| package["version"].as_str())
        .map(str::to_owned)
        .ok_or_else(|| Failure::new("`cargo metadata` has no version of cf-train"))
}

/// Lets a program write its man pages and completions, and puts them where tools look below a prefix.
fn add_pages(root: &Path, tree: &Path, program: &str) -> Result<(), Failure> {
    let pages = tree.join("pages");
    let packed = tree.join("bin").join(program);
    Step::new(root, &packed, &["pages", text(&pages)?]).run()?;
    for page in entries(&pages.join("man1"))? {
        let name = page.file_name().unwrap_or_default();
        copy(&page, &tree.join("share/man/man1").join(name))?;
    }
    for (ending, folder) in COMPLETIONS {
        let name = match ending {
            "" => format!("_{program}"),
            ending => format!("{program}{ending}"),
        };
        // Bash looks for a file of the program's own name.
        let to = if ending == ".bash" { program } else { &name };
        copy(&pages.join("completions").join(&name), &tree.join(folder).join(to))?;
    }
    std::fs::remove_dir_all(&pages).map_err(|error| Failure::io("remove", &pages, &error))
}

/// Writes checksums of every file and of the archive. Equal files give an equal archive.
fn pack(release: &Release) -> Result<(), Failure> {
    let (tree, archive) = (release.folder.join(&release.name), release.archive());
    let sums = format!("find . -type f ! -name {SUMS} | LC_ALL=C sort | xargs sha256sum > {SUMS}");
    Step::new(&tree, "sh", &["-c", &sums]).run()?;
    let tar = format!(
        "tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - {} | gzip -9n > {archive} && sha256sum {archive} > {SUMS}",
        release.name
    );
    Step::new(&release.folder, "sh", &["-c", &tar]).run()
}

fn text(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| Failure::new(format!("{} is not UTF-8", path.display())))
}
