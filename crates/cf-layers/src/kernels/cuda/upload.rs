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

/// Numbers of a part.
const PART: usize = 4 << 20;
/// Numbers that one thread takes at a time.
const SHARE: usize = 64 << 10;

/// The way to one GPU, of numbers of one type.
#[derive(Debug)]
pub(in crate::kernels) struct Lane {
    gpu: Gpu,
    /// Where copies run: not the stream of the GPU's other work.
    copies: Arc<CudaStream>,
    parts: Parts,
    /// The part that was not filled last.
    next: usize,
}

#[derive(Debug)]
enum Parts {
    F32([Part<f32>; 2]),
    Bf16([Part<bf16>; 2]),
}

/// Page-locked memory that is filled when what it held was copied.
#[derive(Debug)]
struct Part<T> {
    numbers: PinnedHostSlice<T>,
    copied: CudaEvent,
}

/// An array whose copy was asked for. It belongs to the stream of copies until the other stream was told to wait.
#[derive(Debug)]
pub(in crate::kernels) struct OnItsWay {
    array: Array,
    arrived: CudaEvent,
    gpu: Gpu,
    shape: [usize; 2],
}

impl Lane {
    /// None where `device` is no GPU, or `dtype` none that arrays there have.
    pub(in crate::kernels) fn to(device: &Device, dtype: DType) -> Result<Option<Self>> {
        if !device.is_cuda() || !matches!(dtype, DType::F32 | DType::BF16) {
            return Ok(None);
        }
        let gpu = Gpu::of(device)?;
        let copies = gpu.stream().context().new_stream().w()?;
        let parts = match dtype {
            DType::BF16 => Parts::Bf16([Part::new(&copies)?, Part::new(&copies)?]),
            _ => Parts::F32([Part::new(&copies)?, Part::new(&copies)?]),
        };
        Ok(Some(Self { gpu, copies, parts, next: 0 }))
    }

    pub(in crate::kernels) fn start(&mut self, values: &[f32], shape: [usize; 2]) -> Result<OnItsWay> {
        if values.len() != shape[0] * shape[1] {
            bail!("{} numbers for a matrix of {} by {}", values.len(), shape[0], shape[1]);
        }
        let n = values.len();
        // SAFETY: all of it is written by the copies below, before the event that whoever reads it waits for.
        let array = unsafe {
            match self.parts {
                Parts::F32(_) => Array::F32(self.copies.alloc(n.max(1)).w()?),
                Parts::Bf16(_) => Array::Bf16(self.copies.alloc(n.max(1)).w()?),
            }
        };
        for (at, values) in values.chunks(PART).enumerate() {
            let to = array.view().from(at * PART);
            match &mut self.parts {
                Parts::F32(parts) => parts[self.next].copy(values, |value| value, to, &self.copies)?,
                Parts::Bf16(parts) => parts[self.next].copy(values, bf16::from_f32, to, &self.copies)?,
            }
            self.next = 1 - self.next;
        }
        let arrived = self.copies.record_event(None).w()?;
        Ok(OnItsWay { array, arrived, gpu: self.gpu.clone(), shape })
    }
}

impl<T: DeviceRepr + ValidAsZeroBits + Send> Part<T> {
    fn new(copies: &Arc<CudaStream>) -> Result<Self> {
        let context = copies.context();
        Ok(Self {
            // SAFETY: what is copied out of it was written before.
            numbers: unsafe { context.alloc_pinned(PART) }.w()?,
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
        copies: &CudaStream,
    ) -> Result<()> {
        self.copied.synchronize().w()?;
        let first = self.numbers.as_mut_ptr().w()?;
        // SAFETY: `values` are a part's at most, and no copy reads the memory now.
        let numbers = unsafe { std::slice::from_raw_parts_mut(first, values.len()) };
        numbers.par_chunks_mut(SHARE).zip(values.par_chunks(SHARE)).for_each(|(to, from)| {
            for (to, &from) in to.iter_mut().zip(from) {
                *to = convert(from);
            }
        });
        // SAFETY: the array has room for as many; both outlive the copy, by the event and by the order of the stream.
        unsafe { driver::memcpy_htod_async(to.address, numbers, copies.cu_stream()) }.w()?;
        self.copied.record(copies).w()
    }
}

impl<T> Drop for Part<T> {
    fn drop(&mut self) {
        // What fails here has failed for whoever waits for the array.
        let _ = self.copied.synchronize();
    }
}

impl OnItsWay {
    pub(in crate::kernels) fn finish(self) -> Result<Tensor> {
        let Self { array, arrived, gpu, shape } = self;
        gpu.stream().wait(&arrived).w()?;
        let array = match array {
            Array::F32(slice) => Array::F32(gpu.adopt(slice)),
            Array::Bf16(slice) => Array::Bf16(gpu.adopt(slice)),
        };
        Ok(array.into_tensor(&gpu, (shape[0], shape[1])))
    }
}
