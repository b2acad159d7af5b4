//! The kernels for a single query: what a class token sees.

use super::super::super::attention::AttentionShape;
use super::super::*;
use super::{Call, Saved, Tokens, stride};

/// Keys of a block.
const ONE_QUERY_KEYS: usize = 64;

impl Gpu {
    /// `m, n_heads, width` and what follows them.
    fn one_query_sizes(call: Call) -> Vec<Arg> {
        let sizes = [call.shape.m, call.shape.n_heads, call.width()];
        let mut args = sizes.map(|size| Arg::I32(size as i32)).to_vec();
        args.extend(call.scale_and_mask());
        args.push(Arg::I32(ONE_QUERY_KEYS as i32));
        args
    }

    pub(super) fn attend_once(&self, call: Call, tokens: Tokens<'_>) -> Result<(Array, Array)> {
        let AttentionShape { m, d, n_heads, .. } = call.shape;
        let Tokens { q, k, v } = tokens;
        let n_parts = m.div_ceil(ONE_QUERY_KEYS);
        let parts = self.array(n_parts * n_heads * (2 + call.width()), DType::F32)?;
        let mut args = vec![q.view.into(), k.view.into(), v.view.into(), stride(k), (&parts).into()];
        args.extend(Self::one_query_sizes(call));
        let name = if k.view.dtype == DType::BF16 { "attention_one_bf16" } else { "attention_one_f32" };
        self.launch(name, ([n_parts, n_heads, 1], [256, 1, 1]), 0, &args)?;
        let (output, log_sum_exp) = (self.array(d, DType::F32)?, self.array(n_heads, DType::F32)?);
        let sizes = [n_parts, n_heads, call.width()].map(|size| Arg::I32(size as i32));
        let mut args: Vec<Arg> = vec![(&parts).into(), (&output).into(), (&log_sum_exp).into()];
        args.extend(sizes);
        self.launch("attention_one_combine", ([n_heads, 1, 1], [128, 1, 1]), 0, &args)?;
        Ok((output, log_sum_exp))
    }

    pub(super) fn attend_once_gradient(
        &self,
        call: Call,
        saved: &Saved<'_>,
        dout: View<'_>,
        to: Tokens<'_>,
    ) -> Result<()> {
        let AttentionShape { m, d, n_heads, .. } = call.shape;
        let Tokens { q, k, v } = saved.tokens;
        let n_parts = m.div_ceil(ONE_QUERY_KEYS);
        let partial = self.array(n_parts * d, DType::F32)?;
        let mut args = vec![q.view.into(), k.view.into(), v.view.into(), stride(k)];
        args.extend_from_slice(&[saved.output.into(), dout.into(), saved.log_sum_exp.into()]);
        args.extend_from_slice(&[to.k.view.into(), to.v.view.into(), stride(to.k), (&partial).into()]);
        args.extend(Self::one_query_sizes(call));
        let bf16 = k.view.dtype == DType::BF16;
        let name = if bf16 { "attention_one_backward_bf16" } else { "attention_one_backward_f32" };
        self.launch(name, ([n_parts, n_heads, 1], [256, 1, 1]), 0, &args)?;
        self.sum_partial_to(&partial, to.q.view, n_parts, d)
    }
}
