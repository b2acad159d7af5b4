//! Copies from the host beside other work: through page-locked memory, on a stream of their own.

#![expect(unsafe_code, reason = "page-locked memory, and copies out of it that are waited for by events")]

use std::sync::Arc;

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::result as driver;
use candle_core::cuda_backend::cudarc::driver::{
    CudaEvent, CudaStream, DeviceRepr, PinnedHostSlice, ValidAsZeroBits, sys::CUevent_flags,
};
use candle_core::{Device, bail};
use half::bf16;
use rayon::prelude::*;

use super::*;

/// Numbers that page-locked memory holds at a time.
const PINNED: usize = 4 << 20;
/// Numbers that a thread converts at a time.
const CHUNK: usize = 64 << 10;

/// The way to one GPU, of numbers of one type.
#[derive(Debug)]
pub(in crate::kernels) struct UploadStream {
    gpu: Gpu,
    /// Where copies run: not the stream of the GPU's other work.
    stream: Arc<CudaStream>,
    pinned: Pinned,
    /// The one of the two that was not filled last.
    next: usize,
}

#[derive(Debug)]
enum Pinned {
    F32([PinnedPart<f32>; 2]),
    Bf16([PinnedPart<bf16>; 2]),
}

/// Page-locked memory that is filled when what it held was copied.
#[derive(Debug)]
struct PinnedPart<T> {
    numbers: PinnedHostSlice<T>,
    copied: CudaEvent,
}

/// An array whose copy was asked for. It belongs to the stream of copies until the other stream was told to wait.
#[derive(Debug)]
pub(in crate::kernels) struct PendingUpload {
    array: Array,
    arrived: CudaEvent,
    gpu: Gpu,
    shape: [usize; 2],
}

impl UploadStream {
    /// None where `device` is no GPU, or `dtype` none that arrays there have.
    pub(in crate::kernels) fn to(device: &Device, dtype: DType) -> Result<Option<Self>> {
        if !device.is_cuda() || !matches!(dtype, DType::F32 | DType::BF16) {
            return Ok(None);
        }
        let gpu = Gpu::of(device)?;
        let stream = gpu.another_stream()?;
        let pinned = match dtype {
            DType::BF16 => Pinned::Bf16([PinnedPart::new(&stream)?, PinnedPart::new(&stream)?]),
            _ => Pinned::F32([PinnedPart::new(&stream)?, PinnedPart::new(&stream)?]),
        };
        Ok(Some(Self { gpu, stream, pinned, next: 0 }))
    }

    pub(in crate::kernels) fn start(&mut self, values: &[f32], shape: [usize; 2]) -> Result<PendingUpload> {
        if shape[0].checked_mul(shape[1]) != Some(values.len()) {
            bail!("{} numbers for a matrix of {} by {}", values.len(), shape[0], shape[1]);
        }
        let array = self.array(values.len()).or_else(|_| {
            // What other work has freed may be had when it is done.
            self.stream.context().synchronize().w()?;
            self.array(values.len())
        })?;
        for (at, values) in values.chunks(PINNED).enumerate() {
            let to = array.view().from(at * PINNED);
            match &mut self.pinned {
                Pinned::F32(parts) => parts[self.next].copy(values, |value| value, to, &self.stream)?,
                Pinned::Bf16(parts) => parts[self.next].copy(values, bf16::from_f32, to, &self.stream)?,
            }
            self.next = 1 - self.next;
        }
        let arrived = self.stream.record_event(None).w()?;
        Ok(PendingUpload { array, arrived, gpu: self.gpu.clone(), shape })
    }

    fn array(&self, n: usize) -> Result<Array> {
        // SAFETY: all of it is written by copies, before the event that whoever reads it waits for.
        unsafe {
            Ok(match self.pinned {
                Pinned::F32(_) => Array::F32(self.stream.alloc(n.max(1)).w()?),
                Pinned::Bf16(_) => Array::Bf16(self.stream.alloc(n.max(1)).w()?),
            })
        }
    }
}

impl<T: DeviceRepr + ValidAsZeroBits + Send> PinnedPart<T> {
    fn new(stream: &Arc<CudaStream>) -> Result<Self> {
        let context = stream.context();
        Ok(Self {
            // SAFETY: what is copied out of it was written before.
            numbers: unsafe { context.alloc_pinned(PINNED) }.w()?,
            // A thread that waits for it leaves its core to others.
            copied: context.new_event(Some(CUevent_flags::CU_EVENT_BLOCKING_SYNC)).w()?,
        })
    }

    /// Waits until this memory is free, fills it, and has it copied.
    fn copy(
        &mut self,
        values: &[f32],
        convert: impl Fn(f32) -> T + Sync,
        to: View<'_>,
        stream: &CudaStream,
    ) -> Result<()> {
        self.copied.synchronize().w()?;
        let first = self.numbers.as_mut_ptr().w()?;
        // SAFETY: `values` are as many as the memory holds at most, and no copy reads it now.
        let numbers = unsafe { std::slice::from_raw_parts_mut(first, values.len()) };
        numbers.par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK)).for_each(|(to, from)| {
            for (to, &from) in to.iter_mut().zip(from) {
                *to = convert(from);
            }
        });
        // SAFETY: the array has room for as many; both outlive the copy, by the event and by the order of the stream.
        unsafe { driver::memcpy_htod_async(to.address, numbers, stream.cu_stream()) }.w()?;
        self.copied.record(stream).w().inspect_err(|_| {
            // Nothing else tells when the copy is over. What fails here, too, is a driver that does no more copies.
            let _ = stream.synchronize();
        })
    }
}

impl<T> Drop for PinnedPart<T> {
    fn drop(&mut self) {
        // What fails here has failed for whoever waits for the array.
        let _ = self.copied.synchronize();
    }
}

impl PendingUpload {
    pub(in crate::kernels) fn finish(self) -> Result<Tensor> {
        let Self { array, arrived, gpu, shape } = self;
        Ok(gpu.adopt(array, &arrived)?.into_tensor(&gpu, (shape[0], shape[1])))
    }
}
