//! Times of calls that are repeated.

use std::time::Instant;

use candle_core::Device;
use cf_model::kernels::device;

/// What `call` gives, and the seconds until all that it enqueued on `device` is done.
pub(crate) fn timed<T, E: From<candle_core::Error>>(
    device: &Device,
    call: impl FnOnce() -> Result<T, E>,
) -> Result<(T, f64), E> {
    device::synchronize(device)?;
    let started = Instant::now();
    let found = call()?;
    device::synchronize(device)?;
    Ok((found, started.elapsed().as_secs_f64()))
}

/// The middle one, the later of two; none of no calls.
pub(crate) fn median(seconds: &[f64]) -> Option<f64> {
    let mut seconds = seconds.to_vec();
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied()
}

/// The least; none of no calls.
pub(crate) fn fastest(seconds: &[f64]) -> Option<f64> {
    seconds.iter().copied().min_by(f64::total_cmp)
}
