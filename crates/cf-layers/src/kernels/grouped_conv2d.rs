//! Grouped convolution with one output channel per group, on maps kept channels-last.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, DType, Error, Layout, Result, Shape, Tensor};

use super::cpu::element::Element;
#[cfg(feature = "cuda")]
use super::cuda;
use super::linear::LinearShape;
use super::{contiguous_slice, cpu, reference, unsupported_dtype};

/// A convolution (stride 1, zero padding to the same size) in which output channel `g` reads the
/// `c_in / c_out` consecutive input channels of group `g`. Depth-wise where `c_in == c_out`.
///
/// - `x`: `[h, w, c_in]`; `weight`: `[c_out, c_in / c_out, k, k]` with odd `k`; `bias`: `[c_out]`. Returns `[h, w, c_out]`.
///
/// # Errors
/// If the shapes do not fit together, or the tensors are neither f32 nor f64.
pub fn grouped_conv2d(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if reference::are_active() {
        return reference::grouped_conv2d(x, weight, bias);
    }
    let ((height, width, c_in), (c_out, per_group, k, k_width)) = (x.dims3()?, weight.dims4()?);
    if c_out * per_group != c_in
        || k != k_width
        || k.is_multiple_of(2)
        || height * width == 0
        || bias.dims() != [c_out]
    {
        return Err(Error::Msg(format!(
            "grouped convolution of {:?} by {:?} with a bias of {:?}: expected [h, w, c_out * per_group], \
             [c_out, per_group, k, k] with odd k, and [c_out]",
            x.dims(),
            weight.dims(),
            bias.dims()
        )));
    }
    let shape = ConvShape { height, width, c_out, per_group, k };
    #[cfg(feature = "cuda")]
    if cuda::grouped_conv2d::serves(x, &shape) {
        return cuda::grouped_conv2d::grouped_conv2d(
            &x.contiguous()?,
            &weight.contiguous()?,
            &bias.contiguous()?,
            shape,
        );
    }
    if reference::stands_in_for(x) {
        return reference::grouped_conv2d(x, weight, bias);
    }
    let op = GroupedConv2d { shape };
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, op)
}

/// The sizes of one grouped convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConvShape {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) c_out: usize,
    pub(super) per_group: usize,
    pub(super) k: usize,
}

struct GroupedConv2d {
    shape: ConvShape,
}

type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

impl GroupedConv2d {
    fn forward<T: Element>(&self, [x, weight, bias]: [(&CpuStorage, &Layout); 3]) -> Result<CpuStorage> {
        Ok(T::to_cpu_storage_owned(cpu::grouped_conv2d::forward::<T>(
            self.shape,
            contiguous_slice(x.0, x.1)?,
            contiguous_slice(weight.0, weight.1)?,
            contiguous_slice(bias.0, bias.1)?,
        )))
    }

    fn backward<T: Element>(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        grad: &Tensor,
    ) -> Result<Gradients> {
        let grad = &grad.contiguous()?;
        let [x_values, weight_values, grad] = [x, weight, grad].map(cpu::Values::of);
        let grad = grad.as_slice()?;
        let (dx, dweight) = cpu::grouped_conv2d::backward::<T>(
            self.shape,
            x_values.as_slice()?,
            weight_values.as_slice()?,
            grad,
        );
        let ConvShape { height, width, c_out, .. } = self.shape;
        let dbias =
            cpu::linear::bias_gradient(LinearShape { n: height * width, d_in: 0, d_out: c_out }, grad);
        Ok((
            Some(Tensor::from_vec(dx, x.shape(), x.device())?),
            Some(Tensor::from_vec(dweight, weight.shape(), x.device())?),
            Some(Tensor::from_vec(dbias, bias.shape(), x.device())?),
        ))
    }
}

impl CustomOp3 for GroupedConv2d {
    fn name(&self) -> &'static str {
        "grouped_conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let inputs = [(x, x_layout), (weight, weight_layout), (bias, bias_layout)];
        let output = match x.dtype() {
            DType::F32 => self.forward::<f32>(inputs)?,
            DType::F64 => self.forward::<f64>(inputs)?,
            dtype => return Err(unsupported_dtype("grouped_conv2d", dtype)),
        };
        Ok((output, Shape::from((self.shape.height, self.shape.width, self.shape.c_out))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<Gradients> {
        match x.dtype() {
            DType::F32 => self.backward::<f32>(x, weight, bias, grad),
            DType::F64 => self.backward::<f64>(x, weight, bias, grad),
            dtype => Err(unsupported_dtype("grouped_conv2d", dtype)),
        }
    }
}
