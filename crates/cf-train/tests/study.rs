//! Studies through the program: planned, run, interrupted, collected.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cf_train::study::{Resources, StudyPlan};
use serde_json::Value;
use support::{COHORT_TABLES, cf_train, fail, path, succeed};
use wsi_bags::{Magnification, native};

/// Two simulated cohorts and a study over them in `dir`; settings that train in a moment.
fn study(dir: &Path, more: &str) -> PathBuf {
    for (name, kind, seed) in [("one", "additive", "1"), ("two", "interaction", "2")] {
        let out = dir.join(name);
        let sizes = ["--patients", "20", "--scale", "0.004", "--backbone-dim", "12"];
        let mut arguments = vec!["simulate", "--kind", kind, "--seed", seed, "--out", path(&out)];
        arguments.extend(sizes);
        succeed(&arguments);
    }
    let file = dir.join("study.toml");
    write_study(&file, more);
    file
}

fn write_study(file: &Path, more: &str) {
    let text = format!(
        r#"
[study]
name = "Two cohorts"
cohorts = ["one", "two"]
models = ["crossfusion", "amil", "dsmil"]
backbones = ["simulated"]
seeds = [7, 8]
folds = [0, 1]

{COHORT_TABLES}
[training]
protocol = "sound"
max_epochs = 2
accumulation = 4

[models.crossfusion]
embed_dim = 8
num_heads = 2
{more}
"#
    );
    std::fs::write(file, text).unwrap();
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn plan_ids(file: &Path) -> Vec<String> {
    StudyPlan::new(file, Resources::default()).unwrap().0.tasks.into_iter().map(|task| task.id).collect()
}

/// Every file below a directory, but those that hold seconds or memory.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                dirs.push(path);
            } else if !["history.csv", "summary.json", "report.html"].contains(&name.as_str())
                && !name.starts_with("training-curves")
            {
                let bytes = std::fs::read(&path).unwrap();
                found.insert(path.strip_prefix(dir).unwrap().to_owned(), bytes);
            }
        }
    }
    found
}

/// A validated patient: months, whether the event was seen, risk. Simulated patients have one slide.
type Patient = (f64, bool, f64);

/// Validated patients of a run's folds 0 and 1, in the order of their names.
fn patients(out: &Path, run: &str) -> [Vec<Patient>; 2] {
    [0, 1].map(|fold| {
        let start = format!("{run}.f{fold}-");
        let mut entries = std::fs::read_dir(out.join("tasks")).unwrap().map(|entry| entry.unwrap().path());
        let task =
            entries.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&start)).unwrap();
        let mut rows: Vec<(String, Patient)> =
            csv::Reader::from_path(task.join(format!("fold_{fold}/predictions.csv")))
                .unwrap()
                .records()
                .map(|row| {
                    let row = row.unwrap();
                    (
                        row[0].to_owned(),
                        (row[3].parse().unwrap(), &row[4] == "event", row[5].parse().unwrap()),
                    )
                })
                .collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows.into_iter().map(|(_, patient)| patient).collect()
    })
}

/// For each patient the concordant and the comparable pairs that it is part of, a tie in risk being half a concordance.
fn pairs(patients: &[Patient]) -> Vec<[f64; 2]> {
    let mut sums = vec![[0.0; 2]; patients.len()];
    for (i, a) in patients.iter().enumerate() {
        for (j, b) in patients.iter().enumerate() {
            if i != j && a.1 && (b.0 > a.0 || (b.0 == a.0 && !b.1)) {
                let order = a.2 - b.2;
                let concordant = if order.abs() <= 1e-8 { 0.5 } else { f64::from(order > 0.0) };
                for k in [i, j] {
                    sums[k][0] += concordant;
                    sums[k][1] += 1.0;
                }
            }
        }
    }
    sums
}

/// Method minus reference over seeds 7 and 8: mean of fold C-indices, C-index over all pairs within folds, and its standard error
/// by the infinitesimal jackknife, `(A_i - C B_i) / B`, from the definition.
fn compared_pair_by_pair(out: &Path, method: &str, reference: &str) -> [f64; 3] {
    let (mut mean, mut difference, mut influence) = (0.0, 0.0, Vec::new());
    for seed in [7, 8] {
        for (run, sign) in [(method, 0.5), (reference, -0.5)] {
            let folds = patients(out, &format!("{run}.s{seed}")).map(|fold| pairs(&fold));
            let total = |fold: &Vec<[f64; 2]>, k: usize| fold.iter().map(|sums| sums[k]).sum::<f64>() / 2.0;
            mean += sign * folds.iter().map(|fold| total(fold, 0) / total(fold, 1)).sum::<f64>() / 2.0;
            let [a, b] = [0, 1].map(|k| folds.iter().map(|fold| total(fold, k)).sum::<f64>());
            difference += sign * a / b;
            influence.resize(folds.iter().map(Vec::len).sum(), 0.0);
            for (sum, of_patient) in influence.iter_mut().zip(folds.iter().flatten()) {
                *sum += sign * (of_patient[0] - a / b * of_patient[1]) / b;
            }
        }
    }
    [mean, difference, influence.iter().map(|x: &f64| x * x).sum::<f64>().sqrt()]
}

