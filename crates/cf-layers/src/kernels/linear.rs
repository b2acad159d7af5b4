//! A matrix product with a bias, and a backward that neither copies nor scans what it need not.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, DType, Error, Layout, Result, Shape, Tensor, WithDType};

use super::cpu::unit::Unit;
#[cfg(feature = "cuda")]
use super::cuda;
use super::{Compute, by_unit, contiguous_slice, cpu, gradients, reference, unsupported_dtype};

/// What a linear layer ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    Identity,
    /// `max(y, 0)`; its derivative at 0 is 0.
    Relu,
    /// The hyperbolic tangent.
    Tanh,
}

/// `x weight^T + bias`.
///
/// - `x`: `[n, d_in]`; `weight`: `[d_out, d_in]`; `bias`: `[d_out]`. Returns `[n, d_out]`.
/// - Products are computed in `compute`, sums in the type of the tensors. No gradient is computed for an `x` that records none, such as the features of a bag.
///
/// # Errors
/// If the shapes do not fit together, a width is 0, or the tensors are neither f32 nor f64.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor, compute: Compute) -> Result<Tensor> {
    linear_with(x, weight, bias, Activation::Identity, compute)
}

/// [`linear`] and its activation in one pass over the output, which is all that is kept for the backward pass.
///
/// # Errors
/// As [`linear`].
pub fn linear_with(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    activation: Activation,
    compute: Compute,
) -> Result<Tensor> {
    if reference::are_active() {
        return reference::linear_with(x, weight, bias, activation);
    }
    let ((n, d_in), (d_out, width)) = (x.dims2()?, weight.dims2()?);
    if width != d_in || bias.dims() != [d_out] {
        return Err(Error::Msg(format!(
            "linear layer of {:?} by {:?} with a bias of {:?}",
            x.dims(),
            weight.dims(),
            bias.dims()
        )));
    }
    if d_in == 0 || d_out == 0 {
        return Err(Error::Msg(format!(
            "linear layer of weight [{d_out}, {d_in}]: both widths must be at least 1"
        )));
    }
    let shape = LinearShape { n, d_in, d_out };
    #[cfg(feature = "cuda")]
    if cuda::serves(x) {
        return cuda::linear::linear_with(
            &x.contiguous()?,
            &weight.contiguous()?,
            &bias.contiguous()?,
            (shape, activation, compute),
        );
    }
    if reference::stands_in_for(x) {
        return reference::linear_with(x, weight, bias, activation);
    }
    let op = Linear { shape, activation, compute };
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, op)
}

/// The sizes of one linear layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinearShape {
    pub(super) n: usize,
    pub(super) d_in: usize,
    pub(super) d_out: usize,
}

struct Linear {
    shape: LinearShape,
    activation: Activation,
    compute: Compute,
}

impl Linear {
    fn forward<U: Unit>(&self, [x, weight, bias]: [(&CpuStorage, &Layout); 3]) -> Result<CpuStorage> {
        let output = cpu::linear::forward_with::<U>(
            self.shape,
            contiguous_slice(x.0, x.1)?,
            contiguous_slice(weight.0, weight.1)?,
            contiguous_slice(bias.0, bias.1)?,
            self.activation,
        );
        Ok(U::Sum::to_cpu_storage_owned(output))
    }

    fn backward<U: Unit>(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (shape, device) = (self.shape, x.device());
        let contiguous_grad = grad.contiguous()?;
        let [x_values, weight_values, output, grad] =
            [x, weight, output, &contiguous_grad].map(cpu::Values::of);
        let before = cpu::linear::before_activation(self.activation, output.as_slice()?, grad.as_slice()?);
        let grad: &[U::Sum] = &before;
        let deliver =
            |to: &Tensor, values| gradients::deliver(to, Tensor::from_vec(values, to.shape(), device)?);
        let dx = if x.track_op() {
            deliver(x, cpu::linear::input_gradient::<U>(shape, weight_values.as_slice()?, grad))?
        } else {
            None
        };
        let dweight = deliver(weight, cpu::linear::weight_gradient::<U>(shape, x_values.as_slice()?, grad))?;
        // A layer without a bias has a constant for one.
        let dbias =
            if bias.track_op() { deliver(bias, cpu::linear::bias_gradient(shape, grad))? } else { None };
        Ok((dx, dweight, dbias))
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
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
        let output = by_unit!("linear", x.dtype(), self.compute, self.forward(inputs))?;
        Ok((output, Shape::from((self.shape.n, self.shape.d_out))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        by_unit!("linear", x.dtype(), self.compute, self.backward(x, weight, bias, output, grad))
    }
}
