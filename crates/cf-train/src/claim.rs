//! Who is at a task of a study or a fold of a run: a file beside it that one process at a time can make, and keeps fresh while it is at work.
//!
//! Launchers may meet: an array that is submitted twice, a requeued job whose first life is not quite over, two people. The file is
//! made with `O_EXCL`, which file systems of clusters keep to where locks are off. A claim is taken over from a process that is
//! known to be gone (it ran on this machine, or in an earlier life of the same Slurm job), else from one that has not been heard
//! of for [`PATIENCE`]. Ages are differences between times that the file system itself gave, so clocks of nodes do not matter.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::process;

/// Time between two signs of life.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// A claim is not taken over before it was silent for so long. Many heartbeats: file systems of clusters stall for minutes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// A process that claims a task, as its file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its machine.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// The job of the cluster that it is part of.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub job: Option<ClusterJob>,
    /// Which process that is, for another on the same machine; `None` where the system does not tell.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    process: Option<Process>,
    /// Seconds since 1970 of its last sign of life, by its own clock.
    heartbeat: u64,
}

/// A job of a cluster's scheduler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterJob {
    /// As its users know it, such as `1234_5` for an element of a Slurm array.
    pub name: String,
    /// As the scheduler knows it.
    id: String,
    /// How often it was started again.
    restarts: u32,
}

/// Tells a process from later ones with its number, on this boot of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Process {
    boot: String,
    namespace: String,
    started: u64,
}

/// A claim of this process. Dropping it gives the task free.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
    holder: Holder,
    heartbeat: Option<(Sender<()>, JoinHandle<()>)>,
}

/// What came of claiming a task.
#[derive(Debug)]
pub(crate) enum Claimed {
    Ours(Claim),
    /// Another process has it; `None` where its file is just being written.
    Others(Option<Holder>),
}

/// A claim that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// `None` where the file is just being written, or was cut off.
    pub(crate) holder: Option<Holder>,
    /// When the file system last saw a sign of life.
    pub(crate) heard: SystemTime,
}

impl Claim {
    /// Makes the file at `path`, or takes it over from a process that is gone. `on_lost` is called, on another thread, if somebody
    /// takes over from this one, which must then leave the task alone at once.
    ///
    /// # Errors
    /// If the directory can't be written.
    pub(crate) fn make(path: &Path, on_lost: fn(&Path)) -> Result<Claimed> {
        Self::make_as(path, &Holder::this_process(), (HEARTBEAT, PATIENCE), on_lost)
    }

