//! Whole runs of the program: repeatable to the byte, resumable, and complete.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use sha2::Digest;
use support::{cf_train, cohort, fail, path, succeed};
use wsi_bags::{Bag, FeatureMatrix, Magnification, PatchSet, native};

/// All prediction files of a run, by name.
fn predictions(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for fold in 0..5 {
        for name in ["predictions.csv", "predictions_last.csv", "predictions_train.csv", "best.safetensors"] {
            let name = format!("fold_{fold}/{name}");
            files.insert(name.clone(), std::fs::read(run.join(&name)).unwrap());
        }
    }
    files
}

fn cv(cohort: &Path, run: &Path, more: &[&str]) {
    let config = cohort.join("config.toml");
    let mut arguments = vec!["cv", "--config", path(&config), "--out", path(run)];
    arguments.extend(more);
    succeed(&arguments);
}

#[test]
fn a_run_is_the_same_twice_and_with_one_and_two_threads() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 30);
    let runs = ["a", "b", "c"].map(|name| dir.path().join(name));
    cv(&cohort, &runs[0], &["--threads", "1"]);
    cv(&cohort, &runs[1], &["--threads", "1"]);
    cv(&cohort, &runs[2], &["--threads", "2"]);
    let first = predictions(&runs[0]);
    assert_eq!(first.len(), 20);
    assert!(first == predictions(&runs[1]), "two runs differ");
    assert!(first == predictions(&runs[2]), "one and two threads differ");
    // Another seed is another run: the comparison above can fail.
    let other = dir.path().join("d");
    cv(&cohort, &other, &["--set", "training.seed=8"]);
    assert!(first["fold_0/predictions.csv"] != predictions(&other)["fold_0/predictions.csv"]);
}

/// Starts a run and waits until `ready` says so, or it is over.
fn started(config: &Path, run: &Path, more: &[&str], ready: impl Fn() -> bool) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cf-train"))
        .args(["--quiet", "cv", "--config", path(config), "--out", path(run)])
        .args(more)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while !ready() && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "the run did not get going");
        std::thread::yield_now();
    }
    child
}

/// Starts a run, ends it with SIGTERM once `ready` says so, and returns its exit code.
fn interrupt(config: &Path, run: &Path, more: &[&str], ready: impl Fn() -> bool) -> Option<i32> {
    let mut child = started(config, run, more, ready);
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    child.wait().unwrap().code()
}

#[test]
fn a_run_stopped_by_sigterm_resumes_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 30);
    let config = cohort.join("config.toml");
    for (protocol, loss) in [("sound", "nll"), ("paper", "nll"), ("sound", "cox")] {
        let settings = [
            "--set".to_owned(),
            format!("training.protocol={protocol}"),
            "--set".to_owned(),
            format!("training.loss={loss}"),
            "--set".to_owned(),
            "training.max_epochs=7".to_owned(),
        ];
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let whole = dir.path().join(format!("whole-{protocol}-{loss}"));
        cv(&cohort, &whole, &settings);
        let run = dir.path().join(format!("parts-{protocol}-{loss}"));
        // Once in the middle of the first fold, once as early as it can be caught in a later one.
        let state = run.join("fold_0/state/position.json");
        assert_eq!(interrupt(&config, &run, &settings, || state.is_file()), Some(75));
        assert!(!run.join("fold_0/predictions.csv").exists() && !run.join("report.html").exists());
        assert!(run.join("fold_0/state/position.json").is_file());
        let mut resumed = vec!["--resume"];
        resumed.extend(&settings);
        let later = run.join("fold_2");
        assert_eq!(interrupt(&config, &run, &resumed, || later.is_dir()), Some(75));
        cv(&cohort, &run, &resumed);
        assert!(predictions(&whole) == predictions(&run), "{protocol}, {loss}: the resumed run differs");
        assert!(run.join("report.html").is_file() && !run.join("fold_0/state").exists());
        // A resume of a complete run trains nothing and changes nothing.
        cv(&cohort, &run, &resumed);
        assert!(predictions(&whole) == predictions(&run));
    }
}

#[test]
fn a_run_goes_on_with_the_data_that_it_was_begun_on_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 30);
    let (config, run) = (cohort.join("config.toml"), dir.path().join("run"));
    let state = run.join("fold_1/state/position.json");
    let folds = ["--folds", "0,1", "--set", "training.max_epochs=7"];
    assert_eq!(interrupt(&config, &run, &folds, || state.is_file()), Some(75));
    assert!(run.join("fold_0/predictions.csv").is_file());
    let resume = |fold: &'static str| {
        let settings = ["--folds", fold, "--set", "training.max_epochs=7", "--resume"];
        [&["cv", "--config", path(&config), "--out", path(&run)], settings.as_slice()].concat()
    };
    let refused = |what: &str| {
        fail(&resume("0"), 3, &["fold_0", what, "are not those that it was begun with"]);
        fail(&resume("1"), 3, &["fold_1", what, "are not those that it was begun with"]);
    };

    let clinical = cohort.join("clinical.csv");
    let table = std::fs::read_to_string(&clinical).unwrap();
    let mut cells: Vec<&str> = table.lines().nth(1).unwrap().split(',').collect();
    cells[2] = "0.5";
    std::fs::write(&clinical, table.replace(table.lines().nth(1).unwrap(), &cells.join(","))).unwrap();
    refused("the slides of its fold, their outcomes or time bins");
    std::fs::write(&clinical, &table).unwrap();

    let bags = std::fs::read_dir(cohort.join("bags")).unwrap().map(|entry| entry.unwrap().path());
    let mut bags: Vec<_> = bags.collect();
    bags.sort_unstable();
    let [first, second, ..] = bags.as_slice() else { panic!("no bags") };
    let bag = std::fs::read(first).unwrap();
    std::fs::remove_file(first).unwrap();
    refused("the slides of its fold, their outcomes or time bins");
    std::fs::copy(second, first).unwrap();
    refused("its bags");
    let note = run.join("fold_0/data.json");
    fail(&resume("0"), 3, &["if they hold the same features as then, remove", path(&note)]);

    std::fs::write(first, bag).unwrap();
    succeed(&resume("0"));
    succeed(&resume("1"));
}

