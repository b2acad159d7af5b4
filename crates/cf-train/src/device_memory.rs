//! The memory of the device that a run computes on: which bag filled it.

use candle_core::Device;
use cf_model::kernels::device;

use crate::error::{Error, Result};
use crate::memory::BagSize;

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