/// Mean and population deviation of values that are rounded to three decimals first, as the paper prints them.
fn printed(values: &[f64]) -> (String, String) {
    let rounded: Vec<f64> = values.iter().map(|value| format!("{value:.3}").parse().unwrap()).collect();
    let mean = rounded.iter().sum::<f64>() / rounded.len() as f64;
    let variance = rounded.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / rounded.len() as f64;
    (format!("{mean:.3}"), format!("{:.3}", variance.sqrt()))
}

#[test]
fn both_tables_and_the_report_have_the_numbers_of_the_tasks() {
    let dir = tempfile::tempdir().unwrap();
    let file = study(dir.path(), "");
    let out = dir.path().join("out");
    let planned = succeed(&["study", "plan", path(&file), "--out", path(&out)]);
    assert!(
        planned.contains("2 cohorts, 3 models, 1 encoders, 2 seeds: 12 runs, 24 tasks, 0 finished"),
        "{planned}"
    );
    let said = succeed(&["study", "run", path(&out)]);
    assert_eq!(said.matches("C-index").count(), 24, "{said}");
    assert!(said.contains("\n[24/24] two.dsmil.simulated.s8.f1-"), "{said}");
    let collected = succeed(&["study", "collect", path(&out)]);
    assert!(collected.contains("24 of 24 tasks are finished"), "{collected}");

    // What the tasks say.
    let plan = json(&out.join("plan.json"));
    // The study lists its seeds: none of them is a change to the protocol.
    let protocols: Vec<&str> =
        plan["runs"].as_array().unwrap().iter().map(|run| run["protocol"].as_str().unwrap()).collect();
    assert!(
        protocols.iter().all(|protocol| *protocol == protocols[0] && !protocol.contains("seed")),
        "{protocols:?}"
    );
    let mut of_cells: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
    for task in plan["tasks"].as_array().unwrap() {
        let summary = json(&out.join("tasks").join(task["id"].as_str().unwrap()).join("summary.json"));
        let cell = ["cohort", "model"].map(|key| summary[key].as_str().unwrap().to_owned());
        of_cells.entry(cell.into()).or_default().push(summary["c_index"]["folds"][0].as_f64().unwrap());
    }
    assert_eq!(of_cells.len(), 6);

    // What is made of it.
    let results = json(&out.join("study.json"));
    let table_1 = std::fs::read_to_string(out.join("tables/table1.csv")).unwrap();
    let table_2 = std::fs::read_to_string(out.join("tables/table2.csv")).unwrap();
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    for ((cohort, model), values) in &of_cells {
        assert_eq!(values.len(), 4);
        let cells = results["cells"].as_array().unwrap();
        let cell =
            cells.iter().find(|c| c["cohort"] == cohort.as_str() && c["model"] == model.as_str()).unwrap();
        let mean = values.iter().sum::<f64>() / 4.0;
        assert!((cell["c_index"]["mean"].as_f64().unwrap() - mean).abs() < 1e-12, "{cohort}, {model}");
        let interval = [0, 1].map(|end| cell["c_index"]["ci95"][end].as_f64().unwrap());
        assert!(interval[0] <= mean && mean <= interval[1], "{interval:?} {mean}");
        let name = BTreeMap::from([("crossfusion", "CrossFusion"), ("amil", "AMIL"), ("dsmil", "DSMIL")])
            [model.as_str()];
        let (mean, sd) = printed(values);
        assert!(
            table_1.contains(&format!(",{name},{cohort},{mean},{sd},")),
            "{name} {cohort} {mean} {sd}\n{table_1}"
        );
        assert!(report.contains(&format!("{mean} ({sd})")), "{name} {cohort} {mean} {sd}");
        if model == "crossfusion" {
            assert!(table_2.contains(&format!(",simulated,{cohort},{mean},{sd},")), "{table_2}");
        }
    }
    assert_eq!(table_1.matches(",best,").count(), 2, "{table_1}");
    for form in ["txt", "md", "tex"] {
        let text = std::fs::read_to_string(out.join(format!("tables/table1.{form}"))).unwrap();
        assert!(text.contains("2 seeds") && text.contains("4 values"), "{text}");
    }
    // Two models against the reference in each cohort.
    let comparisons = results["comparisons"].as_array().unwrap();
    assert_eq!(comparisons.len(), 4);
    for comparison in comparisons {
        assert_eq!(comparison["reference"], "crossfusion");
        let compared = &comparison["result"]["compared"];
        assert!(compared["p_holm"].as_f64() >= compared["p_value"].as_f64(), "{comparison}");
        assert_eq!((compared["n_folds"].as_u64(), compared["n_seeds"].as_u64()), (Some(2), Some(2)));
    }
    let compared = &comparisons[0];
    assert_eq!((&compared["cohort"], &compared["method"]), (&"one".into(), &"amil".into()));
    let found = ["mean_difference", "difference", "standard_error"]
        .map(|key| compared["result"]["compared"][key].as_f64().unwrap());
    let expected = compared_pair_by_pair(&out, "one.amil.simulated", "one.crossfusion.simulated");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
    for absent in ["<script", "http://", "https://", "url(", "NaN"] {
        let without_svg = report.replace("http://www.w3.org/2000/svg", "");
        assert!(!without_svg.contains(absent), "{absent}");
    }
    assert_eq!(report.matches("<svg").count(), 2);

    // A finished study is left as it is, and collecting it again changes nothing.
    let before = files(&out);
    let again = succeed(&["study", "run", path(&out)]);
    assert_eq!(again.matches("finished before").count(), 24, "{again}");
    succeed(&["study", "collect", path(&out)]);
    assert!(before == files(&out));

    // The folds of a run are those of `cv`, and so is what follows from them.
    let run = dir.path().join("run");
    let config = out.join("configs/one.crossfusion.simulated.s7.toml");
    succeed(&["cv", "--config", path(&config), "--folds", "0,1", "--out", path(&run)]);
    let summary = json(&run.join("summary.json"));
    let tasks =
        plan["tasks"].as_array().unwrap().iter().filter(|t| t["run"] == "one.crossfusion.simulated.s7");
    for (fold, task) in tasks.enumerate() {
        let predictions = format!("fold_{fold}/predictions.csv");
        let of_task =
            std::fs::read(out.join("tasks").join(task["id"].as_str().unwrap()).join(&predictions)).unwrap();
        assert!(of_task == std::fs::read(run.join(&predictions)).unwrap(), "fold {fold}");
    }
    let cell = &results["cells"][0];
    assert_eq!((&cell["cohort"], &cell["model"]), (&"one".into(), &"crossfusion".into()));
    assert_eq!(cell["log_rank"][0]["p_value"], summary["log_rank"]["p_value"]);
    for fold in 0..2 {
        assert_eq!(cell["folds"][fold]["patient_c_index"], summary["patient_c_index"]["folds"][fold]);
    }
}