    fn make_as(
        path: &Path,
        holder: &Holder,
        (heartbeat, patience): (Duration, Duration),
        on_lost: fn(&Path),
    ) -> Result<Claimed> {
        // Once more after each claim that is taken away from under a process that is gone; others may be at it, too.
        for _ in 0..8 {
            match OpenOptions::new().write(true).create_new(true).open(path) {
                Ok(mut file) => {
                    if let Err(error) = file.write_all(holder.text().as_bytes()) {
                        // An unreadable claim would keep everybody waiting.
                        let _ = fs::remove_file(path);
                        return Err(Error::io("write", path)(error));
                    }
                    let beating = keep_fresh(path.to_owned(), holder.clone(), heartbeat, on_lost)?;
                    return Ok(Claimed::Ours(Self {
                        path: path.to_owned(),
                        holder: holder.clone(),
                        heartbeat: Some(beating),
                    }));
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create", path)(error)),
            }
            let Some(found) = find(path)? else { continue };
            let gone = found.holder.as_ref().is_some_and(|other| other.is_gone_for(holder));
            if !gone && silence(path, &found)? < patience {
                return Ok(Claimed::Others(found.holder));
            }
            if let Some(other) = take_away(path, &found)? {
                return Ok(Claimed::Others(other.holder));
            }
        }
        Ok(Claimed::Others(None))
    }

    /// Its file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the task is still this process's.
    ///
    /// # Errors
    /// If the file can't be read.
    pub(crate) fn is_held(&self) -> Result<bool> {
        let found = find(&self.path)?;
        Ok(found.and_then(|found| found.holder).is_some_and(|other| other.is_same(&self.holder)))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.heartbeat.take() {
            drop(stop);
            // A panic of that thread was told when it happened.
            let _ = thread.join();
        }
        if self.is_held().unwrap_or(false) {
            // What is left is taken over once its silence was long enough.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The claim at `path`; `None` where there is none.
///
/// # Errors
/// If it can't be read.
pub(crate) fn find(path: &Path) -> Result<Option<Found>> {
    let read = || -> std::io::Result<Found> {
        let heard = fs::metadata(path)?.modified()?;
        let text = fs::read_to_string(path)?;
        Ok(Found { holder: serde_json::from_str(&text).ok(), heard })
    };
    match read() {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

impl Found {
    /// Whether its process is known to have ended, or silent for too long by this machine's clock.
    pub(crate) fn is_stale(&self) -> bool {
        let ended = self.holder.as_ref().is_some_and(|other| other.is_gone_for(&Holder::this_process()));
        ended || self.silence() > PATIENCE
    }

    /// Since the last sign of life, by this machine's clock.
    pub(crate) fn silence(&self) -> Duration {
        self.heard.elapsed().unwrap_or_default()
    }
}

/// How long a claim has been silent, by the file system's clock: the time of a file that is made now shows it.
fn silence(path: &Path, found: &Found) -> Result<Duration> {
    let probe = beside(path, "now");
    let made = File::create(&probe).and_then(|file| file.metadata()?.modified());
    let removed = fs::remove_file(&probe);
    let now = made.map_err(Error::io("write", &probe))?;
    removed.map_err(Error::io("remove", &probe))?;
    Ok(now.duration_since(found.heard).unwrap_or_default())
}

/// Removes a claim that was judged to be nobody's. Returns the claim that stands there instead, if another process was faster.
fn take_away(path: &Path, judged: &Found) -> Result<Option<Found>> {
    // Renaming says what was removed: between the judgement and now, another process may have taken over.
    let aside = beside(path, "old");
    match fs::rename(path, &aside) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("rename", path)(error)),
    }
    let moved = find(&aside)?;
    let same = moved.as_ref().is_some_and(|moved| match (&moved.holder, &judged.holder) {
        (Some(moved), Some(judged)) => moved.is_same(judged),
        (None, None) => moved.heard == judged.heard,
        _ => false,
    });
    if !same {
        // Back to its owner, who finds out by the next heartbeat where even this comes too late.
        let _ = fs::hard_link(&aside, path);
    }
    fs::remove_file(&aside).map_err(Error::io("remove", &aside))?;
    Ok(moved.filter(|_| !same))
}

/// A name beside a claim that no other process uses.
fn beside(path: &Path, what: &str) -> PathBuf {
    let holder = Holder::this_process();
    path.with_extension(format!("claim-{what}-{}-{}", holder.host, holder.pid))
}

fn keep_fresh(
    path: PathBuf,
    mut holder: Holder,
    interval: Duration,
    on_lost: fn(&Path),
) -> Result<(Sender<()>, JoinHandle<()>)> {
    let (stop, stopped) = mpsc::channel();
    let place = path.clone();
    let beat = move || {
        while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
            match find(&path) {
                Ok(Some(Found { holder: Some(other), .. })) if !other.is_same(&holder) => {
                    return on_lost(&path);
                }
                Ok(None) => return on_lost(&path),
                Ok(Some(_)) => {}
                Err(error) => tracing::debug!(%error, "a claim can't be read"),
            }
            holder.heartbeat = now_seconds();
            // In place: the text has the same length, so a full disk does not matter.
            let written = OpenOptions::new()
                .write(true)
                .open(&path)
                .and_then(|mut file| file.write_all(holder.text().as_bytes()));
            if let Err(error) = written {
                tracing::debug!(%error, "a claim can't be kept fresh");
            }
        }
    };
    let thread = std::thread::Builder::new().name("claim".to_owned()).spawn(beat);
    Ok((stop, thread.map_err(Error::io("keep a thread for", &place))?))
}

impl Holder {
    fn this_process() -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let host = if host.is_empty() { "unknown".to_owned() } else { host };
        let pid = std::process::id();
        Self {
            host,
            pid,
            job: ClusterJob::of_this_process(),
            process: Process::of(pid),
            heartbeat: now_seconds(),
        }
    }

    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    fn is_same(&self, other: &Self) -> bool {
        (&self.host, self.pid, &self.job, &self.process)
            == (&other.host, other.pid, &other.job, &other.process)
    }

    /// Whether this one is known to have ended, by the word of a process that is running now.
    fn is_gone_for(&self, running: &Self) -> bool {
        let earlier_life = match (&self.job, &running.job) {
            (Some(job), Some(now)) => job.id == now.id && job.restarts < now.restarts,
            _ => false,
        };
        let ended_here = match (&self.process, &running.process) {
            (Some(process), Some(here)) => {
                process.boot == here.boot
                    && process.namespace == here.namespace
                    && match Process::of(self.pid) {
                        Some(now) => now != *process,
                        None => process::is_gone(self.pid),
                    }
            }
            // Where no system hides processes or has several of one number.
            (None, None) => {
                cfg!(target_os = "macos") && self.host == running.host && process::is_gone(self.pid)
            }
            _ => false,
        };
        earlier_life || ended_here
    }
}

/// `node7, process 4411, job 1234_5`.
impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, process {}", self.host, self.pid)?;
        self.job.as_ref().map_or(Ok(()), |job| write!(f, ", job {}", job.name))
    }
}

