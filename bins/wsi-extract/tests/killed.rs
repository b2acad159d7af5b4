//! An extraction whose process is killed at random moments: whole bags or none, none made twice, the same bytes. `CF_KILLS` says how
//! often it is killed, 3 times by default.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that panics has failed, and tells how often it killed"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use wsi_slides::render::{RenderOptions, render};

/// Bags under their final names, and when they were written.
fn bags(dir: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let Ok(entries) = std::fs::read_dir(dir) else { return BTreeMap::new() };
    let bag = |path: std::path::PathBuf| {
        let name = path.file_name()?.to_str()?.to_owned();
        let is_bag = name.ends_with(".h5") && !name.starts_with('.');
        is_bag.then(|| (name, (std::fs::read(&path).unwrap(), path.metadata().unwrap().modified().unwrap())))
    };
    entries.filter_map(|entry| bag(entry.unwrap().path())).collect()
}

fn bytes(bags: &BTreeMap<String, (Vec<u8>, SystemTime)>) -> BTreeMap<&str, &[u8]> {
    bags.iter().map(|(name, (bytes, _))| (name.as_str(), bytes.as_slice())).collect()
}

fn command(slides: &Path, out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wsi-extract"));
    command.arg("--quiet").arg("run").arg(slides).args(["--encoder", "stain-texture"]);
    // Slides are small here, so that any piece of tissue counts.
    command.args(["--preset", "bwh_biopsy", "--out"]).arg(out);
    command.stdout(Stdio::null());
    command
}

#[test]
fn an_extraction_killed_at_any_moment_ends_with_the_same_bags() {
    let n_kills: usize = std::env::var("CF_KILLS").map_or(3, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let slides = dir.path().join("slides");
    std::fs::create_dir(&slides).unwrap();
    for seed in 0..3 {
        let path = slides.join(format!("slide-{seed}.svs"));
        render(&path, &RenderOptions { seed, n_cells: 2, ..RenderOptions::default() }).unwrap();
    }
    let whole = dir.path().join("whole");
    let start = Instant::now();
    assert!(command(&slides, &whole).status().unwrap().success());
    let undisturbed = start.elapsed();
    let reference = bags(&whole);
    assert_eq!(reference.len(), 3);

    let (mut n_met, mut n_kept) = (0, 0);
    for kill in 0..n_kills {
        let out = dir.path().join(format!("killed-{kill}"));
        let mut child = command(&slides, &out).spawn().unwrap();
        // Spread evenly and in no order: multiples of the golden ratio.
        let moment = undisturbed.mul_f64((kill as f64 * 0.618_033_988_749_895 + 0.3).fract());
        let start = Instant::now();
        while start.elapsed() < moment && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        n_met += usize::from(child.wait().unwrap().code().is_none());
        let then = bags(&out);
        for (name, found) in bytes(&then) {
            assert!(found == reference[name].0, "kill {kill}: {name}");
        }
        n_kept += then.len();

        assert!(command(&slides, &out).status().unwrap().success());
        let now = bags(&out);
        assert!(bytes(&now) == bytes(&reference), "kill {kill}");
        for (name, before) in then {
            assert!(now[&name] == before, "kill {kill}: {name} was finished and made again");
        }
        let table = std::fs::read_to_string(out.join("status.csv")).unwrap();
        assert_eq!(table.lines().count(), 1 + 3, "{table}");
        std::fs::remove_dir_all(out).unwrap();
    }
    println!("{n_kills} kills, {n_met} of a running process; {n_kept} finished bags were kept");
    assert!(n_met * 2 >= n_kills, "only {n_met} of {n_kills} kills met a running process");
}

#[test]
#[cfg(unix)]
fn an_extraction_that_is_interrupted_says_so_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let slides = dir.path().join("slides");
    std::fs::create_dir(&slides).unwrap();
    for seed in 0..4 {
        let path = slides.join(format!("slide-{seed}.svs"));
        render(&path, &RenderOptions { seed, n_cells: 2, ..RenderOptions::default() }).unwrap();
    }
    let whole = dir.path().join("whole");
    assert!(command(&slides, &whole).status().unwrap().success());
    for signal in ["TERM", "INT"] {
        let out = dir.path().join(signal);
        let mut running = command(&slides, &out);
        let mut running = running.stderr(Stdio::piped()).spawn().unwrap();
        let first = out.join("slide-0.h5");
        while !first.exists() && running.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let number = running.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &number]).status().unwrap().success());
        let ended = running.wait_with_output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(75), "{signal}: {said}");
        assert!(said.contains("interrupted; the bags that are done stay"), "{said}");
        let hidden = std::fs::read_dir(&out).unwrap().filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with('.') && name != ".lock"
        });
        assert_eq!(hidden.count(), 0, "{signal}");
        assert!(bags(&out).len() < 4, "{signal}: it ended before it was told to");
        assert!(command(&slides, &out).status().unwrap().success());
        assert_eq!(bytes(&bags(&out)), bytes(&bags(&whole)));
    }
}
