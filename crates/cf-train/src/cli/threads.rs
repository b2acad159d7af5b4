//! `--threads`: how many threads the process computes with.

use std::os::unix::process::CommandExt;
use std::process::Command;

use cf_train::allotment;

/// What the thread pools of Candle, gemm and rayon read, once, when they start.
const VARIABLES: [&str; 2] = ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"];

/// Makes every thread pool use `n_threads`, or as many as this process may run at once. The pools read the environment, which
/// a running program cannot change safely, so the program replaces itself (same process id) where the variables say something
/// else. Unset, Candle would also read the processor list of the system again for every matrix product.
pub(super) fn apply(n_threads: Option<u16>) -> Result<(), String> {
    let wanted = n_threads.map_or_else(allotment::cpus, usize::from).to_string();
    if VARIABLES.iter().all(|name| std::env::var(name).is_ok_and(|value| value == wanted)) {
        return Ok(());
    }
    let program =
        std::env::current_exe().map_err(|error| format!("--threads: cannot find this program: {error}"))?;
    let error = Command::new(program)
        .args(std::env::args_os().skip(1))
        .envs(VARIABLES.map(|name| (name, wanted.as_str())))
        .exec();
    Err(format!("--threads: cannot start this program again: {error}"))
}
