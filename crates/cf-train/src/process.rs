//! Whether another process of this machine has ended, as `/proc` tells it, or signals where there is none (macOS).

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

const PROC: &str = "/proc";

/// Clock ticks from the machine's start to that of a process; `None` for one that has ended, if only its parent does not know yet.
///
/// # Errors
/// If the system does not tell.
pub(crate) fn started(pid: u32) -> io::Result<Option<u64>> {
    started_in(Path::new(PROC), pid)
}

/// Whether a process is known to have ended: never where the system hides those of others (`hidepid`).
pub(crate) fn is_gone(pid: u32) -> bool {
    if cfg!(target_os = "linux") { is_gone_in(Path::new(PROC), pid) } else { takes_no_signal(pid) }
}

/// Whether there is no process of this number.
fn takes_no_signal(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
}

fn started_in(proc: &Path, pid: u32) -> io::Result<Option<u64>> {
    let stat = fs::read(proc.join(pid.to_string()).join("stat"))?;
    let stat = String::from_utf8_lossy(&stat);
    let of_stat = || {
        // The name, in parentheses, may hold anything.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        if matches!(fields.next()?, "Z" | "X") {
            return Some(None);
        }
        // The state was field 3 of `man proc`, the start is field 22.
        fields.nth(18)?.parse().ok().map(Some)
    };
    of_stat().ok_or_else(|| ErrorKind::InvalidData.into())
}

fn is_gone_in(proc: &Path, pid: u32) -> bool {
    match started_in(proc, pid) {
        Ok(started) => started.is_none(),
        // The first process always runs, and is another user's to most.
        Err(error) => error.kind() == ErrorKind::NotFound && started_in(proc, 1).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ended_takes_no_signal() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        assert!(!takes_no_signal(child.id()) && !takes_no_signal(1) && !takes_no_signal(std::process::id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(takes_no_signal(child.id()));
    }

    #[test]
    fn a_process_is_gone_only_where_those_of_others_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let proc = dir.path();
        let run = |pid: u32, state: &str| {
            fs::create_dir(proc.join(pid.to_string())).unwrap();
            let rest = (4..=22).map(|field| format!(" {field}")).collect::<String>();
            fs::write(proc.join(format!("{pid}/stat")), format!("{pid} (a) b) {state}{rest}\n")).unwrap();
        };
        run(4711, "S");
        run(4712, "Z");
        assert_eq!(started_in(proc, 4711).unwrap(), Some(22));
        assert!(!is_gone_in(proc, 4711) && is_gone_in(proc, 4712));
        assert!(!is_gone_in(proc, 4713), "it may be hidden");
        run(1, "S");
        assert!(is_gone_in(proc, 4713) && !is_gone_in(proc, 4711));
    }
}
