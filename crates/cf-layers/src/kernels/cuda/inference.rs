//! How layers work where no gradient is wanted: nothing is kept, what follows from single rows is made a few rows at a time, and
//! of long sequences half of the heads at a time. What is whole at once is the input, the output, and the tokens of some heads.

use super::super::attention::AttentionShape;
use super::super::transformer_layer::TransformerLayerOptions;
use super::after_attention::{AfterAttention, Shapes};
use super::attention::Call;
use super::layer_norm::{Affine, Summed};
use super::*;

/// Rows that are worked on at once, of a sequence and of a long context, where there are more than twice as many: enough to fill a GPU.
const ROWS: usize = 4096;
const CONTEXT_ROWS: usize = 8192;
/// Keys from which half of the heads are taken at a time: their tokens are most of the memory then, and half of them fill a GPU.
const MANY_KEYS: usize = 16_384;

/// Whether a context of `m` tokens is so long that it had better not be whole.
pub(in crate::kernels) fn is_long(m: usize) -> bool {
    m > MANY_KEYS
}

/// Blocks of `n` rows, each as its first and how many.
pub(super) fn row_blocks(n: usize) -> impl Iterator<Item = (usize, usize)> {
    blocks(n, ROWS)
}

/// The same of a context, which is whole if it is not long.
pub(super) fn context_blocks(m: usize) -> impl Iterator<Item = (usize, usize)> {
    blocks(m, if is_long(m) { CONTEXT_ROWS } else { m })
}

fn blocks(n: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let n_rows = if n > 2 * most { n.div_ceil(n.div_ceil(most)) } else { n.max(1) };
    (0..n).step_by(n_rows).map(move |first| (first, n_rows.min(n - first)))
}

impl Shapes {
    /// The attention of the heads that are taken at once, and how many such groups there are.
    pub(super) fn head_groups(&self, options: TransformerLayerOptions) -> (Call, usize) {
        let AttentionShape { m, d, n_heads, .. } = self.attention;
        // A dropout mask counts all heads.
        let halves = is_long(m) && n_heads.is_multiple_of(2) && options.attention.dropout.is_none();
        let n_groups = if halves { 2 } else { 1 };
        let shape = AttentionShape { d: d / n_groups, n_heads: n_heads / n_groups, ..self.attention };
        // Its parts would be most of what a layer takes here.
        (Call { shape, splits_last: false, ..self.call(options) }, n_groups)
    }
}

/// What the attention's output is added to, all rows.
#[derive(Clone, Copy)]
pub(super) enum Base<'a> {
    Given(View<'a>),
    /// The norm of these.
    Norm(View<'a>, Affine<'a>),
}

impl AfterAttention<'_> {
    /// The layer's output; `attended` holds the heads in groups.
    pub(super) fn infer(&self, base: Base<'_>, attended: &[Array]) -> Result<Array> {
        let [n, d, _] = self.sizes();
        let output = self.gpu.array(n * d, DType::F32)?;
        let width = d / attended.len().max(1);
        for (first, n_rows) in row_blocks(n) {
            let to = output.view().from(first * d);
            let base = match base {
                Base::Given(base) => base.from(first * d),
                Base::Norm(x, affine) => {
                    let x = Summed::one(x.from(first * d));
                    self.gpu.norm_to(x, affine, to, [n_rows, d], DType::F32)?;
                    to
                }
            };
            let attended: Vec<View<'_>> =
                attended.iter().map(|part| part.view().from(first * width)).collect();
            self.infer_rows(n_rows, base, &attended, to)?;
        }
        Ok(output)
    }
}
