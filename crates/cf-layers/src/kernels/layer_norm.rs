//! Layer norm over the last axis, with the backward that Candle's fused one lacks.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Error, Layout, Result, Shape, Tensor};

use super::cpu::element::Element;
use super::cpu::layer_norm::Input;
#[cfg(feature = "cuda")]
use super::cuda;
use super::{contiguous_slice, cpu, reference, unsupported_dtype};

/// `(x - mean) / sqrt(variance + eps) * gain + shift` over the last axis (Ba et al., 2016), variance dividing by `d`.
///
/// - `x`: `[n, d]`; `gain`, `shift`: `[d]`. Returns `[n, d]`.
///
/// # Errors
/// If the widths disagree, or the tensors are neither f32 nor f64.
pub fn layer_norm(x: &Tensor, gain: &Tensor, shift: &Tensor, eps: f64) -> Result<Tensor> {
    if reference::are_active() {
        return reference::layer_norm(x, gain, shift, eps);
    }
    check_affine(x, gain, shift)?;
    #[cfg(feature = "cuda")]
    if cuda::layer_norm::serves(x, gain.elem_count()) {
        return cuda::layer_norm::layer_norm(x, gain, shift, eps);
    }
    if reference::stands_in_for(x) {
        return reference::layer_norm(x, gain, shift, eps);
    }
    x.contiguous()?.apply_op2(&Tensor::stack(&[gain, shift], 0)?, LayerNormOp { eps })
}

/// [`layer_norm`] of `x + added`, without storing the sum.
///
/// # Errors
/// If the shapes disagree, or the tensors are neither f32 nor f64.
pub fn add_layer_norm(x: &Tensor, added: &Tensor, gain: &Tensor, shift: &Tensor, eps: f64) -> Result<Tensor> {
    if reference::are_active() {
        return reference::layer_norm(&(x + added)?, gain, shift, eps);
    }
    if x.shape() != added.shape() {
        return Err(Error::Msg(format!("layer_norm of {:?} plus {:?}", x.dims(), added.dims())));
    }
    check_affine(x, gain, shift)?;
    #[cfg(feature = "cuda")]
    if cuda::layer_norm::serves(x, gain.elem_count()) {
        return cuda::layer_norm::add_layer_norm(x, added, gain, shift, eps);
    }
    if reference::stands_in_for(x) {
        return reference::layer_norm(&(x + added)?, gain, shift, eps);
    }
    // Gain and shift as one: ops have at most three inputs.
    let affine = Tensor::stack(&[gain, shift], 0)?;
    x.contiguous()?.apply_op3(&added.contiguous()?, &affine, LayerNormOp { eps })
}

fn check_affine(x: &Tensor, gain: &Tensor, shift: &Tensor) -> Result<()> {
    let (_, d) = x.dims2()?;
    if gain.dims() != [d] || shift.dims() != [d] {
        return Err(Error::Msg(format!(
            "layer_norm over {d} channels got a gain of {:?} and a shift of {:?}",
            gain.dims(),
            shift.dims()
        )));
    }
    Ok(())
}

struct LayerNormOp {
    eps: f64,
}

impl LayerNormOp {
    fn forward<T: Element>(&self, x: &[T], added: Option<&[T]>, affine: &[T]) -> CpuStorage {
        let output = cpu::layer_norm::forward(Input { x, added }, affine, T::from_f64(self.eps));
        T::to_cpu_storage_owned(output)
    }

    /// Gradients of each summand and of `affine`.
    fn backward<T: Element>(
        &self,
        x: &Tensor,
        added: Option<&Tensor>,
        affine: &Tensor,
        grad: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let eps = T::from_f64(self.eps);
        let gain = affine.get(0)?.to_vec1::<T>()?;
        let grad = &grad.contiguous()?;
        let (values, added, grad) = (cpu::Values::of(x), added.map(cpu::Values::of), cpu::Values::of(grad));
        let added = added.as_ref().map(cpu::Values::as_slice).transpose()?;
        let input = Input { x: values.as_slice()?, added };
        let grads = cpu::layer_norm::backward(input, &gain, grad.as_slice()?, eps);
        Ok((
            Tensor::from_vec(grads.x, x.shape(), x.device())?,
            Tensor::from_vec(grads.affine, affine.shape(), x.device())?,
        ))
    }

    fn backward_any(
        &self,
        x: &Tensor,
        added: Option<&Tensor>,
        affine: &Tensor,
        grad: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        match x.dtype() {
            DType::F32 => self.backward::<f32>(x, added, affine, grad),
            DType::F64 => self.backward::<f64>(x, added, affine, grad),
            dtype => Err(unsupported_dtype("layer_norm", dtype)),
        }
    }
}

impl CustomOp2 for LayerNormOp {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        affine: &CpuStorage,
        affine_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let output = match x.dtype() {
            DType::F32 => self.forward::<f32>(
                contiguous_slice(x, x_layout)?,
                None,
                contiguous_slice(affine, affine_layout)?,
            ),
            DType::F64 => self.forward::<f64>(
                contiguous_slice(x, x_layout)?,
                None,
                contiguous_slice(affine, affine_layout)?,
            ),
            dtype => return Err(unsupported_dtype("layer_norm", dtype)),
        };
        Ok((output, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        affine: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, daffine) = self.backward_any(x, None, affine, grad)?;
        Ok((Some(dx), Some(daffine)))
    }
}

impl CustomOp3 for LayerNormOp {
    fn name(&self) -> &'static str {
        "add_layer_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        added: &CpuStorage,
        added_layout: &Layout,
        affine: &CpuStorage,
        affine_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let output = match x.dtype() {
            DType::F32 => self.forward::<f32>(
                contiguous_slice(x, x_layout)?,
                Some(contiguous_slice(added, added_layout)?),
                contiguous_slice(affine, affine_layout)?,
            ),
            DType::F64 => self.forward::<f64>(
                contiguous_slice(x, x_layout)?,
                Some(contiguous_slice(added, added_layout)?),
                contiguous_slice(affine, affine_layout)?,
            ),
            dtype => return Err(unsupported_dtype("add_layer_norm", dtype)),
        };
        Ok((output, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        added: &Tensor,
        affine: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, daffine) = self.backward_any(x, Some(added), affine, grad)?;
        Ok((Some(dx.clone()), Some(dx), Some(daffine)))
    }
}