#[test]
fn folds_of_bags_in_another_place_are_joined_only_where_these_are_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 30);
    let (moved, run) = (dir.path().join("moved"), dir.path().join("run"));
    cv(&cohort, &run, &["--folds", "0"]);
    let copied = Command::new("cp").arg("-r").args([&cohort, &moved]).status().unwrap();
    assert!(copied.success());
    let settings = || std::fs::read(run.join("config.toml")).unwrap();
    let before = settings();
    let config = moved.join("config.toml");
    let resume = ["cv", "--config", path(&config), "--out", path(&run), "--resume"];
    let bag = first_bag(&moved);
    let bytes = std::fs::read(&bag).unwrap();
    let second = std::fs::read_dir(moved.join("bags")).unwrap().map(|entry| entry.unwrap().path()).max();
    std::fs::copy(second.unwrap(), &bag).unwrap();
    let another = [&resume[..], &["--folds", "1"]].concat();
    for arguments in [resume.as_slice(), &another] {
        fail(arguments, 3, &["fold_0", "its bags are not those that it was begun with"]);
    }
    assert!(settings() == before, "what is refused changes nothing");
    std::fs::write(&bag, bytes).unwrap();
    succeed(&another);
    assert!(settings() != before && run.join("fold_1/predictions.csv").is_file());
    // The same place by another path.
    let around = moved.join("splits/../config.toml");
    cv(&moved, &run, &["--folds", "1", "--resume"]);
    succeed(&["cv", "--config", path(&around), "--out", path(&run), "--resume", "--folds", "1"]);
}

#[test]
fn folds_trained_in_two_sessions_are_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 30);
    let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
    cv(&cohort, &whole, &[]);
    cv(&cohort, &parts, &["--folds", "0,3"]);
    cv(&cohort, &parts, &["--folds", "1-2,4", "--resume"]);
    assert!(predictions(&whole) == predictions(&parts));
    let folds = |run: &Path| std::fs::read_to_string(run.join("folds.json")).unwrap();
    assert_eq!(folds(&whole), folds(&parts));
    assert!(parts.join("report.html").is_file());
    inputs_are_hashed(&parts, 30);
}

/// The steps of a run's cohort flow: label, slides, ids left out.
fn flow(run: &Path) -> Vec<(String, u64, usize)> {
    let folds = std::fs::read_to_string(run.join("folds.json")).unwrap();
    let folds: serde_json::Value = serde_json::from_str(&folds).unwrap();
    let step = |step: &serde_json::Value| {
        let dropped = step["dropped"].as_array().unwrap().iter().map(|d| d["ids"].as_array().unwrap().len());
        (step["label"].as_str().unwrap().to_owned(), step["n_slides"].as_u64().unwrap(), dropped.sum())
    };
    folds["flow"].as_array().unwrap().iter().map(step).collect()
}

#[test]
fn a_run_of_some_folds_says_so_and_has_no_report_while_it_trains_others() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 30);
    let (config, run) = (cohort.join("config.toml"), dir.path().join("run"));
    let epochs = ["--set", "training.max_epochs=30"];
    cv(&cohort, &run, &[&["--folds", "0"], &epochs[..]].concat());
    let steps = flow(&run);
    assert_eq!(steps[2], ("validated by a fold".to_owned(), 30, 0));
    assert_eq!(steps[3], ("validated by the folds of this run, 1 of 5".to_owned(), 6, 24));
    let report = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains("--out NEW_RUN --folds 0<") && report.contains("in 1 of 5 folds"), "{report}");

    let state = run.join("fold_1/state/position.json");
    let folds = [&["--resume", "--folds", "0,1"], &epochs[..]].concat();
    assert_eq!(interrupt(&config, &run, &folds, || state.is_file()), Some(75));
    assert!(!run.join("summary.json").exists() && !run.join("report.html").exists());
    fail(&["report", "--run", path(&run)], 3, &["found no summary.json", "--resume"]);
    cv(&cohort, &run, &folds);
    assert_eq!(flow(&run)[3].0, "validated by the folds of this run, 2 of 5");

    // What a file lost is no fold without slides.
    let last = run.join("fold_1/predictions_last.csv");
    let rows = std::fs::read_to_string(&last).unwrap();
    for kept in [0, 1, 3] {
        let cut: Vec<&str> = rows.lines().take(kept).collect();
        std::fs::write(&last, cut.join("\n")).unwrap();
        let found = format!("has {} rows, expected one for each of the 6 slides", kept.saturating_sub(1));
        fail(&["evaluate", "--run", path(&run)], 3, &["predictions_last.csv", &found, "--resume"]);
    }
    std::fs::write(&last, rows).unwrap();
    std::fs::remove_file(run.join("fold_1/predictions.csv")).unwrap();
    fail(&["report", "--run", path(&run)], 3, &["summary.json", "says 2 folds", "of 1", "--resume"]);
}

#[test]
fn a_run_goes_on_where_it_was_moved_and_with_other_memory() {
    let dir = tempfile::tempdir().unwrap();
    let first = cohort(dir.path(), 30);
    let (run, other) = (dir.path().join("run"), dir.path().join("other"));
    cv(&first, &run, &["--folds", "0"]);
    // The same file by another path is the same run, to the byte.
    cv(&first.join("splits/.."), &other, &["--folds", "0"]);
    let weights = |run: &Path| std::fs::read(run.join("fold_0/best.safetensors")).unwrap();
    assert!(weights(&run) == weights(&other));

    let elsewhere = dir.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::rename(&first, elsewhere.join("cohort")).unwrap();
    let moved = elsewhere.join("run");
    std::fs::rename(&run, &moved).unwrap();
    let cohort = elsewhere.join("cohort");
    cv(&cohort, &moved, &["--folds", "1", "--resume", "--set", "training.memory_budget=4 GiB"]);
    let config = std::fs::read_to_string(moved.join("config.toml")).unwrap();
    assert!(
        config.contains("elsewhere/cohort/clinical.csv") && config.contains("memory_budget = "),
        "{config}"
    );
    let config = cohort.join("config.toml");
    let other =
        ["cv", "--config", path(&config), "--out", path(&moved), "--resume", "--set", "training.seed=8"];
    fail(&other, 3, &["it says `training.seed = 7`, this one `training.seed = 8`"]);
}

#[test]
fn settings_under_which_nothing_is_learned_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 30);
    let (config, run) = (cohort.join("config.toml"), dir.path().join("run"));
    let cv = |settings: &[&str]| -> Vec<String> {
        let start = ["cv", "--config", path(&config), "--out", path(&run), "--folds", "0"];
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        start.into_iter().chain(settings).map(str::to_owned).collect()
    };
    let refused = |settings: &[&str], texts: &[&str]| {
        let arguments = cv(settings);
        fail(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), 3, texts);
    };
    refused(
        &["training.loss=cox", "training.accumulation=1"],
        &["training.accumulation is 1, expected at least 2", "cox"],
    );
    refused(
        &["training.protocol=paper", "training.accumulation=49"],
        &["fold 0: training.accumulation is 49, more than the 48 bags", "set at most 48"],
    );
    refused(&["cohort.name="], &["cohort.name is empty"]);

    // A group that fills up in the second epoch only: the first has no loss, and no step.
    let arguments = cv(&["training.protocol=paper", "training.loss=cox", "training.accumulation=30"]);
    succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let mut history = csv::Reader::from_path(run.join("fold_0/history.csv")).unwrap();
    let rows: Vec<BTreeMap<String, String>> = history.deserialize().map(|row| row.unwrap()).collect();
    assert_eq!(rows.len(), 2);
    for column in ["train_loss", "learning_rate"] {
        assert!(rows[0][column].is_empty() && rows[1][column].parse::<f64>().unwrap() > 0.0, "{rows:?}");
    }
}

