//! Layer norm, of one tensor or of the sum of two.

use candle_core::{CudaStorage, CustomOp3};

use super::super::gradients;
use super::*;

/// Warps of a block, each with a row at a time.
const WARPS: usize = 8;
/// Channels that a row may have: it is held in registers.
pub(super) const MOST_CHANNELS: usize = 2048;

/// Whether a norm over `d` channels has a form here.
pub(in crate::kernels) fn serves(x: &Tensor, d: usize) -> bool {
    serves_f32(x) && d <= MOST_CHANNELS
}

/// [`super::super::layer_norm`] of tensors whose shapes fit.
pub(in crate::kernels) fn layer_norm(x: &Tensor, gain: &Tensor, shift: &Tensor, eps: f64) -> Result<Tensor> {
    placed(x)?.apply_op3(&placed(gain)?, &placed(shift)?, LayerNorm { eps: eps as f32 })
}

/// [`super::super::add_layer_norm`] of tensors whose shapes fit.
pub(in crate::kernels) fn add_layer_norm(
    x: &Tensor,
    added: &Tensor,
    gain: &Tensor,
    shift: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    let op = AddLayerNorm { eps: eps as f32, shift: placed(shift)? };
    placed(x)?.apply_op3(&placed(added)?, &placed(gain)?, op)
}

/// The kernels for rows of `d` channels to which something of `added` is added.
fn names(d: usize, added: DType) -> (&'static str, &'static str) {
    match (d, added) {
        (0..=128, DType::BF16) => ("layer_norm_4_bf16", "layer_norm_backward_4_bf16"),
        (129..=512, DType::BF16) => ("layer_norm_16_bf16", "layer_norm_backward_16_bf16"),
        (513..=1024, DType::BF16) => ("layer_norm_32_bf16", "layer_norm_backward_32_bf16"),
        (_, DType::BF16) => ("layer_norm_64_bf16", "layer_norm_backward_64_bf16"),
        (0..=128, _) => ("layer_norm_4", "layer_norm_backward_4"),
        (129..=512, _) => ("layer_norm_16", "layer_norm_backward_16"),
        (513..=1024, _) => ("layer_norm_32", "layer_norm_backward_32"),
        _ => ("layer_norm_64", "layer_norm_backward_64"),
    }
}

/// What is normed: `x + added + bias`, of which `x` is f32 and `added` of either type; each may be missing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Summed<'a> {
    pub(super) x: Option<View<'a>>,
    pub(super) added: Option<View<'a>>,
    pub(super) bias: Option<View<'a>>,
}

impl<'a> Summed<'a> {
    /// `x` alone.
    pub(super) fn one(x: View<'a>) -> Self {
        Self { x: Some(x), added: None, bias: None }
    }

    /// A product to which its bias is added here.
    pub(super) fn of_product(product: View<'a>, bias: View<'a>) -> Self {
        Self { x: None, added: Some(product), bias: Some(bias) }
    }

    fn added_type(&self) -> DType {
        self.added.map_or(DType::F32, |added| added.dtype)
    }

    fn args(&self) -> [Arg; 3] {
        [self.x.into(), self.added.into(), self.bias.into()]
    }
}

/// The parameters of a norm.
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine<'a> {
    pub(super) gain: View<'a>,
    pub(super) shift: View<'a>,
    pub(super) eps: f32,
}

/// Numbers in f32 and, if that is another type, as operands of products.
pub(super) struct Both {
    pub(super) wide: Array,
    narrow: Option<Array>,
}

impl Both {
    pub(super) fn operand(&self) -> View<'_> {
        self.narrow.as_ref().unwrap_or(&self.wide).view()
    }
}

/// Gradients of a norm.
pub(super) struct NormGradient {
    /// Of each summand.
    pub(super) dx: Both,
    /// `[3, d]`: of gain, shift and the bias among the summands.
    pub(super) affine: Array,
}

impl Gpu {
    /// The norm in f32 and as an operand of `dtype`.
    pub(super) fn norm(
        &self,
        summed: Summed<'_>,
        affine: Affine<'_>,
        [n, d]: [usize; 2],
        dtype: DType,
    ) -> Result<Both> {
        let wide = self.array(n * d, DType::F32)?;
        let narrow = self.norm_to(summed, affine, wide.view(), [n, d], dtype)?;
        Ok(Both { wide, narrow })
    }

    /// The norm in f32 to `wide`, and as an operand of `dtype` where that is another type.
    pub(super) fn norm_to(
        &self,
        summed: Summed<'_>,
        affine: Affine<'_>,
        wide: View<'_>,
        [n, d]: [usize; 2],
        dtype: DType,
    ) -> Result<Option<Array>> {
        let narrow = if dtype == DType::BF16 { Some(self.array(n * d, dtype)?) } else { None };
        self.write_norm(summed, affine, (Some(wide), narrow.as_ref().map(Array::view)), [n, d])?;
        Ok(narrow)
    }

    /// The norm as an operand alone.
    pub(super) fn norm_operand(
        &self,
        summed: Summed<'_>,
        affine: Affine<'_>,
        [n, d]: [usize; 2],
        dtype: DType,
    ) -> Result<Array> {
        let y = self.array(n * d, dtype)?;
        let to = if dtype == DType::BF16 { (None, Some(y.view())) } else { (Some(y.view()), None) };
        self.write_norm(summed, affine, to, [n, d])?;
        Ok(y)
    }

