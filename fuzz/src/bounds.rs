//! Stops a run that takes more memory or time than an input of its size may cost.

use std::time::Duration;

use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};

/// Memory that an input may cost beyond its own size, in bytes.
const MEMORY: usize = 64 << 20;
/// Time that an input may cost on all threads together. The code under trial is instrumented, so what people run is several
/// times faster.
const TIME: Duration = Duration::from_secs(1);

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Runs `read` on an input of `len` bytes.
///
/// # Panics
/// If it held more than 64 MB beyond `len` at once, or took more than a second of processor time.
pub fn bounded<T>(len: usize, read: impl FnOnce() -> T) -> T {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let start = processor_time();
    let done = read();
    let taken = processor_time().saturating_sub(start);
    let held = HEAP.peak_usage().saturating_sub(before);
    assert!(held <= MEMORY + len, "{len} bytes cost {held} bytes of memory");
    assert!(taken <= TIME, "{len} bytes cost {taken:?}");
    done
}

fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}