#[test]
fn a_task_is_named_by_its_settings_and_data_and_by_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let file = study(dir.path(), "");
    let ids = plan_ids(&file);
    assert_eq!(ids.len(), 24);
    assert!(ids.is_sorted(), "{ids:?}");
    assert_eq!(plan_ids(&file), ids);
    let hash = |id: &str| id.rsplit_once('-').unwrap().1.to_owned();
    let n_changed = |now: &[String]| ids.iter().zip(now).filter(|(a, b)| a != b).count();

    // What changes no number changes no name: where the study lies, and how much memory it may use.
    let moved = tempfile::tempdir().unwrap();
    let copied =
        Command::new("cp").arg("-r").arg(dir.path()).arg(moved.path().join("moved")).status().unwrap();
    assert!(copied.success());
    assert_eq!(plan_ids(&moved.path().join("moved/study.toml")), ids);
    write_study(&file, "training.memory_budget = \"3 GiB\"");
    assert_eq!(plan_ids(&file), ids);

    // A setting of one model changes the tasks of that model.
    write_study(&file, "dropout = 0.25");
    let now = plan_ids(&file);
    assert_eq!(n_changed(&now), 8);
    assert!(ids.iter().zip(&now).all(|(a, b)| (a == b) != a.contains(".crossfusion.")));
    write_study(&file, "");

    // An outcome, a fold and a bag change the tasks of their cohort.
    let clinical = dir.path().join("one/clinical.csv");
    let text = std::fs::read_to_string(&clinical).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let cells: Vec<&str> = text.lines().nth(1).unwrap().split(',').collect();
    lines[1] = format!("{},{},{},{}", cells[0], cells[1], cells[2].parse::<f64>().unwrap() + 0.5, cells[3]);
    std::fs::write(&clinical, lines.join("\n")).unwrap();
    assert_eq!(n_changed(&plan_ids(&file)), 12);
    // A column that nothing reads does not.
    let wider: Vec<String> = text.lines().map(|line| format!("{line},x")).collect();
    std::fs::write(&clinical, wider.join("\n")).unwrap();
    assert_eq!(n_changed(&plan_ids(&file)), 0);

    let split = dir.path().join("two/splits/splits_1.csv");
    let original = std::fs::read_to_string(&split).unwrap();
    let without_last: Vec<&str> = original.lines().collect();
    std::fs::write(&split, without_last[..without_last.len() - 1].join("\n")).unwrap();
    let now = plan_ids(&file);
    assert_eq!(n_changed(&now), 6);
    assert!(ids.iter().zip(&now).all(|(a, b)| (a == b) != (a.starts_with("two.") && a.contains(".f1-"))));
    std::fs::write(&split, original).unwrap();

    let three = dir.path().join("three");
    let sizes = ["--patients", "20", "--scale", "0.004", "--backbone-dim", "12"];
    let mut arguments = vec!["simulate", "--kind", "interaction", "--seed", "3", "--out", path(&three)];
    arguments.extend(sizes);
    succeed(&arguments);
    let bag =
        std::fs::read_dir(three.join("bags")).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    std::fs::copy(&bag, dir.path().join("two/bags").join(bag.file_name().unwrap())).unwrap();
    assert_eq!(n_changed(&plan_ids(&file)), 12);

    // Features of another encoder in the same files do not.
    let bags = std::fs::read_dir(dir.path().join("one/bags")).unwrap().map(|entry| entry.unwrap().path());
    for bag in bags {
        let features = native::read(&bag, "simulated", &Magnification::ALL).unwrap();
        native::add_features(&bag, &features, "another").unwrap();
    }
    assert_eq!(n_changed(&plan_ids(&file)), 12);

    // Names are names of files, and hashes differ between all tasks.
    let hashes: std::collections::BTreeSet<String> = ids.iter().map(|id| hash(id)).collect();
    assert_eq!(hashes.len(), 24);
    assert!(ids.iter().all(|id| id.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))));
}

