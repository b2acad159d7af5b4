//! Whether another process of this machine has ended, as `/proc` tells it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

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
    is_gone_in(Path::new(PROC), pid)
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