#[test]
fn a_report_claims_no_selection_where_no_epoch_has_a_score() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 30);
    let run = dir.path().join("run");
    // Of 13 patients with the event and 11 without, one and none are held out.
    cv(&cohort, &run, &["--folds", "1", "--set", "training.inner_validation=0.04"]);
    let mut history = csv::Reader::from_path(run.join("fold_1/history.csv")).unwrap();
    let mut rows = history.deserialize().map(|row: Result<BTreeMap<String, String>, _>| row.unwrap());
    assert!(rows.all(|row| row["inner_c_index"].is_empty()), "this shows nothing");
    let report = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains("in no fold have these a C-index, so the last epoch is selected."), "{report}");
    assert!(!report.contains("The epoch is selected on"), "{report}");
}

#[test]
fn a_run_whose_bags_got_another_encoder_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 30);
    let (config, run) = (cohort.join("config.toml"), dir.path().join("run"));
    let folds = ["--folds", "0", "--set", "training.max_epochs=30"];
    let state = run.join("fold_0/state/position.json");
    assert_eq!(interrupt(&config, &run, &folds, || state.is_file()), Some(75));
    let bag = first_bag(&cohort);
    let features = native::read(&bag, "simulated", &Magnification::ALL).unwrap();
    native::add_features(&bag, &features, "another").unwrap();
    let resume = ["cv", "--config", path(&config), "--out", path(&run), "--resume"];
    succeed(&[resume.as_slice(), &folds].concat());
}

/// The path of a cohort's first bag, by name.
fn first_bag(cohort: &Path) -> PathBuf {
    std::fs::read_dir(cohort.join("bags")).unwrap().map(|entry| entry.unwrap().path()).min().unwrap()
}

#[test]
fn folds_begun_on_other_outcomes_are_not_joined() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 30);
    let (config, run) = (cohort.join("config.toml"), dir.path().join("run"));
    cv(&cohort, &run, &["--folds", "0"]);
    let clinical = cohort.join("clinical.csv");
    let table = std::fs::read_to_string(&clinical).unwrap();
    let first = table.lines().nth(1).unwrap();
    let mut cells: Vec<&str> = first.split(',').collect();
    cells[2] = "0.5";
    std::fs::write(&clinical, table.replace(first, &cells.join(","))).unwrap();
    let second = ["cv", "--config", path(&config), "--out", path(&run), "--folds", "1", "--resume"];
    fail(&second, 3, &["fold_0", "outcomes", "folds of one run share their data", "choose another --out"]);
    assert!(!run.join("fold_1").exists());
    std::fs::write(&clinical, table).unwrap();
    succeed(&second);
}

#[test]
fn two_sessions_at_once_make_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 30);
    let (config, whole, parts) =
        (cohort.join("config.toml"), dir.path().join("whole"), dir.path().join("parts"));
    let settings = ["--set", "training.max_epochs=7"];
    cv(&cohort, &whole, &settings);
    // While the first is at its first fold; its others have no directory yet.
    let begun = parts.join("fold_0/state/position.json");
    let three = [&["--folds", "0,1,2"], settings.as_slice()].concat();
    let mut first = started(&config, &parts, &three, || begun.is_file());
    assert!(!parts.join("fold_0/predictions.csv").is_file(), "the first session was too fast");
    // Whoever wants a fold that is at work is told by whom, and disturbs nothing.
    let same = ["--folds", "2,4", "--resume", "--config", path(&config), "--out", path(&parts)];
    let refused = cf_train(&[&["cv"], same.as_slice(), settings.as_slice()].concat());
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(text.contains("fold_2.claim: fold 2 is being trained by "), "{text}");
    assert!(text.contains(&format!("process {};", first.id())), "{text}");
    assert_eq!(refused.status.code(), Some(75), "{text}");
    cv(&cohort, &parts, &[&["--folds", "3,4", "--resume"], settings.as_slice()].concat());
    assert!(first.wait().unwrap().success());
    assert!(predictions(&whole) == predictions(&parts));
    let folds = |run: &Path| std::fs::read_to_string(run.join("folds.json")).unwrap();
    assert_eq!(folds(&whole), folds(&parts));
    inputs_are_hashed(&parts, 30);
    assert!((0..5).all(|fold| !parts.join(format!("fold_{fold}.claim")).exists()));
}

#[test]
fn a_run_whose_process_was_killed_goes_on_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 30);
    let (config, whole, run) = (cohort.join("config.toml"), dir.path().join("whole"), dir.path().join("run"));
    let settings = ["--set", "training.max_epochs=7"];
    cv(&cohort, &whole, &settings);
    let begun = run.join("fold_1/state/position.json");
    let mut killed = started(&config, &run, &settings, || begun.is_file());
    killed.kill().unwrap();
    killed.wait().unwrap();
    // Of a fold that is complete, one that is begun, and one that is not.
    let claims = [0, 1, 4].map(|fold| run.join(format!("fold_{fold}.claim")));
    assert!(claims.iter().all(|claim| claim.is_file()));
    cv(&cohort, &run, &[&["--resume"], settings.as_slice()].concat());
    assert!(predictions(&whole) == predictions(&run));
    assert!(!claims.iter().any(|claim| claim.exists()));
}

#[test]
fn a_cut_off_record_of_folds_is_written_again_or_says_how() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 30);
    let (config, run) = (cohort.join("config.toml"), dir.path().join("run"));
    let resume = |more: &[&'static str]| {
        [&["cv", "--config", path(&config), "--out", path(&run), "--resume"], more].concat()
    };
    cv(&cohort, &run, &["--folds", "1"]);
    let folds = run.join("folds.json");
    let whole = std::fs::read(&folds).unwrap();
    for half in [&whole[..0], &whole[..whole.len() / 2]] {
        std::fs::write(&folds, half).unwrap();
        // Nothing else is complete: it says nothing that this call does not know.
        succeed(&resume(&["--folds", "1"]));
        assert!(std::fs::read(&folds).unwrap() == whole);
        std::fs::write(&folds, half).unwrap();
        fail(
            &resume(&["--folds", "0"]),
            3,
            &["folds.json", "fold 1 is complete", "--resume without --folds"],
        );
    }
    succeed(&resume(&[]));
}

#[test]
fn a_directory_of_another_run_is_refused_before_anything_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 30);
    let (config, run) = (cohort.join("config.toml"), dir.path().join("run"));
    cv(&cohort, &run, &["--folds", "0"]);
    let bag = first_bag(&cohort);
    std::fs::remove_file(&bag).unwrap();
    std::fs::create_dir(&bag).unwrap();
    let again = ["cv", "--config", path(&config), "--out", path(&run), "--folds", "0"];
    fail(&again, 3, &["holds a run already"]);
    let other = ["--resume", "--set", "training.seed=8"];
    fail(&[again.as_slice(), &other].concat(), 3, &["is of another run", "seed = 7"]);
}

