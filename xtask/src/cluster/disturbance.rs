//! What happens to jobs: cancelled, queued again, killed, out of disk, out of time. Then what is missing is submitted again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::daemons::Slurm;
use super::small_study::{SmallStudy, Task, last_lines};
use super::wait_for;
use crate::failure::Failure;
use crate::step::Step;

const STUDY: &str = "slurm";

/// Bytes of the small disk: less than a task's state takes.
const SMALL_DISK: &str = "size=64k";

/// A disk that is full, where a task keeps its fold.
struct SmallDisk {
    path: PathBuf,
}

/// The study's tasks by what is done to them.
struct Victims<'a> {
    cancelled: (usize, &'a Task),
    requeued: (usize, &'a Task),
    killed: (usize, &'a Task),
    without_disk: (usize, &'a Task),
    out_of_time: (usize, &'a Task),
}

/// Runs the study as an array under disturbances, and again what is missing then.
pub(super) fn run(study: &SmallStudy, slurm: &Slurm) -> Result<(), Failure> {
    let tasks = study.plan(STUDY, &["--job-minutes", "0"])?;
    let victims = Victims::among(&tasks)?;
    let folder = study.folder.join(STUDY);
    study.emit(STUDY, "slurm")?;
    edit_notice(&folder.join("slurm/submit.sh"))?;
    let (_, task) = victims.without_disk;
    let disk = SmallDisk::mount(&folder.join(format!("tasks/{}.partial/fold_{}", task.id, task.fold)))?;

    let submitted = submit(study, slurm, "first")?;
    let elements = elements(&folder.join("slurm"), &submitted)?;
    let element = |(index, _): (usize, &Task)| elements.get(&index).map_or("none", String::as_str);
    // Slurm counts in minutes; the task takes longer than one.
    slurm
        .command(
            "scontrol",
            &["update", &format!("JobId={}", element(victims.out_of_time)), "TimeLimit=00:01:00"],
        )
        .run()?;
    // Each as soon as its task has something to go on from.
    let mut awaited = vec![
        ("scancel", victims.cancelled),
        ("scontrol requeue", victims.requeued),
        ("kill -9", victims.killed),
    ];
    wait_for("tasks with a state", || {
        for index in (0..awaited.len()).rev() {
            let (what, victim) = awaited[index];
            let Some(pid) = process_at(&folder, victim.1) else { continue };
            match what {
                "scancel" => slurm.command("scancel", &[element(victim)]).run()?,
                "kill -9" => Step::new(&folder, "kill", &["-9", &pid]).run()?,
                _ => slurm.command("scontrol", &["requeue", element(victim)]).run()?,
            }
            println!("{what}: {}", victim.1.id);
            awaited.remove(index);
        }
        Ok(awaited.is_empty().then_some(()))
    })?;
    println!("full disk: {}", victims.without_disk.1.id);
    wait_for("the end of the array", || Ok(slurm.queue()?.is_empty().then_some(())))?;

    // The dependent job has collected; what it says is what a person sees next.
    let collected = study.cf_train(&["study", "collect", STUDY]).stdout()?;
    let said = last_lines(&collected, 4);
    print!("{said}");
    let missing = [("begun", victims.cancelled), ("begun", victims.killed), ("failed", victims.without_disk)];
    for (state, (_, task)) in missing {
        if !said.contains(&format!("{state:<8} {}", task.id)) {
            return Err(Failure::new(format!("expected {} to be {state}", task.id)));
        }
    }
    if !said.contains("No space left on device") || !said.contains("21 of 24 tasks are finished") {
        return Err(Failure::new("expected 21 tasks, and a full disk among the reasons"));
    }
    let log = read(&folder.join(format!("slurm/logs/{}.log", element(victims.out_of_time))))?;
    let n_cut = log.matches("near the time limit: queued again").count();
    println!("{}: cut by its time limit {n_cut} times", victims.out_of_time.1.id);
    if n_cut == 0 {
        return Err(Failure::new("the task's time limit did not cut it"));
    }

    disk.make_room()?;
    study.emit(STUDY, "slurm")?;
    submit(study, slurm, "second")?;
    wait_for("the end of what was missing", || Ok(slurm.queue()?.is_empty().then_some(())))?;
    print!("{}", last_lines(&study.collect(STUDY)?, 1));
    disk.keep_what_is_on_it(&folder.join(format!("tasks/{}/fold_{}", task.id, task.fold)))
}

impl<'a> Victims<'a> {
    fn among(tasks: &'a [Task]) -> Result<Self, Failure> {
        let find = |start: &str| {
            let found = tasks.iter().enumerate().find(|(_, task)| task.id.starts_with(start));
            found.ok_or_else(|| Failure::new(format!("the plan has no task {start}")))
        };
        Ok(Self {
            cancelled: find("additive.crossfusion.simulated.s7.f0")?,
            requeued: find("additive.crossfusion-wo-fc.simulated.s7.f0")?,
            killed: find("additive.crossfusion-wo-fc.simulated.s7.f1")?,
            without_disk: find("additive.patchgcn.simulated.s7.f0")?,
            out_of_time: find("additive.long.simulated.s7.f1")?,
        })
    }
}

/// Lets time limits be announced shortly before them, as somebody with small tasks would.
fn edit_notice(script: &Path) -> Result<(), Failure> {
    let text = read(script)?;
    let (before, after) =
        text.split_once("B:USR1@").ok_or_else(|| Failure::new("submit.sh asks for no signal"))?;
    let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
    fs::write(script, format!("{before}B:USR1@20{after}"))
        .map_err(|error| Failure::io("write", script, &error))
}

/// Submits, and returns the id of each job with the file that it was submitted for.
fn submit(study: &SmallStudy, slurm: &Slurm, name: &str) -> Result<Vec<(String, String)>, Failure> {
    let script = study.folder.join(STUDY).join("slurm/submit.sh").display().to_string();
    let said = slurm.command("bash", &[&script]).stdout()?;
    print!("{said}");
    let log = study.log(&format!("slurm-submit-{name}"));
    fs::write(&log, &said).map_err(|error| Failure::io("write", &log, &error))?;
    let ids = said.lines().filter_map(|line| line.strip_prefix("submitted ")?.split_once(": "));
    Ok(ids.map(|(id, file)| (id.to_owned(), file.to_owned())).collect())
}

/// The element of an array, as Slurm names it, that each task of the plan is in, where every task has one of its own.
fn elements(folder: &Path, submitted: &[(String, String)]) -> Result<BTreeMap<usize, String>, Failure> {
    let mut elements = BTreeMap::new();
    for (id, list) in submitted.iter().filter(|(_, file)| file.ends_with(".txt")) {
        for (element, line) in read(&folder.join(list))?.lines().enumerate() {
            let index = line
                .parse()
                .map_err(|_| Failure::new(format!("{list} has several tasks in a line: {line}")))?;
            elements.insert(index, format!("{id}_{element}"));
        }
    }
    Ok(elements)
}

/// The process that is at a task, once that has a state to go on from.
fn process_at(folder: &Path, task: &Task) -> Option<String> {
    let tasks = folder.join("tasks");
    let state = tasks.join(format!("{}.partial/fold_{}/state/position.json", task.id, task.fold));
    let claim = fs::read_to_string(tasks.join(format!("{}.claim", task.id))).ok()?;
    let claim: Value = serde_json::from_str(&claim).ok()?;
    state.is_file().then(|| claim["pid"].to_string())
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))
}

impl SmallDisk {
    /// Mounts it and fills it up, but for a little.
    fn mount(path: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(path).map_err(|error| Failure::io("make", path, &error))?;
        let place = path.display().to_string();
        Step::new(path, "mount", &["-t", "tmpfs", "-o", SMALL_DISK, "tmpfs", &place]).run()?;
        let disk = Self { path: path.to_owned() };
        let filler = path.join("somebody-elses");
        fs::write(&filler, vec![0; 40 << 10]).map_err(|error| Failure::io("write", &filler, &error))?;
        Ok(disk)
    }

    /// What somebody did who looked: the disk has room again.
    fn make_room(&self) -> Result<(), Failure> {
        let filler = self.path.join("somebody-elses");
        fs::remove_file(&filler).map_err(|error| Failure::io("remove", &filler, &error))?;
        let place = self.path.display().to_string();
        Step::new(&self.path, "mount", &["-o", "remount,size=512m", &place]).run()
    }

    /// Copies the finished fold from the disk, which moved with its directory, to where it stays.
    fn keep_what_is_on_it(mut self, finished: &Path) -> Result<(), Failure> {
        self.path = finished.to_owned();
        let beside = finished.with_extension("copy");
        let [from, to] = [finished, &beside].map(|path| path.display().to_string());
        let root = Path::new("/");
        Step::new(root, "cp", &["-r", &from, &to]).run()?;
        Step::new(root, "umount", &[&from]).run()?;
        fs::remove_dir(finished).map_err(|error| Failure::io("remove", finished, &error))?;
        fs::rename(&beside, finished).map_err(|error| Failure::io("rename", &beside, &error))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Only where the run stopped before it was unmounted.
        let place = self.path.display().to_string();
        let _ = Step::new(Path::new("/"), "umount", &[&place]).succeeds();
    }
}
