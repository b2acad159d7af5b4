//! The f32 kernels, for heads of any width up to 128 channels.

use super::super::super::attention::AttentionShape;
use super::super::*;
use super::{Call, Saved, Tiled, Tokens, stride, token_args};

impl Gpu {
    /// `n, m, n_heads, width` and what follows them.
    fn f32_sizes(call: Call) -> Vec<Arg> {
        let mut args = call.sizes().to_vec();
        args.push(Arg::I32(call.width() as i32));
        args.extend(call.scale_and_mask());
        args
    }

    pub(super) fn attend_f32(&self, call: Call, tokens: Tokens<'_>) -> Result<(Array, Array)> {
        let AttentionShape { n, d, n_heads, .. } = call.shape;
        let names = ["attention_f32_32", "attention_f32_64", "attention_f32_128", "attention_f32_128_small"];
        let Tiled { name, shared, .. } = self.tiled(call, names, [64, 32], |width, keys| {
            ((64 + 2 * keys) * (width + 4) + 64 * (keys + 4)) * 4
        });
        let (output, log_sum_exp) = (self.array(n * d, DType::F32)?, self.array(n_heads * n, DType::F32)?);
        let mut args = token_args(tokens).to_vec();
        args.extend_from_slice(&[(&output).into(), (&log_sum_exp).into()]);
        args.extend(Self::f32_sizes(call));
        self.launch(name, ([n.div_ceil(64), n_heads, 1], [16, 16, 1]), shared, &args)?;
        Ok((output, log_sum_exp))
    }

    pub(super) fn attend_f32_gradient(
        &self,
        call: Call,
        saved: &Saved<'_>,
        dout: View<'_>,
        to: Tokens<'_>,
    ) -> Result<()> {
        let AttentionShape { n, m, n_heads, .. } = call.shape;
        let delta = self.array(n_heads * n, DType::F32)?;
        let sizes = [n, n_heads, call.width()].map(|size| Arg::I32(size as i32));
        let mut args: Vec<Arg> = vec![saved.output.into(), dout.into(), (&delta).into()];
        args.extend(sizes);
        let config = ([(n * n_heads).div_ceil(8), 1, 1], [256, 1, 1]);
        self.launch("attention_products_f32", config, 0, &args)?;

        let inputs = |ends: &[Arg]| {
            let mut args = token_args(saved.tokens).to_vec();
            args.extend_from_slice(&[dout.into(), saved.log_sum_exp.into(), (&delta).into()]);
            args.extend_from_slice(ends);
            args.extend(Self::f32_sizes(call));
            args
        };
        let names = [
            "attention_f32_backward_keys_32",
            "attention_f32_backward_keys_64",
            "attention_f32_backward_keys_128",
            "attention_f32_backward_keys_128_small",
        ];
        let Tiled { name, shared, .. } = self.tiled(call, names, [32, 16], |width, queries| {
            ((2 * 64 + 2 * queries) * (width + 4) + 2 * queries * 68) * 4
        });
        let args = inputs(&[to.k.view.into(), to.v.view.into(), stride(to.k)]);
        self.launch(name, ([m.div_ceil(64), n_heads, 1], [16, 16, 1]), shared, &args)?;
        let names = [
            "attention_f32_backward_queries_32",
            "attention_f32_backward_queries_64",
            "attention_f32_backward_queries_128",
            "attention_f32_backward_queries_128_small",
        ];
        let Tiled { name, shared, .. } = self.tiled(call, names, [32, 16], |width, keys| {
            ((2 * 64 + 2 * keys) * (width + 4) + 64 * (keys + 4)) * 4
        });
        let args = inputs(&[to.q.view.into(), stride(to.q)]);
        self.launch(name, ([n.div_ceil(64), n_heads, 1], [16, 16, 1]), shared, &args)
    }
}
