//! A layer that looks from one sequence at another: attention with an embedding in both, and what follows it.

use std::ops::Range;

use candle_core::{CudaStorage, CustomOp3};

use super::super::attention::AttentionShape;
use super::super::gradients;
use super::super::linear::Activation;
use super::super::transformer_layer::{CrossAttentionWeights, TransformerLayerOptions};
use super::after_attention::{AfterAttention, Shapes};
use super::attention::{Saved, Tokens};
use super::inference::{Base, context_blocks, row_blocks};
use super::layer_weights::{Parameters, Weights, leave_rows};
use super::left::Left;
use super::product::{plain, transposed};
use super::*;

/// [`super::super::cross_attention_layer`] of contiguous tensors whose shapes fit.
pub(in crate::kernels) fn cross_attention_layer(
    source: &Tensor,
    context: &Tensor,
    weights: CrossAttentionWeights<'_>,
    shapes: Shapes,
    options: TransformerLayerOptions,
) -> Result<Tensor> {
    let op = CrossAttentionLayer::new(weights, shapes, options);
    if !context.track_op() && op.is_for_inference(source) {
        return op.infer(source, &|first, n| context.narrow(0, first, n));
    }
    source.apply_op3(context, weights.embedding, op)
}

/// The same of a long context whose rows are made when they are wanted, if no gradient is.
pub(in crate::kernels) fn of_rows(
    source: &Tensor,
    rows: &dyn Fn(usize, usize) -> Result<Tensor>,
    weights: CrossAttentionWeights<'_>,
    shapes: Shapes,
    options: TransformerLayerOptions,
) -> Result<Option<Tensor>> {
    let op = CrossAttentionLayer::new(weights, shapes, options);
    if op.is_for_inference(source) { op.infer(source, rows).map(Some) } else { Ok(None) }
}

struct CrossAttentionLayer {
    shapes: Shapes,
    options: TransformerLayerOptions,
    embedding: Tensor,
    parameters: Parameters,
    kept: Left<Kept>,
}

/// What the forward pass leaves.
struct Kept {
    /// Queries `[n, d]`, keys beside values `[m, 2 d]`; none with [`Retention::Recompute`].
    tokens: Option<[Array; 2]>,
    attended: Array,
    log_sum_exp: Array,
    after: super::after_attention::Kept,
}

