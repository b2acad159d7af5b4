//! The two-layer perceptron of a Transformer block as one op that stores its hidden channels once, or not at all.

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, DType, Error, Layout, Result, Shape, Tensor, WithDType};

use super::cpu::rows;
use super::cpu::unit::Unit;
#[cfg(feature = "cuda")]
use super::cuda;
use super::dropout::{DropoutMask, masked};
use super::gelu::activated;
use super::linear::LinearShape;
use super::{Compute, Retention, by_unit, contiguous_slice, cpu, reference, unsupported_dtype};

/// The parameters of a [`feed_forward`].
#[derive(Debug, Clone, Copy)]
pub struct FeedForwardWeights<'a> {
    /// `[hidden, d]` and `[hidden]`: from the channels to the hidden ones.
    pub expand: (&'a Tensor, &'a Tensor),
    /// `[d, hidden]` and `[d]`: back again.
    pub contract: (&'a Tensor, &'a Tensor),
}

/// How a [`feed_forward`] is computed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FeedForwardOptions {
    /// Dropout of the hidden channels, after the GELU.
    pub hidden_mask: Option<DropoutMask>,
    /// Dropout of the result, before the base is added.
    pub output_mask: Option<DropoutMask>,
    /// What products are computed in.
    pub compute: Compute,
    /// Whether hidden channels are kept for the backward pass.
    pub retention: Retention,
}

impl FeedForwardOptions {
    /// Whether anything is dropped.
    #[cfg(feature = "cuda")]
    pub(super) fn drops(&self) -> bool {
        self.hidden_mask.or(self.output_mask).is_some()
    }
}

/// `base + dropout(contract(dropout(gelu(expand(x)))))`, `expand` and `contract` linear.
///
/// - `base`, `x`: `[n, d]`. Returns `[n, d]`.
/// - With [`Retention::Recompute`] the backward pass makes the hidden channels again: a sixth of a step's products instead
///   of `n * hidden` numbers.
///
/// # Errors
/// If the shapes do not fit together, or the tensors are neither f32 nor f64.
pub fn feed_forward(
    base: &Tensor,
    x: &Tensor,
    weights: FeedForwardWeights<'_>,
    options: FeedForwardOptions,
) -> Result<Tensor> {
    if reference::are_active() {
        return reference::feed_forward(base, x, weights, options);
    }
    let FeedForwardWeights { expand, contract } = weights;
    let ((n, d), (hidden, width)) = (x.dims2()?, expand.0.dims2()?);
    if base.shape() != x.shape()
        || width != d
        || expand.1.dims() != [hidden]
        || contract.0.dims() != [d, hidden]
        || contract.1.dims() != [d]
    {
        return Err(Error::Msg(format!(
            "feed-forward of {:?} onto {:?} by {:?} and {:?} with biases of {:?} and {:?}",
            x.dims(),
            base.dims(),
            expand.0.dims(),
            contract.0.dims(),
            expand.1.dims(),
            contract.1.dims()
        )));
    }
    #[cfg(feature = "cuda")]
    if cuda::serves(x) {
        return cuda::feed_forward::feed_forward(&base.contiguous()?, &x.contiguous()?, weights, options);
    }
    if reference::stands_in_for(x) {
        return reference::feed_forward(base, x, weights, options);
    }
    // Ops have at most three inputs.
    let parts = [expand.0, contract.0, expand.1, contract.1].map(Tensor::flatten_all);
    let [a, b, c, d_bias] = parts;
    let weights = Tensor::cat(&[a?, b?, c?, d_bias?], 0)?;
    let op = FeedForward { n, d, hidden, options, hidden_values: OnceLock::new() };
    base.contiguous()?.apply_op3(&x.contiguous()?, &weights, op)
}

struct FeedForward {
    n: usize,
    d: usize,
    hidden: usize,
    options: FeedForwardOptions,
    /// `[n, hidden]`, before the GELU; written by the forward pass if it is to be kept.
    hidden_values: OnceLock<CpuStorage>,
}

/// The parameters where [`feed_forward`] lays them.
struct Parts<'a, T> {
    expand: &'a [T],
    contract: &'a [T],
    expand_bias: &'a [T],
    contract_bias: &'a [T],
}

const BLOCK: usize = 4096;
/// Multiply-adds that an error function costs, about.
const COST: usize = 32;

