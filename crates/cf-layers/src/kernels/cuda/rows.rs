//! Launches of the element-wise kernels and column sums, and the ops that are no more than one of them: [`gelu`], [`dropout`] and
//! [`add_dropped`].

use candle_core::{CudaStorage, CustomOp1, CustomOp2};

use super::super::linear::Activation;
use super::product::plain;
use super::*;

/// Threads of a block of an element-wise kernel; each takes four elements at a time.
const THREADS: u32 = 256;
/// Blocks of an element-wise kernel at most; they go on with what is left.
const MOST_BLOCKS: usize = 1 << 16;
/// Arrays that are gathered at once, at most.
const MOST_PARTS: usize = 6;
/// Blocks along the rows of a column sum, about.
const ROW_BLOCKS: usize = 128;

impl Gpu {
    /// The sizes of a launch over `n` elements, four a thread.
    fn by_fours(n: usize) -> ([usize; 3], [u32; 3]) {
        ([n.div_ceil(4 * THREADS as usize).clamp(1, MOST_BLOCKS), 1, 1], [THREADS, 1, 1])
    }

    /// The same numbers as bf16: `x` itself if it is.
    pub(super) fn to_bf16(&self, x: View<'_>, n: usize) -> Result<Array> {
        let y = self.array(n, DType::BF16)?;
        let grid = [n.div_ceil(4 * THREADS as usize).max(1), 1, 1];
        self.launch("to_bf16", (grid, [THREADS, 1, 1]), 0, &[x.into(), (&y).into(), Arg::U64(n as u64)])?;
        Ok(y)
    }

    /// bf16 numbers as f32.
    pub(super) fn to_f32(&self, x: View<'_>, n: usize) -> Result<Array> {
        let y = self.array(n, DType::F32)?;
        self.add_masked(None, x, None, y.view(), [1, n], None)?;
        Ok(y)
    }

