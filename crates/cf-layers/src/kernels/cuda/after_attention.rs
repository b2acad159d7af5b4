//! What a Transformer layer and a cross-attention layer share: the second half of the layer, `y = LN(base + out(attended));
//! y + FFN(y)`.

use super::super::attention::AttentionShape;
use super::super::feed_forward::FeedForwardOptions;
use super::super::linear::Activation;
use super::super::transformer_layer::{AfterAttentionWeights, TransformerLayerOptions};
use super::super::{AttentionProjections, Retention};
use super::attention::{Call, token_type};
use super::layer_norm::{self, Affine, Summed};
use super::layer_weights::Weights;
use super::product::{plain, transposed};
use super::*;

/// The sizes of a layer.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct Shapes {
    pub(super) attention: AttentionShape,
    pub(super) hidden: usize,
    /// Of operands.
    pub(super) dtype: DType,
}

impl Shapes {
    /// The attention of a layer.
    pub(super) fn call(&self, options: TransformerLayerOptions) -> Call {
        Call::new(self.attention, options.attention.dropout)
    }
}

/// The sizes of a layer if it has a form here, over `m` rows like those of `context`.
///
/// # Errors
/// If the shapes do not fit together.
pub(in crate::kernels) fn shapes(
    source: &Tensor,
    (context, m): (&Tensor, usize),
    projections: AttentionProjections<'_>,
    after: AfterAttentionWeights<'_>,
    options: TransformerLayerOptions,
) -> Result<Option<Shapes>> {
    let (n, d) = source.dims2()?;
    projections.check(source, context)?;
    let attention = AttentionShape { n, m, d, n_heads: options.attention.n_heads };
    attention.check()?;
    let (expand, contract) = (after.feed_forward.expand, after.feed_forward.contract);
    let (hidden, _) = expand.0.dims2()?;
    let wanted: [(&Tensor, &[usize]); 8] = [
        (after.out.0, &[d, d]),
        (after.out.1, &[d]),
        (after.norm.0, &[d]),
        (after.norm.1, &[d]),
        (expand.0, &[hidden, d]),
        (expand.1, &[hidden]),
        (contract.0, &[d, hidden]),
        (contract.1, &[d]),
    ];
    if let Some((found, wanted)) = wanted.iter().find(|(found, wanted)| found.dims() != *wanted) {
        return Err(Error::Msg(format!(
            "a layer of {d} channels has a parameter of {:?}, expected {wanted:?}",
            found.dims()
        )));
    }
    let dtype = token_type(&attention, options.attention.compute);
    let serves = super::attention::serves(source, &attention)
        && layer_norm::serves(source, d)
        && [DType::F32, dtype].contains(&context.dtype());
    Ok(serves.then_some(Shapes { attention, hidden, dtype }))
}

/// The second half of a layer on `n` tokens.
#[derive(Clone, Copy)]
pub(super) struct AfterAttention<'a> {
    pub(super) gpu: &'a Gpu,
    shapes: Shapes,
    options: TransformerLayerOptions,
    weights: &'a Weights<'a>,
    /// Of output, expanding and contracting layer.
    biases: [View<'a>; 3],
    /// Gain and shift.
    norm: [View<'a>; 2],
}

impl<'a> AfterAttention<'a> {
    /// Of a layer whose biases are in the order of [`super::layer_weights::Parameters`], and the norm after its attention.
    pub(super) fn new(
        gpu: &'a Gpu,
        (shapes, options): (Shapes, TransformerLayerOptions),
        weights: &'a Weights<'a>,
        biases: &'a [Input<'_>; 6],
        norm: &'a [Input<'_>; 2],
    ) -> Result<Self> {
        let [.., out, expand, contract] = biases;
        let [gain, shift] = norm;
        Ok(Self {
            gpu,
            shapes,
            options,
            weights,
            biases: [out.view()?, expand.view()?, contract.view()?],
            norm: [gain.view()?, shift.view()?],
        })
    }
}

/// What the forward pass leaves.
pub(super) struct Kept {
    /// `[n, d]`: the output projection without its bias.
    projected: Array,
    /// `[n, hidden]`: before bias and GELU; none with [`Retention::Recompute`].
    hidden: Option<Array>,
}

