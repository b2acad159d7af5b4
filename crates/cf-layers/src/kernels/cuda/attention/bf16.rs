//! The bf16 kernels: those for tensor cores of compute capability 8.0 and up, and those for Hopper.

use super::super::super::attention::AttentionShape;
use super::super::super::attention_shares::{Share, shares, together};
use super::super::super::deterministic;
use super::super::*;
use super::{Call, Rows, Saved, Tiled, Tokens, stride, token_args};

/// Keys of a block, in the backward kernels.
const BACKWARD_KEYS: usize = 128;
/// Shared memory of `attention_hopper.cu` for barriers, and for tiles to begin at multiples of 1 KiB.
const HOPPER_EXTRA: usize = 1024 + 256;
/// `BackwardShared::BYTES` there.
const HOPPER_BACKWARD_SHARED: usize = 198_784;

/// A kernel that makes the output, and how it is launched.
struct ForwardKernel {
    name: &'static str,
    /// Queries of a block.
    rows: usize,
    /// Keys that it takes at a time.
    keys: usize,
    threads: u32,
    /// Bytes of shared memory.
    shared: usize,
    /// Blocks that a multiprocessor holds.
    per_multiprocessor: usize,
}

impl Call {
    /// How `n_blocks` of each head are launched, over `n_tiles` tiles each. A dropout mask counts queries and keys from the first.
    fn shares(&self, n_blocks: usize, n_tiles: usize, slots: usize) -> Vec<Share> {
        let n_heads = self.shape.n_heads;
        if self.splits_last && self.dropout.is_none() {
            shares(n_blocks, n_heads, n_tiles, slots)
        } else {
            vec![together(n_blocks, n_heads, n_tiles, slots)]
        }
    }
}

impl Gpu {
    /// The bf16 kernel that makes the output.
    fn forward_kernel(&self, call: Call) -> ForwardKernel {
        let AttentionShape { n, n_heads, .. } = call.shape;
        if self.has_kernels_of_hopper(call) {
            let tile = 128 * 256;
            // 192 queries a block are faster where there are blocks for all.
            return if n.div_ceil(192) * n_heads >= self.n_multiprocessors() {
                ForwardKernel {
                    name: call.dropping(["attention_hopper_192", "attention_hopper_192_dropout"]),
                    rows: 192,
                    keys: 128,
                    threads: 512,
                    shared: HOPPER_EXTRA + 192 * 256 + 4 * tile,
                    per_multiprocessor: 1,
                }
            } else {
                ForwardKernel {
                    name: call.dropping(["attention_hopper_128", "attention_hopper_128_dropout"]),
                    rows: 128,
                    keys: 128,
                    threads: 384,
                    shared: HOPPER_EXTRA + 128 * 256 + 6 * tile,
                    per_multiprocessor: 1,
                }
            };
        }
        let (name, width) = call.named(["attention_32", "attention_64", "attention_128"]);
        let shared = (128 + 4 * 64) * width * 2;
        // Two for the registers of their threads.
        let per_multiprocessor = self.blocks_with_shared(shared).clamp(1, 2);
        ForwardKernel { name, rows: 128, keys: 64, threads: 128, shared, per_multiprocessor }
    }

    /// The bf16 kernel that makes the gradients, whose tiles are of queries, and the threads of a block.
    fn backward_kernel(&self, call: Call) -> (Tiled, u32) {
        if self.has_kernels_of_hopper(call) {
            let name = call.dropping(["attention_hopper_backward", "attention_hopper_backward_dropout"]);
            return (Tiled { name, rows: 64, shared: HOPPER_BACKWARD_SHARED }, 384);
        }
        let names = [
            "attention_backward_32",
            "attention_backward_64",
            "attention_backward_128",
            "attention_backward_128_small",
        ];
        // Queries and their gradients are there twice with 64 rows, once with 32.
        let tiled = self.tiled(call, names, [64, 32], |width, rows| {
            let n_tiles = if rows == 64 { 2 } else { 1 };
            (2 * BACKWARD_KEYS + 2 * n_tiles * rows) * width * 2 + BACKWARD_KEYS * rows * 2 + 2 * rows * 4
        });
        (tiled, 256)
    }

    fn has_kernels_of_hopper(&self, call: Call) -> bool {
        self.is_hopper() && call.width() == 128
    }

    pub(super) fn attend_bf16(&self, call: Call, tokens: Tokens<'_>) -> Result<(Array, Array)> {
        let AttentionShape { n, m, d, n_heads } = call.shape;
        let kernel = self.forward_kernel(call);
        let slots = kernel.per_multiprocessor * self.n_multiprocessors();
        let output = self.array(n * d, DType::BF16)?;
        let log_sum_exp = self.array(n_heads * n, DType::F32)?;
        for share in call.shares(n.div_ceil(kernel.rows), m.div_ceil(kernel.keys), slots) {
            let (first, rows) = share.rows(kernel.rows, n);
            let to = (output.view().from(first * d), log_sum_exp.view().from(first));
            self.attend_bf16_share(call, &kernel, tokens.after_queries(first), to, (rows, &share))?;
        }
        Ok((output, log_sum_exp))
    }