    /// Up to six arrays one after the other, as `dtype`.
    pub(super) fn gathered(&self, parts: &[(View<'_>, usize)], dtype: DType) -> Result<Array> {
        let n: usize = parts.iter().map(|(_, n)| n).sum();
        let to = self.array(n, dtype)?;
        if parts.iter().any(|(part, _)| part.dtype != DType::F32) {
            // Of a frozen model, whose parts lie together as a rule.
            let mut first = 0;
            for (part, n) in parts {
                self.copy(self.cast(*part, *n, dtype)?.view(), to.view().from(first), *n)?;
                first += n;
            }
            return Ok(to);
        }
        let mut args: Vec<Arg> =
            (0..MOST_PARTS).map(|at| parts.get(at).map(|(view, _)| *view).into()).collect();
        let end = |at: usize| parts.iter().take(at + 1).map(|(_, n)| n).sum::<usize>();
        args.extend((0..MOST_PARTS).map(|at| Arg::U32(end(at) as u32)));
        args.push((&to).into());
        let name = if dtype == DType::BF16 { "gather_bf16" } else { "gather_f32" };
        let grid = [n.div_ceil(4 * THREADS as usize).max(1), 1, 1];
        self.launch(name, (grid, [THREADS, 1, 1]), 0, &args)?;
        Ok(to)
    }

    /// `y = activation(y + bias)` in place, `y` `[n, d]`.
    pub(super) fn bias_activation(
        &self,
        y: View<'_>,
        bias: View<'_>,
        [n, d]: [usize; 2],
        activation: Activation,
    ) -> Result<()> {
        let name = if y.dtype == DType::BF16 { "bias_activation_bf16" } else { "bias_activation_f32" };
        let args = [y.into(), bias.into(), Arg::U64((n * d) as u64), Arg::U32(d as u32), activation.into()];
        self.launch(name, Self::by_fours(n * d), 0, &args)
    }

    /// Adds to queries and values, `y` `[n, 3 d]` with keys between them, the biases of their layers. Softmax does not see that of keys,
    /// and without it keys differ less from their mean, so that rounding takes less of what they differ by. Its gradient is 0.
    pub(super) fn add_outer_biases(
        &self,
        y: View<'_>,
        [queries, values]: [View<'_>; 2],
        [n, d]: [usize; 2],
    ) -> Result<()> {
        let name = if y.dtype == DType::BF16 { "add_outer_biases_bf16" } else { "add_outer_biases_f32" };
        let args =
            [y.into(), queries.into(), values.into(), Arg::U64((n * 3 * d) as u64), Arg::U32(d as u32)];
        self.launch(name, Self::by_fours(n * 3 * d), 0, &args)
    }

    /// `w e + b` of the layers `[d, d]` of queries and values, with zeros for keys between them; written to `biases` `[3 d]`.
    pub(super) fn embedded_biases(
        &self,
        weights: [View<'_>; 2],
        parts: [View<'_>; 2],
        embedding: View<'_>,
        biases: View<'_>,
        d: usize,
    ) -> Result<()> {
        let name = match weights[0].dtype {
            DType::BF16 => "embedded_biases_bf16",
            _ => "embedded_biases_f32",
        };
        let mut args: Vec<Arg> = weights.into_iter().chain(parts).map(Arg::from).collect();
        args.extend([embedding.into(), biases.into(), Arg::U32(d as u32)]);
        self.launch(name, ([(3 * d).div_ceil(8), 1, 1], [256, 1, 1]), 0, &args)
    }

    /// What an embedding that three layers add to their input adds to the gradients of their weights `[3 d, d]`, and its own
    /// gradient, from those of the biases.
    pub(super) fn embedding_gradients(
        &self,
        weights: [View<'_>; 3],
        embedding: View<'_>,
        [dweights, dbiases, dembedding]: [&Array; 3],
        d: usize,
    ) -> Result<()> {
        let width = Arg::U32(d as u32);
        let args = [dweights.into(), dbiases.into(), embedding.into(), width];
        let blocks = (3 * d * d).div_ceil(THREADS as usize);
        self.launch("embedded_weight_gradient", ([blocks, 1, 1], [THREADS, 1, 1]), 0, &args)?;
        for (layer, weight) in weights.into_iter().enumerate() {
            let (a, b) = (plain(dbiases.view().from(layer * d), d), plain(weight, d));
            self.multiply(dembedding.view(), [1, d, d], a, b, if layer == 0 { 0.0 } else { 1.0 })?;
        }
        Ok(())
    }

    /// The gradient before dropout and activation (whose output is `y`), written to `to` if there is one, and its column sums `[d]`.
    pub(super) fn row_gradient(
        &self,
        grad: View<'_>,
        (activation, y): (Activation, Option<View<'_>>),
        to: Option<View<'_>>,
        [n, d]: [usize; 2],
        mask: Option<DropoutMask>,
    ) -> Result<Array> {
        let sums = self.array(d, DType::F32)?;
        self.row_gradient_to(grad, (activation, y), to, sums.view(), [n, d], mask)?;
        Ok(sums)
    }

    /// The same with the sums into an array.
    pub(super) fn row_gradient_to(
        &self,
        grad: View<'_>,
        (activation, y): (Activation, Option<View<'_>>),
        to: Option<View<'_>>,
        sums: View<'_>,
        [n, d]: [usize; 2],
        mask: Option<DropoutMask>,
    ) -> Result<()> {
        let name = match (grad.dtype, to.map_or(grad.dtype, |to| to.dtype)) {
            (DType::BF16, _) => "row_gradient_bf16_bf16",
            (_, DType::BF16) => "row_gradient_f32_bf16",
            _ => "row_gradient_f32_f32",
        };
        self.column_sums(sums, [n, d], |partial, rows_per_block, config| {
            let mut args: Vec<Arg> = vec![grad.into(), y.into(), to.into(), partial.into()];
            args.extend_from_slice(&[
                Arg::U32(n as u32),
                Arg::U32(d as u32),
                Arg::U32(rows_per_block),
                activation.into(),
            ]);
            args.extend(mask_args(mask));
            self.launch(name, config, 0, &args)
        })
    }

    /// Runs `kernel` with an array for the partial sums of blocks of rows, and adds these up.
    fn column_sums(
        &self,
        sums: View<'_>,
        [n, d]: [usize; 2],
        kernel: impl FnOnce(View<'_>, u32, ([usize; 3], [u32; 3])) -> Result<()>,
    ) -> Result<()> {
        let rows_per_block = n.div_ceil(ROW_BLOCKS).max(32);
        let n_blocks = n.div_ceil(rows_per_block);
        let partial = self.array(n_blocks * d, DType::F32)?;
        kernel(partial.view(), rows_per_block as u32, ([d.div_ceil(128), n_blocks, 1], [32, 8, 1]))?;
        self.sum_partial_to(&partial, sums, n_blocks, d)
    }

    /// The sum of `n_partial` rows of `d`.
    pub(super) fn sum_partial(&self, partial: &Array, n_partial: usize, d: usize) -> Result<Array> {
        let total = self.array(d, DType::F32)?;
        self.sum_partial_to(partial, total.view(), n_partial, d)?;
        Ok(total)
    }

    /// The same into an f32 array.
    pub(super) fn sum_partial_to(
        &self,
        partial: &Array,
        total: View<'_>,
        n_partial: usize,
        d: usize,
    ) -> Result<()> {
        let args = [partial.into(), total.into(), Arg::U32(n_partial as u32), Arg::U32(d as u32)];
        self.launch("sum_partial", ([d.div_ceil(32), 1, 1], [32, 8, 1]), 0, &args)
    }

    /// `mask(gelu(z + bias))`, of the type of `z`.
    pub(super) fn gelu(
        &self,
        z: View<'_>,
        bias: Option<View<'_>>,
        [n, d]: [usize; 2],
        mask: Option<DropoutMask>,
    ) -> Result<Array> {
        let h = self.array(n * d, z.dtype)?;
        self.gelu_to(z, bias, h.view(), [n, d], mask)?;
        Ok(h)
    }

    /// [`Self::gelu`] to `h`, which may be `z`: every element is read before its own is written.
    pub(super) fn gelu_to(
        &self,
        z: View<'_>,
        bias: Option<View<'_>>,
        h: View<'_>,
        [n, d]: [usize; 2],
        mask: Option<DropoutMask>,
    ) -> Result<()> {
        let mut args: Vec<Arg> = vec![z.into(), bias.into(), h.into()];
        args.extend([Arg::U64((n * d) as u64), Arg::U32(d as u32)]);
        args.extend(mask_args(mask));
        let name = if z.dtype == DType::BF16 { "gelu_bf16" } else { "gelu_f32" };
        self.launch(name, Self::by_fours(n * d), 0, &args)
    }

    /// From the gradient of [`Self::gelu`]'s output to that of its input, in place; returns its column sums.
    pub(super) fn gelu_gradient(
        &self,
        z: View<'_>,
        bias: Option<View<'_>>,
        dh: View<'_>,
        [n, d]: [usize; 2],
        mask: Option<DropoutMask>,
    ) -> Result<Array> {
        let name = if z.dtype == DType::BF16 { "gelu_backward_bf16" } else { "gelu_backward_f32" };
        let sums = self.array(d, DType::F32)?;
        self.column_sums(sums.view(), [n, d], |partial, rows_per_block, config| {
            let mut args: Vec<Arg> = vec![z.into(), bias.into(), dh.into(), partial.into()];
            args.extend([Arg::U32(n as u32), Arg::U32(d as u32), Arg::U32(rows_per_block)]);
            args.extend(mask_args(mask));
            self.launch(name, config, 0, &args)
        })?;
        Ok(sums)
    }

    /// `out = base + mask(y + bias)` in f32.
    pub(super) fn add_masked(
        &self,
        base: Option<View<'_>>,
        y: View<'_>,
        bias: Option<View<'_>>,
        out: View<'_>,
        [n, d]: [usize; 2],
        mask: Option<DropoutMask>,
    ) -> Result<()> {
        let mut args: Vec<Arg> = vec![base.into(), y.into(), bias.into(), out.into()];
        args.extend([Arg::U64((n * d) as u64), Arg::U32(d as u32)]);
        args.extend(mask_args(mask));
        let name = if y.dtype == DType::BF16 { "add_masked_bf16" } else { "add_masked_f32" };
        self.launch(name, Self::by_fours(n * d), 0, &args)
    }
}

impl From<Activation> for Arg {
    /// As `rows.cu` numbers them.
    fn from(activation: Activation) -> Self {
        Self::I32(match activation {
            Activation::Identity => 0,
            Activation::Relu => 1,
            Activation::Tanh => 2,
        })
    }
}

/// [`super::super::gelu`] of a contiguous tensor.
pub(in crate::kernels) fn gelu(x: &Tensor, mask: Option<DropoutMask>) -> Result<Tensor> {
    x.apply_op1(Gelu { mask })
}

/// [`super::super::dropout`] of a contiguous tensor.
pub(in crate::kernels) fn dropout(x: &Tensor, mask: DropoutMask) -> Result<Tensor> {
    x.apply_op1(Dropout { mask })
}

/// [`super::super::add_dropped`] of contiguous tensors.
pub(in crate::kernels) fn add_dropped(base: &Tensor, x: &Tensor, mask: DropoutMask) -> Result<Tensor> {
    base.apply_op2(x, AddDropped { mask })
}

struct Gelu {
    mask: Option<DropoutMask>,
}

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_on_the_cpu("gelu")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let n = layout.shape().elem_count();
        let output = gpu.gelu(View::of(x, layout)?, None, [1, n], self.mask)?;
        Ok((output.into_storage(&gpu), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let gpu = Gpu::of(x.device())?;
        let dx = grad.copy()?;
        gpu.gelu_gradient(Input::of(x).view()?, None, Input::of(&dx).view()?, matrix(x), self.mask)?;
        Ok(Some(dx))
    }
}

/// Rows and columns of a tensor whose last axis is the columns.
fn matrix(x: &Tensor) -> [usize; 2] {
    let width = x.dims().last().copied().unwrap_or(1).max(1);
    [x.elem_count() / width, width]
}

struct Dropout {
    mask: DropoutMask,
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_on_the_cpu("dropout")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let n = layout.shape().elem_count();
        let output = gpu.array(n, DType::F32)?;
        gpu.add_masked(None, View::of(x, layout)?, None, output.view(), [1, n], Some(self.mask))?;
        Ok((output.into_storage(&gpu), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(dropout(&grad.contiguous()?, self.mask)?))
    }
}

struct AddDropped {
    mask: DropoutMask,
}

impl CustomOp2 for AddDropped {
    fn name(&self) -> &'static str {
        "add_dropped"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_on_the_cpu("add_dropped")
    }

    fn cuda_fwd(
        &self,
        base: &CudaStorage,
        base_layout: &Layout,
        x: &CudaStorage,
        x_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let n = x_layout.shape().elem_count();
        let output = gpu.array(n, DType::F32)?;
        let base = View::of(base, base_layout)?;
        gpu.add_masked(Some(base), View::of(x, x_layout)?, None, output.view(), [1, n], Some(self.mask))?;
        Ok((output.into_storage(&gpu), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(grad.clone()), Some(dropout(&grad.contiguous()?, self.mask)?)))
    }
}
