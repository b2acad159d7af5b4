//! A layer of a Transformer: norm, self-attention, and what follows it.

use candle_core::{CudaStorage, CustomOp2};

use super::super::attention::AttentionShape;
use super::super::linear::Activation;
use super::super::transformer_layer::{AfterAttentionWeights, NormWeights, TransformerLayerOptions};
use super::super::{AttentionProjections, gradients};
use super::after_attention::{self, AfterAttention, Shapes};
use super::attention::{Saved, Tokens};
use super::inference::{Base, row_blocks};
use super::layer_norm::{Affine, Summed};
use super::layer_weights::{self, Parameters, leave_rows};
use super::left::Left;
use super::product::{plain, transposed};
use super::*;

/// The weights of a layer.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Weights<'a> {
    pub(in crate::kernels) attention_norm: NormWeights<'a>,
    pub(in crate::kernels) projections: AttentionProjections<'a>,
    pub(in crate::kernels) after: AfterAttentionWeights<'a>,
}

/// [`super::super::transformer_layer`] of a contiguous tensor whose shapes fit.
pub(in crate::kernels) fn transformer_layer(
    x: &Tensor,
    weights: Weights<'_>,
    shapes: Shapes,
    options: TransformerLayerOptions,
) -> Result<Tensor> {
    let op = TransformerLayer {
        shapes,
        options,
        parameters: Parameters::of(weights.projections, weights.after),
        norm: [weights.attention_norm.0.clone(), weights.attention_norm.1.clone()],
        kept: Left::nothing(),
    };
    if !x.track_op() && op.is_for_inference() {
        return op.infer(x);
    }
    // The first weight is an input so that the op is in the graph also where `x` is not.
    x.apply_op2(weights.projections.queries.0, op)
}

struct TransformerLayer {
    shapes: Shapes,
    options: TransformerLayerOptions,
    parameters: Parameters,
    /// Gain and shift of the norm before the attention.
    norm: [Tensor; 2],
    kept: Left<Kept>,
}

/// What the forward pass leaves. The normed tokens are made again from `x`.
struct Kept {
    /// `[n, 3 d]`; none with [`Retention::Recompute`].
    qkv: Option<Array>,
    attended: Array,
    log_sum_exp: Array,
    after: after_attention::Kept,
}

/// The parameters that are not operands, locked for reading.
struct Vectors<'a> {
    biases: [Input<'a>; 6],
    norm: [Input<'a>; 2],
    after_norm: [Input<'a>; 2],
}

impl TransformerLayer {
    fn vectors(&self) -> Vectors<'_> {
        Vectors {
            biases: self.parameters.biases.each_ref().map(Input::of),
            norm: self.norm.each_ref().map(Input::of),
            after_norm: self.parameters.norm.each_ref().map(Input::of),
        }
    }

    fn affine<'a>(&self, vectors: &'a Vectors<'_>) -> Result<Affine<'a>> {
        let [gain, shift] = &vectors.norm;
        Ok(Affine { gain: gain.view()?, shift: shift.view()?, eps: self.options.eps as f32 })
    }

    fn after<'a>(
        &self,
        gpu: &'a Gpu,
        weights: &'a layer_weights::Weights<'a>,
        vectors: &'a Vectors<'_>,
    ) -> Result<AfterAttention<'a>> {
        let how = (self.shapes, self.options);
        AfterAttention::new(gpu, how, weights, &vectors.biases, &vectors.after_norm)
    }

    /// Whether no parameter wants a gradient, and no dropout mask counts rows from the first of all.
    fn is_for_inference(&self) -> bool {
        let tracked = self.parameters.are_tracked() || self.norm.iter().any(Tensor::track_op);
        !tracked && !self.options.feed_forward.drops()
    }

    /// The output where no gradient is wanted; see [`super::inference`].
    fn infer(&self, x: &Tensor) -> Result<Tensor> {
        let gpu = Gpu::of(x.device())?;
        let AttentionShape { n, d, .. } = self.shapes.attention;
        let dtype = self.shapes.dtype;
        let input = Input::of(x);
        let x_rows = |first: usize| Ok::<_, Error>(Summed::one(input.view()?.from(first * d)));
        let matrices = self.parameters.locked_matrices();
        let weights = layer_weights::Weights::gather(&gpu, &matrices, self.shapes)?;
        let vectors = self.vectors();
        let affine = self.affine(&vectors)?;
        let [query_bias, _, value_bias, ..] = &vectors.biases;
        let (call, n_groups) = self.shapes.head_groups(self.options);
        let width = call.shape.d;
        let mut attended = Vec::with_capacity(n_groups);
        for at in (0..d).step_by(width) {
            let qkv = gpu.array(n * 3 * width, dtype)?;
            for (first, n_rows) in row_blocks(n) {
                let normed = gpu.norm_operand(x_rows(first)?, affine, [n_rows, d], dtype)?;
                let to = qkv.view().from(first * 3 * width);
                weights.project(&gpu, (normed.view(), n_rows), (0..3, at..at + width), to)?;
            }
            let biases = [query_bias.view()?.from(at), value_bias.view()?.from(at)];
            gpu.add_outer_biases(qkv.view(), biases, [n, width])?;
            attended.push(gpu.attend(call, Tokens::packed(qkv.view(), width))?.0);
        }
        let base = Base::Norm(input.view()?, affine);
        let output = self.after(&gpu, &weights, &vectors)?.infer(base, &attended)?;
        Ok(output.into_tensor(&gpu, (n, d)))
    }

    /// Queries, keys and values of normed tokens, `[n, 3 d]`.
    fn tokens(
        &self,
        gpu: &Gpu,
        normed: View<'_>,
        weights: &layer_weights::Weights<'_>,
        vectors: &Vectors<'_>,
    ) -> Result<Array> {
        let AttentionShape { n, d, .. } = self.shapes.attention;
        let qkv = gpu.array(n * 3 * d, self.shapes.dtype)?;
        weights.project(gpu, (normed, n), (0..3, 0..d), qkv.view())?;
        let [q, _, v, ..] = &vectors.biases;
        gpu.add_outer_biases(qkv.view(), [q.view()?, v.view()?], [n, d])?;
        Ok(qkv)
    }
}