#[test]
fn a_study_stopped_by_sigterm_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let file = study(dir.path(), "training.max_epochs = 9");
    let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
    for out in [&whole, &parts] {
        succeed(&["study", "plan", path(&file), "--out", path(out)]);
    }
    let task = plan_ids(&file).into_iter().find(|id| id.starts_with("one.crossfusion.")).unwrap();
    succeed(&["study", "run", path(&whole), "--task", &task]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_cf-train"))
        .args(["--quiet", "study", "run", path(&parts), "--task", &task])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let partial = parts.join(format!("tasks/{task}.partial"));
    let state = partial.join("fold_0/state/position.json");
    let deadline = Instant::now() + Duration::from_secs(120);
    while !state.is_file() && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "the task did not get going");
        std::thread::yield_now();
    }
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(75));
    assert!(partial.is_dir() && !parts.join(format!("tasks/{task}")).exists());
    let collected = succeed(&["study", "collect", path(&parts)]);
    assert!(collected.contains(&format!("begun    {task}")), "{collected}");

    succeed(&["study", "run", path(&parts), "--task", &task]);
    assert!(!partial.exists());
    let [whole, parts] = [whole, parts].map(|out| files(&out.join("tasks").join(&task)));
    assert!(whole.len() > 5);
    assert_eq!(whole.keys().collect::<Vec<_>>(), parts.keys().collect::<Vec<_>>());
    let differing: Vec<&PathBuf> = whole.keys().filter(|name| whole[*name] != parts[*name]).collect();
    assert!(differing.is_empty(), "{differing:?}");
}