    /// The output of the first `rows` queries; their log-sum-exp goes to rows of all queries of the call.
    fn attend_bf16_share(
        &self,
        call: Call,
        kernel: &ForwardKernel,
        tokens: Tokens<'_>,
        (output, log_sum_exp): (View<'_>, View<'_>),
        (rows, share): (usize, &Share),
    ) -> Result<()> {
        let AttentionShape { n, m, d, n_heads } = call.shape;
        let parts = match share.n_splits {
            1 => None,
            n_splits => Some((
                self.array(n_splits * rows * d, DType::F32)?,
                self.array(n_splits * n_heads * rows, DType::F32)?,
            )),
        };
        let log_sum_exps = if parts.is_some() { rows } else { n };
        let mut args = token_args(tokens).to_vec();
        args.push(output.into());
        args.push(parts.as_ref().map(|(partial, _)| partial).into());
        args.push(parts.as_ref().map_or(log_sum_exp.into(), |(_, parts)| parts.into()));
        args.extend([rows, m, n_heads].map(|size| Arg::I32(size as i32)));
        args.extend(call.scale_and_mask());
        args.extend([share.tiles, log_sum_exps].map(|size| Arg::I32(size as i32)));
        self.launch(
            kernel.name,
            ([share.n_blocks, n_heads, share.n_splits], [kernel.threads, 1, 1]),
            kernel.shared,
            &args,
        )?;
        let Some((partial, parts)) = &parts else { return Ok(()) };
        let (name, _) = call.named(["attention_combine_32", "attention_combine_64", "attention_combine_128"]);
        let mut args: Vec<Arg> = vec![partial.into(), parts.into(), output.into(), log_sum_exp.into()];
        args.extend([rows, n_heads, share.n_splits, n].map(|size| Arg::I32(size as i32)));
        self.launch(name, ([(rows * d).div_ceil(4 * 256), 1, 1], [256, 1, 1]), 0, &args)
    }

    pub(super) fn attend_bf16_gradient(
        &self,
        call: Call,
        saved: &Saved<'_>,
        dout: View<'_>,
        to: Tokens<'_>,
    ) -> Result<()> {
        let AttentionShape { n, m, d, n_heads } = call.shape;
        let delta = self.array(n_heads * n, DType::F32)?;
        let (name, _) =
            call.named(["attention_products_32", "attention_products_64", "attention_products_128"]);
        let sizes = [n, n_heads].map(|size| Arg::I32(size as i32));
        let args = [saved.output.into(), dout.into(), (&delta).into(), sizes[0], sizes[1]];
        self.launch(name, ([(n * n_heads).div_ceil(8), 1, 1], [256, 1, 1]), 0, &args)?;

        let (Tiled { name, rows, shared }, threads) = self.backward_kernel(call);
        // Hopper's kernels add whole tiles.
        let in_tiles = self.has_kernels_of_hopper(call);
        let n_sums = if in_tiles { n.next_multiple_of(rows) * d } else { n * d };
        let atomic = if deterministic() { None } else { Some(self.zeros(n_sums)?) };
        for share in call.shares(m.div_ceil(BACKWARD_KEYS), n.div_ceil(rows), self.n_multiprocessors()) {
            let (first, n_keys) = share.rows(BACKWARD_KEYS, m);
            let (tokens, to) = (saved.tokens.after_keys(first), to.after_keys(first));
            let partial = match share.n_splits {
                1 => None,
                n_splits => Some(self.array(n_splits * n_keys * 2 * d, DType::F32)?),
            };
            let mut args = token_args(tokens).to_vec();
            args.extend_from_slice(&[
                dout.into(),
                saved.log_sum_exp.into(),
                (&delta).into(),
                atomic.as_ref().into(),
            ]);
            args.extend_from_slice(&[
                to.k.view.into(),
                to.v.view.into(),
                stride(to.k),
                partial.as_ref().into(),
            ]);
            args.extend([n, n_keys, n_heads].map(|size| Arg::I32(size as i32)));
            args.extend(call.scale_and_mask());
            args.push(Arg::I32(share.tiles as i32));
            let grid = [share.n_blocks, n_heads, share.n_splits];
            self.launch(name, (grid, [threads, 1, 1]), shared, &args)?;
            if let Some(partial) = &partial {
                self.sum_to_bf16(partial.view(), to.k, [n_keys, 2 * d], share.n_splits, 1.0)?;
            }
        }
        let scale = 1.0 / (call.width() as f32).sqrt();
        match &atomic {
            Some(sums) if in_tiles => {
                let args = [sums.into(), to.q.view.into(), stride(to.q), Arg::I32(n as i32), Arg::F32(scale)];
                let grid = [n.div_ceil(8), n_heads, 1];
                self.launch("attention_hopper_queries", (grid, [256, 1, 1]), 0, &args)
            }
            Some(sums) => self.sum_to_bf16(sums.view(), to.q, [n, d], 1, scale),
            None => {
                let names = [
                    "attention_backward_queries_32",
                    "attention_backward_queries_64",
                    "attention_backward_queries_128",
                    "attention_backward_queries_128_small",
                ];
                let Tiled { name, shared, .. } =
                    self.tiled(call, names, [64, 32], |width, keys| (2 * 128 + 4 * keys) * width * 2);
                let mut args = token_args(saved.tokens).to_vec();
                args.extend_from_slice(&[dout.into(), saved.log_sum_exp.into(), (&delta).into()]);
                args.extend_from_slice(&[to.q.view.into(), stride(to.q)]);
                args.extend(call.sizes());
                args.extend(call.scale_and_mask());
                self.launch(name, ([n.div_ceil(128), n_heads, 1], [256, 1, 1]), shared, &args)
            }
        }
    }

    /// The sum of `n_parts` f32 matrices times `scale`, as bf16 rows.
    fn sum_to_bf16(
        &self,
        parts: View<'_>,
        to: Rows<'_>,
        [n, width]: [usize; 2],
        n_parts: usize,
        scale: f32,
    ) -> Result<()> {
        let args = [
            parts.into(),
            to.view.into(),
            Arg::U32(n as u32),
            Arg::U32(width as u32),
            stride(to),
            Arg::I32(n_parts as i32),
            Arg::F32(scale),
        ];
        self.launch("sum_to_bf16", ([(n * width).div_ceil(4 * 256), 1, 1], [256, 1, 1]), 0, &args)
    }
}