/// Version 0.1.0 trained folds without a note of their data.
#[test]
fn a_bag_of_another_complete_fold_may_be_gone() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 30);
    let run = dir.path().join("run");
    // A patient whom fold 0 alone has.
    let case = std::fs::read_to_string(cohort.join("splits/splits_0.csv")).unwrap();
    let case = case.lines().nth(1).unwrap().split(',').nth(1).unwrap().to_owned();
    let split = cohort.join("splits/splits_1.csv");
    let others = std::fs::read_to_string(&split).unwrap().replace(&case, "");
    std::fs::write(&split, others).unwrap();
    cv(&cohort, &run, &["--folds", "0"]);
    let bags = std::fs::read_dir(cohort.join("bags")).unwrap().map(|entry| entry.unwrap().path());
    let of_case = |bag: &PathBuf| bag.file_name().unwrap().to_str().unwrap().starts_with(&case);
    std::fs::remove_file(bags.into_iter().find(of_case).unwrap()).unwrap();
    std::fs::remove_file(run.join("fold_0/data.json")).unwrap();
    cv(&cohort, &run, &["--folds", "1", "--resume"]);
}

/// Makes a configuration one of another model with its own settings.
fn set_model(config: &Path, name: &str) {
    let text = std::fs::read_to_string(config).unwrap();
    let (before, rest) = text.split_once("[model]").unwrap();
    let after = &rest[rest.find("\n[").unwrap()..];
    std::fs::write(config, format!("{before}[model]\nname = \"{name}\"\n{after}")).unwrap();
}

#[test]
fn a_run_of_a_version_that_wrote_its_settings_otherwise_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 30);
    let config = cohort.join("config.toml");
    set_model(&config, "deepgraphsurv");
    let run = dir.path().join("run");
    let settings = ["--folds", "0", "--set", "training.max_epochs=30"];
    let state = run.join("fold_0/state/position.json");
    assert_eq!(interrupt(&config, &run, &settings, || state.is_file()), Some(75));
    let resolved = run.join("config.toml");
    let written = std::fs::read_to_string(&resolved).unwrap();
    assert!(!written.contains("final_dropout"), "not in the version before: {written}");
    let name = "name = \"deepgraphsurv\"\n";
    std::fs::write(&resolved, written.replace(name, &format!("{name}final_dropout = 0.0\n"))).unwrap();
    let resumed = [&["cv", "--config", path(&config), "--out", path(&run), "--resume"], settings.as_slice()];
    fail(
        &[&resumed.concat()[..], &["--set", "model.final_dropout=0.25"]].concat(),
        3,
        &["is of another run"],
    );
    succeed(&resumed.concat());
    assert_eq!(std::fs::read_to_string(&resolved).unwrap(), written);
    inputs_are_hashed(&run, 30);
}

#[test]
fn a_state_of_a_larger_fold_is_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 30);
    let (config, run) = (cohort.join("config.toml"), dir.path().join("run"));
    let position = run.join("fold_0/state/position.json");
    let settings = ["--folds", "0", "--set", "training.max_epochs=30"];
    assert_eq!(interrupt(&config, &run, &settings, || position.is_file()), Some(75));
    let text = std::fs::read_to_string(&position).unwrap();
    let mut state: serde_json::Value = serde_json::from_str(&text).unwrap();
    state["draws"] = serde_json::json!([{ "epoch": 1, "position": 0, "slide": 98 }]);
    std::fs::write(&position, state.to_string()).unwrap();
    let resume = ["cv", "--config", path(&config), "--out", path(&run), "--resume"];
    let resume = [resume.as_slice(), &settings].concat();
    fail(&resume, 3, &["fold_0/state", "at least 99 training slides, expected 24", "remove it"]);
    std::fs::remove_dir_all(run.join("fold_0/state")).unwrap();
    succeed(&resume);
}

#[test]
fn a_group_that_diverges_names_the_slide_that_did() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 20);
    let (config, run) = (cohort.join("config.toml"), dir.path().join("run"));
    set_model(&config, "amil");
    let split = std::fs::read_to_string(cohort.join("splits/splits_0.csv")).unwrap();
    let trained: Vec<&str> = split.lines().skip(1).map(|row| row.split(',').nth(1).unwrap()).collect();
    for case in &trained[..2] {
        let bags = std::fs::read_dir(cohort.join("bags")).unwrap().map(|entry| entry.unwrap().path());
        let of_case = |bag: &PathBuf| bag.file_name().unwrap().to_str().unwrap().starts_with(case);
        let path_of = bags.into_iter().find(of_case).unwrap();
        let before = std::fs::read(&path_of).unwrap();
        // Finite, and too large for sums of single precision.
        let magnifications = Magnification::ALL;
        let bag = native::read(&path_of, "simulated", &magnifications).unwrap();
        let huge = bag.sets().map(|(at, set)| {
            let (n, dim) = (set.features().n_patches(), set.features().dim());
            let features = FeatureMatrix::new(vec![f32::MAX; n * dim], n, dim).unwrap();
            let set = PatchSet::new(features).with_coords(set.coords().unwrap().to_vec()).unwrap();
            (at, set.with_geometry(bag.at(at).unwrap().geometry()).unwrap())
        });
        let huge = Bag::new(bag.slide_id(), huge.collect::<Vec<_>>()).unwrap();
        native::write(&path_of, &huge, "simulated", &native::slide_info(&path_of).unwrap()).unwrap();
        let cox = ["--folds", "0", "--set", "training.loss=cox", "--set", "training.accumulation=99"];
        let arguments = [&["cv", "--config", path(&config), "--out", path(&run)], cox.as_slice()].concat();
        fail(&arguments, 3, &["fold 0, epoch 1, slide", case, "the risk is", "training.learning_rate"]);
        std::fs::remove_dir_all(&run).unwrap();
        std::fs::write(&path_of, before).unwrap();
    }
}

#[test]
fn a_folder_of_split_files_is_the_clinical_table_of_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 30);
    let table = std::fs::read_to_string(cohort.join("clinical.csv")).unwrap();
    let header = "case_id,slide_id,os_survival_days,os_censorship\n";
    for fold in 0..5 {
        let folder = cohort.join(format!("mmp/os_k={fold}"));
        std::fs::create_dir_all(&folder).unwrap();
        let split = std::fs::read_to_string(cohort.join(format!("splits/splits_{fold}.csv"))).unwrap();
        for (column, file) in [(1, "train.csv"), (2, "test.csv")] {
            let ids: Vec<&str> = split.lines().skip(1).filter_map(|row| row.split(',').nth(column)).collect();
            let is_in = |row: &&str| ids.contains(&row.split(',').next().unwrap());
            let rows: String = table.lines().skip(1).filter(is_in).map(|row| format!("{row}\n")).collect();
            std::fs::write(folder.join(file), format!("{header}{rows}")).unwrap();
        }
    }
    for clinical in ["mmp", "mmp/os"] {
        let setting = |key: &str| format!("cohort.{key}={}", path(&cohort.join(clinical)));
        let run = dir.path().join(clinical.replace('/', "-"));
        let settings =
            ["--set", &setting("clinical"), "--set", &setting("splits"), "--set", "cohort.preset=mmp"];
        cv(&cohort, &run, &[&["--folds", "0"], settings.as_slice()].concat());
        let environment = std::fs::read_to_string(run.join("environment.json")).unwrap();
        for file in ["os_k=0/train.csv", "os_k=4/test.csv"] {
            assert!(environment.contains(file), "{environment}");
        }
    }
}