#[test]
fn a_task_that_fails_is_told_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let budget = "[models.dsmil]\ntraining.memory_budget = \"2 MiB\"";
    let file = study(dir.path(), budget);
    let text = std::fs::read_to_string(&file).unwrap();
    let smaller = |text: &str| text.replace("[\"one\", \"two\"]", "[\"one\"]").replace("[7, 8]", "[7]");
    std::fs::write(&file, smaller(&text)).unwrap();
    let out = dir.path().join("out");
    succeed(&["study", "plan", path(&file), "--out", path(&out)]);
    let output = cf_train(&["study", "run", path(&out)]);
    // That of a bag that does not fit.
    assert_eq!(output.status.code(), Some(4));
    let (said, told) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!((said.matches("C-index").count(), said.matches("failed: ").count()), (4, 0), "{said}");
    assert_eq!(told.matches("/6] one.dsmil.simulated.s7.f").count(), 2, "{told}");
    assert!(told.contains("2 of 6 tasks failed") && told.contains("memory budget"), "{told}");
    let collected = succeed(&["study", "collect", path(&out)]);
    assert!(collected.contains("4 of 6 tasks are finished"), "{collected}");
    assert!(collected.contains("failed   one.dsmil.simulated.s7.f0-"), "{collected}");
    assert!(
        collected.contains("the memory budget is 2.0 MiB") || collected.contains("memory budget"),
        "{collected}"
    );
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("2 of 6 tasks are missing") && report.contains("memory budget"));

    // What changes behind the plan's back is refused.
    let config = out.join("configs/one.dsmil.simulated.s7.toml");
    let planned = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, planned.replace("alpha = 0.2", "alpha = 0.3")).unwrap();
    let changed = "its settings are not those that were planned";
    fail(&["study", "run", path(&out), "--task", "one.dsmil.simulated.s7.f0"], 3, &[changed]);

    // With the budget mended the plan keeps what is finished.
    std::fs::write(&file, smaller(&text.replace(budget, ""))).unwrap();
    let planned = succeed(&["study", "plan", path(&file), "--out", path(&out)]);
    assert!(planned.contains("6 tasks, 4 finished"), "{planned}");
    let said = succeed(&["study", "run", path(&out)]);
    assert_eq!((said.matches("C-index").count(), said.matches("finished before").count()), (2, 4), "{said}");
    let collected = succeed(&["study", "collect", path(&out)]);
    assert!(collected.contains("6 of 6 tasks are finished") && !collected.contains("failed"), "{collected}");
}

#[test]
fn what_is_finished_is_collected_at_any_time() {
    let dir = tempfile::tempdir().unwrap();
    let file = study(dir.path(), "");
    let out = dir.path().join("out");
    fail(&["study", "collect", path(&out)], 3, &["found no plan.json"]);
    succeed(&["study", "plan", path(&file), "--out", path(&out)]);
    let collected = succeed(&["study", "collect", path(&out)]);
    assert!(collected.contains("0 of 24 tasks are finished"), "{collected}");
    assert_eq!(collected.matches("  waiting ").count(), 24, "{collected}");

    succeed(&["study", "run", path(&out), "--index", "0"]);
    succeed(&["study", "run", path(&out), "--task", "one.crossfusion.simulated.s7.f0"]);
    let collected = succeed(&["study", "collect", path(&out)]);
    assert!(collected.contains("2 of 24 tasks are finished"), "{collected}");
    // Shown, and not compared as if all folds were there.
    assert_eq!(collected.matches('\u{2020}').count(), 3 + 2, "{collected}");
    let results = json(&out.join("study.json"));
    for comparison in results["comparisons"].as_array().unwrap() {
        assert_eq!(comparison["result"]["undefined"], "not all folds and seeds of both are there");
    }
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(!report.contains("significantly"), "a claim of half a study");

    // A task whose files were damaged since is missing, too, and says how it is made again.
    let begins = "one.crossfusion.simulated.s7.f0";
    let id = plan_ids(&file).into_iter().find(|id| id.starts_with(begins)).unwrap();
    let task = out.join("tasks").join(&id);
    std::fs::write(task.join("folds.json"), "").unwrap();
    let collected = succeed(&["study", "collect", path(&out)]);
    assert!(collected.contains("1 of 24 tasks are finished"), "{collected}");
    let damaged = format!("  damaged  {id}: ");
    let way_out = format!("remove {} and run the task again", task.display());
    assert!(collected.contains(&damaged) && collected.contains(&way_out), "{collected}");
    std::fs::remove_dir_all(&task).unwrap();
    succeed(&["study", "run", path(&out), "--task", &id]);
    let collected = succeed(&["study", "collect", path(&out)]);
    assert!(collected.contains("2 of 24 tasks are finished"), "{collected}");
    fail(&["study", "run", path(&out), "--index", "24"], 2, &["less than 24"]);
    fail(&["study", "run", path(&out), "--task", "one"], 3, &["has 12 tasks that begin with `one`"]);
}

