//! The parameters that a Transformer layer and a cross-attention layer share, and their matrices as operands of products.

use std::ops::Range;

use super::super::transformer_layer::AfterAttentionWeights;
use super::super::{AttentionProjections, gradients};
use super::after_attention::Shapes;
use super::linear::Cast;
use super::product::{Parts, plain, transposed};
use super::*;

/// The parameters of a layer, in the order in which [`Weights`] lays the matrices and [`Self::leave_matrices`] their gradients.
#[derive(Debug, Clone)]
pub(super) struct Parameters {
    /// Queries, keys, values, output, expanding and contracting layer.
    pub(super) matrices: [Tensor; 6],
    /// Their biases.
    pub(super) biases: [Tensor; 6],
    /// Gain and shift of the norm after the residual.
    pub(super) norm: [Tensor; 2],
}

impl Parameters {
    pub(super) fn of(projections: AttentionProjections<'_>, after: AfterAttentionWeights<'_>) -> Self {
        let AttentionProjections { queries, keys, values } = projections;
        let AfterAttentionWeights { out, norm, feed_forward } = after;
        let layers = [queries, keys, values, out, feed_forward.expand, feed_forward.contract];
        Self {
            matrices: layers.map(|(weight, _)| weight.clone()),
            biases: layers.map(|(_, bias)| bias.clone()),
            norm: [norm.0.clone(), norm.1.clone()],
        }
    }

    /// The matrices, locked for reading.
    pub(super) fn locked_matrices(&self) -> [Input<'_>; 6] {
        self.matrices.each_ref().map(Input::of)
    }

    /// Whether any of them wants a gradient.
    pub(super) fn are_tracked(&self) -> bool {
        self.matrices.iter().chain(&self.biases).chain(&self.norm).any(Tensor::track_op)
    }

    /// Leaves the gradients of the matrices, one after the other in an array.
    pub(super) fn leave_matrices(&self, gpu: &Gpu, all: Array, n_elements: usize) -> Result<()> {
        let all = all.into_tensor(gpu, n_elements);
        let mut first = 0;
        for matrix in &self.matrices {
            let n = matrix.elem_count();
            gradients::leave_of_captured(matrix, &all.narrow(0, first, n)?.reshape(matrix.shape())?)?;
            first += n;
        }
        Ok(())
    }
}

/// Leaves the gradients of vectors that lie one after the other in an array of rows of `d`.
pub(super) fn leave_rows(gpu: &Gpu, vectors: &[&Tensor], all: Array, n_rows: usize, d: usize) -> Result<()> {
    let all = all.into_tensor(gpu, (n_rows, d));
    vectors
        .iter()
        .enumerate()
        .try_for_each(|(row, vector)| gradients::leave_of_captured(vector, &all.get(row)?))
}

/// All matrices of a layer as operands, one after the other.
pub(super) struct Weights<'a> {
    all: Cast<'a>,
    d: usize,
    hidden: usize,
}

impl<'a> Weights<'a> {
    /// Of the matrices in the order of [`Parameters`]; those of a layer that was frozen lie as they are wanted.
    pub(super) fn gather(gpu: &Gpu, matrices: &'a [Input<'_>; 6], shapes: Shapes) -> Result<Self> {
        let (d, hidden) = (shapes.attention.d, shapes.hidden);
        let sizes = [d * d, d * d, d * d, d * d, d * hidden, d * hidden];
        let parts = matrices
            .iter()
            .zip(sizes)
            .map(|(matrix, n)| Ok((matrix.view()?, n)))
            .collect::<Result<Vec<_>>>()?;
        let together = parts.windows(2).all(|pair| match pair {
            [(part, n), (next, _)] => part.is_followed(*n, *next),
            _ => true,
        });
        let all = match parts.first() {
            Some((first, _)) if together && first.dtype == shapes.dtype => Cast::Given(*first),
            _ => Cast::Made(gpu.gathered(&parts, shapes.dtype)?),
        };
        Ok(Self { all, d, hidden })
    }

    /// Elements of all matrices.
    pub(super) fn n_elements(&self) -> usize {
        self.contract_at() + self.d * self.hidden
    }

    /// They begin with those of queries, keys and values, together `[3 d, d]`.
    pub(super) fn all(&self) -> View<'_> {
        self.all.view()
    }

    /// Channels `columns` of layers `which`, of queries (0), keys (1) and values (2), side by side and without biases: from `n` rows `x`
    /// `[n, d]`.
    pub(super) fn project(
        &self,
        gpu: &Gpu,
        (x, n): (View<'_>, usize),
        (which, columns): (Range<usize>, Range<usize>),
        to: View<'_>,
    ) -> Result<()> {
        let (d, width) = (self.d, columns.len());
        let stride = which.len() * width;
        let weights = |layer: usize| transposed(self.all().from((layer * d + columns.start) * d), d);
        if width == d {
            return gpu.multiply(to, [n, stride, d], plain(x, d), weights(which.start), 0.0);
        }
        let parts = Parts { n: which.len(), of_b: d * d, of_c: width };
        gpu.multiply_parts((to, stride), [n, width, d], plain(x, d), weights(which.start), parts)
    }

    /// Where the output projection begins.
    pub(super) fn out_at(&self) -> usize {
        3 * self.d * self.d
    }

    pub(super) fn expand_at(&self) -> usize {
        4 * self.d * self.d
    }

    pub(super) fn contract_at(&self) -> usize {
        self.expand_at() + self.d * self.hidden
    }
}