impl ClusterJob {
    fn of_this_process() -> Option<Self> {
        Self::of(|name| std::env::var(name).ok())
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let id =
            ["SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "HQ_JOB_ID"].iter().find_map(|name| variable(name))?;
        let array = variable("SLURM_ARRAY_JOB_ID").zip(variable("SLURM_ARRAY_TASK_ID"));
        let name = array.map_or_else(|| id.clone(), |(job, index)| format!("{job}_{index}"));
        let restarts = variable("SLURM_RESTART_COUNT").and_then(|count| count.parse().ok()).unwrap_or(0);
        Some(Self { name, id, restarts })
    }
}

impl Process {
    /// `None` for a process that has ended, if only its parent does not know yet.
    fn of(pid: u32) -> Option<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        let namespace = fs::read_link("/proc/self/ns/pid").ok()?.to_string_lossy().into_owned();
        Some(Self { boot, namespace, started: process::started(pid).ok()?? })
    }
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;

    const SLOW: (Duration, Duration) = (Duration::from_secs(3600), Duration::from_secs(3600));

    fn nobody(_: &Path) {}

    fn ours(claimed: Claimed) -> Claim {
        match claimed {
            Claimed::Ours(claim) => claim,
            Claimed::Others(other) => panic!("held by {other:?}"),
        }
    }

    /// A process on another machine, in a job.
    fn elsewhere(job: &str, restarts: u32) -> Holder {
        let job = ClusterJob { name: job.to_owned(), id: job.to_owned(), restarts };
        Holder { host: "elsewhere".to_owned(), pid: 1, job: Some(job), process: None, heartbeat: 0 }
    }

