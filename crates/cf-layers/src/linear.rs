//! A linear layer with the released initialisation.

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;

use crate::init;
use crate::kernels::{self, Activation, Compute, LinearNormOptions, NormedFor};
use crate::layer_norm::{EPS, LayerNorm};

/// `x W^T + b` from `[n, d_in]` to `[n, d_out]`; parameters `weight` `[d_out, d_in]` and `bias` `[d_out]`.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
    compute: Compute,
}

impl Linear {
    /// A layer from `d_in` to `d_out` channels.
    ///
    /// # Errors
    /// If the parameters are missing from `vb` or have other shapes.
    pub fn new(d_in: usize, d_out: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let weight = vb.get_with_hints((d_out, d_in), "weight", init::LINEAR_WEIGHT)?;
        let bias = vb.get_with_hints(d_out, "bias", init::ZERO)?;
        Ok(Self { weight, bias, compute: vb.dtype().into() })
    }

    /// The same with PyTorch's default initialisation ([`init::fan_in`]) of weight and bias.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn uniform(d_in: usize, d_out: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let weight = vb.get_with_hints((d_out, d_in), "weight", init::fan_in(d_in))?;
        let bias = vb.get_with_hints(d_out, "bias", init::fan_in(d_in))?;
        Ok(Self { weight, bias, compute: vb.dtype().into() })
    }

    /// The same without a bias, which is then no parameter.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn uniform_without_bias(d_in: usize, d_out: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let weight = vb.get_with_hints((d_out, d_in), "weight", init::fan_in(d_in))?;
        let bias = Tensor::zeros(d_out, weight.dtype(), weight.device())?;
        Ok(Self { weight, bias, compute: vb.dtype().into() })
    }

    /// `[n, d_in]` to `[n, d_out]`, without the bias.
    ///
    /// # Errors
    /// If the width of `x` is not that of this layer.
    pub fn forward_without_bias(&self, x: &Tensor) -> Result<Tensor> {
        kernels::linear(x, &self.weight, &self.bias.zeros_like()?.detach(), self.compute)
    }

    /// Its bias, `[d_out]`.
    pub fn bias(&self) -> &Tensor {
        &self.bias
    }

    /// `[n, d_in]` to `[n, d_out]`.
    ///
    /// # Errors
    /// If the width of `x` is not that of this layer.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        kernels::linear(x, &self.weight, &self.bias, self.compute)
    }

    /// [`Self::forward`], then an activation.
    ///
    /// # Errors
    /// If the width of `x` is not that of this layer.
    pub fn forward_with(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        kernels::linear_with(x, &self.weight, &self.bias, activation, self.compute)
    }

    /// The norm of [`Self::forward`].
    ///
    /// # Errors
    /// If the width of `x` is not that of this layer, or the norm is of another.
    pub fn forward_normed(&self, x: &Tensor, norm: &LayerNorm, output: NormedFor) -> Result<Tensor> {
        let options = LinearNormOptions { eps: EPS, compute: self.compute, output };
        kernels::linear_norm(x, self.parameters(), norm.parameters(), options)
    }

    /// Lets go of the weights of a layer that is only evaluated from here on, where products take another form of them: see
    /// [`kernels::device::as_operands`].
    ///
    /// # Errors
    /// If the device can't hold both for a moment.
    pub fn freeze(&mut self) -> Result<()> {
        let dtype = kernels::device::operand_type(self.weight.device(), self.weight.dtype(), self.compute);
        Self::freeze_together([self], dtype)
    }

    /// The same of the layers around an attention of `n_heads` heads over `d` channels, which a GPU takes as one.
    pub(crate) fn freeze_around(layers: [&mut Self; 6], (d, n_heads): (usize, usize)) -> Result<()> {
        let [first, ..] = &layers;
        let (weight, compute) = (&first.weight, first.compute);
        let dtype =
            kernels::device::layer_operand_type(weight.device(), weight.dtype(), compute, (d, n_heads));
        Self::freeze_together(layers, dtype)
    }

    fn freeze_together<const N: usize>(layers: [&mut Self; N], dtype: DType) -> Result<()> {
        let weights: Vec<&Tensor> = layers.iter().map(|layer| &layer.weight).collect();
        let frozen = kernels::device::as_operands(&weights, dtype)?;
        layers.into_iter().zip(frozen).for_each(|(layer, weight)| layer.weight = weight);
        Ok(())
    }

    /// Makes this the layer of `x + vector`, by `W (x + v) + b = W x + (W v + b)`, for evaluation.
    pub(crate) fn absorb(&mut self, vector: &Tensor) -> Result<()> {
        let bias = kernels::linear(&vector.unsqueeze(0)?, &self.weight, &self.bias, Compute::AsStored)?;
        self.bias = bias.squeeze(0)?.detach();
        Ok(())
    }

    /// Weight and bias.
    pub(crate) fn parameters(&self) -> (&Tensor, &Tensor) {
        (&self.weight, &self.bias)
    }

    /// What products are computed in.
    pub fn compute(&self) -> Compute {
        self.compute
    }

    /// Weights and biases of several layers of one input, stacked: a layer whose outputs are theirs side by side.
    pub(crate) fn stacked(layers: &[&Self]) -> Result<(Tensor, Tensor)> {
        let weights: Vec<&Tensor> = layers.iter().map(|layer| &layer.weight).collect();
        let biases: Vec<&Tensor> = layers.iter().map(|layer| &layer.bias).collect();
        Ok((Tensor::cat(&weights, 0)?, Tensor::cat(&biases, 0)?))
    }

    /// Zero, in the graph of these layers' parameters: gives them a gradient of zero where no token reaches them.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn zero(layers: &[&Self]) -> Result<Tensor> {
        let sums = layers.iter().flat_map(|layer| [&layer.weight, &layer.bias]).map(Tensor::sum_all);
        let total = Tensor::stack(&sums.collect::<Result<Vec<_>>>()?, 0)?.sum_all()?;
        // A product with the number 0 would be cut out of the graph.
        &total * total.zeros_like()?.detach()
    }

    /// Several layers of one input in one product: `[n, d_in]` to `[n, sum of their d_out]`, their outputs side by side.
    ///
    /// # Errors
    /// If their inputs differ in width.
    pub fn forward_side_by_side(layers: &[&Self], x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = Self::stacked(layers)?;
        kernels::linear(x, &weight, &bias, layers.first().map(|layer| layer.compute).unwrap_or_default())
    }
}