/// Whole seconds and the peak of memory differ from process to process.
fn without_cost(summary: &Path) -> Value {
    let mut summary = json(summary);
    for key in ["wall_seconds", "peak_rss_bytes"] {
        assert!(summary.as_object_mut().unwrap().remove(key).unwrap().as_f64().unwrap() > 0.0, "{key}");
    }
    summary
}

#[test]
fn the_folds_of_a_run_become_the_run_that_cv_makes() {
    let dir = tempfile::tempdir().unwrap();
    // Folds 0 and 1 of five: slides that only other folds validate are part of the cohort flow.
    let file = study(dir.path(), "");
    let at = |name: &str| dir.path().join(name);
    let (out, runs) = (at("out"), at("runs"));
    succeed(&["study", "plan", path(&file), "--out", path(&out)]);
    let name = "one.crossfusion.simulated.s7";
    let assemble = ["study", "assemble", path(&out), "--out", path(&runs)];
    fail(&assemble, 75, &["24 tasks are missing"]);
    succeed(&["study", "run", path(&out), "--task", &format!("{name}.f0")]);
    let one = cf_train(&[&assemble[..], &["--json", "--run", "one.crossfusion"]].concat());
    assert_eq!(one.status.code(), Some(75), "asked for, and not there");
    let listed: Value = serde_json::from_slice(&one.stdout).unwrap();
    let counts =
        |at: usize| [&listed[at]["n_finished"], &listed[at]["n_planned"]].map(|n| n.as_u64().unwrap());
    assert_eq!((listed.as_array().unwrap().len(), counts(0), counts(1)), (2, [1, 2], [0, 2]));
    assert_eq!((&listed[0]["directory"], listed[0]["missing"].as_array().unwrap().len()), (&Value::Null, 1));
    assert!(!runs.exists());

    succeed(&["study", "run", path(&out), "--task", &format!("{name}.f1")]);
    let said = succeed(&assemble);
    let run = runs.join(name);
    assert!(said.contains(&format!("{}  2 folds, C-index 0.", run.display())), "{said}");
    assert_eq!(said.matches("left out: ").count(), 11, "{said}");
    let whole = at("whole");
    let config = out.join(format!("configs/{name}.toml"));
    succeed(&["cv", "--config", path(&config), "--folds", "0,1", "--out", path(&whole)]);
    let (found, wanted) = (files(&run), files(&whole));
    assert!(found.keys().eq(wanted.keys()), "{:?} {:?}", found.keys(), wanted.keys());
    for (file, bytes) in &wanted {
        assert!(found[file] == *bytes, "{}", file.display());
    }
    assert_eq!(without_cost(&run.join("summary.json")), without_cost(&whole.join("summary.json")));

    // It is a run: what reads runs reads it, and another call finds nothing to do.
    let applied = at("applied");
    let features = at("one/bags");
    succeed(&["apply", "--run", path(&run), "--features", path(&features), "--out", path(&applied)]);
    succeed(&["cv", "--config", path(&config), "--folds", "0,1", "--out", path(&run), "--resume"]);
    succeed(&assemble);
    assert!(files(&run) == wanted);
    // A call that was killed goes on, and what it left half done is gone.
    for file in ["fold_1/predictions.csv", "fold_0/best.safetensors", "report.html"] {
        std::fs::remove_file(run.join(file)).unwrap();
    }
    for left in ["fold_1/train.csv.999999-3.tmp", "figures/auc.svg.999999-4.tmp"] {
        std::fs::write(run.join(left), "").unwrap();
    }
    succeed(&assemble);
    assert!(files(&run) == wanted && run.join("report.html").is_file());

    // A run of which a task is damaged fails, and the others are assembled.
    let other = "two.amil.simulated.s7";
    for fold in ["f0", "f1"] {
        succeed(&["study", "run", path(&out), "--task", &format!("{other}.{fold}")]);
    }
    let id = plan_ids(&file).into_iter().find(|id| id.starts_with(&format!("{name}.f0"))).unwrap();
    let task = out.join("tasks").join(id);
    let both = at("both");
    let assemble_both = ["study", "assemble", path(&out), "--out", path(&both)];
    for damaged in ["summary.json", "fold_0/last.safetensors"] {
        let kept = std::fs::read(task.join(damaged)).unwrap();
        std::fs::remove_file(task.join(damaged)).unwrap();
        fail(&assemble_both, 3, &["1 of 12 runs", name, "remove this directory and run the task again"]);
        assert!(both.join(other).join("report.html").is_file());
        std::fs::remove_dir_all(&both).unwrap();
        std::fs::write(task.join(damaged), kept).unwrap();
    }

    // The study's own files are not written to by what happens to the copy, and other runs are not touched.
    let id = plan_ids(&file).into_iter().find(|id| id.starts_with(&format!("{name}.f1"))).unwrap();
    let task = out.join("tasks").join(id).join("fold_1");
    let before = files(&task);
    let predictions = run.join("fold_1/predictions.csv");
    let text = std::fs::read_to_string(&predictions).unwrap();
    std::fs::write(&predictions, text.replacen("0.", "0.5", 1)).unwrap();
    assert!(files(&task) == before);
    fail(&assemble, 3, &["fold_1", "is not what the study trained", "choose another --out"]);
    fail(&["study", "assemble", path(&out), "--out", path(&runs), "--run", "won"], 3, &["has no run `won`"]);
    std::fs::remove_dir_all(&run).unwrap();
    std::fs::create_dir(&run).unwrap();
    std::fs::write(run.join("notes.txt"), "mine").unwrap();
    fail(&assemble, 3, &["is not empty and holds no run"]);
}