    #[test]
    fn one_process_at_a_time_holds_a_task() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("task.claim");
        let first = ours(Claim::make(&path, nobody).unwrap());
        assert!(first.is_held().unwrap());
        let Claimed::Others(Some(other)) = Claim::make(&path, nobody).unwrap() else {
            panic!("claimed twice")
        };
        assert_eq!(other.pid, std::process::id());
        assert!(!find(&path).unwrap().unwrap().is_stale());
        drop(first);
        assert!(!path.exists());
        drop(ours(Claim::make(&path, nobody).unwrap()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_claim_is_taken_over_from_a_process_that_ended_here() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("task.claim");
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let process = Process::of(child.id());
        let holder = Holder { pid: child.id(), process, ..Holder::this_process() };
        fs::write(&path, holder.text()).unwrap();
        assert!(matches!(Claim::make(&path, nobody).unwrap(), Claimed::Others(Some(_))));
        child.kill().unwrap();
        // Ended as soon as it is killed, also while its parent has not asked.
        let deadline = Instant::now() + Duration::from_secs(60);
        while Process::of(child.id()).is_some() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert!(find(&path).unwrap().unwrap().is_stale());
        assert!(ours(Claim::make(&path, nobody).unwrap()).is_held().unwrap());
        child.wait().unwrap();
    }

    #[test]
    fn a_silent_claim_of_another_machine_is_taken_over_after_a_while_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("task.claim");
        for text in [elsewhere("7", 0).text(), String::new()] {
            fs::write(&path, &text).unwrap();
            let me = Holder::this_process();
            assert!(matches!(Claim::make_as(&path, &me, SLOW, nobody).unwrap(), Claimed::Others(_)));
            let long_ago = SystemTime::now() - SLOW.1 - Duration::from_secs(60);
            OpenOptions::new().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
            assert!(ours(Claim::make_as(&path, &me, SLOW, nobody).unwrap()).is_held().unwrap());
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_requeued_job_takes_over_from_its_earlier_life() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("task.claim");
        fs::write(&path, elsewhere("7", 0).text()).unwrap();
        for (job, restarts) in [("8", 1), ("7", 0)] {
            let other = elsewhere(job, restarts);
            assert!(matches!(Claim::make_as(&path, &other, SLOW, nobody).unwrap(), Claimed::Others(_)));
        }
        assert!(ours(Claim::make_as(&path, &elsewhere("7", 1), SLOW, nobody).unwrap()).is_held().unwrap());
    }

    #[test]
    fn whoever_loses_a_claim_hears_of_it_and_does_not_remove_the_other() {
        static LOST: AtomicUsize = AtomicUsize::new(0);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("task.claim");
        let fast = (Duration::from_millis(5), SLOW.1);
        let lost = |_: &Path| {
            LOST.fetch_add(1, Ordering::SeqCst);
        };
        let claim = ours(Claim::make_as(&path, &Holder::this_process(), fast, lost).unwrap());
        let before = find(&path).unwrap().unwrap().heard;
        let deadline = Instant::now() + Duration::from_secs(60);
        while find(&path).unwrap().unwrap().heard == before && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert!(claim.is_held().unwrap() && find(&path).unwrap().unwrap().heard > before);
        fs::remove_file(&path).unwrap();
        fs::write(&path, elsewhere("7", 0).text()).unwrap();
        while LOST.load(Ordering::SeqCst) == 0 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(LOST.load(Ordering::SeqCst), 1);
        assert!(!claim.is_held().unwrap());
        drop(claim);
        assert!(path.is_file());
    }

    #[test]
    fn a_job_is_named_as_its_users_know_it() {
        let of = |pairs: &'static [(&str, &str)]| {
            ClusterJob::of(|name| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(of(&[]), None);
        let array = of(&[
            ("SLURM_JOB_ID", "17"),
            ("SLURM_ARRAY_JOB_ID", "12"),
            ("SLURM_ARRAY_TASK_ID", "4"),
            ("SLURM_RESTART_COUNT", "2"),
        ]);
        let array = array.unwrap();
        assert_eq!((array.name.as_str(), array.id.as_str(), array.restarts), ("12_4", "17", 2));
        assert_eq!(of(&[("PBS_JOBID", "9.server")]).unwrap().name, "9.server");
    }
}
