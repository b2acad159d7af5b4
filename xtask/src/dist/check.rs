//! `cargo xtask dist --check`: what was packed runs where nothing is installed.
//!
//! Debian 12 as `debootstrap --variant=minbase` makes it stands in for a bare machine, and for the image that the recipes
//! start from. Each recipe is carried out in a copy of it; then the demo runs there, without network, to its report.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;

use super::recipe::Recipe;
use super::{RECIPES, copy, make, text};
use crate::demo::{fresh_folder, target_directory};
use crate::failure::Failure;
use crate::step::{Step, shown_time};

const SUITE: &str = "bookworm";
/// Runs a shell line in a root of its own, without network, with `/proc` as containers have it.
const ENTER: &str = "mount -t proc proc \"$0/proc\" && exec chroot \"$0\" /usr/bin/env -i HOME=/tmp PATH=\"$1\" sh -euc \"$2\"";

/// Makes the archive, then carries out every recipe and the demo in it.
pub(crate) fn run(root: &Path) -> Result<(), Failure> {
    let release = make(root)?;
    let base = base_system(root)?;
    let folder = fresh_folder(root, "dist-check")?;
    for name in RECIPES {
        let begun = Instant::now();
        let path = release.folder.join(name);
        let lines = std::fs::read_to_string(&path).map_err(|error| Failure::io("read", &path, &error))?;
        let recipe =
            if name == "Dockerfile" { Recipe::of_dockerfile(&lines) } else { Recipe::of_definition(&lines) };
        let system = folder.join(name);
        Step::new(root, "cp", &["-a", text(&base)?, text(&system)?]).run()?;
        for (from, to) in &recipe.files {
            copy(&release.folder.join(from), &system.join(to.trim_start_matches('/')))?;
        }
        for command in &recipe.commands {
            inside(root, &system, "/usr/sbin:/usr/bin:/sbin:/bin", command)?;
        }
        for test in &recipe.tests {
            inside(root, &system, &recipe.path, test)?;
        }
        inside(root, &system, &recipe.path, "cd /opt/crossfusion && sha256sum --quiet -c SHA256SUMS")?;
        inside(root, &system, &recipe.path, "/opt/crossfusion/demo.sh /tmp/demo")?;
        let c_index = demo_result(&system.join("tmp/demo/run"))?;
        println!("{name}: C-index {c_index:.3} and a report, in {}", shown_time(begun.elapsed()));
    }
    std::fs::remove_dir_all(&folder).map_err(|error| Failure::io("remove", &folder, &error))
}

/// A bare Debian, made once and kept in the target folder.
fn base_system(root: &Path) -> Result<PathBuf, Failure> {
    let base = target_directory(root)?.join(format!("debian-{SUITE}"));
    if base.is_dir() {
        return Ok(base);
    }
    let unfinished = base.with_extension("tmp");
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished).map_err(|error| Failure::io("remove", &unfinished, &error))?;
    }
    let made = Step::new(root, "debootstrap", &["--variant=minbase", SUITE, text(&unfinished)?]).run();
    made.map_err(|failure| {
        Failure::new(format!("{failure}\nit needs root and Debian's package `debootstrap`"))
    })?;
    std::fs::rename(&unfinished, &base).map_err(|error| Failure::io("rename", &unfinished, &error))?;
    Ok(base)
}

fn inside(root: &Path, system: &Path, path: &str, line: &str) -> Result<(), Failure> {
    let unshare = ["--mount", "--net", "--pid", "--fork", "sh", "-euc", ENTER, text(system)?, path, line];
    Step::new(root, "unshare", &unshare).run()
}

/// The mean C-index of the demo's run, whose report must be there.
fn demo_result(run: &Path) -> Result<f64, Failure> {
    let read = |name: &str| {
        let path = run.join(name);
        std::fs::read_to_string(&path).map_err(|error| Failure::io("read", &path, &error))
    };
    let summary: Value = serde_json::from_str(&read("summary.json")?)
        .map_err(|error| Failure::new(format!("the demo's summary is no JSON: {error}")))?;
    let c_index = summary["c_index"]["mean"].as_f64();
    let c_index =
        c_index.ok_or_else(|| Failure::new("the demo's summary has no number at `c_index.mean`"))?;
    let report = read("report.html")?;
    if c_index > 0.5 && report.contains("</html>") {
        Ok(c_index)
    } else {
        Err(Failure::new(format!(
            "the demo ended with C-index {c_index} and a report of {} bytes",
            report.len()
        )))
    }
}
