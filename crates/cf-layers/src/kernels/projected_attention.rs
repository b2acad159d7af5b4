//! Attention with its projections as one op, which stores queries, keys and values for the backward pass or makes them again.

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, DType, Error, Layout, Result, Shape, Tensor, WithDType};

use super::attention::{AttentionDropout, AttentionShape};
use super::cpu::attention::{Operands, Saved};
use super::cpu::unit::Unit;
#[cfg(feature = "cuda")]
use super::cuda;
use super::linear::LinearShape;
use super::{Compute, Retention, by_unit, contiguous_slice, cpu, reference, unsupported_dtype};

/// How a projected attention is computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProjectedAttentionOptions {
    /// Heads, of which the width is a multiple.
    pub n_heads: usize,
    /// Dropout of the attention weights.
    pub dropout: Option<AttentionDropout>,
    /// What products are computed in.
    pub compute: Compute,
    /// Whether queries, keys and values are kept for the backward pass.
    pub retention: Retention,
}

/// [`super::self_attention`] of queries, keys and values projected from one sequence.
///
/// - `x`: `[n, d]`. Returns `[n, d]`; on a GPU with bf16 products as bf16.
/// - With [`Retention::Recompute`] the backward pass projects `x` again, and `3 n d` numbers are not stored.
///
/// # Errors
/// If the shapes do not fit together, or the tensors are neither f32 nor f64.
pub fn projected_self_attention(
    x: &Tensor,
    projections: AttentionProjections<'_>,
    options: ProjectedAttentionOptions,
) -> Result<Tensor> {
    if reference::are_active() {
        return reference::projected_self_attention(x, projections, options);
    }
    let (n, d) = x.dims2()?;
    projections.check(x, x)?;
    let shape = AttentionShape { n, m: n, d, n_heads: options.n_heads };
    shape.check()?;
    #[cfg(feature = "cuda")]
    if cuda::attention::serves(x, &shape) {
        return cuda::projected_attention::projected_self_attention(
            &x.contiguous()?,
            projections,
            shape,
            options,
        );
    }
    if reference::stands_in_for(x) {
        return reference::projected_self_attention(x, projections, options);
    }
    let AttentionProjections { queries, keys, values } = projections;
    let weight = Tensor::cat(&[queries.0, keys.0, values.0], 0)?;
    let bias = Tensor::cat(&[queries.1, keys.1, values.1], 0)?;
    let op = SelfAttention { shape, options, saved: OnceLock::new() };
    x.contiguous()?.apply_op3(&weight, &bias, op)
}

/// The projections to queries, keys and values: weight `[d, d]` and bias `[d]` of each.
#[derive(Debug, Clone, Copy)]
pub struct AttentionProjections<'a> {
    /// What asks.
    pub queries: (&'a Tensor, &'a Tensor),
    /// What is compared with queries.
    pub keys: (&'a Tensor, &'a Tensor),
    /// What is averaged.
    pub values: (&'a Tensor, &'a Tensor),
}

impl AttentionProjections<'_> {
    /// # Errors
    /// If they are not those of sequences of this width.
    pub(super) fn check(&self, source: &Tensor, context: &Tensor) -> Result<()> {
        let ((_, d), (_, width)) = (source.dims2()?, context.dims2()?);
        let all = [self.queries, self.keys, self.values];
        if width == d && all.iter().all(|(weight, bias)| weight.dims() == [d, d] && bias.dims() == [d]) {
            return Ok(());
        }
        let shapes = all.map(|(weight, bias)| [weight.dims().to_vec(), bias.dims().to_vec()]);
        Err(Error::Msg(format!(
            "attention of {:?} over {:?} with projections of {shapes:?}",
            source.dims(),
            context.dims()
        )))
    }
}

/// [`super::attention`] of queries from one sequence over keys and values from another.
///
/// - `source`: `[n, d]`, asks; `context`: `[m, d]`, answers. Returns `[n, d]`.
/// - With [`Retention::Recompute`] the backward pass projects both again, and `(n + 2 m) d` numbers are not stored.
///
/// # Errors
/// If the shapes do not fit together, or the tensors are neither f32 nor f64.
pub fn projected_attention(
    source: &Tensor,
    context: &Tensor,
    projections: AttentionProjections<'_>,
    options: ProjectedAttentionOptions,
) -> Result<Tensor> {
    if reference::are_active() {
        return reference::projected_attention(source, context, projections, options);
    }
    let ((n, d), (m, _)) = (source.dims2()?, context.dims2()?);
    projections.check(source, context)?;
    let shape = AttentionShape { n, m, d, n_heads: options.n_heads };
    shape.check()?;
    #[cfg(feature = "cuda")]
    if cuda::attention::serves(source, &shape) {
        return cuda::projected_attention::projected_attention(
            &source.contiguous()?,
            &context.contiguous()?,
            projections,
            shape,
            options,
        );
    }
    if reference::stands_in_for(source) {
        return reference::projected_attention(source, context, projections, options);
    }
    // Ops have at most three inputs.
    let AttentionProjections { queries, keys, values } = projections;
    let parts = [queries.0, keys.0, values.0, queries.1, keys.1, values.1].map(Tensor::flatten_all);
    let weights = Tensor::cat(&parts.into_iter().collect::<Result<Vec<_>>>()?, 0)?;
    let op = CrossAttention { shape, options, saved: OnceLock::new() };
    source.contiguous()?.apply_op3(&context.contiguous()?, &weights, op)
}