/// Gradients of the second half.
pub(super) struct Gradients {
    /// Of the base, `[n, d]` in f32.
    pub(super) base: Array,
    /// Of the attention's output, of the type of operands.
    pub(super) attended: Array,
    /// Rows of `d`: of gain, shift and the bias of the output projection.
    pub(super) affine: Array,
    /// Of the bias of the expanding layer.
    pub(super) expand_bias: Array,
    /// Of the bias of the contracting layer.
    pub(super) contract_bias: Array,
}

impl AfterAttention<'_> {
    pub(super) fn sizes(&self) -> [usize; 3] {
        [self.shapes.attention.n, self.shapes.attention.d, self.shapes.hidden]
    }

    fn perceptron(&self) -> FeedForwardOptions {
        self.options.feed_forward
    }

    fn summed<'b>(&self, base: View<'b>, projected: View<'b>, bias: View<'b>) -> Summed<'b> {
        Summed { x: Some(base), added: Some(projected), bias: Some(bias) }
    }

    fn affine(&self) -> Affine<'_> {
        Affine { gain: self.norm[0], shift: self.norm[1], eps: self.options.eps as f32 }
    }

    fn expanded(&self, y: View<'_>, n: usize) -> Result<Array> {
        let ([_, d, hidden], gpu) = (self.sizes(), self.gpu);
        let z = gpu.array(n * hidden, self.shapes.dtype)?;
        let expand = self.weights.all().from(self.weights.expand_at());
        gpu.multiply(z.view(), [n, hidden, d], plain(y, d), transposed(expand, d), 0.0)?;
        Ok(z)
    }

    /// From `base` and what the attention made of it (of the type of operands) to the layer's output in f32.
    pub(super) fn forward(&self, base: View<'_>, attended: View<'_>) -> Result<(Array, Kept)> {
        let ([n, d, hidden], gpu, dtype) = (self.sizes(), self.gpu, self.shapes.dtype);
        let output = gpu.array(n * d, DType::F32)?;
        let projected = self.projected(n, &[attended])?;
        let y = self.normed(n, base, projected.view(), output.view())?;
        let z = self.expanded(y.as_ref().map_or(output.view(), Array::view), n)?;
        drop(y);
        let (h, hidden) = match self.perceptron().retention {
            Retention::Keep => {
                let h = gpu.array(n * hidden, dtype)?;
                self.activated(n, z.view(), h.view())?;
                (h, Some(z))
            }
            Retention::Recompute => {
                self.activated(n, z.view(), z.view())?;
                (z, None)
            }
        };
        self.contracted(n, h, output.view())?;
        Ok((output, Kept { projected, hidden }))
    }

    /// `n` rows of [`Self::forward`] for which no gradient is wanted, written to `output`; `base` may lie there, and `attended` holds
    /// the heads in one group or several.
    pub(super) fn infer_rows(
        &self,
        n: usize,
        base: View<'_>,
        attended: &[View<'_>],
        output: View<'_>,
    ) -> Result<()> {
        let projected = self.projected(n, attended)?;
        let y = self.normed(n, base, projected.view(), output)?;
        drop(projected);
        let z = self.expanded(y.as_ref().map_or(output, Array::view), n)?;
        drop(y);
        self.activated(n, z.view(), z.view())?;
        self.contracted(n, z, output)
    }

    /// The output projection without its bias.
    fn projected(&self, n: usize, attended: &[View<'_>]) -> Result<Array> {
        let ([_, d, _], gpu) = (self.sizes(), self.gpu);
        let projected = gpu.array(n * d, self.shapes.dtype)?;
        let width = d / attended.len().max(1);
        for (group, part) in attended.iter().enumerate() {
            let out = self.weights.all().from(self.weights.out_at() + group * width);
            let beta = if group == 0 { 0.0 } else { 1.0 };
            gpu.multiply(projected.view(), [n, d, width], plain(*part, width), transposed(out, d), beta)?;
        }
        Ok(projected)
    }

    /// The norm, to `output`, and as an operand if that is of another type. Every element of the base is read before one of its row
    /// is written.
    fn normed(
        &self,
        n: usize,
        base: View<'_>,
        projected: View<'_>,
        output: View<'_>,
    ) -> Result<Option<Array>> {
        let summed = self.summed(base, projected, self.biases[0]);
        self.gpu.norm_to(summed, self.affine(), output, [n, self.sizes()[1]], self.shapes.dtype)
    }

    /// Hidden channels `h` from `z`, which may be the same.
    fn activated(&self, n: usize, z: View<'_>, h: View<'_>) -> Result<()> {
        self.gpu.gelu_to(z, Some(self.biases[1]), h, [n, self.sizes()[2]], self.perceptron().hidden_mask)
    }

    /// The contracting layer, added to `output`.
    fn contracted(&self, n: usize, h: Array, output: View<'_>) -> Result<()> {
        let ([_, d, hidden], gpu) = (self.sizes(), self.gpu);
        let contracted = gpu.array(n * d, self.shapes.dtype)?;
        let contract = self.weights.all().from(self.weights.contract_at());
        let (a, b) = (plain(h.view(), hidden), transposed(contract, hidden));
        gpu.multiply(contracted.view(), [n, d, hidden], a, b, 0.0)?;
        drop(h);
        // Onto the norm, of which every element is read before its own is written.
        let (bias, mask) = (Some(self.biases[2]), self.perceptron().output_mask);
        gpu.add_masked(Some(output), contracted.view(), bias, output, [n, d], mask)
    }

    /// From the output's gradient; those of the matrices are written to `dweights`, laid as [`Weights`].
    pub(super) fn backward(
        &self,
        kept: Kept,
        base: View<'_>,
        attended: View<'_>,
        grad: View<'_>,
        dweights: View<'_>,
    ) -> Result<Gradients> {
        let ([n, d, hidden], gpu, dtype) = (self.sizes(), self.gpu, self.shapes.dtype);
        let [out_bias, expand_bias, _] = self.biases;
        let (all, options) = (self.weights.all(), self.perceptron());
        let [out_at, expand_at, contract_at] =
            [self.weights.out_at(), self.weights.expand_at(), self.weights.contract_at()];
        let summed = self.summed(base, kept.projected.view(), out_bias);
        let y = gpu.norm_operand(summed, self.affine(), [n, d], dtype)?;
        let again;
        let z = match &kept.hidden {
            Some(z) => z.view(),
            None => {
                again = self.expanded(y.view(), n)?;
                again.view()
            }
        };
        let none = (Activation::Identity, None);
        let dy = gpu.array(n * d, dtype)?;
        let contract_bias = gpu.row_gradient(grad, none, Some(dy.view()), [n, d], options.output_mask)?;
        let h = gpu.gelu(z, Some(expand_bias), [n, hidden], options.hidden_mask)?;
        let (a, b) = (transposed(dy.view(), d), plain(h.view(), hidden));
        gpu.multiply(dweights.from(contract_at), [d, hidden, n], a, b, 0.0)?;
        // The gradient of the hidden channels takes their place.
        let dz = h;
        let (a, b) = (plain(dy.view(), d), plain(all.from(contract_at), hidden));
        gpu.multiply(dz.view(), [n, hidden, d], a, b, 0.0)?;
        drop(dy);
        let expand_bias =
            gpu.gelu_gradient(z, Some(expand_bias), dz.view(), [n, hidden], options.hidden_mask)?;
        let (a, b) = (transposed(dz.view(), hidden), plain(y.view(), d));
        gpu.multiply(dweights.from(expand_at), [hidden, d, n], a, b, 0.0)?;
        drop(y);
        let dinner = gpu.array(n * d, DType::F32)?;
        let (a, b) = (plain(dz.view(), hidden), plain(all.from(expand_at), d));
        gpu.multiply(dinner.view(), [n, d, hidden], a, b, 0.0)?;
        drop(dz);
        let grads = [Some(grad), Some(dinner.view())];
        let norm = gpu.norm_gradient(summed, self.affine(), grads, [n, d], dtype)?;
        drop(dinner);
        let dprojected = norm.dx.operand();
        let (a, b) = (transposed(dprojected, d), plain(attended, d));
        gpu.multiply(dweights.from(out_at), [d, d, n], a, b, 0.0)?;
        let dattended = gpu.array(n * d, dtype)?;
        gpu.multiply(dattended.view(), [n, d, d], plain(dprojected, d), plain(all.from(out_at), d), 0.0)?;
        let (base, affine) = (norm.dx.wide, norm.affine);
        Ok(Gradients { base, attended: dattended, affine, expand_bias, contract_bias })
    }
}
