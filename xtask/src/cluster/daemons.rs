//! Slurm on one machine: munge, slurmctld and slurmd in a folder of their own, ended with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{wait_for, which};
use crate::failure::Failure;
use crate::step::Step;

/// Processors that the node says it has: elements of an array wait for each other otherwise.
const CPUS: usize = 8;

/// Daemons that run until this is dropped.
pub(super) struct Slurm {
    folder: PathBuf,
    daemons: Vec<Child>,
}

impl Slurm {
    /// Starts them and waits until the node takes jobs.
    pub(super) fn start(folder: &Path) -> Result<Self, Failure> {
        for name in ["state", "spool", "log", "run", "bin"] {
            let path = folder.join(name);
            fs::create_dir_all(&path).map_err(|error| Failure::io("make", &path, &error))?;
        }
        let mut slurm = Self { folder: folder.to_owned(), daemons: Vec::new() };
        slurm.write_key()?;
        slurm.write_srun()?;
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
        let conf = slurm.conf();
        fs::write(&conf, configuration(folder, &host))
            .map_err(|error| Failure::io("write", &conf, &error))?;
        let path = |name: &str| folder.join(name).display().to_string();
        let munge = [
            "--foreground",
            "--force",
            "--key-file",
            &path("munge.key"),
            "--socket",
            &path("run/munge.socket"),
            "--pid-file",
            &path("run/munged.pid"),
            "--log-file",
            &path("log/munged.log"),
            "--seed-file",
            &path("run/munge.seed"),
        ];
        slurm.spawn("munged", &munge)?;
        wait_for("munge's socket", || Ok(folder.join("run/munge.socket").exists().then_some(())))?;
        slurm.spawn("slurmctld", &["-D", "-f", &path("slurm.conf")])?;
        slurm.spawn("slurmd", &["-D", "-N", &host, "-f", &path("slurm.conf")])?;
        wait_for("a node that takes jobs", || {
            let state = slurm.command("sinfo", &["--noheader", "--format=%T"]).stdout_quietly();
            Ok(state.filter(|state| state.trim() == "idle").map(|_| ()))
        })?;
        Ok(slurm)
    }

    /// A client's command that finds these daemons.
    pub(super) fn command(&self, program: &str, args: &[&str]) -> Step {
        Step::new(&self.folder, program, args).env("SLURM_CONF", &self.conf().display().to_string())
    }

    /// Where programs are looked for, by those that submit jobs which drop every variable of Slurm's, as Snakemake's do: its `srun`
    /// finds these daemons all the same.
    pub(super) fn search_path(&self) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        format!("{}:{path}", self.folder.join("bin").display())
    }

    pub(super) fn conf(&self) -> PathBuf {
        self.folder.join("slurm.conf")
    }

    /// Jobs and elements of arrays that are not over.
    pub(super) fn queue(&self) -> Result<Vec<String>, Failure> {
        let listed = self.command("squeue", &["--noheader", "--array", "--format=%i"]).stdout()?;
        Ok(listed.lines().map(|line| line.trim().to_owned()).collect())
    }

    /// Ends them; dropping does so, too, and says nothing.
    pub(super) fn stop(mut self) -> Result<(), Failure> {
        // Jobs before the daemons that know them.
        self.command("scancel", &["--user=root"]).run()?;
        self.end();
        Ok(())
    }

    fn end(&mut self) {
        for mut daemon in self.daemons.drain(..).rev() {
            let pid = daemon.id().to_string();
            // One that has ended already is what is wanted.
            let _ = Command::new("kill").arg(&pid).stderr(Stdio::null()).status();
            let _ = daemon.wait();
        }
    }

    fn write_key(&self) -> Result<(), Failure> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.folder.join("munge.key");
        let written = (|| {
            let mut key = vec![0; 1024];
            std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut key)?;
            fs::write(&path, key)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
        })();
        written.map_err(|error| Failure::io("write", &path, &error))
    }

    fn write_srun(&self) -> Result<(), Failure> {
        use std::os::unix::fs::PermissionsExt;
        let srun = which("srun").ok_or_else(|| Failure::new("`srun` is missing"))?;
        let path = self.folder.join("bin/srun");
        let script =
            format!("#!/bin/sh\nSLURM_CONF='{}' exec {} \"$@\"\n", self.conf().display(), srun.display());
        let written = fs::write(&path, script)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)));
        written.map_err(|error| Failure::io("write", &path, &error))
    }

    fn spawn(&mut self, program: &str, args: &[&str]) -> Result<(), Failure> {
        let path = which(program).ok_or_else(|| Failure::new(format!("`{program}` is gone")))?;
        let log = self.folder.join(format!("log/{program}.out"));
        let out = fs::File::create(&log).map_err(|error| Failure::io("write", &log, &error))?;
        let err = out.try_clone().map_err(|error| Failure::io("write", &log, &error))?;
        let daemon = Command::new(path)
            .args(args)
            .env("SLURM_CONF", self.conf())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|error| Failure::new(format!("`{program}` did not start: {error}")))?;
        self.daemons.push(daemon);
        Ok(())
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        self.end();
    }
}

/// No control groups, accounts or databases: what any machine has. Several elements run at once on however few processors.
fn configuration(folder: &Path, host: &str) -> String {
    let folder = folder.display();
    format!(
        "ClusterName=one-machine
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=sched_interval=1,bf_interval=1
MailProg=/bin/true
ReturnToService=2
KillWait=10
NodeName={host} NodeAddr=127.0.0.1 CPUs={CPUS} RealMemory=16000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"
    )
}
