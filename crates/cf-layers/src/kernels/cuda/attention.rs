//! Attention over projected tokens: which kernel serves which sizes, and the op on tensors.

mod bf16;
mod f32;
mod one_query;

use candle_core::{CudaStorage, CustomOp1, CustomOp2};

use super::super::attention::{AttentionDropout, AttentionShape};
use super::super::device::TENSOR_CORE_WIDTHS;
use super::left::Left;
use super::*;

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
    let is_served = TENSOR_CORE_WIDTHS.contains(&(shape.d / shape.n_heads));
    // A single query is no work for products of tiles.
    if compute == Compute::Bf16 && is_served && shape.n > 1 { DType::BF16 } else { DType::F32 }
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

impl Rows<'_> {
    /// The same without its first rows.
    fn after_rows(self, n_rows: usize) -> Self {
        Self { view: self.view.from(n_rows * self.stride), ..self }
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

impl Tokens<'_> {
    /// The same without the first queries.
    fn after_queries(self, n_queries: usize) -> Self {
        Self { q: self.q.after_rows(n_queries), ..self }
    }

    /// The same without the first keys and values.
    fn after_keys(self, n_keys: usize) -> Self {
        Self { k: self.k.after_rows(n_keys), v: self.v.after_rows(n_keys), ..self }
    }
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
    /// Whether the last blocks may be split to save time, which takes memory.
    pub(super) splits_last: bool,
}

impl Call {
    pub(super) fn new(shape: AttentionShape, dropout: Option<AttentionDropout>) -> Self {
        Self { shape, dropout, splits_last: true }
    }

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

/// A kernel that goes over tiles of rows, and what its tiles take.
#[derive(Debug, Clone, Copy)]
struct Tiled {
    name: &'static str,
    /// Rows of a tile.
    rows: usize,
    /// Bytes of shared memory of a block.
    shared: usize,
}

fn token_args(tokens: Tokens<'_>) -> [Arg; 5] {
    let Tokens { q, k, v } = tokens;
    [q.view.into(), stride(q), k.view.into(), v.view.into(), stride(k)]
}

fn stride(rows: Rows<'_>) -> Arg {
    Arg::U64(rows.stride as u64)
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

    /// The kernel of a call's head width, with tiles of `rows` rows. For heads of 65 to 128 channels these take more shared memory than a
    /// block of some GPUs has: there it is the fourth kernel, with tiles of `fewer`. `shared` is of a width and rows.
    fn tiled(
        &self,
        call: Call,
        [small, middle, large, large_in_small_tiles]: [&'static str; 4],
        [rows, fewer]: [usize; 2],
        shared: impl Fn(usize, usize) -> usize,
    ) -> Tiled {
        let (name, width) = call.named([small, middle, large]);
        let tiled = Tiled { name, rows, shared: shared(width, rows) };
        if name == large && !self.has_shared(tiled.shared) {
            return Tiled { name: large_in_small_tiles, rows: fewer, shared: shared(width, fewer) };
        }
        tiled
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
    kept: Left<Kept>,
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
        Self { call: Call::new(shape, dropout), dtype, kept: Left::nothing() }
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
        self.kept.leave(Kept { inputs: casts, output: kept, log_sum_exp });
        Ok(shown)
    }

    /// The f32 gradients of the inputs.
    fn backward(&self, gpu: &Gpu, inputs: &[&Tensor], output: &Tensor, grad: &Tensor) -> Result<Vec<Tensor>> {
        let kept = self.kept.take()?;
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
