//! The memory of the device that a run computes on: what a training step may use of it, and which bag filled it.

use candle_core::Device;
use cf_model::kernels::device::{self, DeviceMemory};

use crate::allotment;
use crate::byte_size::ByteSize;
use crate::error::{Error, Result};
use crate::memory::BagSize;

/// The part of a GPU's memory that is left to its driver, to libraries and to gaps between tensors: one in so many bytes.
const MARGIN: u64 = 16;

/// What a training step may use: the configured budget, or what the machine offers now; of a GPU at most what it offers.
///
/// # Errors
/// If the GPU's driver fails.
pub(crate) fn budget_bytes(configured: Option<ByteSize>, device: &Device) -> Result<Option<u64>> {
    let configured = configured.map(|size| size.0);
    Ok(match offered_bytes(device)? {
        Some(offered) => Some(configured.map_or(offered, |bytes| bytes.min(offered))),
        None => configured.or_else(allotment::available_memory_bytes),
    })
}

/// What a GPU offers to a run.
///
/// # Errors
/// If its driver fails.
pub(crate) fn offered_bytes(device: &Device) -> Result<Option<u64>> {
    let offered = |gpu: DeviceMemory| gpu.free_bytes.saturating_sub(gpu.total_bytes / MARGIN);
    Ok(device::memory(device)?.map(offered))
}

/// Does `work` on a bag, and says so in the error if it fills the device's memory.
pub(crate) fn naming_the_bag<T>(
    device: &Device,
    slide_id: &str,
    n_patches: BagSize,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    work().map_err(|error| {
        if !error.is_full_device() {
            return error;
        }
        // The tensors of the pass are gone by now: this is what it could have had.
        match device::memory(device) {
            Ok(Some(memory)) => Error::DeviceFull {
                slide_id: slide_id.to_owned(),
                n_patches,
                free_bytes: memory.free_bytes,
                total_bytes: memory.total_bytes,
            },
            _ => error,
        }
    })
}
