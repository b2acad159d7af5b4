//! Studies as clusters run them: lists of tasks, several processes at once, and the scripts that are emitted, executed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use support::{COHORT_TABLES, cf_train, cohort, fail, path, succeed};

/// A study of four tasks, planned; its path has what shells stumble over.
fn planned(dir: &Path, max_epochs: usize, more: &[&str]) -> PathBuf {
    cohort(dir, 24);
    let file = dir.join("study.toml");
    let text = format!(
        r#"
[study]
name = "Four tasks"
cohorts = ["cohort"]
models = ["amil", "dsmil"]
backbones = ["simulated"]
folds = [0, 1]
{COHORT_TABLES}[training]
protocol = "sound"
max_epochs = {max_epochs}
accumulation = 4
"#
    );
    std::fs::write(&file, text).unwrap();
    let out = dir.join("four tasks");
    succeed(&[&["study", "plan", path(&file), "--out", path(&out), "--cpus", "1"][..], more].concat());
    out
}

/// What `collect` says of the tasks, after the tables.
fn collected(out: &Path) -> String {
    let said = succeed(&["study", "collect", path(out)]);
    said[said.find(" of 4 tasks").unwrap() - 1..].to_owned()
}

fn wait_for_state(out: &Path, child: &mut Child) {
    let tasks = out.join("tasks");
    let has_state = || {
        let Ok(entries) = std::fs::read_dir(&tasks) else { return false };
        let folds = entries
            .flat_map(|entry| [0, 1].map(|fold| entry.as_ref().unwrap().path().join(format!("fold_{fold}"))));
        folds.into_iter().any(|fold| fold.join("state/position.json").is_file())
    };
    let deadline = Instant::now() + Duration::from_secs(120);
    while !has_state() && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "no task got going");
        std::thread::yield_now();
    }
}

/// The files by which processes say that they are at a task.
fn claims(out: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(out.join("tasks")) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "claim")).collect()
}

/// Waits until a process is at a task: where one was stopped before, its state is there already.
fn wait_for_claim(out: &Path, child: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while claims(out).is_empty() && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "no task was claimed");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn tasks_are_picked_by_lists_and_by_the_index_of_an_array() {
    let dir = tempfile::tempdir().unwrap();
    let out = planned(dir.path(), 1, &[]);
    succeed(&["study", "run", path(&out), "--index", "0,2-3"]);
    assert!(collected(&out).starts_with("3 of 4 tasks are finished, 1 waiting\n"), "{}", collected(&out));
    let program = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cf-train"));
        command.args(["--quiet", "study", "run", path(&out), "--index"]);
        command
    };
    let without = program().env_remove("SLURM_ARRAY_TASK_ID").output().unwrap();
    assert_eq!(without.status.code(), Some(2), "{}", said(&without));
    assert!(said(&without).contains("$SLURM_ARRAY_TASK_ID is not set"), "{}", said(&without));
    let index = program().env("SLURM_ARRAY_TASK_ID", "1").output().unwrap();
    assert!(
        index.status.success() && said(&index).contains("[1/1] cohort.amil.simulated.s7.f1-"),
        "{}",
        said(&index)
    );
    assert!(collected(&out).starts_with("4 of 4 tasks are finished\n"));
    succeed(&["study", "collect", path(&out), "--complete"]);
    for list in ["", "3-1", "a", "1,,2", "0-99999999999"] {
        fail(&["study", "run", path(&out), "--index", list], 2, &["expected positions of tasks"]);
    }
    fail(&["study", "run", path(&out), "--index", "3-4"], 2, &["less than 4"]);
    fail(&["study", "emit", path(&out), "--engine", "slurm"], 3, &["no task that is not finished"]);

    // A process that was killed between the last rename and its clearing up leaves what nobody needs.
    let names = |out: &Path| -> BTreeSet<PathBuf> {
        std::fs::read_dir(out.join("tasks")).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let before = names(&out);
    let task = before.first().unwrap();
    for left in ["claim", "failed.json"] {
        let file = std::fs::File::create(format!("{}.{left}", path(task))).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    }
    assert_eq!(names(&out).len(), before.len() + 2);
    succeed(&["study", "run", path(&out)]);
    assert_eq!(names(&out), before);
}

