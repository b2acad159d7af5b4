//! The way of the host's numbers to a device.

use candle_core::{DType, Device, Result, Tensor};

#[cfg(feature = "cuda")]
use super::super::cuda::upload::{PendingUpload, UploadStream};

/// Brings matrices of the host to a device, as one float type.
///
/// To a GPU they go in parts through page-locked memory, two parts in turn: one is filled while the other is copied, beside what the
/// GPU computes. [`Upload::finish`] is where work begins to wait for a matrix. On the CPU the tensor is made at once.
///
/// ```
/// use candle_core::{DType, Device};
/// use cf_layers::kernels::device::Uploader;
///
/// let mut uploader = Uploader::new(&Device::Cpu, DType::F32)?;
/// let upload = uploader.start(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [3, 2])?;
/// assert_eq!(upload.finish()?.to_vec2::<f32>()?, [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Uploader {
    device: Device,
    dtype: DType,
    #[cfg(feature = "cuda")]
    stream: Option<UploadStream>,
}

/// A matrix that is there, or on its way.
#[derive(Debug)]
pub struct Upload(State);

#[derive(Debug)]
enum State {
    Done(Tensor),
    #[cfg(feature = "cuda")]
    Pending(PendingUpload),
}

impl Uploader {
    /// Brings matrices to `device` as `dtype`: bf16 is rounded to nearest, ties to even. For a GPU, 32 MiB of the host's
    /// memory are locked, or 16 for bf16.
    ///
    /// # Errors
    /// If the GPU's driver gives no such memory.
    pub fn new(device: &Device, dtype: DType) -> Result<Self> {
        Ok(Self {
            device: device.clone(),
            dtype,
            #[cfg(feature = "cuda")]
            stream: UploadStream::to(device, dtype)?,
        })
    }

    /// Starts a matrix of `[rows, columns]` numbers, row after row. `values` are read before this returns, and it returns before the
    /// last of them have arrived.
    ///
    /// # Errors
    /// If there are not as many, the device can't hold them, or its driver fails.
    pub fn start(&mut self, values: &[f32], shape: [usize; 2]) -> Result<Upload> {
        #[cfg(feature = "cuda")]
        if let Some(stream) = &mut self.stream {
            return Ok(Upload(State::Pending(stream.start(values, shape)?)));
        }
        let tensor = Tensor::from_slice(values, (shape[0], shape[1]), &self.device)?;
        Ok(Upload(State::Done(tensor.to_dtype(self.dtype)?)))
    }
}

impl Upload {
    /// The matrix, for the work that is asked for from now on: a GPU has it wait for the copy, and this returns at once.
    ///
    /// # Errors
    /// If the GPU's driver fails.
    pub fn finish(self) -> Result<Tensor> {
        match self.0 {
            State::Done(tensor) => Ok(tensor),
            #[cfg(feature = "cuda")]
            State::Pending(matrix) => matrix.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_keep_their_numbers_but_for_rounding_and_wrong_shapes_are_errors() {
        let values: Vec<f32> = (0..12).map(|at| at as f32 + 0.1).collect();
        for (dtype, expected) in [(DType::F32, 11.1_f32), (DType::F64, 11.1), (DType::BF16, 11.125)] {
            let mut uploader = Uploader::new(&Device::Cpu, dtype).unwrap();
            let matrix = uploader.start(&values, [3, 4]).unwrap().finish().unwrap();
            assert_eq!((matrix.dims(), matrix.dtype()), ([3, 4].as_slice(), dtype));
            let last = matrix.to_dtype(DType::F32).unwrap().to_vec2::<f32>().unwrap()[2][3];
            assert_eq!(last, expected, "{dtype:?}");
            assert!(uploader.start(&values, [5, 4]).is_err(), "numbers of another shape");
        }
    }
}