/// What the forward pass leaves in an op: Candle's ops return one tensor, and the graph keeps the op alive.
struct Left {
    /// `[n_heads, n]`.
    log_sum_exp: CpuStorage,
    /// Projected tokens; none with [`Retention::Recompute`].
    projected: Vec<CpuStorage>,
}

fn left(saved: &OnceLock<Left>) -> Result<&Left> {
    saved.get().ok_or_else(|| Error::Msg("attention backward before its forward".to_owned()))
}

/// The values of `kept`, or those that `again` makes into `buffer`.
fn kept_or<'a, T: WithDType>(
    kept: Option<&'a CpuStorage>,
    buffer: &'a mut Vec<T>,
    again: impl FnOnce() -> Vec<T>,
) -> Result<&'a [T]> {
    match kept {
        Some(kept) => kept.as_slice(),
        None => {
            *buffer = again();
            Ok(buffer)
        }
    }
}

struct SelfAttention {
    shape: AttentionShape,
    options: ProjectedAttentionOptions,
    saved: OnceLock<Left>,
}

impl SelfAttention {
    fn projection(&self) -> LinearShape {
        LinearShape { n: self.shape.n, d_in: self.shape.d, d_out: 3 * self.shape.d }
    }

    fn forward<U: Unit>(&self, inputs: [(&CpuStorage, &Layout); 3]) -> Result<CpuStorage> {
        let [x, weight, bias] = inputs;
        let qkv = cpu::linear::forward::<U>(
            self.projection(),
            contiguous_slice(x.0, x.1)?,
            contiguous_slice(weight.0, weight.1)?,
            contiguous_slice(bias.0, bias.1)?,
        );
        let operands = Operands::packed(self.shape, &qkv);
        let (output, log_sum_exp) = cpu::attention::forward::<U>(self.shape, operands, self.options.dropout);
        self.saved.get_or_init(|| Left {
            log_sum_exp: U::Sum::to_cpu_storage_owned(log_sum_exp),
            projected: match self.options.retention {
                Retention::Keep => vec![U::Sum::to_cpu_storage_owned(qkv)],
                Retention::Recompute => vec![],
            },
        });
        Ok(U::Sum::to_cpu_storage_owned(output))
    }

    fn backward<U: Unit>(
        &self,
        inputs: [&Tensor; 3],
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [x, weight, bias] = inputs;
        let grad = &grad.contiguous()?;
        let [x_values, weight_values, bias_values, output, grad] =
            [x, weight, bias, output, grad].map(cpu::Values::of);
        let (x_slice, weight_slice) = (x_values.as_slice()?, weight_values.as_slice()?);
        let (shape, projection) = (self.projection(), &mut Vec::new());
        let left = left(&self.saved)?;
        let bias_slice = bias_values.as_slice()?;
        let qkv = kept_or(left.projected.first(), projection, || {
            cpu::linear::forward::<U>(shape, x_slice, weight_slice, bias_slice)
        })?;
        let saved = Saved {
            operands: Operands::packed(self.shape, qkv),
            output: output.as_slice()?,
            log_sum_exp: left.log_sum_exp.as_slice()?,
        };
        let dqkv =
            cpu::attention::self_backward::<U>(self.shape, &saved, grad.as_slice()?, self.options.dropout);
        *projection = Vec::new();
        let device = x.device();
        let dweight = cpu::linear::weight_gradient::<U>(shape, x_slice, &dqkv);
        let dbias = cpu::linear::bias_gradient(shape, &dqkv);
        let dx = cpu::linear::input_gradient::<U>(shape, weight_slice, &dqkv);
        Ok((
            Some(Tensor::from_vec(dx, x.shape(), device)?),
            Some(Tensor::from_vec(dweight, weight.shape(), device)?),
            Some(Tensor::from_vec(dbias, bias.shape(), device)?),
        ))
    }
}

impl CustomOp3 for SelfAttention {
    fn name(&self) -> &'static str {
        "projected_self_attention"
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
        let compute = self.options.compute;
        let output = by_unit!("projected_self_attention", x.dtype(), compute, self.forward(inputs))?;
        Ok((output, Shape::from((self.shape.n, self.shape.d))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (inputs, compute) = ([x, weight, bias], self.options.compute);
        by_unit!("projected_self_attention", x.dtype(), compute, self.backward(inputs, output, grad))
    }
}

struct CrossAttention {
    shape: AttentionShape,
    options: ProjectedAttentionOptions,
    saved: OnceLock<Left>,
}

/// The parameters where [`projected_attention`] lays them.
struct Parts<'a, T> {
    queries: &'a [T],
    keys_and_values: &'a [T],
    query_bias: &'a [T],
    key_and_value_bias: &'a [T],
}