#[test]
fn a_task_that_another_process_is_at_is_left_alone_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let out = planned(dir.path(), 400, &[]);
    let mut first = Command::new(env!("CARGO_BIN_EXE_cf-train"))
        .args(["--quiet", "study", "run", path(&out), "--index", "0"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for_state(&out, &mut first);
    let pid = format!("process {}", first.id());
    let told =
        fail(&["study", "run", path(&out), "--index", "0"], 75, &["1 of 1 tasks are not finished", &pid]);
    assert!(told.contains("cohort.amil.simulated.s7.f0-"), "{told}");
    let running = collected(&out);
    assert!(running.contains("1 running, 3 waiting") && running.contains(&pid), "{running}");
    fail(&["study", "collect", path(&out), "--complete"], 75, &["4 tasks are missing", "(running)"]);
    // Killed, it holds nothing back.
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(collected(&out).contains("1 begun, 3 waiting"), "{}", collected(&out));
    let mut next = Command::new(env!("CARGO_BIN_EXE_cf-train"))
        .args(["--log-format", "json", "study", "run", path(&out), "--index", "0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let claim = || claims(&out).into_iter().find_map(|path| std::fs::read_to_string(path).ok());
    let deadline = Instant::now() + Duration::from_secs(120);
    let pid = format!("\"pid\":{},", next.id());
    while !claim().is_some_and(|text| text.contains(&pid)) && Instant::now() < deadline {
        assert!(next.try_wait().unwrap().is_none());
        std::thread::yield_now();
    }
    Command::new("kill").args(["-TERM", &next.id().to_string()]).status().unwrap();
    let stopped = next.wait_with_output().unwrap();
    assert_eq!(stopped.status.code(), Some(75));
    // Every line of the log is JSON, the error's too.
    let lines: Vec<serde_json::Value> = String::from_utf8(stopped.stderr)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let last = lines.last().unwrap();
    assert_eq!((&last["level"], &last["fields"]["exit_code"]), (&"ERROR".into(), &75.into()), "{last}");
    assert_eq!(claim(), None);
}

#[test]
fn what_another_process_gave_up_is_run_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let out = planned(dir.path(), 1, &[]);
    let plan: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("plan.json")).unwrap()).unwrap();
    let ids: Vec<&str> =
        plan["tasks"].as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap()).collect();
    let claim = out.join("tasks").join(format!("{}.claim", ids[0]));
    std::fs::create_dir_all(out.join("tasks")).unwrap();
    std::fs::write(&claim, r#"{"host":"elsewhere","pid":1,"heartbeat":0}"#).unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_cf-train"))
        .args(["--quiet", "study", "run", path(&out)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It was looked at when a later task is begun.
    let second = out.join("tasks").join(ids[1]);
    let partial = out.join("tasks").join(format!("{}.partial", ids[1]));
    let deadline = Instant::now() + Duration::from_secs(120);
    while !second.exists() && !partial.exists() && run.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "the second task did not begin");
        std::thread::yield_now();
    }
    std::fs::remove_file(&claim).unwrap();
    let output = run.wait_with_output().unwrap();
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("is run by another process: elsewhere, process 1"), "{said}");
    assert_eq!(said.matches(&format!("[1/4] {}", ids[0])).count(), 2, "{said}");
    assert!(collected(&out).starts_with("4 of 4 tasks are finished\n"));
}

#[test]
fn a_directory_in_the_place_of_a_task_is_refused_before_anything_is_trained() {
    let dir = tempfile::tempdir().unwrap();
    let out = planned(dir.path(), 1, &[]);
    succeed(&["study", "run", path(&out), "--index", "0"]);
    let tasks = std::fs::read_dir(out.join("tasks")).unwrap().map(|entry| entry.unwrap().path());
    let task = tasks.into_iter().find(|path| path.join("task.json").is_file()).unwrap();
    std::fs::remove_file(task.join("task.json")).unwrap();
    fail(&["study", "run", path(&out), "--index", "0"], 3, &["holds files and no task.json; move it away"]);
    let partial = task.with_file_name(format!("{}.partial", task.file_name().unwrap().to_str().unwrap()));
    assert!(!partial.exists());
    assert!(collected(&out).contains("1 failed, 3 waiting"), "{}", collected(&out));
    std::fs::remove_dir_all(&task).unwrap();
    succeed(&["study", "run", path(&out), "--index", "0"]);
}

/// Runs an emitted script as Slurm would: with the index of an element in its environment, in its directory.
fn element(out: &Path, list: &str, restarts: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["job.sbatch", list]).current_dir(out.join("slurm"));
    command.env("SLURM_ARRAY_TASK_ID", "0").env("SLURM_RESTART_COUNT", restarts);
    command
}

