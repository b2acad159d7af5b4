//! Layer norm over the last axis, with the backward that Candle's fused one lacks.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, DType, Error, Layout, Result, Shape, Tensor, WithDType};
use num_traits::Float;

use super::{contiguous_slice, cpu, to_vec, unsupported_dtype};

/// `(x - mean) / sqrt(variance + eps) * gain + shift` over the last axis (Ba et al., 2016), variance dividing by `d`.
///
/// - `x`: `[n, d]`; `gain`, `shift`: `[d]`. Returns `[n, d]`.
///
/// # Errors
/// If the widths disagree, or the tensors are neither f32 nor f64.
pub fn layer_norm(x: &Tensor, gain: &Tensor, shift: &Tensor, eps: f64) -> Result<Tensor> {
    let (_, d) = x.dims2()?;
    if gain.dims() != [d] || shift.dims() != [d] {
        return Err(Error::Msg(format!(
            "layer_norm over {d} channels got a gain of {:?} and a shift of {:?}",
            gain.dims(),
            shift.dims()
        )));
    }
    x.contiguous()?.apply_op3(&gain.contiguous()?, &shift.contiguous()?, LayerNormOp { eps })
}

struct LayerNormOp {
    eps: f64,
}

impl LayerNormOp {
    fn forward<T: WithDType + Float>(&self, x: &[T], gain: &[T], shift: &[T]) -> CpuStorage {
        T::to_cpu_storage_owned(cpu::layer_norm::forward(x, gain, shift, T::from_f64(self.eps)))
    }

    fn backward<T: WithDType + Float>(
        &self,
        x: &Tensor,
        gain: &Tensor,
        grad: &Tensor,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let d = gain.elem_count();
        let (x_values, gain_values) = (to_vec::<T>(x)?, to_vec::<T>(gain)?);
        let grads =
            cpu::layer_norm::backward(&x_values, &gain_values, &to_vec::<T>(grad)?, T::from_f64(self.eps));
        Ok((
            Tensor::from_vec(grads.x, x.shape(), x.device())?,
            Tensor::from_vec(grads.gain, d, x.device())?,
            Tensor::from_vec(grads.shift, d, x.device())?,
        ))
    }
}

impl CustomOp3 for LayerNormOp {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gain: &CpuStorage,
        gain_layout: &Layout,
        shift: &CpuStorage,
        shift_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let output = match x.dtype() {
            DType::F32 => self.forward::<f32>(
                contiguous_slice(x, x_layout)?,
                contiguous_slice(gain, gain_layout)?,
                contiguous_slice(shift, shift_layout)?,
            ),
            DType::F64 => self.forward::<f64>(
                contiguous_slice(x, x_layout)?,
                contiguous_slice(gain, gain_layout)?,
                contiguous_slice(shift, shift_layout)?,
            ),
            dtype => return Err(unsupported_dtype("layer_norm", dtype)),
        };
        Ok((output, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gain: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dgain, dshift) = match x.dtype() {
            DType::F32 => self.backward::<f32>(x, gain, grad)?,
            DType::F64 => self.backward::<f64>(x, gain, grad)?,
            dtype => return Err(unsupported_dtype("layer_norm", dtype)),
        };
        Ok((Some(dx), Some(dgain), Some(dshift)))
    }
}
