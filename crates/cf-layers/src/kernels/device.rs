//! The device that a run computes on: by name, its memory, and when its work is done.
//!
//! Of the CPU there is nothing to tell and nothing to wait for: the functions return `None`, or at once.

#[cfg(feature = "cuda")]
mod driver;
mod upload;

pub use upload::{Upload, Uploader};

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device, Error, Result, Tensor};

use super::Compute;

/// A device as `--device` names it: `cpu` or `cuda:N`.
///
/// ```
/// use cf_layers::kernels::device::DeviceName;
///
/// let name: DeviceName = "cpu".parse()?;
/// assert!(name.open()?.is_cpu());
/// assert!("cuda".parse::<DeviceName>().is_err());
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceName {
    /// All cores that the process may use.
    #[default]
    Cpu,
    /// An NVIDIA GPU by its number, from 0.
    Cuda(usize),
}

impl DeviceName {
    /// The device, ready to compute on. A program opens each device once: tensors of two openings do not mix.
    ///
    /// # Errors
    /// If this program was built for the CPU only, there is no driver, or there are not so many devices.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(ordinal) => driver::open(ordinal),
        }
    }
}

impl FromStr for DeviceName {
    type Err = Error;

    /// Reads a name; a program that was built for the CPU only knows no other.
    fn from_str(text: &str) -> Result<Self> {
        if text == "cpu" {
            return Ok(Self::Cpu);
        }
        match text.strip_prefix("cuda:").map(str::parse) {
            Some(Ok(ordinal)) if cfg!(feature = "cuda") => Ok(Self::Cuda(ordinal)),
            Some(Ok(_)) => Err(cpu_only(text)),
            _ => Err(Error::Msg(format!("device `{text}`, expected `cpu`, or `cuda:0` for the first GPU"))),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

fn cpu_only(found: &str) -> Error {
    Error::Msg(format!(
        "this program was built for the CPU only, expected `cpu`, found `{found}`; docs/cuda.md says how to build it for GPUs"
    ))
}

/// What a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceDescription {
    /// The maker's name of it.
    pub name: String,
    /// Version of the driver, and the latest CUDA that it knows.
    pub driver: String,
    /// Multiprocessors, each of which runs blocks of its own.
    pub n_multiprocessors: usize,
}

/// Memory of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// What new tensors can have, in bytes: memory that nobody holds, and what this process got and uses no more.
    pub free_bytes: u64,
    /// All of it.
    pub total_bytes: u64,
}

/// What a GPU is.
///
/// # Errors
/// If the driver fails.
pub fn description(device: &Device) -> Result<Option<DeviceDescription>> {
    of_gpu(device, driver::description)
}

/// The memory of a GPU.
///
/// # Errors
/// If the driver fails.
pub fn memory(device: &Device) -> Result<Option<DeviceMemory>> {
    of_gpu(device, driver::memory)
}

/// The most bytes of a GPU that tensors of this process held at once, since the last [`reset_peak`].
///
/// # Errors
/// If the driver fails.
pub fn peak_bytes(device: &Device) -> Result<Option<u64>> {
    of_gpu(device, driver::peak_bytes)
}

/// Starts [`peak_bytes`] anew from what is held now.
///
/// # Errors
/// If the driver fails.
pub fn reset_peak(device: &Device) -> Result<()> {
    of_gpu(device, driver::reset_peak).map(Option::unwrap_or_default)
}

/// Waits until a GPU has done all that it was told: clocks and peaks say nothing before.
///
/// # Errors
/// If some of that work failed.
pub fn synchronize(device: &Device) -> Result<()> {
    of_gpu(device, driver::synchronize).map(Option::unwrap_or_default)
}

/// Whether kernels compute on tensors of this type: f64, which is for checks, is of the CPU alone.
pub fn computes_in(device: &Device, dtype: DType) -> bool {
    device.is_cpu() || dtype != DType::F64
}

/// The type of parameters, activations and gradients of a model that computes in `compute`: with bf16, only the operands of its matrix
/// products are rounded.
pub fn stored_type(compute: DType) -> DType {
    if compute == DType::BF16 { DType::F32 } else { compute }
}

/// The type that operands of matrix products have in memory, where all else is of type `stored`. On a GPU that is bf16 where they are
/// rounded to it anyway: kernels keep queries, keys, values and hidden channels in it for their backward pass
/// ([`super::Retention::Keep`]), and what only goes into a linear layer may be given in it, for the same output.
pub fn operand_type(device: &Device, stored: DType, compute: Compute) -> DType {
    match (device, compute) {
        (Device::Cuda(_), Compute::Bf16) => DType::BF16,
        _ => stored,
    }
}

/// [`operand_type`] of a layer with attention of `n_heads` heads over `d` channels: all of it is in bf16 where tensor cores serve its heads,
/// and nothing elsewhere.
pub fn layer_operand_type(
    device: &Device,
    stored: DType,
    compute: Compute,
    (d, n_heads): (usize, usize),
) -> DType {
    let serves = n_heads > 0 && TENSOR_CORE_WIDTHS.contains(&(d / n_heads));
    if serves { operand_type(device, stored, compute) } else { stored }
}

/// Channels of heads that the bf16 kernels of attention are made for.
pub(super) const TENSOR_CORE_WIDTHS: [usize; 3] = [32, 64, 128];

/// Matrices of layers in the type in which products take them, one after the other in memory of their own: for a model that is only
/// evaluated, whose f32 numbers need not stay. The same tensors where they are of that type.
///
/// # Errors
/// If the device can't hold them.
pub fn as_operands(matrices: &[&Tensor], dtype: DType) -> Result<Vec<Tensor>> {
    if matrices.iter().all(|matrix| matrix.dtype() == dtype) {
        return Ok(matrices.iter().map(|&matrix| matrix.clone()).collect());
    }
    let flat = |matrix: &&Tensor| matrix.detach().flatten_all()?.to_dtype(dtype);
    let all = Tensor::cat(&matrices.iter().map(flat).collect::<Result<Vec<_>>>()?, 0)?;
    let mut first = 0;
    let view = |matrix: &&Tensor| {
        let n = matrix.elem_count();
        first += n;
        all.narrow(0, first - n, n)?.reshape(matrix.shape())
    };
    matrices.iter().map(view).collect()
}

/// Whether an operation failed because the device's memory is full.
pub fn is_out_of_memory(error: &Error) -> bool {
    match error {
        Error::WithBacktrace { inner, .. } | Error::WithPath { inner, .. } | Error::Context { inner, .. } => {
            is_out_of_memory(inner)
        }
        Error::Cuda(cause) => driver::is_out_of_memory(cause.as_ref()),
        _ => false,
    }
}

fn of_gpu<T>(device: &Device, ask: impl FnOnce(&candle_core::CudaDevice) -> Result<T>) -> Result<Option<T>> {
    match device {
        Device::Cuda(gpu) => ask(gpu).map(Some),
        Device::Cpu | Device::Metal(_) => Ok(None),
    }
}

/// Without the feature no GPU is ever opened, so none is ever asked.
#[cfg(not(feature = "cuda"))]
mod driver {
    use candle_core::{CudaDevice, Device, Error, Result};