impl CustomOp2 for TransformerLayer {
    fn name(&self) -> &'static str {
        "transformer_layer"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_on_the_cpu("transformer_layer")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        layout: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let AttentionShape { n, d, .. } = self.shapes.attention;
        let matrices = self.parameters.locked_matrices();
        let weights = layer_weights::Weights::gather(&gpu, &matrices, self.shapes)?;
        let vectors = self.vectors();
        let summed = Summed::one(View::of(x, layout)?);
        let normed = gpu.norm(summed, self.affine(&vectors)?, [n, d], self.shapes.dtype)?;
        let qkv = self.tokens(&gpu, normed.operand(), &weights, &vectors)?;
        let (attended, log_sum_exp) =
            gpu.attend(self.shapes.call(self.options), Tokens::packed(qkv.view(), d))?;
        let qkv = self.options.attention.retention.kept(qkv);
        let after = self.after(&gpu, &weights, &vectors)?;
        let (output, after) = after.forward(normed.wide.view(), attended.view())?;
        self.kept.leave(Kept { qkv, attended, log_sum_exp, after });
        Ok((output.into_storage(&gpu), Shape::from((n, d))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gpu = Gpu::of(x.device())?;
        let AttentionShape { n, d, .. } = self.shapes.attention;
        let dtype = self.shapes.dtype;
        let kept = self.kept.take()?;
        let grad = grad.contiguous()?;
        let (x_input, grad_input) = (Input::of(x), Input::of(&grad));
        let matrices = self.parameters.locked_matrices();
        let weights = layer_weights::Weights::gather(&gpu, &matrices, self.shapes)?;
        let vectors = self.vectors();
        let affine = self.affine(&vectors)?;
        let summed = Summed::one(x_input.view()?);
        let normed = gpu.norm(summed, affine, [n, d], dtype)?;
        let dweights = gpu.array(weights.n_elements(), DType::F32)?;
        let after = self.after(&gpu, &weights, &vectors)?.backward(
            kept.after,
            normed.wide.view(),
            kept.attended.view(),
            grad_input.view()?,
            dweights.view(),
        )?;

        let qkv = match kept.qkv {
            Some(qkv) => qkv,
            None => self.tokens(&gpu, normed.operand(), &weights, &vectors)?,
        };
        let saved = Saved {
            tokens: Tokens::packed(qkv.view(), d),
            output: kept.attended.view(),
            log_sum_exp: kept.log_sum_exp.view(),
        };
        let dqkv = gpu.array(n * 3 * d, dtype)?;
        gpu.attend_gradient(
            self.shapes.call(self.options),
            &saved,
            after.attended.view(),
            Tokens::packed(dqkv.view(), d),
        )?;
        drop((qkv, kept.attended, kept.log_sum_exp, after.attended));
        let none = (Activation::Identity, None);
        let dbiases = gpu.row_gradient(dqkv.view(), none, None, [n, 3 * d], None)?;
        gpu.clear(dbiases.view().from(d), d)?;
        let (a, b) = (transposed(dqkv.view(), 3 * d), plain(normed.operand(), d));
        gpu.multiply(dweights.view(), [3 * d, d, n], a, b, 0.0)?;
        // Onto the gradient that came past the attention.
        let dnormed = after.base;
        let (a, b) = (plain(dqkv.view(), 3 * d), plain(weights.all(), d));
        gpu.multiply(dnormed.view(), [n, d, 3 * d], a, b, 1.0)?;
        let norm = gpu.norm_gradient(summed, affine, [Some(dnormed.view()), None], [n, d], DType::F32)?;

        let n_weights = weights.n_elements();
        self.parameters.leave_matrices(&gpu, dweights, n_weights)?;
        let [q, k, v, out, expand, contract] = &self.parameters.biases;
        let [gain, shift] = &self.norm;
        let [after_gain, after_shift] = &self.parameters.norm;
        leave_rows(&gpu, &[q, k, v], dbiases, 3, d)?;
        leave_rows(&gpu, &[gain, shift], norm.affine, 3, d)?;
        leave_rows(&gpu, &[after_gain, after_shift, out], after.affine, 3, d)?;
        leave_rows(&gpu, &[expand], after.expand_bias, 1, self.shapes.hidden)?;
        leave_rows(&gpu, &[contract], after.contract_bias, 1, d)?;
        Ok((gradients::deliver(x, norm.dx.wide.into_tensor(&gpu, x.shape()))?, None))
    }
}
