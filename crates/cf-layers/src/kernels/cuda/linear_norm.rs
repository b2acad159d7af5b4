//! A linear layer and the norm of what it makes, without visiting memory for its bias.

use candle_core::{CudaStorage, CustomOp3};

use super::super::gradients;
use super::super::linear::LinearShape;
use super::super::linear_norm::{LinearNormOptions, NormedFor};
use super::super::transformer_layer::NormWeights;
use super::layer_norm::{Affine, MOST_CHANNELS, Summed};
use super::left::Left;
use super::product::{plain, transposed};
use super::*;

/// The sizes of a layer if it has a form here.
pub(in crate::kernels) fn shape(
    x: &Tensor,
    layer: (&Tensor, &Tensor),
    norm: NormWeights<'_>,
) -> Result<Option<LinearShape>> {
    let ((n, d_in), (d_out, width)) = (x.dims2()?, layer.0.dims2()?);
    let whole = width == d_in && [layer.1, norm.0, norm.1].iter().all(|vector| vector.dims() == [d_out]);
    let serves = whole && super::serves(x) && d_out <= MOST_CHANNELS;
    Ok(serves.then_some(LinearShape { n, d_in, d_out }))
}

/// [`super::super::linear_norm`] of contiguous tensors whose shapes fit.
pub(in crate::kernels) fn linear_norm(
    x: &Tensor,
    layer: (&Tensor, &Tensor),
    norm: NormWeights<'_>,
    (shape, options): (LinearShape, LinearNormOptions),
) -> Result<Tensor> {
    let LinearNormOptions { eps, compute, output } = options;
    let op = LinearNorm {
        shape,
        eps: eps as f32,
        dtype: operand_type(compute),
        output: if output == NormedFor::Products { operand_type(compute) } else { DType::F32 },
        gain: norm.0.clone(),
        shift: norm.1.clone(),
        projected: Left::nothing(),
    };
    x.apply_op3(layer.0, layer.1, op)
}

struct LinearNorm {
    shape: LinearShape,
    eps: f32,
    /// Of operands, and of what lies between layer and norm.
    dtype: DType,
    /// Of what is returned.
    output: DType,
    gain: Tensor,
    shift: Tensor,
    /// `[n, d_out]`, without the bias; left by the forward pass.
    projected: Left<Array>,
}

impl CustomOp3 for LinearNorm {
    fn name(&self) -> &'static str {
        "linear_norm"
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
        not_on_the_cpu("linear_norm")
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
        let (gain, shift) = (Input::of(&self.gain), Input::of(&self.shift));
        let x = gpu.cast(View::of(x, x_layout)?, n * d_in, self.dtype)?;
        let weight = gpu.cast(View::of(weight, weight_layout)?, d_out * d_in, self.dtype)?;
        let projected = gpu.array(n * d_out, self.dtype)?;
        let (a, b) = (plain(x.view(), d_in), transposed(weight.view(), d_in));
        gpu.multiply(projected.view(), [n, d_out, d_in], a, b, 0.0)?;
        let summed = Summed::of_product(projected.view(), View::of(bias, bias_layout)?);
        let affine = Affine { gain: gain.view()?, shift: shift.view()?, eps: self.eps };
        let y = gpu.norm_operand(summed, affine, [n, d_out], self.output)?;
        self.projected.leave(projected);
        Ok((y.into_storage(&gpu), Shape::from((n, d_out))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gpu = Gpu::of(x.device())?;
        let LinearShape { n, d_in, d_out } = self.shape;
        let projected = self.projected.take()?;
        let grad = grad.contiguous()?;
        let inputs = [x, weight, bias, &self.gain, &self.shift, &grad].map(Input::of);
        let [x_input, weight_input, bias_input, gain, shift, grad] = &inputs;
        let summed = Summed::of_product(projected.view(), bias_input.view()?);
        let affine = Affine { gain: gain.view()?, shift: shift.view()?, eps: self.eps };
        let grad = gpu.cast(grad.view()?, n * d_out, DType::F32)?;
        let grads = [Some(grad.view()), None];
        let norm = gpu.norm_gradient(summed, affine, grads, [n, d_out], self.dtype)?;
        drop((projected, grad));
        let dy = norm.dx.operand();
        let x_operand = gpu.cast(x_input.view()?, n * d_in, self.dtype)?;
        let dweight = gpu.array(d_out * d_in, DType::F32)?;
        let (a, b) = (transposed(dy, d_out), plain(x_operand.view(), d_in));
        gpu.multiply(dweight.view(), [d_out, d_in, n], a, b, 0.0)?;
        let dx = if x.track_op() {
            let weight = gpu.cast(weight_input.view()?, d_out * d_in, self.dtype)?;
            let dx = gpu.array(n * d_in, x.dtype())?;
            gpu.multiply(dx.view(), [n, d_in, d_out], plain(dy, d_out), plain(weight.view(), d_in), 0.0)?;
            gradients::deliver(x, dx.into_tensor(&gpu, x.shape()))?
        } else {
            None
        };
        let affine = norm.affine.into_tensor(&gpu, (3, d_out));
        gradients::leave_of_captured(&self.gain, &affine.get(0)?)?;
        gradients::leave_of_captured(&self.shift, &affine.get(1)?)?;
        let dweight = gradients::deliver(weight, dweight.into_tensor(&gpu, weight.shape()))?;
        Ok((dx, dweight, gradients::deliver(bias, affine.get(2)?)?))
    }
}