impl FeedForward {
    fn parts<'a, T>(&self, weights: &'a [T]) -> Parts<'a, T> {
        let (expand, rest) = weights.split_at(self.hidden * self.d);
        let (contract, rest) = rest.split_at(self.hidden * self.d);
        let (expand_bias, contract_bias) = rest.split_at(self.hidden);
        Parts { expand, contract, expand_bias, contract_bias }
    }

    fn expand_shape(&self) -> LinearShape {
        LinearShape { n: self.n, d_in: self.d, d_out: self.hidden }
    }

    fn contract_shape(&self) -> LinearShape {
        LinearShape { n: self.n, d_in: self.hidden, d_out: self.d }
    }

    fn expanded<U: Unit>(&self, x: &[U::Sum], parts: &Parts<'_, U::Sum>) -> Vec<U::Sum> {
        cpu::linear::forward::<U>(self.expand_shape(), x, parts.expand, parts.expand_bias)
    }

    fn forward<U: Unit>(&self, inputs: [(&CpuStorage, &Layout); 3]) -> Result<CpuStorage> {
        let [base, x, weights] = inputs;
        let (base, x) = (contiguous_slice::<U::Sum>(base.0, base.1)?, contiguous_slice(x.0, x.1)?);
        let parts = self.parts(contiguous_slice(weights.0, weights.1)?);
        let z = self.expanded::<U>(x, &parts);
        let hidden = activated(&z, self.options.hidden_mask);
        if self.options.retention == Retention::Keep {
            self.hidden_values.get_or_init(|| U::Sum::to_cpu_storage_owned(z));
        } else {
            drop(z);
        }
        let mut output =
            cpu::linear::forward::<U>(self.contract_shape(), &hidden, parts.contract, parts.contract_bias);
        drop(hidden);
        let drops = self.options.output_mask.map(|mask| mask.drops());
        cpu::for_each_chunk(&mut output, BLOCK, base.len(), |block, output| {
            let first = block * BLOCK;
            if let Some(drops) = drops {
                rows::apply_drops(output, drops, first as u64);
            }
            rows::add(output, &base[first..first + output.len()]);
        });
        Ok(U::Sum::to_cpu_storage_owned(output))
    }

    /// The gradients of `x` and of the parameters.
    fn backward<U: Unit>(&self, x: &Tensor, weights: &Tensor, grad: &Tensor) -> Result<(Tensor, Tensor)> {
        let grad = &grad.contiguous()?;
        let [x_values, weight_values, grad_values] = [x, weights, grad].map(cpu::Values::of);
        let (x_slice, weight_slice) = (x_values.as_slice()?, weight_values.as_slice()?);
        let grad_slice: &[U::Sum] = grad_values.as_slice()?;
        let parts = self.parts(weight_slice);
        let dropped;
        let grad_slice = match self.options.output_mask {
            None => grad_slice,
            Some(mask) => {
                dropped = masked(grad_slice, mask);
                &dropped
            }
        };
        let again;
        let z: &[U::Sum] = match self.hidden_values.get() {
            Some(kept) => kept.as_slice()?,
            None => {
                again = self.expanded::<U>(x_slice, &parts);
                &again
            }
        };
        let hidden = activated(z, self.options.hidden_mask);
        let (expand, contract) = (self.expand_shape(), self.contract_shape());
        let mut dweights = cpu::linear::weight_gradient::<U>(contract, &hidden, grad_slice);
        drop(hidden);
        let contract_bias = cpu::linear::bias_gradient(contract, grad_slice);
        let mut dz = cpu::linear::input_gradient::<U>(contract, parts.contract, grad_slice);
        let drops = self.options.hidden_mask.map(|mask| mask.drops());
        cpu::for_each_chunk(&mut dz, BLOCK, COST * z.len(), |block, dz| {
            let first = block * BLOCK;
            rows::gelu_gradient(dz, &z[first..first + dz.len()], drops, first as u64);
        });
        let mut all = cpu::linear::weight_gradient::<U>(expand, x_slice, &dz);
        all.append(&mut dweights);
        all.extend(cpu::linear::bias_gradient(expand, &dz));
        all.extend(contract_bias);
        let dx = cpu::linear::input_gradient::<U>(expand, parts.expand, &dz);
        Ok((
            Tensor::from_vec(dx, x.shape(), x.device())?,
            Tensor::from_vec(all, weights.shape(), x.device())?,
        ))
    }
}

impl CustomOp3 for FeedForward {
    fn name(&self) -> &'static str {
        "feed_forward"
    }

    fn cpu_fwd(
        &self,
        base: &CpuStorage,
        base_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let inputs = [(base, base_layout), (x, x_layout), (weights, weights_layout)];
        let output = by_unit!("feed_forward", x.dtype(), self.options.compute, self.forward(inputs))?;
        Ok((output, Shape::from((self.n, self.d))))
    }

    fn bwd(
        &self,
        _: &Tensor,
        x: &Tensor,
        weights: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let compute = self.options.compute;
        let (dx, dweights) = by_unit!("feed_forward", x.dtype(), compute, self.backward(x, weights, grad))?;
        Ok((Some(grad.clone()), Some(dx), Some(dweights)))
    }
}
