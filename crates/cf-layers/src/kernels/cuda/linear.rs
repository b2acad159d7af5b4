//! The linear layer, and what other ops share of it.

use candle_core::{CudaStorage, CustomOp3};

use super::super::gradients;
use super::super::linear::{Activation, LinearShape};
use super::product::{plain, transposed};
use super::*;

/// [`super::super::linear_with`] of contiguous tensors whose shapes fit.
pub(in crate::kernels) fn linear_with(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    (shape, activation, compute): (LinearShape, Activation, Compute),
) -> Result<Tensor> {
    x.apply_op3(weight, bias, Linear { shape, activation, compute })
}

/// An operand of a product in its type: what was given if it is of that type, else a copy.
pub(super) enum Cast<'a> {
    Given(View<'a>),
    Made(Array),
}

impl Cast<'_> {
    pub(super) fn view(&self) -> View<'_> {
        match self {
            Self::Given(view) => *view,
            Self::Made(array) => array.view(),
        }
    }

    /// The copy, if one was made.
    pub(super) fn made(self) -> Option<Array> {
        match self {
            Self::Given(_) => None,
            Self::Made(array) => Some(array),
        }
    }
}

impl Gpu {
    pub(super) fn cast<'a>(&self, x: View<'a>, n: usize, dtype: DType) -> Result<Cast<'a>> {
        match (x.dtype, dtype) {
            (from, to) if from == to => Ok(Cast::Given(x)),
            (_, DType::BF16) => Ok(Cast::Made(self.to_bf16(x, n)?)),
            _ => Ok(Cast::Made(self.to_f32(x, n)?)),
        }
    }
}

struct Linear {
    shape: LinearShape,
    activation: Activation,
    compute: Compute,
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        not_on_the_cpu("linear")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
        bias: &CudaStorage,
        bias_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let LinearShape { n, d_in, d_out } = self.shape;
        let dtype = operand_type(self.compute);
        let x = gpu.cast(View::of(x, x_layout)?, n * d_in, dtype)?;
        let weight = gpu.cast(View::of(weight, weight_layout)?, d_out * d_in, dtype)?;
        let output = gpu.array(n * d_out, DType::F32)?;
        let y = output.view();
        gpu.multiply(y, [n, d_out, d_in], plain(x.view(), d_in), transposed(weight.view(), d_in), 0.0)?;
        gpu.bias_activation(y, View::of(bias, bias_layout)?, [n, d_out], self.activation)?;
        Ok((output.into_storage(&gpu), Shape::from((n, d_out))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gpu = Gpu::of(x.device())?;
        let LinearShape { n, d_in, d_out } = self.shape;
        let dtype = operand_type(self.compute);
        let grad = grad.contiguous()?;
        let (x_input, weight_input) = (Input::of(x), Input::of(weight));
        let (output, grad) = (Input::of(output), Input::of(&grad));

        let needs_copy = dtype == DType::BF16 || self.activation != Activation::Identity;
        let copy = if needs_copy { Some(gpu.array(n * d_out, dtype)?) } else { None };
        let activation = (self.activation, Some(output.view()?));
        let to = copy.as_ref().map(Array::view);
        let dbias = gpu.row_gradient(grad.view()?, activation, to, [n, d_out], None)?;
        let dy = to.map_or_else(|| grad.view(), Ok)?;

        let dx = if x.track_op() {
            let weight = gpu.cast(weight_input.view()?, d_out * d_in, dtype)?;
            let dx = gpu.array(n * d_in, x.dtype())?;
            gpu.multiply(dx.view(), [n, d_in, d_out], plain(dy, d_out), plain(weight.view(), d_in), 0.0)?;
            Some(dx.into_tensor(&gpu, x.shape()))
        } else {
            None
        };
        let dweight = if weight.track_op() {
            let x = gpu.cast(x_input.view()?, n * d_in, dtype)?;
            let dweight = gpu.array(d_out * d_in, DType::F32)?;
            let (a, b) = (transposed(dy, d_out), plain(x.view(), d_in));
            gpu.multiply(dweight.view(), [d_out, d_in, n], a, b, 0.0)?;
            gradients::deliver(weight, dweight.into_tensor(&gpu, weight.shape()))?
        } else {
            None
        };
        let dbias = if bias.track_op() {
            gradients::deliver(bias, dbias.into_tensor(&gpu, bias.shape()))?
        } else {
            None
        };
        let dx = dx.map(|dx| gradients::deliver(x, dx)).transpose()?.flatten();
        Ok((dx, dweight, dbias))
    }
}