/// The parameters that are not operands, locked for reading.
struct Vectors<'a> {
    biases: [Input<'a>; 6],
    norm: [Input<'a>; 2],
    embedding: Input<'a>,
    projections: [Input<'a>; 3],
}

impl CrossAttentionLayer {
    fn new(weights: CrossAttentionWeights<'_>, shapes: Shapes, options: TransformerLayerOptions) -> Self {
        Self {
            shapes,
            options,
            embedding: weights.embedding.clone(),
            parameters: Parameters::of(weights.projections, weights.after),
            kept: Left::nothing(),
        }
    }

    fn vectors(&self) -> Vectors<'_> {
        let [q, k, v, ..] = &self.parameters.matrices;
        Vectors {
            biases: self.parameters.biases.each_ref().map(Input::of),
            norm: self.parameters.norm.each_ref().map(Input::of),
            embedding: Input::of(&self.embedding),
            projections: [q, k, v].map(Input::of),
        }
    }

    fn after<'a>(
        &self,
        gpu: &'a Gpu,
        weights: &'a Weights<'a>,
        vectors: &'a Vectors<'_>,
    ) -> Result<AfterAttention<'a>> {
        let how = (self.shapes, self.options);
        AfterAttention::new(gpu, how, weights, &vectors.biases, &vectors.norm)
    }

    /// Whether nothing but the context may want a gradient, and no dropout mask counts rows from the first of all.
    fn is_for_inference(&self, source: &Tensor) -> bool {
        let tracked = source.track_op() || self.embedding.track_op() || self.parameters.are_tracked();
        !tracked && !self.options.feed_forward.drops()
    }

    /// The output where no gradient is wanted; see [`super::inference`]. `context` gives rows of it, the first and how many.
    fn infer(&self, source: &Tensor, context: &dyn Fn(usize, usize) -> Result<Tensor>) -> Result<Tensor> {
        let gpu = Gpu::of(source.device())?;
        let AttentionShape { n, m, d, .. } = self.shapes.attention;
        let dtype = self.shapes.dtype;
        let source = Input::of(source);
        let source_rows = |first: usize| Ok::<_, Error>(source.view()?.from(first * d));
        let matrices = self.parameters.locked_matrices();
        let weights = Weights::gather(&gpu, &matrices, self.shapes)?;
        let vectors = self.vectors();
        let embedded = self.embedded_biases(&gpu, &vectors)?;
        let bias = |layer: usize, at: usize| embedded.view().from(layer * d + at);
        let (call, n_groups) = self.shapes.head_groups(self.options);
        let width = call.shape.d;
        let mut attended = Vec::with_capacity(n_groups);
        for at in (0..d).step_by(width) {
            let columns = || at..at + width;
            let q = gpu.array(n * width, dtype)?;
            for (first, n_rows) in row_blocks(n) {
                let x = gpu.cast(source_rows(first)?, n_rows * d, dtype)?;
                weights.project(&gpu, (x.view(), n_rows), (0..1, columns()), q.view().from(first * width))?;
            }
            gpu.bias_activation(q.view(), bias(0, at), [n, width], Activation::Identity)?;
            let kv = gpu.array(m * 2 * width, dtype)?;
            for (first, n_rows) in context_blocks(m) {
                let rows = context(first, n_rows)?.contiguous()?;
                let rows = Input::of(&rows);
                let x = gpu.cast(rows.view()?, n_rows * d, dtype)?;
                let to = kv.view().from(first * 2 * width);
                weights.project(&gpu, (x.view(), n_rows), (1..3, columns()), to)?;
            }
            let biases = gpu.gathered(&[(bias(1, at), width), (bias(2, at), width)], DType::F32)?;
            gpu.bias_activation(kv.view(), biases.view(), [m, 2 * width], Activation::Identity)?;
            attended.push(gpu.attend(call, Tokens::of(q.view(), kv.view(), width))?.0);
        }
        let base = Base::Given(source.view()?);
        let output = self.after(&gpu, &weights, &vectors)?.infer(base, &attended)?;
        Ok(output.into_tensor(&gpu, (n, d)))
    }

    /// `[3 d]`: the biases that hold the embedding.
    fn embedded_biases(&self, gpu: &Gpu, vectors: &Vectors<'_>) -> Result<Array> {
        let d = self.shapes.attention.d;
        let Vectors { biases: [bq, _, bv, ..], projections: [wq, _, wv], embedding, .. } = vectors;
        let embedded = gpu.array(3 * d, DType::F32)?;
        let (weights, biases) = ([wq.view()?, wv.view()?], [bq.view()?, bv.view()?]);
        gpu.embedded_biases(weights, biases, embedding.view()?, embedded.view(), d)?;
        Ok(embedded)
    }

    /// Queries of the source, keys and values of the context; both given as operands.
    fn tokens(
        &self,
        gpu: &Gpu,
        [source, context]: [View<'_>; 2],
        weights: &Weights<'_>,
        vectors: &Vectors<'_>,
    ) -> Result<[Array; 2]> {
        let AttentionShape { n, m, d, .. } = self.shapes.attention;
        let embedded = self.embedded_biases(gpu, vectors)?;
        let project = |x: View<'_>, rows: usize, layers: Range<usize>| -> Result<Array> {
            let (width, bias) = (layers.len() * d, embedded.view().from(layers.start * d));
            let tokens = gpu.array(rows * width, self.shapes.dtype)?;
            weights.project(gpu, (x, rows), (layers, 0..d), tokens.view())?;
            gpu.bias_activation(tokens.view(), bias, [rows, width], Activation::Identity)?;
            Ok(tokens)
        };
        Ok([project(source, n, 0..1)?, project(context, m, 1..3)?])
    }
}

