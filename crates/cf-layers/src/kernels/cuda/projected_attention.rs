//! Attention with its projections, of a sequence over itself or over another.

use candle_core::{CudaStorage, CustomOp2, CustomOp3};

use super::super::attention::AttentionShape;
use super::super::gradients;
use super::super::linear::Activation;
use super::super::projected_attention::{AttentionProjections, ProjectedAttentionOptions};
use super::attention::{Call, Saved, Tokens, token_type};
use super::left::Left;
use super::product::{plain, transposed};
use super::*;

/// [`super::super::projected_self_attention`] of contiguous tensors whose shapes fit. Tokens are kept for the backward pass; the
/// output is of their type.
pub(in crate::kernels) fn projected_self_attention(
    x: &Tensor,
    projections: AttentionProjections<'_>,
    shape: AttentionShape,
    options: ProjectedAttentionOptions,
) -> Result<Tensor> {
    let parts = Parts::of(projections);
    let op = SelfAttention { common: Common::new(shape, options, parts), kept: Left::nothing() };
    // The first weight is an input so that the op is in the graph also where `x` is not.
    x.apply_op2(projections.queries.0, op)
}

/// [`super::super::projected_attention`] of contiguous tensors whose shapes fit, likewise.
pub(in crate::kernels) fn projected_attention(
    source: &Tensor,
    context: &Tensor,
    projections: AttentionProjections<'_>,
    shape: AttentionShape,
    options: ProjectedAttentionOptions,
) -> Result<Tensor> {
    let biases = [projections.queries.1, projections.keys.1, projections.values.1];
    let op =
        CrossAttention { common: Common::new(shape, options, Parts::of(projections)), kept: Left::nothing() };
    source.apply_op3(context, &Tensor::cat(&biases, 0)?, op)
}

/// The parameters of three projections.
struct Parts {
    weights: [Tensor; 3],
    biases: [Tensor; 3],
}

impl Parts {
    fn of(projections: AttentionProjections<'_>) -> Self {
        let AttentionProjections { queries, keys, values } = projections;
        let all = [queries, keys, values];
        Self { weights: all.map(|(weight, _)| weight.clone()), biases: all.map(|(_, bias)| bias.clone()) }
    }
}

struct Common {
    call: Call,
    parts: Parts,
    /// Of operands of the projections.
    operands: DType,
    /// Of what they make, which attention reads.
    tokens: DType,
}

/// What the forward pass leaves.
struct Kept {
    /// Inputs in the type of operands, where that is not theirs.
    inputs: Vec<Option<Array>>,
    /// `[3 d, d]`: the weights of queries, keys and values.
    weights: Array,
    /// `[n, 3 d]`; or `[n, d]` and `[m, 2 d]`.
    tokens: Vec<Array>,
    log_sum_exp: Array,
}

impl Common {
    fn new(shape: AttentionShape, options: ProjectedAttentionOptions, parts: Parts) -> Self {
        let (operands, tokens) = (operand_type(options.compute), token_type(&shape, options.compute));
        Self { call: Call::new(shape, options.dropout), parts, operands, tokens }
    }

    fn d(&self) -> usize {
        self.call.shape.d
    }