#[test]
fn a_run_that_diverges_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 20);
    let (config, run) = (cohort.join("config.toml"), dir.path().join("run"));
    let arguments = |more: &[&'static str]| {
        let run = ["cv", "--config", path(&config), "--out", path(&run), "--folds", "1"];
        [&run, more].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    // In training; where the only step of an epoch is its last, in what follows it, or before that where the weights are no numbers.
    for (rate, accumulation, what) in [
        ("training.learning_rate=1e30", "training.accumulation=1", "epoch 1, slide"),
        ("training.learning_rate=1e30", "training.accumulation=99", "the risk is"),
        ("training.learning_rate=1e300", "training.accumulation=99", "parameter `"),
    ] {
        let arguments = arguments(&["--set", rate, "--set", accumulation]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        fail(&arguments, 3, &["fold 1, epoch 1", what, "lower training.learning_rate"]);
        std::fs::remove_dir_all(&run).unwrap();
    }
}

#[test]
fn dropout_in_evaluation_is_that_of_the_epoch_of_the_weights() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 30);
    let run = dir.path().join("run");
    let settings =
        ["training.protocol=paper", "training.max_epochs=7", "model.attention_dropout_at_eval=true"];
    let settings: Vec<&str> = settings.into_iter().flat_map(|setting| ["--set", setting]).collect();
    cv(&cohort, &run, &settings);
    let summary = std::fs::read_to_string(run.join("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    for fold in 0..5 {
        let mut history = csv::Reader::from_path(run.join(format!("fold_{fold}/history.csv"))).unwrap();
        let rows = history.deserialize().map(Result::unwrap);
        let scores: Vec<f64> =
            rows.map(|row: BTreeMap<String, String>| row["validation_c_index"].parse().unwrap()).collect();
        let best = scores[5..].iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(summary["c_index"]["folds"][fold], best, "fold {fold}");
        assert_eq!(summary["last_epoch_c_index"]["folds"][fold], scores[6], "fold {fold}");
    }
}

#[test]
fn a_run_directory_holds_what_the_contract_says() {
    let dir = tempfile::tempdir().unwrap();
    // Of fewer, hardly a resample has pairs to compare in every fold.
    let cohort = cohort(dir.path(), 60);
    let run = dir.path().join("run");
    cv(&cohort, &run, &["--set", "training.protocol=paper", "--set", "training.max_epochs=7"]);

    let summary: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(run.join("summary.json")).unwrap()).unwrap();
    for key in ["c_index", "patient_c_index", "last_epoch_c_index"] {
        let folds: Vec<f64> =
            summary[key]["folds"].as_array().unwrap().iter().map(|c| c.as_f64().unwrap()).collect();
        let mean = folds.iter().sum::<f64>() / 5.0;
        assert!((summary[key]["mean"].as_f64().unwrap() - mean).abs() < 1e-12, "{key}");
        let variance = folds.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / 5.0;
        assert!((summary[key]["sd"].as_f64().unwrap() - variance.sqrt()).abs() < 1e-12, "{key}");
        let [low, high] = [0, 1].map(|end| summary[key]["ci95"][end].as_f64().unwrap());
        assert!(low < mean && mean < high, "{key}: {low} {mean} {high}");
    }
    assert_eq!(
        summary["protocol"].as_str().unwrap(),
        "paper (modified: training.max_epochs, training.learning_rate, training.accumulation)"
    );
    assert_eq!(summary["n_slides"], 60);
    assert_eq!(summary["n_patients"], 60);
    for key in [
        "model",
        "cohort",
        "backbone",
        "log_rank",
        "n_events",
        "n_event_patients",
        "wall_seconds",
        "peak_rss_bytes",
    ] {
        assert!(!summary[key].is_null(), "summary.json has no {key}");
    }

    // The paper's selection: the best validation C-index from epoch 6 on, and both numbers side by side.
    for fold in 0..5 {
        let history = std::fs::read_to_string(run.join(format!("fold_{fold}/history.csv"))).unwrap();
        let mut reader = csv::Reader::from_reader(history.as_bytes());
        let rows: Vec<BTreeMap<String, String>> = reader.deserialize().map(Result::unwrap).collect();
        let c = |row: &BTreeMap<String, String>| row["validation_c_index"].parse::<f64>().unwrap();
        let best = rows[5..].iter().map(c).fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(summary["c_index"]["folds"][fold].as_f64().unwrap(), best, "fold {fold}");
        assert_eq!(summary["last_epoch_c_index"]["folds"][fold].as_f64().unwrap(), c(rows.last().unwrap()));
    }

    let evaluated = succeed(&["evaluate", "--run", path(&run), "--json"]);
    let evaluated: serde_json::Value = serde_json::from_str(&evaluated).unwrap();
    assert_eq!(evaluated, summary);

    let report = std::fs::read_to_string(run.join("report.html")).unwrap();
    let mean = format!("{:.3}", summary["c_index"]["mean"].as_f64().unwrap());
    assert!(report.contains(&mean) && report.contains("simulated-additive") && report.contains("optimistic"));
    numbers_of_the_report_are_those_of(&summary, &report);
    inputs_are_hashed(&run, 60);
    std::fs::remove_file(run.join("report.html")).unwrap();
    // Elsewhere first: then the run is only read.
    let elsewhere = dir.path().join("reports/mine");
    let without_maps =
        ["report", "--run", path(&run), "--heatmaps", path(&cohort), "--out", path(&elsewhere)];
    fail(&without_maps, 3, &["found no SLIDE/figure.png"]);
    assert!(!dir.path().join("reports").exists(), "nothing is made of a report that fails");
    succeed(&["report", "--run", path(&run), "--out", path(&elsewhere)]);
    assert_eq!(std::fs::read_to_string(elsewhere.join("report.html")).unwrap(), report);
    assert!(elsewhere.join("figures").is_dir() && !run.join("report.html").exists());
    std::fs::write(elsewhere.join("config.toml"), "").unwrap();
    fail(
        &["report", "--run", path(&run), "--out", path(&elsewhere)],
        3,
        &["reports/mine", "holds another run"],
    );
    succeed(&["report", "--run", path(&run)]);
    assert_eq!(std::fs::read_to_string(run.join("report.html")).unwrap(), report);

    fail(
        &["cv", "--config", path(&cohort.join("config.toml")), "--out", path(&run)],
        3,
        &["holds a run already", "--resume"],
    );
    fail(
        &["cv", "--config", path(&cohort.join("config.toml")), "--out", path(&run), "--resume"],
        3,
        &["is of another run", "protocol = \"paper\""],
    );
}