    fn write_norm(
        &self,
        summed: Summed<'_>,
        affine: Affine<'_>,
        (wide, narrow): (Option<View<'_>>, Option<View<'_>>),
        [n, d]: [usize; 2],
    ) -> Result<()> {
        let mut args = summed.args().to_vec();
        args.extend_from_slice(&[affine.gain.into(), affine.shift.into(), wide.into(), narrow.into()]);
        args.extend_from_slice(&[Arg::U32(n as u32), Arg::U32(d as u32), Arg::F32(affine.eps)]);
        let name = names(d, summed.added_type()).0;
        self.launch(name, ([n.div_ceil(WARPS), 1, 1], [32 * WARPS as u32, 1, 1]), 0, &args)
    }

    /// Gradients from one or two of the output, that of the summands also as an operand of `dtype`.
    pub(super) fn norm_gradient(
        &self,
        summed: Summed<'_>,
        affine: Affine<'_>,
        grads: [Option<View<'_>>; 2],
        [n, d]: [usize; 2],
        dtype: DType,
    ) -> Result<NormGradient> {
        let rows_per_block = n.div_ceil(2 * self.n_multiprocessors()).next_multiple_of(WARPS);
        let n_blocks = n.div_ceil(rows_per_block);
        let (wide, partial) = (self.array(n * d, DType::F32)?, self.array(n_blocks * 3 * d, DType::F32)?);
        let narrow = if dtype == DType::BF16 { Some(self.array(n * d, dtype)?) } else { None };
        let mut args = summed.args().to_vec();
        args.extend_from_slice(&[affine.gain.into(), grads[0].into(), grads[1].into()]);
        args.extend_from_slice(&[(&wide).into(), narrow.as_ref().into(), (&partial).into()]);
        args.extend_from_slice(&[Arg::U32(n as u32), Arg::U32(d as u32)]);
        args.extend_from_slice(&[Arg::U32(rows_per_block as u32), Arg::F32(affine.eps)]);
        let name = names(d, summed.added_type()).1;
        self.launch(name, ([n_blocks, 1, 1], [32 * WARPS as u32, 1, 1]), 0, &args)?;
        let affine = self.sum_partial(&partial, n_blocks, 3 * d)?;
        Ok(NormGradient { dx: Both { wide, narrow }, affine })
    }
}

struct LayerNorm {
    eps: f32,
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
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
        not_on_the_cpu("layer_norm")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        gain: &CudaStorage,
        gain_layout: &Layout,
        shift: &CudaStorage,
        shift_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let (n, d) = x_layout.shape().dims2()?;
        let (gain, shift) = (View::of(gain, gain_layout)?, View::of(shift, shift_layout)?);
        let affine = Affine { gain, shift, eps: self.eps };
        let y = gpu.norm(Summed::one(View::of(x, x_layout)?), affine, [n, d], DType::F32)?;
        Ok((y.wide.into_storage(&gpu), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gain: &Tensor,
        shift: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gpu = Gpu::of(x.device())?;
        let (n, d) = x.dims2()?;
        let grad = grad.contiguous()?;
        let [x_input, gain_input, shift_input, grad_input] = [x, gain, shift, &grad].map(Input::of);
        let affine = Affine { gain: gain_input.view()?, shift: shift_input.view()?, eps: self.eps };
        let grads = [Some(grad_input.view()?), None];
        let summed = Summed::one(x_input.view()?);
        let NormGradient { dx, affine } = gpu.norm_gradient(summed, affine, grads, [n, d], DType::F32)?;
        let affine = affine.into_tensor(&gpu, (3, d));
        Ok((
            gradients::deliver(x, dx.wide.into_tensor(&gpu, x.shape()))?,
            gradients::deliver(gain, affine.get(0)?)?,
            gradients::deliver(shift, affine.get(1)?)?,
        ))
    }
}

struct AddLayerNorm {
    eps: f32,
    shift: Tensor,
}

impl CustomOp3 for AddLayerNorm {
    fn name(&self) -> &'static str {
        "add_layer_norm"
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
        not_on_the_cpu("add_layer_norm")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        added: &CudaStorage,
        added_layout: &Layout,
        gain: &CudaStorage,
        gain_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let (n, d) = x_layout.shape().dims2()?;
        let shift = Input::of(&self.shift);
        let affine = Affine { gain: View::of(gain, gain_layout)?, shift: shift.view()?, eps: self.eps };
        let added = Some(View::of(added, added_layout)?);
        let summed = Summed { x: Some(View::of(x, x_layout)?), added, bias: None };
        let y = gpu.norm(summed, affine, [n, d], DType::F32)?;
        Ok((y.wide.into_storage(&gpu), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        added: &Tensor,
        gain: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gpu = Gpu::of(x.device())?;
        let (n, d) = x.dims2()?;
        let grad = grad.contiguous()?;
        let inputs = [x, added, gain, &self.shift, &grad].map(Input::of);
        let [x_input, added_input, gain_input, shift_input, grad_input] = &inputs;
        let affine = Affine { gain: gain_input.view()?, shift: shift_input.view()?, eps: self.eps };
        let summed = Summed { x: Some(x_input.view()?), added: Some(added_input.view()?), bias: None };
        let grads = [Some(grad_input.view()?), None];
        let NormGradient { dx, affine } = gpu.norm_gradient(summed, affine, grads, [n, d], DType::F32)?;
        let (dx, affine) = (dx.wide.into_tensor(&gpu, x.shape()), affine.into_tensor(&gpu, (3, d)));
        gradients::leave_of_captured(&self.shift, &affine.get(1)?)?;
        // One array for both summands: Candle adds each into its own.
        Ok((Some(dx.clone()), Some(dx), gradients::deliver(gain, affine.get(0)?)?))
    }
}
