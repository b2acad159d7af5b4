//! What Candle does not ask of the CUDA driver.
#![expect(unsafe_code, reason = "the driver's interface is C")]

use std::ffi::c_void;

use candle_core::cuda_backend::CudaError;
use candle_core::cuda_backend::cudarc::cublas::{result::CublasError, sys::cublasStatus_t};
use candle_core::cuda_backend::cudarc::driver::{DriverError, result, sys};
use candle_core::{CudaDevice, Device, Error, Result};
use sys::CUmemPool_attribute as Attribute;

use super::{DeviceDescription, DeviceMemory};

/// Opens a GPU with one stream of its own for the work of all threads, and lets its memory pool keep what tensors free.
pub(super) fn open(ordinal: usize) -> Result<Device> {
    let n_devices = n_devices()?;
    if ordinal >= n_devices {
        return Err(Error::Msg(match n_devices {
            0 => format!("device `cuda:{ordinal}`, but this machine has no GPU that CUDA can use"),
            1 => format!("device `cuda:{ordinal}`, but this machine has one GPU, `cuda:0`"),
            n => format!(
                "device `cuda:{ordinal}`, but this machine has {n} GPUs, `cuda:0` to `cuda:{}`",
                n - 1
            ),
        }));
    }
    let gpu = CudaDevice::new_with_stream(ordinal)?;
    // SAFETY: without tracking nobody waits for another stream's work by itself. All tensors of this device are made, used and freed on
    // the one stream that it was opened with, in program order, and no tensor was made yet. Arrays on their way there
    // (`cuda/upload.rs`) belong to a stream of copies until this one was told to wait for the event after their copy.
    unsafe { gpu.disable_event_tracking() };
    // By default the pool gives its memory back at every synchronisation, and fetches it again for the next step.
    set(&gpu, Attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, u64::MAX)?;
    Ok(Device::Cuda(gpu))
}

fn n_devices() -> Result<usize> {
    let counted = result::init().and_then(|()| result::device::get_count());
    match counted {
        Ok(n) => Ok(usize::try_from(n).unwrap_or(0)),
        Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => Ok(0),
        Err(fault) => Err(failed(fault).context("the CUDA driver does not start")),
    }
}

pub(super) fn description(gpu: &CudaDevice) -> Result<DeviceDescription> {
    let name = gpu.cuda_stream().context().name().map_err(failed)?;
    let mut version = 0;
    // SAFETY: the driver writes one int, and `version` is one.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }.result().map_err(failed)?;
    let cuda = format!("CUDA {}.{}", version / 1000, version % 1000 / 10);
    // The kernel module says more where the system shows it.
    let driver = match std::fs::read_to_string("/sys/module/nvidia/version") {
        Ok(text) => format!("{} ({cuda})", text.trim()),
        Err(_) => cuda,
    };
    let n_multiprocessors = gpu
        .cuda_stream()
        .context()
        .attribute(sys::CUdevice_attribute_enum::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
        .map_err(failed)?;
    Ok(DeviceDescription { name, driver, n_multiprocessors: usize::try_from(n_multiprocessors).unwrap_or(0) })
}

/// Waits for all streams, that of copies among them.
pub(super) fn synchronize(gpu: &CudaDevice) -> Result<()> {
    gpu.cuda_stream().context().synchronize().map_err(failed)
}

pub(super) fn memory(gpu: &CudaDevice) -> Result<DeviceMemory> {
    synchronize(gpu)?;
    let (free, total) = gpu.cuda_stream().context().mem_get_info().map_err(failed)?;
    let held = get(gpu, Attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?;
    let used = get(gpu, Attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?;
    Ok(DeviceMemory { free_bytes: free as u64 + held.saturating_sub(used), total_bytes: total as u64 })
}

pub(super) fn peak_bytes(gpu: &CudaDevice) -> Result<u64> {
    get(gpu, Attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH)
}

pub(super) fn reset_peak(gpu: &CudaDevice) -> Result<()> {
    synchronize(gpu)?;
    set(gpu, Attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH, 0)
}

/// Whether this is the driver's lack of memory, or that of cuBLAS, whose workspace is memory of the device too.
pub(super) fn is_out_of_memory(cause: &(dyn std::error::Error + 'static)) -> bool {
    let of_driver = |DriverError(code): &DriverError| *code == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY;
    let of_cublas = |CublasError(code): &CublasError| *code == cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED;
    match cause.downcast_ref::<CudaError>() {
        Some(CudaError::Cuda(fault) | CudaError::Load { cuda: fault, .. }) => of_driver(fault),
        Some(CudaError::Cublas(fault)) => of_cublas(fault),
        Some(_) => false,
        None => cause.downcast_ref().is_some_and(of_driver) || cause.downcast_ref().is_some_and(of_cublas),
    }
}

fn get(gpu: &CudaDevice, attribute: Attribute) -> Result<u64> {
    let pool = pool(gpu)?;
    let mut value = 0_u64;
    // SAFETY: the pool is the device's own and lives as long as it; all attributes asked for are 64-bit numbers.
    unsafe { result::mem_pool::get_attribute(pool, attribute, (&raw mut value).cast::<c_void>()) }
        .map_err(failed)?;
    Ok(value)
}

fn set(gpu: &CudaDevice, attribute: Attribute, mut value: u64) -> Result<()> {
    let pool = pool(gpu)?;
    // SAFETY: as in `get`; the driver reads the number before it returns.
    unsafe { result::mem_pool::set_attribute(pool, attribute, (&raw mut value).cast::<c_void>()) }
        .map_err(failed)
}

/// The pool that tensors of the device come from.
fn pool(gpu: &CudaDevice) -> Result<sys::CUmemoryPool> {
    let device = gpu.cuda_stream().context().cu_device();
    // SAFETY: the number is that of a device which is open.
    unsafe { result::device::get_default_mem_pool(device) }.map_err(failed)
}

fn failed(fault: DriverError) -> Error {
    Error::from(CudaError::Cuda(fault))
}
