//! Attention over projected tokens: which kernel serves which sizes, and the op on tensors.

use std::sync::OnceLock;

use candle_core::{CudaStorage, CustomOp1, CustomOp2};

use super::super::attention::{AttentionDropout, AttentionShape};
use super::super::deterministic;
use super::*;

/// Keys of a block and queries that it takes at a time, in the backward bf16 kernels.
const BACKWARD: [usize; 2] = [128, 64];
/// Parts that keys, or in the backward pass queries, are split into at most where there are few blocks.
const MOST_SPLITS: usize = 8;
/// Shared memory of `attention_hopper.cu` for barriers, and for tiles to begin at multiples of 1 KiB.
const HOPPER_EXTRA: usize = 1024 + 256;
/// `BackwardShared::BYTES` there.
const HOPPER_BACKWARD_SHARED: usize = 202_880;
/// Keys of a block of the one-query kernels.
const ONE_QUERY_KEYS: usize = 64;
/// Channels of a head at most.
const MOST_WIDTH: usize = 128;
const MOST_ONE_QUERY_WIDTH: usize = 256;

/// Whether an attention has a form here.
pub(in crate::kernels) fn serves(x: &Tensor, shape: &AttentionShape) -> bool {
    let most = if shape.n == 1 { MOST_ONE_QUERY_WIDTH } else { MOST_WIDTH };
    super::serves(x) && shape.d / shape.n_heads <= most
}

/// The type that queries, keys and values of a call are to be in.
pub(super) fn token_type(shape: &AttentionShape, compute: Compute) -> DType {
    match (compute, shape.d / shape.n_heads) {
        // A single query is no work for products of tiles.
        (Compute::Bf16, 32 | 64 | 128) if shape.n > 1 => DType::BF16,
        _ => DType::F32,
    }
}

/// Rows of tokens: where the first begins, and elements between two.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) view: View<'a>,
    pub(super) stride: usize,
}

impl<'a> Rows<'a> {
    /// Columns `column ..` of rows of `stride` elements.
    pub(super) fn new(view: View<'a>, column: usize, stride: usize) -> Self {
        Self { view: view.from(column), stride }
    }
}

/// Queries, keys and values, or their gradients; keys and values are columns of the same rows, values right after keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tokens<'a> {
    pub(super) q: Rows<'a>,
    pub(super) k: Rows<'a>,
    pub(super) v: Rows<'a>,
}

impl<'a> Tokens<'a> {
    /// Of a sequence over itself: rows hold query, key and value.
    pub(super) fn packed(view: View<'a>, d: usize) -> Self {
        let part = |at: usize| Rows::new(view, at * d, 3 * d);
        Self { q: part(0), k: part(1), v: part(2) }
    }

    /// Of one sequence over another, whose rows hold key and value.
    pub(super) fn of(q: View<'a>, kv: View<'a>, d: usize) -> Self {
        Self { q: Rows::new(q, 0, d), k: Rows::new(kv, 0, 2 * d), v: Rows::new(kv, d, 2 * d) }
    }
}

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

/// What a backward pass needs of the forward pass.
pub(super) struct Saved<'a> {
    pub(super) tokens: Tokens<'a>,
    pub(super) output: View<'a>,
    pub(super) log_sum_exp: View<'a>,
}

/// Sizes and dropout of one call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) shape: AttentionShape,
    pub(super) dropout: Option<AttentionDropout>,
}

impl Call {
    fn width(&self) -> usize {
        self.shape.d / self.shape.n_heads
    }

    /// `scale, n_queries, key, limit, kept`: the end of the sizes and the mask.
    fn scale_and_mask(&self) -> Vec<Arg> {
        let n_queries = self.dropout.map_or(self.shape.n, |dropout| dropout.n_queries);
        let mut args = vec![Arg::F32(1.0 / (self.width() as f32).sqrt()), Arg::U32(n_queries as u32)];
        args.extend(mask_args(self.dropout.map(|dropout| dropout.mask)));
        args
    }

    fn sizes(&self) -> [Arg; 3] {
        [self.shape.n, self.shape.m, self.shape.n_heads].map(|size| Arg::I32(size as i32))
    }