#[test]
fn the_scripts_for_slurm_run_a_study_and_stop_it_when_they_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let out = planned(dir.path(), 400, &["--job-minutes", "0"]);
    let emitted = succeed(&["study", "emit", path(&out), "--engine", "slurm"]);
    assert_eq!(emitted.matches("wrote ").count(), 4, "{emitted}");
    let read = |name: &str| std::fs::read_to_string(out.join("slurm").join(name)).unwrap();
    assert_eq!(read("jobs-1.txt"), "0\n1\n2\n3\n");
    let submit = read("submit.sh");
    for part in [
        "--array=0-3%$at_once --mem=1024M --time=00:",
        "--signal=B:USR1@9",
        "4 tasks in 4 jobs",
        "afterany:$after",
    ] {
        assert!(submit.contains(part), "`{part}` is not in: {submit}");
    }
    let job = read("job.sbatch");
    for part in ["#SBATCH --requeue", "#SBATCH --cpus-per-task=1", "four tasks'\n"] {
        assert!(job.contains(part), "`{part}` is not in: {job}");
    }
    assert!(!job.contains("gpu") && job.starts_with("#!/bin/bash\n"), "{job}");
    for script in ["submit.sh", "job.sbatch", "collect.sbatch"] {
        let checked = Command::new("bash").arg("-n").arg(out.join("slurm").join(script)).status().unwrap();
        assert!(checked.success(), "{script}");
    }

    // Told that its time is nearly over, after the last restart that it may have.
    for (signal, near_limit) in [("-USR1", true), ("-TERM", false)] {
        let mut child =
            element(&out, "jobs-1.txt", "50").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for_state(&out, &mut child);
        wait_for_claim(&out, &mut child);
        Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(75), "{signal} {near_limit}");
    }
    assert!(collected(&out).contains("1 begun, 3 waiting"), "{}", collected(&out));

    // With fewer epochs they come to their ends, and the rest is what is emitted then.
    let out = planned(&dir.path().join("again"), 1, &["--gpu"]);
    succeed(&["study", "emit", path(&out), "--engine", "slurm"]);
    let job = std::fs::read_to_string(out.join("slurm/job.sbatch")).unwrap();
    assert!(job.contains("#SBATCH --gres=gpu:1") && job.contains("--device cuda:0"), "{job}");
    succeed(&["study", "run", path(&out), "--index", "0,2"]);
    let file = dir.path().join("again/study.toml");
    succeed(&["study", "plan", path(&file), "--out", path(&out), "--cpus", "1"]);
    succeed(&["study", "emit", path(&out), "--engine", "slurm"]);
    // The list that may have been submitted stays as it was.
    let lists = ["jobs-1.txt", "jobs-2.txt"]
        .map(|name| std::fs::read_to_string(out.join("slurm").join(name)).unwrap());
    assert_eq!(lists, ["0-3\n", "1,3\n"]);
    let ran = element(&out, "jobs-2.txt", "0").output().unwrap();
    assert!(ran.status.success() && said(&ran).matches("C-index").count() == 2, "{}", said(&ran));
    let collected = Command::new("bash").arg(out.join("slurm/collect.sbatch")).output().unwrap();
    assert!(
        collected.status.success() && said(&collected).contains("4 of 4 tasks are finished"),
        "{}",
        said(&collected)
    );
}

#[test]
fn the_commands_of_the_workflows_run_a_study() {
    let dir = tempfile::tempdir().unwrap();
    let out = planned(dir.path(), 1, &[]);
    let program = env!("CARGO_BIN_EXE_cf-train");
    succeed(&["study", "emit", path(&out), "--engine", "nextflow", "--program", program]);
    let script = std::fs::read_to_string(out.join("nextflow/main.nf")).unwrap();
    let study = out.canonicalize().unwrap();
    for part in [
        "nextflow.enable.dsl = 2",
        &format!("params.cf_train = '{program}'"),
        &format!("params.study = '{}'", study.display()),
        "task.exitStatus == 75",
        "cpus 1\n",
    ] {
        assert!(script.contains(part), "`{part}` is not in: {script}");
    }
    assert!(out.join("nextflow/nextflow.config").is_file());
    // The shell's part of each process, with what Nextflow puts in.
    let blocks: Vec<String> = script.split("\"\"\"").skip(1).step_by(2).map(str::to_owned).collect();
    assert_eq!(blocks.len(), 2);
    let plan: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("plan.json")).unwrap()).unwrap();
    let jobs = plan["jobs"].as_array().unwrap();
    assert_eq!((jobs.len(), &jobs[0]["index"]), (1, &"0-3".into()));
    for block in blocks {
        let block = block
            .replace("${params.cf_train}", program)
            .replace("${params.study}", path(&study))
            .replace("${index}", jobs[0]["index"].as_str().unwrap())
            .replace("${task.cpus}", "1");
        assert!(!block.contains("${"), "{block}");
        let ran = Command::new("bash").args(["-euo", "pipefail", "-c", &block]).output().unwrap();
        assert!(ran.status.success(), "{block}\n{}", said(&ran));
    }
    assert!(collected(&out).starts_with("4 of 4 tasks are finished\n"));

    succeed(&["study", "emit", path(&out), "--engine", "snakemake"]);
    let snakefile = std::fs::read_to_string(out.join("snakemake/Snakefile")).unwrap();
    for part in
        [&format!("STUDY = Path(\"{}\")", study.display()), "threads: 1\n", "retries: 3", "--complete"]
    {
        assert!(snakefile.contains(part), "`{part}` is not in: {snakefile}");
    }
    let unknown = cf_train(&["study", "emit", path(&out), "--engine", "make"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(said(&unknown).contains("expected slurm, snakemake or nextflow"), "{}", said(&unknown));
}