/// Every element of the page that names a place of `summary.json` shows the number there, rounded to the digits shown.
#[track_caller]
fn numbers_of_the_report_are_those_of(summary: &serde_json::Value, report: &str) {
    let mut places = BTreeMap::new();
    for element in report.split("data-summary=\"").skip(1) {
        let (place, rest) = element.split_once('"').unwrap();
        let shown = rest.split_once('>').and_then(|(_, rest)| rest.split_once('<')).unwrap().0;
        let value = summary.pointer(&format!("/{}", place.replace('.', "/"))).unwrap().as_f64();
        let (mantissa, exponent) = shown.split_once('e').unwrap_or((shown, "0"));
        let decimals = mantissa.split_once('.').map_or(0, |(_, decimals)| decimals.len() as i32);
        let half = 0.5 * 10_f64.powi(exponent.parse::<i32>().unwrap() - decimals);
        match (shown.parse::<f64>(), value) {
            (Ok(number), Some(value)) => {
                assert!((number - value).abs() <= half * (1.0 + 1e-9), "{place}: {shown}, not {value}");
            }
            (Err(_), None) => assert_eq!(shown, "–", "{place}"),
            (shown, value) => panic!("{place}: {shown:?} where summary.json has {value:?}"),
        }
        places.insert(place.to_owned(), shown.to_owned());
    }
    // Four counts, the test, three C-indices with mean, deviation and five folds, two of them with an interval.
    assert_eq!(places.len(), 4 + 2 + 3 * 7 + 2 * 2, "{places:?}");
}

/// The hashes of `environment.json` are those of the files of the run.
#[track_caller]
fn inputs_are_hashed(run: &Path, n_slides: usize) {
    let environment: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(run.join("environment.json")).unwrap()).unwrap();
    let inputs = environment["inputs"].as_array().unwrap();
    let hash_of = |what: &str| {
        let input = inputs.iter().find(|input| input["what"].as_str().unwrap().contains(what)).unwrap();
        input["sha256"].as_str().unwrap().to_owned()
    };
    for file in ["config.toml", "folds.json"] {
        let digest = sha2::Sha256::digest(std::fs::read(run.join(file)).unwrap());
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash_of(file), hex, "{file}");
    }
    assert_eq!(hash_of("clinical table").len(), 64);
    // One native bag per slide.
    assert_eq!(hash_of(&format!("names and sizes of {n_slides} feature files")).len(), 64);
}

#[test]
fn predictions_of_a_checkpoint_are_those_of_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 20);
    for precision in ["f32", "bf16", "f64"] {
        let run = dir.path().join(precision);
        cv(&cohort, &run, &["--folds", "1", "--set", &format!("training.precision={precision}")]);
        check_predictions_of_a_checkpoint(&cohort, &run);
    }
}

fn check_predictions_of_a_checkpoint(cohort: &Path, run: &Path) {
    let rows = std::fs::read_to_string(run.join("fold_1/predictions.csv")).unwrap();
    let mut reader = csv::Reader::from_reader(rows.as_bytes());
    let rows: Vec<BTreeMap<String, String>> = reader.deserialize().map(Result::unwrap).collect();
    assert!(!rows.is_empty());
    let checkpoint = run.join("fold_1/best.safetensors");
    let bags = cohort.join("bags");
    let target = |slide: &'static str| {
        vec![
            "--checkpoint",
            path(&checkpoint),
            "--features",
            path(&bags),
            "--backbone",
            "simulated",
            "--slide",
            slide,
        ]
    };
    let slide: &'static str = Box::leak(format!("{}.svs", rows[0]["slide_id"]).into_boxed_str());
    let mut arguments = vec!["predict", "--model", "crossfusion", "--json"];
    arguments.extend(target(slide));
    let prediction: serde_json::Value = serde_json::from_str(&succeed(&arguments)).unwrap();
    assert_eq!(prediction["risk"].as_f64().unwrap(), rows[0]["risk"].parse::<f64>().unwrap());
    assert_eq!(prediction["survival"][3].as_f64().unwrap(), rows[0]["s4"].parse::<f64>().unwrap());

    let mut arguments = vec!["grad", "--model", "crossfusion", "--time-bin", "2", "--event"];
    arguments.extend(target(slide));
    let gradients: serde_json::Value = serde_json::from_str(&succeed(&arguments)).unwrap();
    let norms = gradients["grad_norms"].as_object().unwrap();
    assert!(norms.len() > 100 && norms["cls_token"].as_f64().unwrap() > 0.0);
    let hazard = prediction["hazards"][2].as_f64().unwrap();
    let before = prediction["survival"][1].as_f64().unwrap();
    let loss = -(hazard.ln() + before.ln());
    assert!((gradients["loss"].as_f64().unwrap() - loss).abs() < 1e-9);

    let mut arguments = vec!["predict", "--model", "crossfusion-wo-cp"];
    arguments.extend(target(slide));
    fail(
        &arguments,
        3,
        &["best.safetensors", "holds weights of `crossfusion`, expected `crossfusion-wo-cp`"],
    );
}

/// The same checkpoint, of a model whose settings have `to` in place of `from`.
fn with_settings(checkpoint: &Path, from: &str, to: &str, copy: &Path) {
    let bytes = std::fs::read(checkpoint).unwrap();
    let (length, rest) = bytes.split_at(8);
    let (header, tensors) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
    let header = std::str::from_utf8(header).unwrap();
    assert_eq!(header.matches(from).count(), 1, "{header}");
    let mut header = header.replace(from, to);
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    let length = (header.len() as u64).to_le_bytes();
    std::fs::write(copy, [&length[..], header.as_bytes(), tensors].concat()).unwrap();
}

/// Predictions and gradients of a slide have no dropout, whatever its run had.
#[test]
fn dropout_that_a_run_kept_in_evaluation_is_off_for_a_single_slide() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 20);
    let run = dir.path().join("run");
    cv(&cohort, &run, &["--folds", "1", "--set", "model.attention_dropout_at_eval=true"]);
    let checkpoint = run.join("fold_1/best.safetensors");
    let plain = dir.path().join("plain.safetensors");
    let setting = |value: bool| format!(r#"attention_dropout_at_eval\":{value}"#);
    with_settings(&checkpoint, &setting(true), &setting(false), &plain);

    let rows = std::fs::read(run.join("fold_1/predictions.csv")).unwrap();
    let row: BTreeMap<String, String> =
        csv::Reader::from_reader(rows.as_slice()).deserialize().next().unwrap().unwrap();
    let bags = cohort.join("bags");
    let call = |command: &[&str], checkpoint: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_cf-train"))
            .args(command)
            .args(["--model", "crossfusion", "--backbone", "simulated", "--slide", &row["slide_id"]])
            .args(["--checkpoint", path(checkpoint), "--features", path(&bags)])
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        assert!(output.status.success(), "{}", text(output.stderr));
        (text(output.stdout), text(output.stderr))
    };
    for command in [&["predict", "--json"][..], &["grad", "--time-bin", "2", "--event"]] {
        assert_eq!(call(command, &checkpoint).0, call(command, &plain).0, "{command:?}");
    }
    let (prediction, warning) = call(&["predict", "--json"], &checkpoint);
    assert!(warning.contains("model.attention_dropout_at_eval"), "{warning}");
    assert!(!call(&["predict", "--json"], &plain).1.contains("attention_dropout_at_eval"));
    let prediction: serde_json::Value = serde_json::from_str(&prediction).unwrap();
    assert_ne!(prediction["risk"].as_f64().unwrap(), row["risk"].parse::<f64>().unwrap());
}