#[test]
fn a_plan_that_was_cut_off_is_made_again_in_the_same_directory() {
    let dir = tempfile::tempdir().unwrap();
    let file = study(dir.path(), "");
    let out = dir.path().join("out");
    succeed(&["study", "plan", path(&file), "--out", path(&out)]);
    let whole = files(&out);
    // The plan is written last.
    std::fs::rename(out.join("plan.json"), out.join("plan.json.4711-2.tmp")).unwrap();
    std::fs::remove_file(out.join("configs/two.amil.simulated.s8.toml")).unwrap();
    succeed(&["study", "plan", path(&file), "--out", path(&out)]);
    std::fs::remove_file(out.join("plan.json.4711-2.tmp")).unwrap();
    assert!(files(&out) == whole);
    std::fs::rename(out.join("plan.json"), out.join("plan.json.old")).unwrap();
    fail(&["study", "plan", path(&file), "--out", path(&out)], 3, &["is not empty and holds no study"]);
}

#[test]
fn a_plan_overwrites_no_study_file_of_its_user() {
    let dir = tempfile::tempdir().unwrap();
    let file = study(dir.path(), "");
    let out = dir.path().join("out");
    let plan = |text: &str| fail(&["study", "plan", path(&file), "--out", path(&out)], 3, &[text]);
    std::fs::create_dir(&out).unwrap();
    let mine = out.join("study.toml");
    std::fs::write(&mine, "# my study\n").unwrap();
    plan("is not empty and holds no study");
    std::fs::create_dir(out.join("tasks")).unwrap();
    plan("is of another study");
    assert_eq!(std::fs::read_to_string(&mine).unwrap(), "# my study\n");
    std::fs::copy(&file, &mine).unwrap();
    succeed(&["study", "plan", path(&file), "--out", path(&out)]);
}