    use super::{DeviceDescription, DeviceMemory};

    pub(super) fn open(ordinal: usize) -> Result<Device> {
        Err(super::cpu_only(&format!("cuda:{ordinal}")))
    }

    pub(super) fn description(_: &CudaDevice) -> Result<DeviceDescription> {
        Err(Error::NotCompiledWithCudaSupport)
    }

    pub(super) fn memory(_: &CudaDevice) -> Result<DeviceMemory> {
        Err(Error::NotCompiledWithCudaSupport)
    }

    pub(super) fn peak_bytes(_: &CudaDevice) -> Result<u64> {
        Err(Error::NotCompiledWithCudaSupport)
    }

    pub(super) fn reset_peak(_: &CudaDevice) -> Result<()> {
        Err(Error::NotCompiledWithCudaSupport)
    }

    pub(super) fn synchronize(_: &CudaDevice) -> Result<()> {
        Err(Error::NotCompiledWithCudaSupport)
    }

    pub(super) fn is_out_of_memory(_: &(dyn std::error::Error + 'static)) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_alike() {
        assert_eq!("cpu".parse::<DeviceName>().unwrap(), DeviceName::Cpu);
        assert_eq!(DeviceName::Cuda(3).to_string(), "cuda:3");
        for text in ["", "gpu", "cuda", "cuda:", "cuda:-1", "cuda:x", "CPU"] {
            let error = text.parse::<DeviceName>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")) && error.contains("cuda:0"), "{error}");
        }
    }

    #[test]
    fn a_build_without_the_feature_says_how_to_get_one_with_it() {
        let read = "cuda:1".parse::<DeviceName>();
        if cfg!(feature = "cuda") {
            assert_eq!(read.unwrap(), DeviceName::Cuda(1));
            return;
        }
        for error in [read.unwrap_err(), DeviceName::Cuda(1).open().unwrap_err()] {
            let text = error.to_string();
            assert!(text.contains("built for the CPU only") && text.contains("docs/cuda.md"), "{text}");
        }
    }

    #[test]
    fn there_is_nothing_to_tell_of_the_cpu() {
        assert_eq!(description(&Device::Cpu).unwrap(), None);
        assert_eq!(memory(&Device::Cpu).unwrap(), None);
        reset_peak(&Device::Cpu).unwrap();
        assert_eq!(peak_bytes(&Device::Cpu).unwrap(), None);
        synchronize(&Device::Cpu).unwrap();
        assert!(!is_out_of_memory(&Error::Msg("out of memory".to_owned())));
    }
}
