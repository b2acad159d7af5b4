//! A study whose process is killed at random moments: nothing half written under a final name, nothing finished lost, the same
//! results. `CF_KILLS` says how often it is killed, 3 times by default.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells how often it killed"
)]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use support::{COHORT_TABLES, cohort, path, succeed};

/// Files that hold seconds or memory.
const TIMED: [&str; 4] = ["history.csv", "summary.json", "report.html", "environment.json"];

fn study(dir: &Path) -> PathBuf {
    cohort(dir, 24);
    let file = dir.join("study.toml");
    let text = format!(
        r#"
[study]
name = "Killed"
cohorts = ["cohort"]
models = ["crossfusion"]
backbones = ["simulated"]
folds = [0, 1]
{COHORT_TABLES}[training]
protocol = "paper"
max_epochs = 7
accumulation = 4
[models.crossfusion]
embed_dim = 8
num_heads = 2
"#
    );
    std::fs::write(&file, text).unwrap();
    file
}

/// Every file below a directory, with its bytes and when it was written.
fn files(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let at = path.metadata().unwrap().modified().unwrap();
                found.insert(path.strip_prefix(dir).unwrap().to_owned(), (std::fs::read(&path).unwrap(), at));
            }
        }
    }
    found
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Whether a file says the same in every run.
fn is_same_in_every_run(path: &Path) -> bool {
    !TIMED.contains(&name(path)) && !name(path).starts_with("training-curves")
}

/// What a process that was killed left: whole files under final names, and finished tasks that are those of `reference`.
fn check_leftovers(tasks: &Path, reference: &BTreeMap<PathBuf, (Vec<u8>, SystemTime)>) {
    for (path, (bytes, _)) in files(tasks) {
        let first = path.components().next().unwrap().as_os_str().to_str().unwrap().to_owned();
        let is_partial = first.ends_with(".partial");
        if name(&path).ends_with(".tmp") || first.ends_with(".claim") {
            assert!(is_partial || first.ends_with(".claim"), "{path:?} in a finished task");
            continue;
        }
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => drop(serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()),
            Some("safetensors") => drop(safetensors::SafeTensors::deserialize(&bytes).unwrap()),
            Some("csv" | "toml") => assert!(bytes.last() == Some(&b'\n'), "{path:?}"),
            Some("html") => assert!(bytes.trim_ascii_end().ends_with(b"</html>"), "{path:?}"),
            _ => assert!(!bytes.is_empty(), "{path:?}"),
        }
        // Weights of an epoch that stood selected then are not those of the end.
        let is_final = !is_partial || name(&path) != "best.safetensors";
        let at_the_end = PathBuf::from(path.to_str().unwrap().replace(".partial", ""));
        if is_final && is_same_in_every_run(&path) && !path.to_str().unwrap().contains("/state/") {
            assert!(reference.get(&at_the_end).is_some_and(|(expected, _)| *expected == bytes), "{path:?}");
        }
    }
}

#[test]
fn a_study_killed_at_any_moment_ends_with_the_same_bytes() {
    let n_kills: usize = std::env::var("CF_KILLS").map_or(3, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let file = study(dir.path());
    let whole = dir.path().join("whole");
    succeed(&["study", "plan", path(&file), "--out", path(&whole)]);
    let start = Instant::now();
    succeed(&["study", "run", path(&whole)]);
    let mut undisturbed = start.elapsed();
    let reference = files(&whole.join("tasks"));

    let (mut n_met, mut n_kept) = (0, 0);
    for kill in 0..n_kills {
        let out = dir.path().join(format!("killed-{kill}"));
        succeed(&["study", "plan", path(&file), "--out", path(&out)]);
        let tasks = out.join("tasks");
        let mut child = Command::new(env!("CARGO_BIN_EXE_cf-train"))
            .args(["--quiet", "study", "run", path(&out)])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Spread evenly and in no order: multiples of the golden ratio.
        let moment = undisturbed.mul_f64((kill as f64 * 0.618_033_988_749_895 + 0.3).fract());
        let start = Instant::now();
        while start.elapsed() < moment && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let has_ended = child.try_wait().unwrap().is_some();
        if has_ended {
            // The machine had other work when the time was taken.
            undisturbed = undisturbed.min(start.elapsed());
        }
        child.kill().unwrap();
        n_met += usize::from(child.wait().unwrap().code().is_none());
        check_leftovers(&tasks, &reference);
        let finished_then: BTreeMap<_, _> = files(&tasks)
            .into_iter()
            .filter(|(path, _)| !path.to_str().unwrap().contains(".partial") && path.components().count() > 1)
            .collect();
        n_kept += finished_then.keys().filter(|path| name(path) == "task.json").count();

        succeed(&["study", "run", path(&out)]);
        let now = files(&tasks);
        assert_eq!(now.keys().collect::<Vec<_>>(), reference.keys().collect::<Vec<_>>());
        for (path, (bytes, _)) in now.iter().filter(|(path, _)| is_same_in_every_run(path)) {
            assert!(*bytes == reference[path].0, "kill {kill}: {path:?}");
        }
        for (path, before) in finished_then {
            assert!(now[&path] == before, "kill {kill}: {path:?} was finished and made again");
        }
        std::fs::remove_dir_all(out).unwrap();
    }
    println!("{n_kills} kills, {n_met} of a running process; {n_kept} finished tasks were kept");
    assert!(n_met * 2 >= n_kills, "only {n_met} of {n_kills} kills met a running process");
}
