//! The two-layer perceptron of a Transformer block.

use candle_core::{CudaStorage, CustomOp3};

use super::super::feed_forward::{FeedForwardOptions, FeedForwardWeights};
use super::super::gradients;
use super::super::linear::Activation;
use super::left::Left;
use super::product::{plain, transposed};
use super::*;

/// [`super::super::feed_forward`] of contiguous tensors whose shapes fit. Hidden channels are kept for the backward pass.
pub(in crate::kernels) fn feed_forward(
    base: &Tensor,
    x: &Tensor,
    weights: FeedForwardWeights<'_>,
    options: FeedForwardOptions,
) -> Result<Tensor> {
    let (hidden, d) = weights.expand.0.dims2()?;
    let op = FeedForward {
        n: x.dim(0)?,
        d,
        hidden,
        options,
        expand_bias: weights.expand.1.clone(),
        contract: weights.contract.0.clone(),
        contract_bias: weights.contract.1.clone(),
        kept: Left::nothing(),
    };
    base.apply_op3(x, weights.expand.0, op)
}

struct FeedForward {
    n: usize,
    d: usize,
    hidden: usize,
    options: FeedForwardOptions,
    expand_bias: Tensor,
    contract: Tensor,
    contract_bias: Tensor,
    kept: Left<Kept>,
}

/// What the forward pass leaves: operands in the type of products, hidden channels before their bias.
struct Kept {
    /// None where `x` itself is the operand.
    x: Option<Array>,
    expand: Option<Array>,
    contract: Option<Array>,
    z: Array,
}

impl CustomOp3 for FeedForward {
    fn name(&self) -> &'static str {
        "feed_forward"
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
        not_on_the_cpu("feed_forward")
    }

    fn cuda_fwd(
        &self,
        base: &CudaStorage,
        base_layout: &Layout,
        x: &CudaStorage,
        x_layout: &Layout,
        expand: &CudaStorage,
        expand_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let &Self { n, d, hidden, options, .. } = self;
        let dtype = operand_type(options.compute);
        let (contract, contract_bias) = (Input::of(&self.contract), Input::of(&self.contract_bias));
        let expand_bias = Input::of(&self.expand_bias);
        let x = gpu.cast(View::of(x, x_layout)?, n * d, dtype)?;
        let expand = gpu.cast(View::of(expand, expand_layout)?, hidden * d, dtype)?;
        let contract = gpu.cast(contract.view()?, hidden * d, dtype)?;

        let z = gpu.array(n * hidden, dtype)?;
        gpu.multiply(z.view(), [n, hidden, d], plain(x.view(), d), transposed(expand.view(), d), 0.0)?;
        let h = gpu.gelu(z.view(), Some(expand_bias.view()?), [n, hidden], options.hidden_mask)?;
        let y = gpu.array(n * d, dtype)?;
        let (a, b) = (plain(h.view(), hidden), transposed(contract.view(), hidden));
        gpu.multiply(y.view(), [n, d, hidden], a, b, 0.0)?;
        let output = gpu.array(n * d, DType::F32)?;
        let (base, bias) = (View::of(base, base_layout)?, contract_bias.view()?);
        gpu.add_masked(Some(base), y.view(), Some(bias), output.view(), [n, d], options.output_mask)?;
        self.kept.leave(Kept { x: x.made(), expand: expand.made(), contract: contract.made(), z });
        Ok((output.into_storage(&gpu), Shape::from((n, d))))
    }

    fn bwd(
        &self,
        _: &Tensor,
        x: &Tensor,
        expand: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gpu = Gpu::of(x.device())?;
        let &Self { n, d, hidden, options, .. } = self;
        let dtype = operand_type(options.compute);
        let kept = self.kept.take()?;
        let contiguous = grad.contiguous()?;
        let grad_input = Input::of(&contiguous);
        let (x_input, expand_input, contract_input) =
            (Input::of(x), Input::of(expand), Input::of(&self.contract));
        let expand_bias = Input::of(&self.expand_bias);
        let x_view = kept.x.as_ref().map_or_else(|| x_input.view(), |made| Ok(made.view()))?;
        let expand_view = kept.expand.as_ref().map_or_else(|| expand_input.view(), |made| Ok(made.view()))?;
        let contract_view =
            kept.contract.as_ref().map_or_else(|| contract_input.view(), |made| Ok(made.view()))?;
        let (z, bias) = (kept.z.view(), Some(expand_bias.view()?));

        let dy = gpu.array(n * d, dtype)?;
        let none = (Activation::Identity, None);
        let dcontract_bias =
            gpu.row_gradient(grad_input.view()?, none, Some(dy.view()), [n, d], options.output_mask)?;
        let h = gpu.gelu(z, bias, [n, hidden], options.hidden_mask)?;
        let dcontract = gpu.array(d * hidden, DType::F32)?;
        let (a, b) = (transposed(dy.view(), d), plain(h.view(), hidden));
        gpu.multiply(dcontract.view(), [d, hidden, n], a, b, 0.0)?;
        // The hidden channels' gradient takes their place.
        let dz = h;
        gpu.multiply(dz.view(), [n, hidden, d], plain(dy.view(), d), plain(contract_view, hidden), 0.0)?;
        let dexpand_bias = gpu.gelu_gradient(z, bias, dz.view(), [n, hidden], options.hidden_mask)?;
        let dexpand = gpu.array(hidden * d, DType::F32)?;
        let (a, b) = (transposed(dz.view(), hidden), plain(x_view, d));
        gpu.multiply(dexpand.view(), [hidden, d, n], a, b, 0.0)?;
        let dx = gpu.array(n * d, DType::F32)?;
        gpu.multiply(dx.view(), [n, d, hidden], plain(dz.view(), hidden), plain(expand_view, d), 0.0)?;

        let gradient = |array: Array, of: &Tensor| array.into_tensor(&gpu, of.shape());
        gradients::leave_of_captured(&self.expand_bias, &gradient(dexpand_bias, &self.expand_bias))?;
        gradients::leave_of_captured(&self.contract, &gradient(dcontract, &self.contract))?;
        gradients::leave_of_captured(&self.contract_bias, &gradient(dcontract_bias, &self.contract_bias))?;
        Ok((
            Some(grad.clone()),
            Some(gradient(dx, x)),
            gradients::deliver(expand, gradient(dexpand, expand))?,
        ))
    }
}