#[test]
fn tasks_run_on_where_nobody_reads_what_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let file = study(dir.path(), "");
    let out = dir.path().join("out");
    succeed(&["study", "plan", path(&file), "--out", path(&out)]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_cf-train"))
        .args(["--quiet", "study", "run", path(&out), "--index", "4-6"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let collected = succeed(&["study", "collect", path(&out)]);
    assert!(collected.contains("3 of 24 tasks are finished"), "{collected}");

    // A disk that is full behind stdout is told of, where what is printed is all there is.
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let code = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cf-train"));
        command.arg("--quiet").args(arguments).stdout(full()).status().unwrap().code()
    };
    assert_eq!(code(&["models"]), Some(75));
    assert_eq!(code(&["study", "run", path(&out), "--index", "4-6"]), Some(0));
}

#[test]
fn a_study_that_cannot_run_is_refused_with_every_fault() {
    let dir = tempfile::tempdir().unwrap();
    let file =
        study(dir.path(), "[models.dsmil]\nvalue_dropout = 1.5\n[cohorts.two]\nclinical = \"three.csv\"");
    let out = dir.path().join("out");
    let told = fail(
        &["study", "plan", path(&file), "--out", path(&out)],
        3,
        &["the study cannot run", "value_dropout"],
    );
    assert!(told.contains("one, dsmil, simulated and 1 more"), "{told}");
    write_study(&file, "[cohorts.two]\nclinical = \"three.csv\"\n[cohorts.one]\nsplits = \"nowhere\"");
    fail(&["study", "plan", path(&file), "--out", path(&out)], 3, &["three.csv", "nowhere", "and 2 more"]);
    assert!(!out.exists());

    for (more, texts) in [
        ("[models.dsmill]\nvalue_dropout = 0.1", &["[models.dsmill] suits none", "`dsmil`"][..]),
        ("[models.dsmil]\nvalue_dropuot = 0.1", &["[models.dsmil]", "`model.value_dropout`", "line "]),
        ("[models.dsmil]\ntraining.max_epoch = 1", &["`training.max_epochs`"]),
        ("[cohorts.one]\nclinical = \"{cohrt}.csv\"", &["`{cohrt}.csv`", "{cohort}"]),
        ("[model]\nname = \"amil\"", &["no section [model]", "study.models"]),
        ("[cohrts.one]\nclinical = \"x\"", &["unknown section `cohrts`", "`cohorts`"]),
        (
            "[models.amil]\ntraining.inner_validation = \"val\"",
            &[
                "crossfusion reports the part val",
                "amil the part test, as it chooses its epoch on val",
                "evaluate = \"test\"",
            ],
        ),
    ] {
        write_study(&file, more);
        fail(&["study", "plan", path(&file), "--out", path(&out)], 3, texts);
    }
    write_study(&file, "");
    let text = std::fs::read_to_string(&file).unwrap();
    for (from, to, texts) in [
        ("\"dsmil\"", "\"dsmill\"", &["`dsmill`, which is no model", "`dsmil`", "[models.dsmill]"][..]),
        ("\"dsmil\"", "\"amil\"", &["study.models lists `amil` twice"]),
        ("seeds = [7, 8]", "seeds = [7, -8]", &["study.seeds is [7, -8]"]),
        ("folds = [0, 1]", "folds = [0, 9]", &["fold 9 was asked for"]),
        ("folds = [0, 1]", "fold = [0, 1]", &["unknown key `study.fold`", "`study.folds`"]),
        ("folds = [0, 1]", "reference = \"csmil\"", &["study.reference names `csmil`"]),
        ("name = \"Two cohorts\"", "", &["study.name is missing"]),
    ] {
        std::fs::write(&file, text.replace(from, to)).unwrap();
        fail(&["study", "plan", path(&file), "--out", path(&out)], 3, texts);
    }
}

#[test]
fn table_2_compares_encoders_and_rows_may_be_settings_of_one_model() {
    let dir = tempfile::tempdir().unwrap();
    let file = study(
        dir.path(),
        "[backbones.again]\nbackbone = \"simulated\"\n[models.variant]\nname = \"amil\"\nform = \"survival\"",
    );
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text
        .replace("[\"crossfusion\", \"amil\", \"dsmil\"]", "[\"variant\", \"amil\"]")
        .replace("[models.crossfusion]\nembed_dim = 8\nnum_heads = 2\n", "")
        .replace(
            "[\"simulated\"]",
            "[\"simulated\", \"again\"]\nbackbone_models = [\"amil\"]\nreference = \"best\"",
        )
        .replace("seeds = [7, 8]", "seeds = [7]");
    std::fs::write(&file, text).unwrap();
    let out = dir.path().join("out");
    let planned = succeed(&["study", "plan", path(&file), "--out", path(&out)]);
    // Two models on the first encoder, one of them on the second, in two cohorts with two folds.
    assert!(planned.contains("6 runs, 12 tasks"), "{planned}");
    succeed(&["study", "run", path(&out)]);
    succeed(&["study", "collect", path(&out)]);
    let table_1 = std::fs::read_to_string(out.join("tables/table1.txt")).unwrap();
    assert!(table_1.contains("AMIL ") && table_1.contains("variant"), "{table_1}");
    let table_2 = std::fs::read_to_string(out.join("tables/table2.txt")).unwrap();
    assert!(table_2.contains("C-index of AMIL by encoder") && table_2.contains("Mean"), "{table_2}");
    // The same features under two names: the same numbers, which share their marks.
    let rows: Vec<&str> =
        table_2.lines().filter(|line| line.starts_with("simulated") || line.starts_with("again")).collect();
    assert_eq!(rows.len(), 2, "{table_2}");
    assert_eq!(rows[0].trim_start_matches("simulated").trim(), rows[1].trim_start_matches("again").trim());
    assert_eq!(table_2.matches('\u{b9}').count(), 6 + 1, "{table_2}");
    let results = json(&out.join("study.json"));
    let of_encoders = results["comparisons"].as_array().unwrap().iter().filter(|c| c["of"] == "backbones");
    for comparison in of_encoders {
        assert!(comparison["result"]["undefined"].as_str().is_some(), "{comparison}");
    }
}
