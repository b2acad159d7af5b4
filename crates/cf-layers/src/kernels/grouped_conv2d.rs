//! Grouped convolution with one output channel per group, on maps kept channels-last.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, DType, Error, Layout, Result, Shape, Tensor};

use super::cpu::element::Element;
use super::{contiguous_slice, cpu, to_vec, unsupported_dtype};

/// A convolution (stride 1, zero padding to the same size, no bias) in which output channel `g` reads the
/// `c_in / c_out` consecutive input channels of group `g`. Depth-wise where `c_in == c_out`.
///
/// - `x`: `[h, w, c_in]`; `weight`: `[c_out, c_in / c_out, k, k]` with odd `k`. Returns `[h, w, c_out]`.
///
/// # Errors
/// If the shapes do not fit together, or the tensors are neither f32 nor f64.
pub fn grouped_conv2d(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let ((height, width, c_in), (c_out, per_group, k, k_width)) = (x.dims3()?, weight.dims4()?);
    if c_out * per_group != c_in || k != k_width || k.is_multiple_of(2) || height * width == 0 {
        return Err(Error::Msg(format!(
            "grouped convolution of {:?} by {:?}: expected [h, w, c_out * per_group] and [c_out, per_group, k, k] \
             with odd k",
            x.dims(),
            weight.dims()
        )));
    }
    let op = GroupedConv2d { shape: ConvShape { height, width, c_out, per_group, k } };
    x.contiguous()?.apply_op2(&weight.contiguous()?, op)
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

impl GroupedConv2d {
    fn backward<T: Element>(&self, x: &Tensor, weight: &Tensor, grad: &Tensor) -> Result<(Tensor, Tensor)> {
        let (dx, dweight) = cpu::grouped_conv2d::backward(
            self.shape,
            &to_vec::<T>(x)?,
            &to_vec::<T>(weight)?,
            &to_vec::<T>(grad)?,
        );
        Ok((
            Tensor::from_vec(dx, x.shape(), x.device())?,
            Tensor::from_vec(dweight, weight.shape(), x.device())?,
        ))
    }
}

impl CustomOp2 for GroupedConv2d {
    fn name(&self) -> &'static str {
        "grouped_conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let output = match x.dtype() {
            DType::F32 => CpuStorage::F32(cpu::grouped_conv2d::forward(
                self.shape,
                contiguous_slice::<f32>(x, x_layout)?,
                contiguous_slice(weight, weight_layout)?,
            )),
            DType::F64 => CpuStorage::F64(cpu::grouped_conv2d::forward(
                self.shape,
                contiguous_slice::<f64>(x, x_layout)?,
                contiguous_slice(weight, weight_layout)?,
            )),
            dtype => return Err(unsupported_dtype("grouped_conv2d", dtype)),
        };
        Ok((output, Shape::from((self.shape.height, self.shape.width, self.shape.c_out))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, dweight) = match x.dtype() {
            DType::F32 => self.backward::<f32>(x, weight, grad)?,
            DType::F64 => self.backward::<f64>(x, weight, grad)?,
            dtype => return Err(unsupported_dtype("grouped_conv2d", dtype)),
        };
        Ok((Some(dx), Some(dweight)))
    }
}