    fn gathered(&self, gpu: &Gpu, tensors: &[Tensor; 3], dtype: DType) -> Result<Array> {
        let inputs = tensors.each_ref().map(Input::of);
        let views: Vec<(View<'_>, usize)> = inputs
            .iter()
            .zip(tensors)
            .map(|(input, tensor)| Ok((input.view()?, tensor.elem_count())))
            .collect::<Result<_>>()?;
        gpu.gathered(&views, dtype)
    }

    /// `x weight^T + bias`, of the type of tokens: `[n, width]`. No key needs its bias: softmax does not see what all keys share.
    fn project(
        &self,
        gpu: &Gpu,
        x: View<'_>,
        [n, width]: [usize; 2],
        weight: View<'_>,
        bias: Option<View<'_>>,
    ) -> Result<Array> {
        let d = self.d();
        let tokens = gpu.array(n * width, self.tokens)?;
        gpu.multiply(tokens.view(), [n, width, d], plain(x, d), transposed(weight, d), 0.0)?;
        if let Some(bias) = bias {
            gpu.bias_activation(tokens.view(), bias, [n, width], Activation::Identity)?;
        }
        Ok(tokens)
    }

    /// From the gradient of tokens `[n, width]` to those of `x`, of the weights `[width, d]` and of the biases.
    fn project_gradient(
        &self,
        gpu: &Gpu,
        (x, weight): (View<'_>, View<'_>),
        dtokens: View<'_>,
        [n, width]: [usize; 2],
    ) -> Result<[Array; 3]> {
        let d = self.d();
        let copy =
            if self.tokens == self.operands { None } else { Some(gpu.array(n * width, self.operands)?) };
        let (none, to) = ((Activation::Identity, None), copy.as_ref().map(Array::view));
        let dbias = gpu.row_gradient(dtokens, none, to, [n, width], None)?;
        let dtokens = to.unwrap_or(dtokens);
        let dweight = gpu.array(width * d, DType::F32)?;
        gpu.multiply(dweight.view(), [width, d, n], transposed(dtokens, width), plain(x, d), 0.0)?;
        let dx = gpu.array(n * d, DType::F32)?;
        gpu.multiply(dx.view(), [n, d, width], plain(dtokens, width), plain(weight, d), 0.0)?;
        Ok([dx, dweight, dbias])
    }
}

/// The operand that was made of an input, or the input itself.
fn operand<'a>(made: Option<&'a Array>, input: &'a Input<'_>) -> Result<View<'a>> {
    made.map_or_else(|| input.view(), |made| Ok(made.view()))
}

struct SelfAttention {
    common: Common,
    kept: Left<Kept>,
}

impl CustomOp2 for SelfAttention {
    fn name(&self) -> &'static str {
        "projected_self_attention"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_on_the_cpu("projected_self_attention")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        layout: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let Common { call, parts, operands, .. } = &self.common;
        let (n, d) = (call.shape.n, call.shape.d);
        let x = gpu.cast(View::of(x, layout)?, n * d, *operands)?;
        let weights = self.common.gathered(&gpu, &parts.weights, *operands)?;
        let qkv = self.common.project(&gpu, x.view(), [n, 3 * d], weights.view(), None)?;
        let [queries, _, values] = parts.biases.each_ref().map(Input::of);
        gpu.add_outer_biases(qkv.view(), [queries.view()?, values.view()?], [n, d])?;
        let (output, log_sum_exp) = gpu.attend(*call, Tokens::packed(qkv.view(), d))?;
        self.kept.leave(Kept { inputs: vec![x.made()], weights, tokens: vec![qkv], log_sum_exp });
        Ok((output.into_storage(&gpu), Shape::from((n, d))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _: &Tensor,
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gpu = Gpu::of(x.device())?;
        let Common { call, parts, tokens, .. } = &self.common;
        let (n, d) = (call.shape.n, call.shape.d);
        let kept = self.kept.take()?;
        let grad = grad.contiguous()?;
        let (x_input, output, grad) = (Input::of(x), Input::of(output), Input::of(&grad));
        let [qkv] = kept.tokens.as_slice() else {
            return Err(Error::Msg("self-attention kept no tokens".to_owned()));
        };
        let saved = Saved {
            tokens: Tokens::packed(qkv.view(), d),
            output: output.view()?,
            log_sum_exp: kept.log_sum_exp.view(),
        };
        let dqkv = gpu.array(n * 3 * d, *tokens)?;
        let dout = gpu.cast(grad.view()?, n * d, output.view()?.dtype)?;
        gpu.attend_gradient(*call, &saved, dout.view(), Tokens::packed(dqkv.view(), d))?;
        let x_view = operand(kept.inputs.first().and_then(Option::as_ref), &x_input)?;
        let [dx, dweights, dbiases] =
            self.common.project_gradient(&gpu, (x_view, kept.weights.view()), dqkv.view(), [n, 3 * d])?;
        gpu.clear(dbiases.view().from(d), d)?;
        let (dweights, dbiases) = (dweights.into_tensor(&gpu, (3, d, d)), dbiases.into_tensor(&gpu, (3, d)));
        for (part, (weight, bias)) in parts.weights.iter().zip(&parts.biases).enumerate() {
            gradients::leave_of_captured(weight, &dweights.get(part)?)?;
            gradients::leave_of_captured(bias, &dbiases.get(part)?)?;
        }
        Ok((gradients::deliver(x, dx.into_tensor(&gpu, x.shape()))?, None))
    }
}

struct CrossAttention {
    common: Common,
    kept: Left<Kept>,
}

impl CustomOp3 for CrossAttention {
    fn name(&self) -> &'static str {
        "projected_attention"
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
        not_on_the_cpu("projected_attention")
    }