impl CrossAttention {
    fn parts<'a, T>(&self, weights: &'a [T]) -> Parts<'a, T> {
        let d = self.shape.d;
        let (queries, rest) = weights.split_at(d * d);
        let (keys_and_values, rest) = rest.split_at(2 * d * d);
        let (query_bias, key_and_value_bias) = rest.split_at(d);
        Parts { queries, keys_and_values, query_bias, key_and_value_bias }
    }

    /// The sizes of the projections to queries, and to keys and values.
    fn projections(&self) -> [LinearShape; 2] {
        let AttentionShape { n, m, d, .. } = self.shape;
        [LinearShape { n, d_in: d, d_out: d }, LinearShape { n: m, d_in: d, d_out: 2 * d }]
    }

    fn forward<U: Unit>(&self, inputs: [(&CpuStorage, &Layout); 3]) -> Result<CpuStorage> {
        let [source, context, weights] = inputs;
        let parts = self.parts(contiguous_slice(weights.0, weights.1)?);
        let [to_q, to_kv] = self.projections();
        let source = contiguous_slice(source.0, source.1)?;
        let context = contiguous_slice(context.0, context.1)?;
        let q = cpu::linear::forward::<U>(to_q, source, parts.queries, parts.query_bias);
        let kv = cpu::linear::forward::<U>(to_kv, context, parts.keys_and_values, parts.key_and_value_bias);
        let operands = Operands::of(self.shape, &q, &kv);
        let (output, log_sum_exp) = cpu::attention::forward::<U>(self.shape, operands, self.options.dropout);
        self.saved.get_or_init(|| Left {
            log_sum_exp: U::Sum::to_cpu_storage_owned(log_sum_exp),
            projected: match self.options.retention {
                Retention::Keep => [q, kv].map(U::Sum::to_cpu_storage_owned).into(),
                Retention::Recompute => vec![],
            },
        });
        Ok(U::Sum::to_cpu_storage_owned(output))
    }

    fn backward<U: Unit>(
        &self,
        inputs: [&Tensor; 3],
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [source, context, weights] = inputs;
        let grad = &grad.contiguous()?;
        let [source_values, context_values, weight_values, output, grad] =
            [source, context, weights, output, grad].map(cpu::Values::of);
        let (source_slice, context_slice) = (source_values.as_slice()?, context_values.as_slice()?);
        let parts = self.parts(weight_values.as_slice()?);
        let [to_q, to_kv] = self.projections();
        let left = left(&self.saved)?;
        let (mut q, mut kv) = (Vec::new(), Vec::new());
        let saved = Saved {
            operands: Operands::of(
                self.shape,
                kept_or(left.projected.first(), &mut q, || {
                    cpu::linear::forward::<U>(to_q, source_slice, parts.queries, parts.query_bias)
                })?,
                kept_or(left.projected.get(1), &mut kv, || {
                    let bias = parts.key_and_value_bias;
                    cpu::linear::forward::<U>(to_kv, context_slice, parts.keys_and_values, bias)
                })?,
            ),
            output: output.as_slice()?,
            log_sum_exp: left.log_sum_exp.as_slice()?,
        };
        let (dq, dkv) =
            cpu::attention::backward::<U>(self.shape, &saved, grad.as_slice()?, self.options.dropout);
        drop((q, kv));
        let mut all = cpu::linear::weight_gradient::<U>(to_q, source_slice, &dq);
        all.append(&mut cpu::linear::weight_gradient::<U>(to_kv, context_slice, &dkv));
        all.extend(cpu::linear::bias_gradient(to_q, &dq));
        all.extend(cpu::linear::bias_gradient(to_kv, &dkv));
        let dsource = cpu::linear::input_gradient::<U>(to_q, parts.queries, &dq);
        let dcontext = cpu::linear::input_gradient::<U>(to_kv, parts.keys_and_values, &dkv);
        let device = source.device();
        Ok((
            Some(Tensor::from_vec(dsource, source.shape(), device)?),
            Some(Tensor::from_vec(dcontext, context.shape(), device)?),
            Some(Tensor::from_vec(all, weights.shape(), device)?),
        ))
    }
}

impl CustomOp3 for CrossAttention {
    fn name(&self) -> &'static str {
        "projected_attention"
    }

    fn cpu_fwd(
        &self,
        source: &CpuStorage,
        source_layout: &Layout,
        context: &CpuStorage,
        context_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let inputs = [(source, source_layout), (context, context_layout), (weights, weights_layout)];
        let compute = self.options.compute;
        let output = by_unit!("projected_attention", source.dtype(), compute, self.forward(inputs))?;
        Ok((output, Shape::from((self.shape.n, self.shape.d))))
    }

    fn bwd(
        &self,
        source: &Tensor,
        context: &Tensor,
        weights: &Tensor,
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (inputs, compute) = ([source, context, weights], self.options.compute);
        by_unit!("projected_attention", source.dtype(), compute, self.backward(inputs, output, grad))
    }
}