impl CustomOp3 for CrossAttentionLayer {
    fn name(&self) -> &'static str {
        "cross_attention_layer"
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
        not_on_the_cpu("cross_attention_layer")
    }

    fn cuda_fwd(
        &self,
        source: &CudaStorage,
        source_layout: &Layout,
        context: &CudaStorage,
        context_layout: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&source.device)?;
        let AttentionShape { n, m, d, .. } = self.shapes.attention;
        let dtype = self.shapes.dtype;
        let matrices = self.parameters.locked_matrices();
        let weights = Weights::gather(&gpu, &matrices, self.shapes)?;
        let vectors = self.vectors();
        let base = View::of(source, source_layout)?;
        let operands =
            [gpu.cast(base, n * d, dtype)?, gpu.cast(View::of(context, context_layout)?, m * d, dtype)?];
        let views = operands.each_ref().map(linear::Cast::view);
        let [q, kv] = self.tokens(&gpu, views, &weights, &vectors)?;
        drop(operands);
        let (attended, log_sum_exp) =
            gpu.attend(self.shapes.call(self.options), Tokens::of(q.view(), kv.view(), d))?;
        let tokens = self.options.attention.retention.kept([q, kv]);
        let (output, after) = self.after(&gpu, &weights, &vectors)?.forward(base, attended.view())?;
        self.kept.leave(Kept { tokens, attended, log_sum_exp, after });
        Ok((output.into_storage(&gpu), Shape::from((n, d))))
    }

    fn bwd(
        &self,
        source: &Tensor,
        context: &Tensor,
        embedding: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gpu = Gpu::of(source.device())?;
        let AttentionShape { n, m, d, .. } = self.shapes.attention;
        let dtype = self.shapes.dtype;
        let kept = self.kept.take()?;
        let grad = grad.contiguous()?;
        let [source_input, context_input, grad_input] = [source, context, &grad].map(Input::of);
        let base = source_input.view()?;
        let matrices = self.parameters.locked_matrices();
        let weights = Weights::gather(&gpu, &matrices, self.shapes)?;
        let vectors = self.vectors();
        let dweights = gpu.array(weights.n_elements(), DType::F32)?;
        let after = self.after(&gpu, &weights, &vectors)?.backward(
            kept.after,
            base,
            kept.attended.view(),
            grad_input.view()?,
            dweights.view(),
        )?;

        let operands = [gpu.cast(base, n * d, dtype)?, gpu.cast(context_input.view()?, m * d, dtype)?];
        let views = operands.each_ref().map(linear::Cast::view);
        let tokens = match kept.tokens {
            Some(tokens) => tokens,
            None => self.tokens(&gpu, views, &weights, &vectors)?,
        };
        let (dq, dkv) = (gpu.array(n * d, dtype)?, gpu.array(m * 2 * d, dtype)?);
        let saved = Saved {
            tokens: Tokens::of(tokens[0].view(), tokens[1].view(), d),
            output: kept.attended.view(),
            log_sum_exp: kept.log_sum_exp.view(),
        };
        let to = Tokens::of(dq.view(), dkv.view(), d);
        gpu.attend_gradient(self.shapes.call(self.options), &saved, after.attended.view(), to)?;
        // The context is the longest sequence of all: what is done with makes room for its gradients.
        drop((tokens, kept.attended, kept.log_sum_exp, after.attended));

        let none = (Activation::Identity, None);
        let dbiases = gpu.array(3 * d, DType::F32)?;
        gpu.row_gradient_to(dq.view(), none, None, dbiases.view(), [n, d], None)?;
        gpu.row_gradient_to(dkv.view(), none, None, dbiases.view().from(d), [m, 2 * d], None)?;
        gpu.clear(dbiases.view().from(d), d)?;
        let [source_operand, context_operand] = views;
        let (a, b) = (transposed(dq.view(), d), plain(source_operand, d));
        gpu.multiply(dweights.view(), [d, d, n], a, b, 0.0)?;
        let (a, b) = (transposed(dkv.view(), 2 * d), plain(context_operand, d));
        gpu.multiply(dweights.view().from(d * d), [2 * d, d, m], a, b, 0.0)?;
        let projections = weights.all();
        // Onto the gradient that came past the attention.
        let dsource = after.base;
        gpu.multiply(dsource.view(), [n, d, d], plain(dq.view(), d), plain(projections, d), 1.0)?;
        let dcontext = gpu.array(m * d, context.dtype())?;
        let (a, b) = (plain(dkv.view(), 2 * d), plain(projections.from(d * d), d));
        gpu.multiply(dcontext.view(), [m, d, 2 * d], a, b, 0.0)?;

        let [wq, wk, wv] = vectors.projections.each_ref().map(Input::view);
        let embedded = vectors.embedding.view()?;
        let dembedding = gpu.array(d, DType::F32)?;
        gpu.embedding_gradients([wq?, wk?, wv?], embedded, [&dweights, &dbiases, &dembedding], d)?;

        let n_weights = weights.n_elements();
        self.parameters.leave_matrices(&gpu, dweights, n_weights)?;
        let [bq, bk, bv, out, expand, contract] = &self.parameters.biases;
        let [gain, shift] = &self.parameters.norm;
        leave_rows(&gpu, &[bq, bk, bv], dbiases, 3, d)?;
        leave_rows(&gpu, &[gain, shift, out], after.affine, 3, d)?;
        leave_rows(&gpu, &[expand], after.expand_bias, 1, self.shapes.hidden)?;
        leave_rows(&gpu, &[contract], after.contract_bias, 1, d)?;
        Ok((
            gradients::deliver(source, dsource.into_tensor(&gpu, source.shape()))?,
            gradients::deliver(context, dcontext.into_tensor(&gpu, context.shape()))?,
            gradients::deliver(embedding, dembedding.into_tensor(&gpu, embedding.shape()))?,
        ))
    }
}