#[test]
fn a_run_that_is_not_finished_is_told_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 20);
    let run = dir.path().join("run");
    cv(&cohort, &run, &["--folds", "0,1", "--set", "training.max_epochs=1"]);
    let evaluate = || {
        Command::new(env!("CARGO_BIN_EXE_cf-train")).args(["evaluate", "--run", path(&run)]).output().unwrap()
    };
    let whole = evaluate();
    assert!(whole.status.success() && whole.stderr.is_empty(), "{}", String::from_utf8_lossy(&whole.stderr));

    std::fs::remove_file(run.join("fold_1/predictions.csv")).unwrap();
    std::fs::remove_file(run.join("summary.json")).unwrap();
    let part = evaluate();
    assert!(part.status.success());
    let warning = String::from_utf8_lossy(&part.stderr).into_owned();
    assert!(warning.contains("1 of 2 folds of this run are finished: without 1;"), "{warning}");
    fail(&["report", "--run", path(&run)], 3, &["no summary.json", "cf-train cv --resume"]);
}

#[test]
fn bags_of_another_encoder_are_told_from_bags_of_other_slides() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 20);
    let config = cohort.join("config.toml");
    let run = dir.path().join("run");
    let arguments = ["cv", "--config", path(&config), "--out", path(&run), "--set", "features.backbone=uni"];
    fail(&arguments, 3, &["no features of the encoder that features.backbone names", "wsi-bags inspect"]);
}

#[test]
fn models_are_listed_with_the_published_sizes() {
    let models: serde_json::Value = serde_json::from_str(&succeed(&["models", "--json"])).unwrap();
    let row = |name: &str| models.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone();
    assert_eq!(row("crossfusion")["parameters"], 24_536_584);
    assert_eq!(row("crossfusion-wo-cp")["parameters"], 25_147_908);
    assert_eq!(row("crossfusion-wo-fc")["parameters"], 9_730_564);
    assert_eq!(row("crossfusion-wo-fc")["magnifications"], serde_json::json!(["x20"]));
    assert_eq!(row("crossfusion")["mean_bag_bytes"], (895 + 3449 + 13_496) * 2048 * 4);
    assert_eq!(models.as_array().unwrap().len(), 13);
    assert_eq!(row("patchgcn")["needs"], serde_json::json!(["features", "coordinates"]));
    assert_eq!(row("zoommil")["magnifications"], serde_json::json!(["x5", "x10", "x20"]));
    for model in models.as_array().unwrap() {
        let (bag, step) = (&model["mean_bag_bytes"], &model["mean_step_bytes"]);
        assert!(step.as_u64() > bag.as_u64() && step.as_u64() < Some(8 << 30), "{model}");
    }
    fail(&["models", "--backbone-dim", "99999999999"], 2, &["1..=65536"]);
}

#[test]
fn the_inner_validation_part_selects_and_is_not_trained_on() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 40);
    let run = dir.path().join("run");
    cv(
        &cohort,
        &run,
        &["--folds", "0", "--set", "training.inner_validation=0.25", "--set", "training.max_epochs=4"],
    );
    let folds: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(run.join("folds.json")).unwrap()).unwrap();
    let ids = |part: &str| -> Vec<String> {
        let ids = folds["folds"][0][part].as_array().unwrap();
        ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    };
    let (train, inner, validation) = (ids("train"), ids("inner_validation"), ids("validation"));
    assert_eq!((train.len(), inner.len(), validation.len()), (24, 8, 8));
    assert!(inner.iter().all(|id| !train.contains(id) && !validation.contains(id)));
    let order = std::fs::read_to_string(run.join("fold_0/order.csv")).unwrap();
    assert!(inner.iter().all(|id| !order.contains(id.as_str())));
    assert!(train.iter().all(|id| order.matches(&format!(",{id}\n")).count() == 4));
}

/// The ids of a part of the folds of a simulated cohort.
fn ids_of(cohort: &Path, fold: usize, column: usize) -> Vec<String> {
    let text = std::fs::read_to_string(cohort.join(format!("splits/splits_{fold}.csv"))).unwrap();
    let cells = text.lines().skip(1).map(|line| line.split(',').nth(column).unwrap_or("").to_owned());
    cells.filter(|id| !id.is_empty()).collect()
}