    /// The kernel without dropout or that with it.
    fn dropping(&self, [without, with]: [&'static str; 2]) -> &'static str {
        if self.dropout.is_some() { with } else { without }
    }

    /// The kernel of this head width among those for 32, 64 and 128 channels.
    fn named(&self, names: [&'static str; 3]) -> (&'static str, usize) {
        let [small, middle, large] = names;
        match self.width() {
            0..=32 => (small, 32),
            33..=64 => (middle, 64),
            _ => (large, 128),
        }
    }
}

fn token_args(tokens: Tokens<'_>) -> [Arg; 5] {
    let Tokens { q, k, v } = tokens;
    [q.view.into(), stride(q), k.view.into(), v.view.into(), stride(k)]
}

fn stride(rows: Rows<'_>) -> Arg {
    Arg::U64(rows.stride as u64)
}

/// In how many parts `n_tiles` are worked on so that about `wanted` blocks run where there are `n_blocks` without parts; and tiles
/// of a part.
fn splits(n_tiles: usize, n_blocks: usize, wanted: usize) -> (usize, usize) {
    let n_splits = (wanted / n_blocks.max(1)).clamp(1, MOST_SPLITS).min(n_tiles.div_ceil(2)).max(1);
    let tiles = n_tiles.div_ceil(n_splits);
    (n_tiles.div_ceil(tiles), tiles)
}

impl Gpu {
    /// The output, of the type of the tokens (for a single query f32), and the log-sum-exp `[n_heads, n]` in base 2.
    pub(super) fn attend(&self, call: Call, tokens: Tokens<'_>) -> Result<(Array, Array)> {
        match (call.shape.n, tokens.k.view.dtype) {
            (1, _) if tokens.q.view.dtype == DType::F32 => self.attend_once(call, tokens),
            (_, DType::BF16) => self.attend_bf16(call, tokens),
            _ => self.attend_f32(call, tokens),
        }
    }

    /// Writes the gradients of all tokens, of their type, to `to`.
    pub(super) fn attend_gradient(
        &self,
        call: Call,
        saved: &Saved<'_>,
        dout: View<'_>,
        to: Tokens<'_>,
    ) -> Result<()> {
        match (call.shape.n, saved.tokens.k.view.dtype) {
            (1, _) if saved.tokens.q.view.dtype == DType::F32 => {
                self.attend_once_gradient(call, saved, dout, to)
            }
            (_, DType::BF16) => self.attend_bf16_gradient(call, saved, dout, to),
            _ => self.attend_f32_gradient(call, saved, dout, to),
        }
    }

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
        ForwardKernel { name, rows: 128, keys: 64, threads: 128, shared, per_multiprocessor: 2 }
    }

    /// Name, threads of a block and bytes of its shared memory of the bf16 kernel that makes the gradients.
    fn backward_kernel(&self, call: Call) -> (&'static str, u32, usize) {
        if self.has_kernels_of_hopper(call) {
            let name = call.dropping(["attention_hopper_backward", "attention_hopper_backward_dropout"]);
            return (name, 384, HOPPER_BACKWARD_SHARED);
        }
        let (name, width) =
            call.named(["attention_backward_32", "attention_backward_64", "attention_backward_128"]);
        let [keys, rows] = BACKWARD;
        (name, 256, (2 * keys + 4 * rows) * width * 2 + keys * rows * 2 + 2 * rows * 4)
    }

    fn has_kernels_of_hopper(&self, call: Call) -> bool {
        self.is_hopper() && call.width() == 128
    }

    fn attend_bf16(&self, call: Call, tokens: Tokens<'_>) -> Result<(Array, Array)> {
        let AttentionShape { n, m, d, n_heads } = call.shape;
        let kernel = self.forward_kernel(call);
        let blocks = n.div_ceil(kernel.rows);
        let wanted = kernel.per_multiprocessor * self.n_multiprocessors();
        let (n_splits, tiles) = splits(m.div_ceil(kernel.keys), blocks * n_heads, wanted);
        let output = self.array(n * d, DType::BF16)?;
        let log_sum_exp = self.array(n_heads * n, DType::F32)?;
        let parts = match n_splits {
            1 => None,
            _ => Some((
                self.array(n_splits * n * d, DType::F32)?,
                self.array(n_splits * n_heads * n, DType::F32)?,
            )),
        };
        let mut args = token_args(tokens).to_vec();
        args.push((&output).into());
        args.push(parts.as_ref().map(|(partial, _)| partial).into());
        args.push(parts.as_ref().map_or((&log_sum_exp).into(), |(_, parts)| parts.into()));
        args.extend(call.sizes());
        args.extend(call.scale_and_mask());
        args.push(Arg::I32(tiles as i32));
        self.launch(
            kernel.name,
            ([blocks, n_heads, n_splits], [kernel.threads, 1, 1]),
            kernel.shared,
            &args,
        )?;
        if let Some((partial, parts)) = &parts {
            let (name, _) =
                call.named(["attention_combine_32", "attention_combine_64", "attention_combine_128"]);
            let sizes = [n, n_heads, n_splits].map(|size| Arg::I32(size as i32));
            let mut args: Vec<Arg> =
                vec![partial.into(), parts.into(), (&output).into(), (&log_sum_exp).into()];
            args.extend(sizes);
            self.launch(name, ([(n * d).div_ceil(4 * 256), 1, 1], [256, 1, 1]), 0, &args)?;
        }
        Ok((output, log_sum_exp))
    }

    fn attend_bf16_gradient(
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

        let [keys, rows] = BACKWARD;
        let blocks = m.div_ceil(keys);
        let (n_splits, tiles) = splits(n.div_ceil(rows), blocks * n_heads, self.n_multiprocessors());
        let atomic = if deterministic() { None } else { Some(self.zeros(n * d)?) };
        let partial = match n_splits {
            1 => None,
            _ => Some(self.array(n_splits * m * 2 * d, DType::F32)?),
        };
        let mut args = token_args(saved.tokens).to_vec();
        args.extend_from_slice(&[
            dout.into(),
            saved.log_sum_exp.into(),
            (&delta).into(),
            atomic.as_ref().into(),
        ]);
        args.extend_from_slice(&[to.k.view.into(), to.v.view.into(), stride(to.k), partial.as_ref().into()]);
        args.extend(call.sizes());
        args.extend(call.scale_and_mask());
        args.push(Arg::I32(tiles as i32));
        let (name, threads, shared) = self.backward_kernel(call);
        self.launch(name, ([blocks, n_heads, n_splits], [threads, 1, 1]), shared, &args)?;
        if let Some(partial) = &partial {
            self.sum_to_bf16(partial.view(), to.k, [m, 2 * d], n_splits, 1.0)?;
        }
        match &atomic {
            Some(sums) => self.sum_to_bf16(sums.view(), to.q, [n, d], 1, 1.0 / (call.width() as f32).sqrt()),
            None => {
                let (name, _) = call.named([
                    "attention_backward_queries_32",
                    "attention_backward_queries_64",
                    "attention_backward_queries_128",
                ]);
                let mut args = token_args(saved.tokens).to_vec();
                args.extend_from_slice(&[dout.into(), saved.log_sum_exp.into(), (&delta).into()]);
                args.extend_from_slice(&[to.q.view.into(), stride(to.q)]);
                args.extend(call.sizes());
                args.extend(call.scale_and_mask());
                let shared = (2 * 128 + 4 * 64) * call.width() * 2;
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

    /// `n, m, n_heads, width` and what follows them.
    fn f32_sizes(call: Call) -> Vec<Arg> {
        let mut args = call.sizes().to_vec();
        args.push(Arg::I32(call.width() as i32));
        args.extend(call.scale_and_mask());
        args
    }

    fn attend_f32(&self, call: Call, tokens: Tokens<'_>) -> Result<(Array, Array)> {
        let AttentionShape { n, d, n_heads, .. } = call.shape;
        let (name, width) = call.named(["attention_f32_32", "attention_f32_64", "attention_f32_128"]);
        let (output, log_sum_exp) = (self.array(n * d, DType::F32)?, self.array(n_heads * n, DType::F32)?);
        let mut args = token_args(tokens).to_vec();
        args.extend_from_slice(&[(&output).into(), (&log_sum_exp).into()]);
        args.extend(Self::f32_sizes(call));
        let shared = (3 * 64 * (width + 4) + 64 * 68) * 4;
        self.launch(name, ([n.div_ceil(64), n_heads, 1], [16, 16, 1]), shared, &args)?;
        Ok((output, log_sum_exp))
    }

    fn attend_f32_gradient(
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
        let (name, width) = call.named([
            "attention_f32_backward_keys_32",
            "attention_f32_backward_keys_64",
            "attention_f32_backward_keys_128",
        ]);
        let shared = ((2 * 64 + 2 * 32) * (width + 4) + 2 * 32 * 68) * 4;
        let args = inputs(&[to.k.view.into(), to.v.view.into(), stride(to.k)]);
        self.launch(name, ([m.div_ceil(64), n_heads, 1], [16, 16, 1]), shared, &args)?;
        let (name, width) = call.named([
            "attention_f32_backward_queries_32",
            "attention_f32_backward_queries_64",
            "attention_f32_backward_queries_128",
        ]);
        let shared = ((2 * 64 + 2 * 32) * (width + 4) + 64 * 36) * 4;
        let args = inputs(&[to.q.view.into(), stride(to.q)]);
        self.launch(name, ([n.div_ceil(64), n_heads, 1], [16, 16, 1]), shared, &args)
    }

    /// `m, n_heads, width` and what follows them.
    fn one_query_sizes(call: Call) -> Vec<Arg> {
        let sizes = [call.shape.m, call.shape.n_heads, call.width()];
        let mut args = sizes.map(|size| Arg::I32(size as i32)).to_vec();
        args.extend(call.scale_and_mask());
        args.push(Arg::I32(ONE_QUERY_KEYS as i32));
        args
    }

    fn attend_once(&self, call: Call, tokens: Tokens<'_>) -> Result<(Array, Array)> {
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

    fn attend_once_gradient(
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

/// [`super::super::attention`] of contiguous f32 tensors whose shapes fit.
pub(in crate::kernels) fn attention(
    q: &Tensor,
    kv: &Tensor,
    shape: AttentionShape,
    dropout: Option<AttentionDropout>,
    compute: Compute,
) -> Result<Tensor> {
    q.apply_op2(kv, Attention::new(shape, dropout, compute))
}

/// [`super::super::self_attention`] of a contiguous f32 tensor whose shape fits.
pub(in crate::kernels) fn self_attention(
    qkv: &Tensor,
    shape: AttentionShape,
    dropout: Option<AttentionDropout>,
    compute: Compute,
) -> Result<Tensor> {
    qkv.apply_op1(Attention::new(shape, dropout, compute))
}

struct Attention {
    call: Call,
    dtype: DType,
    kept: OnceLock<Kept>,
}

/// What the forward pass leaves.
struct Kept {
    /// The inputs in the type of the kernel, where that is not theirs.
    inputs: Vec<Array>,
    /// In the type of the kernel, where that is not the output's.
    output: Option<Array>,
    log_sum_exp: Array,
}

impl Attention {
    fn new(shape: AttentionShape, dropout: Option<AttentionDropout>, compute: Compute) -> Self {
        let dtype = token_type(&shape, compute);
        Self { call: Call { shape, dropout }, dtype, kept: OnceLock::new() }
    }

    /// The f32 output of inputs with their sizes; one input holds all tokens, two hold queries and the others.
    fn forward(&self, gpu: &Gpu, inputs: &[(View<'_>, usize)]) -> Result<Array> {
        let casts = match self.dtype {
            DType::BF16 => inputs.iter().map(|(view, n)| gpu.to_bf16(*view, *n)).collect::<Result<_>>()?,
            _ => Vec::new(),
        };
        let views: Vec<View<'_>> = match self.dtype {
            DType::BF16 => casts.iter().map(Array::view).collect(),
            _ => inputs.iter().map(|(view, _)| *view).collect(),
        };
        let AttentionShape { n, d, .. } = self.call.shape;
        let (output, log_sum_exp) = gpu.attend(self.call, tokens(&views, d)?)?;
        let (shown, kept) = match output {
            Array::Bf16(_) => (gpu.to_f32(output.view(), n * d)?, Some(output)),
            Array::F32(_) => (output, None),
        };
        self.kept.get_or_init(|| Kept { inputs: casts, output: kept, log_sum_exp });
        Ok(shown)
    }

    /// The f32 gradients of the inputs.
    fn backward(&self, gpu: &Gpu, inputs: &[&Tensor], output: &Tensor, grad: &Tensor) -> Result<Vec<Tensor>> {
        let kept =
            self.kept.get().ok_or_else(|| Error::Msg("attention backward before its forward".into()))?;
        let AttentionShape { n, d, .. } = self.call.shape;
        let grad = grad.contiguous()?;
        let locked: Vec<Input<'_>> = inputs.iter().map(|input| Input::of(input)).collect();
        let (output, grad) = (Input::of(output), Input::of(&grad));
        let views: Vec<View<'_>> = match self.dtype {
            DType::BF16 => kept.inputs.iter().map(Array::view).collect(),
            _ => locked.iter().map(Input::view).collect::<Result<_>>()?,
        };
        let saved = Saved {
            tokens: tokens(&views, d)?,
            output: kept.output.as_ref().map_or_else(|| output.view(), |kept| Ok(kept.view()))?,
            log_sum_exp: kept.log_sum_exp.view(),
        };
        let dout = gpu.cast(grad.view()?, n * d, self.dtype)?;
        let gradients: Vec<Array> =
            inputs.iter().map(|input| gpu.array(input.elem_count(), self.dtype)).collect::<Result<_>>()?;
        let to: Vec<View<'_>> = gradients.iter().map(Array::view).collect();
        gpu.attend_gradient(self.call, &saved, dout.view(), tokens(&to, d)?)?;
        let widened = |(gradient, input): (Array, &&Tensor)| {
            let gradient = match gradient {
                Array::F32(_) => gradient,
                Array::Bf16(_) => gpu.to_f32(gradient.view(), input.elem_count())?,
            };
            Ok(gradient.into_tensor(gpu, input.shape()))
        };
        gradients.into_iter().zip(inputs).map(widened).collect()
    }
}

/// Where the tokens of one or two inputs lie.
fn tokens<'a>(views: &[View<'a>], d: usize) -> Result<Tokens<'a>> {
    match views {
        [qkv] => Ok(Tokens::packed(*qkv, d)),
        [q, kv] => Ok(Tokens::of(*q, *kv, d)),
        _ => Err(Error::Msg(format!("attention of {} tensors, expected 1 or 2", views.len()))),
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "self_attention"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_on_the_cpu("self_attention")
    }

    fn cuda_fwd(&self, qkv: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&qkv.device)?;
        let output = self.forward(&gpu, &[(View::of(qkv, layout)?, layout.shape().elem_count())])?;
        Ok((output.into_storage(&gpu), Shape::from((self.call.shape.n, self.call.shape.d))))
    }

    fn bwd(&self, qkv: &Tensor, output: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let gpu = Gpu::of(qkv.device())?;
        Ok(self.backward(&gpu, &[qkv], output, grad)?.pop())
    }
}

impl CustomOp2 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_on_the_cpu("attention")
    }

    fn cuda_fwd(
        &self,
        q: &CudaStorage,
        q_layout: &Layout,
        kv: &CudaStorage,
        kv_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&q.device)?;
        let inputs = [
            (View::of(q, q_layout)?, q_layout.shape().elem_count()),
            (View::of(kv, kv_layout)?, kv_layout.shape().elem_count()),
        ];
        let output = self.forward(&gpu, &inputs)?;
        Ok((output.into_storage(&gpu), Shape::from((self.call.shape.n, self.call.shape.d))))
    }

    fn bwd(
        &self,
        q: &Tensor,
        kv: &Tensor,
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gpu = Gpu::of(q.device())?;
        let mut gradients = self.backward(&gpu, &[q, kv], output, grad)?;
        let dkv = gradients.pop();
        Ok((gradients.pop(), dkv))
    }
}