    fn cuda_fwd(
        &self,
        source: &CudaStorage,
        source_layout: &Layout,
        context: &CudaStorage,
        context_layout: &Layout,
        biases: &CudaStorage,
        biases_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&source.device)?;
        let Common { call, parts, operands, .. } = &self.common;
        let AttentionShape { n, m, d, .. } = call.shape;
        let source = gpu.cast(View::of(source, source_layout)?, n * d, *operands)?;
        let context = gpu.cast(View::of(context, context_layout)?, m * d, *operands)?;
        let weights = self.common.gathered(&gpu, &parts.weights, *operands)?;
        let biases = View::of(biases, biases_layout)?;
        let q = self.common.project(&gpu, source.view(), [n, d], weights.view(), Some(biases))?;
        let none = gpu.zeros(d)?;
        let bias = gpu.gathered(&[(none.view(), d), (biases.from(2 * d), d)], DType::F32)?;
        let (weight, bias) = (weights.view().from(d * d), Some(bias.view()));
        let kv = self.common.project(&gpu, context.view(), [m, 2 * d], weight, bias)?;
        let (output, log_sum_exp) = gpu.attend(*call, Tokens::of(q.view(), kv.view(), d))?;
        self.kept.leave(Kept {
            inputs: vec![source.made(), context.made()],
            weights,
            tokens: vec![q, kv],
            log_sum_exp,
        });
        Ok((output.into_storage(&gpu), Shape::from((n, d))))
    }

    fn bwd(
        &self,
        source: &Tensor,
        context: &Tensor,
        biases: &Tensor,
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gpu = Gpu::of(source.device())?;
        let Common { call, parts, tokens, .. } = &self.common;
        let AttentionShape { n, m, d, .. } = call.shape;
        let kept = self.kept.take()?;
        let grad = grad.contiguous()?;
        let (source_input, context_input) = (Input::of(source), Input::of(context));
        let (output, grad) = (Input::of(output), Input::of(&grad));
        let ([q, kv], [source_made, context_made]) = (kept.tokens.as_slice(), kept.inputs.as_slice()) else {
            return Err(Error::Msg("attention kept no tokens".to_owned()));
        };
        let saved = Saved {
            tokens: Tokens::of(q.view(), kv.view(), d),
            output: output.view()?,
            log_sum_exp: kept.log_sum_exp.view(),
        };
        let (dq, dkv) = (gpu.array(n * d, *tokens)?, gpu.array(m * 2 * d, *tokens)?);
        let dout = gpu.cast(grad.view()?, n * d, output.view()?.dtype)?;
        gpu.attend_gradient(*call, &saved, dout.view(), Tokens::of(dq.view(), dkv.view(), d))?;

        let weights = kept.weights.view();
        let inputs = (operand(source_made.as_ref(), &source_input)?, weights);
        let [dsource, dweight, dbias] = self.common.project_gradient(&gpu, inputs, dq.view(), [n, d])?;
        let inputs = (operand(context_made.as_ref(), &context_input)?, weights.from(d * d));
        let [dcontext, dweights, dbiases] =
            self.common.project_gradient(&gpu, inputs, dkv.view(), [m, 2 * d])?;
        gpu.clear(dbiases.view(), d)?;
        let dweights = dweights.into_tensor(&gpu, (2, d, d));
        let dbiases = [dbias.into_tensor(&gpu, d), dbiases.into_tensor(&gpu, 2 * d)];
        let [queries, keys, values] = &parts.weights;
        gradients::leave_of_captured(queries, &dweight.into_tensor(&gpu, (d, d)))?;
        gradients::leave_of_captured(keys, &dweights.get(0)?)?;
        gradients::leave_of_captured(values, &dweights.get(1)?)?;
        Ok((
            gradients::deliver(source, dsource.into_tensor(&gpu, source.shape()))?,
            gradients::deliver(context, dcontext.into_tensor(&gpu, context.shape()))?,
            gradients::deliver(biases, Tensor::cat(&dbiases, 0)?)?,
        ))
    }
}