/// Training on `train` does not depend on what chooses and what is reported, so runs that validate either part alone say what
/// the two columns of the history must be, to the last digit.
#[test]
fn the_part_val_chooses_the_epoch_and_the_part_test_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 40);
    let (test, val) = (ids_of(&cohort, 0, 2), ids_of(&cohort, 1, 2));
    let train: Vec<String> = ids_of(&cohort, 0, 1).into_iter().filter(|id| !val.contains(id)).collect();
    let mut all = "case_id\tfold_0\n".to_owned();
    for (part, ids) in [("train", &train), ("val", &val), ("test", &test)] {
        all.extend(ids.iter().map(|id| format!("{id}\t{part}\n")));
    }
    let folder = |name: &str| {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        dir.path().join(name)
    };
    let three = folder("three").join("k=all.tsv");
    std::fs::write(&three, all).unwrap();
    let alone = |name: &str, held_out: &[String]| {
        let mut text = ",train,val\n".to_owned();
        for row in 0..train.len().max(held_out.len()) {
            let cell = |ids: &[String]| ids.get(row).cloned().unwrap_or_default();
            text += &format!("{row},{},{}\n", cell(&train), cell(held_out));
        }
        let splits = folder(name);
        std::fs::write(splits.join("splits_0.csv"), text).unwrap();
        splits
    };
    let run = |name: &str, splits: &Path, more: &[&str]| {
        let run = dir.path().join(format!("run-{name}"));
        let splits = format!("cohort.splits={}", path(splits));
        cv(&cohort, &run, &[&["--set", &splits, "--set", "training.max_epochs=6"], more].concat());
        run
    };
    let chosen = run("chosen", &three, &["--set", "training.inner_validation=val"]);
    let (config, splits) = (cohort.join("config.toml"), format!("cohort.splits={}", path(&three)));
    let dry = ["cv", "--config", path(&config), "--set", &splits, "--set", "training.inner_validation=val"];
    let dry = succeed(&[&dry[..], &["--dry-run", "--out", path(&dir.path().join("dry"))]].concat());
    assert!(
        dry.contains(", choose the epoch on 8 slides of 8 patients, validate 8 slides of 8 patients"),
        "{dry}"
    );
    let on_test = run("test", &alone("test", &test), &[]);
    let on_val = run("val", &alone("val", &val), &[]);

    let column = |run: &Path, name: &str| -> Vec<String> {
        let mut history = csv::Reader::from_path(run.join("fold_0/history.csv")).unwrap();
        let rows = history.deserialize().map(|row: Result<BTreeMap<String, String>, _>| row.unwrap());
        rows.map(|row| row[name].clone()).collect()
    };
    for name in ["train_loss", "validation_loss", "validation_c_index"] {
        assert_eq!(column(&chosen, name), column(&on_test, name), "{name}");
    }
    let inner = column(&chosen, "inner_c_index");
    assert_eq!(inner, column(&on_val, "validation_c_index"));
    assert!(inner != column(&on_test, "validation_c_index"), "this shows nothing");

    // The first of the best, and not the last epoch: only then does the choice show.
    let scores: Vec<f64> = inner.iter().map(|score| score.parse().unwrap()).collect();
    let best = (0..scores.len()).rev().max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap();
    assert!(best + 1 < scores.len(), "this shows nothing: {scores:?}");
    let predictions =
        |run: &Path, name: &str| std::fs::read_to_string(run.join("fold_0").join(name)).unwrap();
    assert_eq!(predictions(&chosen, "predictions_last.csv"), predictions(&on_test, "predictions.csv"));
    assert!(predictions(&chosen, "predictions.csv") != predictions(&chosen, "predictions_last.csv"));
    let reported = predictions(&chosen, "predictions.csv");
    let reported: Vec<&str> = reported.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(sorted(reported), sorted(test.iter().map(String::as_str).collect()));
    let checkpoint = std::fs::read(chosen.join("fold_0/best.safetensors")).unwrap();
    assert!(String::from_utf8_lossy(&checkpoint).contains(&format!("\"epoch\":\"{}\"", best + 1)));

    let folds: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(chosen.join("folds.json")).unwrap()).unwrap();
    let fold = &folds["folds"][0];
    let ids = |key: &str| -> Vec<&str> {
        sorted(fold[key].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect())
    };
    assert_eq!(ids("inner_validation_patients"), sorted(val.iter().map(String::as_str).collect()));
    assert_eq!((ids("train").len(), ids("inner_validation").len(), ids("validation").len()), (24, 8, 8));
    let only_chose = folds["flow"][2]["dropped"].as_array().unwrap().iter();
    let only_chose: Vec<&serde_json::Value> = only_chose
        .filter(|dropped| dropped["reason"].as_str().unwrap().contains("chooses the epoch"))
        .collect();
    assert_eq!(only_chose.len(), 1);
    assert_eq!(only_chose[0]["ids"].as_array().unwrap().len(), 8);

    let report = std::fs::read_to_string(chosen.join("report.html")).unwrap();
    assert!(report.contains("The epoch is selected on the part val of each fold"), "{report}");
    assert!(!report.contains("% of the training patients, held out"), "{report}");
    let resolved = std::fs::read_to_string(chosen.join("config.toml")).unwrap();
    assert!(
        resolved.contains("inner_validation = \"val\"") && resolved.contains("evaluate = \"test\""),
        "{resolved}"
    );
    // What is written is read again, to the same run.
    cv(&chosen, &dir.path().join("again"), &[]);
    assert_eq!(
        predictions(&dir.path().join("again"), "predictions.csv"),
        predictions(&chosen, "predictions.csv")
    );
    let plain = std::fs::read_to_string(on_test.join("config.toml")).unwrap();
    assert!(plain.contains("inner_validation = 0.0") && plain.contains("evaluate = \"val\""), "{plain}");
}

fn sorted(mut ids: Vec<&str>) -> Vec<&str> {
    ids.sort_unstable();
    ids
}

/// A full disk or a closed pipe behind the log loses the log, and nothing else.
#[cfg(target_os = "linux")]
#[test]
fn a_log_that_cannot_be_written_ends_no_run() {
    let dir = tempfile::tempdir().unwrap();
    let config = cohort(dir.path(), 20).join("config.toml");
    let code = |arguments: &[&str]| {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cf-train"));
        command.args(arguments).stdout(std::process::Stdio::null()).stderr(full).status().unwrap().code()
    };
    let run = dir.path().join("run");
    for format in ["text", "json"] {
        let nothing = ["--log-format", format, "cv", "--config", "nothing.toml", "--out", path(&run)];
        assert_eq!(code(&nothing), Some(3), "{format}");
    }
    let whole =
        ["--log-format", "json", "cv", "--config", path(&config), "--out", path(&run), "--folds", "0"];
    assert_eq!(code(&whole), Some(0));
    assert!(run.join("report.html").is_file());
}

/// A checkpoint says which features it was trained on and what its time bins are, and `predict` holds the one against the bags and
/// shows the other.
#[test]
fn a_checkpoint_says_its_encoder_and_its_time_bins() {
    let dir = tempfile::tempdir().unwrap();
    let cohort = cohort(dir.path(), 20);
    let run = dir.path().join("run");
    cv(&cohort, &run, &["--folds", "1"]);
    let folds: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(run.join("folds.json")).unwrap()).unwrap();
    let fold = &folds["folds"][0];
    let slide = fold["validation"][0].as_str().unwrap();
    let weights = run.join("fold_1/best.safetensors");
    let predict = |weights: &Path, more: &[&str]| {
        let features = cohort.join("bags");
        let target = ["--checkpoint", path(weights), "--features", path(&features), "--slide", slide];
        let output = Command::new(env!("CARGO_BIN_EXE_cf-train"))
            .args(["predict", "--model", "crossfusion", "--backbone", "simulated"])
            .args(target)
            .args(more)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    let [json, said] = predict(&weights, &["--json"]);
    let prediction: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(prediction["time_bin_edges_months"], fold["time_bin_edges_months"]);
    assert_eq!(said, "");
    let [text, _] = predict(&weights, &[]);
    let edge = |at: usize| fold["time_bin_edges_months"][at].as_f64().unwrap();
    assert!(text.contains(&format!("  {:.1} to {:.1}\n", edge(1), edge(2))), "{text}");

    // The same weights, trained on features of a name as long.
    let bytes = std::fs::read(&weights).unwrap();
    let (from, to) = (br#""encoder":"simulated""#, br#""encoder":"otherwise""#);
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    let other = dir.path().join("other.safetensors");
    std::fs::write(&other, [&bytes[..at], to, &bytes[at + from.len()..]].concat()).unwrap();
    let [same, said] = predict(&other, &["--json"]);
    assert_eq!(same, json);
    assert!(said.contains("otherwise") && said.contains("another encoder"), "{said}");
}
