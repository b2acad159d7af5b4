//! What the system and a scheduler allot to this process: processors and memory, by control groups and by Slurm's word.
//!
//! Where Slurm binds jobs to what they asked for, control groups say it; where it does not, its variables are all there is.

use std::fs;
use std::path::{Path, PathBuf};

/// Where control groups are mounted.
const GROUPS: &str = "/sys/fs/cgroup";

/// Looks up a variable of the environment.
type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Threads that this process may run at once, at least 1: its affinity, its control group's quota, and its share of a Slurm job.
#[must_use]
pub fn cpus() -> usize {
    let available = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    slurm_cpus(&variable).map_or(available, |cpus| available.min(cpus))
}

/// Memory that a new process may use: what the system calls available, within [`memory_limit_bytes`]; `None` where the system does
/// not tell.
pub(crate) fn available_memory_bytes() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some((kib * 1024).min(memory_limit_bytes().unwrap_or(u64::MAX)))
}

/// The least of the limits that control groups set, those around this one's included, and what the Slurm job asked for.
pub(crate) fn memory_limit_bytes() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let of_groups = group_limit_bytes(&groups, Path::new(GROUPS));
    [of_groups, slurm_memory_bytes(&variable)].into_iter().flatten().min()
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(variables: Variables<'_>, name: &str) -> Option<u64> {
    variables(name)?.parse().ok().filter(|&number| number > 0)
}

fn slurm_cpus(variables: Variables<'_>) -> Option<usize> {
    variables("SLURM_JOB_ID")?;
    // Of a step with several processes, the node's processors are not this one's.
    let alone = number(variables, "SLURM_NTASKS").is_none_or(|n| n == 1);
    let cpus = number(variables, "SLURM_CPUS_PER_TASK")
        .or_else(|| number(variables, "SLURM_CPUS_ON_NODE").filter(|_| alone))?;
    usize::try_from(cpus).ok()
}

fn slurm_memory_bytes(variables: Variables<'_>) -> Option<u64> {
    variables("SLURM_JOB_ID")?;
    let of_node = number(variables, "SLURM_MEM_PER_NODE");
    let of_cpus = || {
        let cpus = number(variables, "SLURM_CPUS_ON_NODE")?;
        number(variables, "SLURM_MEM_PER_CPU").map(|mib| mib.saturating_mul(cpus))
    };
    of_node.or_else(of_cpus).map(|mib| mib.saturating_mul(1 << 20))
}

/// `groups` is `/proc/self/cgroup`: a line `0::PATH` for version 2, lines `N:CONTROLLERS:PATH` for version 1.
fn group_limit_bytes(groups: &str, root: &Path) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let (root, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let group: PathBuf = root.join(path.trim_start_matches('/'));
        // In a container the path may be that of the host; then only the root's own file is there.
        let around = group.ancestors().take_while(|group| group.starts_with(&root));
        around.filter_map(|group| fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok()).min()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        let pairs: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        move |name| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    #[test]
    fn slurm_says_what_a_job_has() {
        let job = ("SLURM_JOB_ID", "7");
        let cpus = |pairs: &[(&str, &str)]| slurm_cpus(&of(pairs));
        assert_eq!(cpus(&[("SLURM_CPUS_PER_TASK", "4")]), None);
        assert_eq!(cpus(&[job, ("SLURM_CPUS_PER_TASK", "4"), ("SLURM_CPUS_ON_NODE", "16")]), Some(4));
        assert_eq!(cpus(&[job, ("SLURM_CPUS_ON_NODE", "16")]), Some(16));
        assert_eq!(cpus(&[job, ("SLURM_CPUS_ON_NODE", "16"), ("SLURM_NTASKS", "4")]), None);
        let memory = |pairs: &[(&str, &str)]| slurm_memory_bytes(&of(pairs));
        assert_eq!(memory(&[job, ("SLURM_MEM_PER_NODE", "2048")]), Some(2 << 30));
        assert_eq!(memory(&[job, ("SLURM_MEM_PER_CPU", "512"), ("SLURM_CPUS_ON_NODE", "4")]), Some(2 << 30));
        assert_eq!(memory(&[job, ("SLURM_MEM_PER_NODE", "0")]), None);
    }

    #[test]
    fn the_least_limit_of_the_groups_around_a_process_holds() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("slurm/job_7/memory.max", "3000\n");
        write("slurm/job_7/step_0/memory.max", "max\n");
        write("memory/slurm/memory.limit_in_bytes", "2000\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        let limit = |groups: &str| group_limit_bytes(groups, dir.path());
        assert_eq!(limit("0::/slurm/job_7/step_0\n"), Some(3000));
        assert_eq!(limit("0::/elsewhere\n"), None);
        assert_eq!(limit("4:cpu,memory:/slurm/uid_1\n0::/slurm/job_7/step_0\n"), Some(2000));
        assert_eq!(limit("4:cpu:/slurm/uid_1\nnonsense\n"), None);
    }
}
