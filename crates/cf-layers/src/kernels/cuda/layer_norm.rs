//! Layer norm, of one tensor or of the sum of two.

use candle_core::{CudaStorage, CustomOp3};

use super::super::gradients;
use super::linear::deliver;
use super::*;

/// Warps of a block, each with a row at a time.
const WARPS: usize = 8;
/// Channels that a row may have: it is held in registers.
const MOST_CHANNELS: usize = 2048;

/// Whether a norm over `d` channels has a form here.
pub(in crate::kernels) fn serves(x: &Tensor, d: usize) -> bool {
    super::serves(x) && x.dtype() == DType::F32 && d <= MOST_CHANNELS
}

/// [`super::super::layer_norm`] of contiguous tensors whose shapes fit.
pub(in crate::kernels) fn layer_norm(x: &Tensor, gain: &Tensor, shift: &Tensor, eps: f64) -> Result<Tensor> {
    x.apply_op3(gain, shift, LayerNorm { eps: eps as f32 })
}

/// [`super::super::add_layer_norm`] of contiguous tensors whose shapes fit.
pub(in crate::kernels) fn add_layer_norm(
    x: &Tensor,
    added: &Tensor,
    gain: &Tensor,
    shift: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    x.apply_op3(added, gain, AddLayerNorm { eps: eps as f32, shift: shift.clone() })
}

/// The kernels for rows of `d` channels.
fn names(d: usize) -> (&'static str, &'static str) {
    match d {
        0..=128 => ("layer_norm_4", "layer_norm_backward_4"),
        129..=512 => ("layer_norm_16", "layer_norm_backward_16"),
        513..=1024 => ("layer_norm_32", "layer_norm_backward_32"),
        _ => ("layer_norm_64", "layer_norm_backward_64"),
    }
}

impl Gpu {
    fn norm(
        &self,
        (x, added): (View<'_>, Option<View<'_>>),
        (gain, shift): (View<'_>, View<'_>),
        [n, d]: [usize; 2],
        eps: f32,
    ) -> Result<Array> {
        let y = self.array(n * d, DType::F32)?;
        let args = [
            x.into(),
            added.into(),
            gain.into(),
            shift.into(),
            (&y).into(),
            Arg::U32(n as u32),
            Arg::U32(d as u32),
            Arg::F32(eps),
        ];
        self.launch(names(d).0, ([n.div_ceil(WARPS), 1, 1], [32 * WARPS as u32, 1, 1]), 0, &args)?;
        Ok(y)
    }

    /// The gradient of each summand, and those of gain and shift `[2, d]`.
    fn norm_gradient(
        &self,
        (x, added): (View<'_>, Option<View<'_>>),
        gain: View<'_>,
        grad: View<'_>,
        [n, d]: [usize; 2],
        eps: f32,
    ) -> Result<(Array, Array)> {
        let rows_per_block = n.div_ceil(2 * self.n_multiprocessors()).next_multiple_of(WARPS);
        let n_blocks = n.div_ceil(rows_per_block);
        let (dx, partial) = (self.array(n * d, DType::F32)?, self.array(n_blocks * 2 * d, DType::F32)?);
        let args = [
            x.into(),
            added.into(),
            gain.into(),
            grad.into(),
            (&dx).into(),
            (&partial).into(),
            Arg::U32(n as u32),
            Arg::U32(d as u32),
            Arg::U32(rows_per_block as u32),
            Arg::F32(eps),
        ];
        self.launch(names(d).1, ([n_blocks, 1, 1], [32 * WARPS as u32, 1, 1]), 0, &args)?;
        Ok((dx, self.sum_partial(&partial, n_blocks, 2 * d)?))
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
        let affine = (View::of(gain, gain_layout)?, View::of(shift, shift_layout)?);
        let y = gpu.norm((View::of(x, x_layout)?, None), affine, [n, d], self.eps)?;
        Ok((y.into_storage(&gpu), x_layout.shape().clone()))
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
        let (x_input, gain_input, grad_input) = (Input::of(x), Input::of(gain), Input::of(&grad));
        let inputs = (x_input.view()?, None);
        let (dx, affine) =
            gpu.norm_gradient(inputs, gain_input.view()?, grad_input.view()?, [n, d], self.eps)?;
        let affine = affine.into_tensor(&gpu, (2, d));
        Ok((
            deliver(x, dx.into_tensor(&gpu, x.shape()))?,
            deliver(gain, affine.get(0)?)?,
            deliver(shift, affine.get(1)?)?,
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
        let inputs = (View::of(x, x_layout)?, Some(View::of(added, added_layout)?));
        let y = gpu.norm(inputs, (View::of(gain, gain_layout)?, shift.view()?), [n, d], self.eps)?;
        Ok((y.into_storage(&gpu), x_layout.shape().clone()))
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
        let (x_input, added_input) = (Input::of(x), Input::of(added));
        let (gain_input, grad_input) = (Input::of(gain), Input::of(&grad));
        let inputs = (x_input.view()?, Some(added_input.view()?));
        let (dx, affine) =
            gpu.norm_gradient(inputs, gain_input.view()?, grad_input.view()?, [n, d], self.eps)?;
        let (dx, affine) = (dx.into_tensor(&gpu, x.shape()), affine.into_tensor(&gpu, (2, d)));
        gradients::leave_of_captured(&self.shift, &affine.get(1)?)?;
        // One array for both summands: Candle adds each into its own.
        Ok((Some(dx.clone()), Some(dx), deliver(gain, affine.get(0)?)?))
    }
}
