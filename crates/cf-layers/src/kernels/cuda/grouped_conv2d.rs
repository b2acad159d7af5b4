//! Grouped convolution with one output channel per group, on channels-last maps.

use candle_core::{CudaStorage, CustomOp3};

use super::super::gradients;
use super::super::grouped_conv2d::ConvShape;
use super::super::linear::Activation;
use super::*;

/// Output pixels of a map row that one thread makes, as in the `.cu` file.
const STRIP: usize = 8;
/// Channels of a block, and strips of a block.
const CHANNELS: usize = 32;
const STRIPS: usize = 8;
/// Blocks along the rows in a gradient of weights, about.
const ROW_BLOCKS: usize = 64;

/// Whether a convolution has a form here: odd kernels up to 7, one or two input channels per group.
pub(in crate::kernels) fn serves(x: &Tensor, shape: &ConvShape) -> bool {
    serves_f32(x) && names(shape).is_some()
}

/// [`super::super::grouped_conv2d`] of contiguous tensors whose shapes fit.
pub(in crate::kernels) fn grouped_conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    shape: ConvShape,
) -> Result<Tensor> {
    x.apply_op3(weight, bias, GroupedConv2d { shape })
}

/// The kernels of a shape: forward, gradient of the input, gradient of the weights.
fn names(shape: &ConvShape) -> Option<[&'static str; 3]> {
    Some(match (shape.k, shape.per_group) {
        (1, 1) => ["conv_1_1", "conv_input_gradient_1_1", "conv_weight_gradient_1_1"],
        (3, 1) => ["conv_3_1", "conv_input_gradient_3_1", "conv_weight_gradient_3_1"],
        (5, 1) => ["conv_5_1", "conv_input_gradient_5_1", "conv_weight_gradient_5_1"],
        (7, 1) => ["conv_7_1", "conv_input_gradient_7_1", "conv_weight_gradient_7_1"],
        (1, 2) => ["conv_1_2", "conv_input_gradient_1_2", "conv_weight_gradient_1_2"],
        (3, 2) => ["conv_3_2", "conv_input_gradient_3_2", "conv_weight_gradient_3_2"],
        (5, 2) => ["conv_5_2", "conv_input_gradient_5_2", "conv_weight_gradient_5_2"],
        (7, 2) => ["conv_7_2", "conv_input_gradient_7_2", "conv_weight_gradient_7_2"],
        _ => return None,
    })
}

/// Launches of the kernels of one shape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conv {
    pub(super) shape: ConvShape,
}

impl Conv {
    fn names(&self) -> Result<[&'static str; 3]> {
        names(&self.shape).ok_or_else(|| Error::Msg(format!("no convolution on a GPU for {:?}", self.shape)))
    }

    pub(super) fn n_weights(&self) -> usize {
        self.shape.c_out * self.shape.per_group * self.shape.k * self.shape.k
    }

    fn sizes(&self) -> [Arg; 3] {
        [self.shape.height, self.shape.width, self.shape.c_out].map(|size| Arg::I32(size as i32))
    }

    /// The launch in which every thread makes a strip.
    fn by_strips(&self) -> ([usize; 3], [u32; 3]) {
        let strips = self.shape.width.div_ceil(STRIP) * self.shape.height;
        let grid = [self.shape.c_out.div_ceil(CHANNELS), strips.div_ceil(STRIPS), 1];
        (grid, [CHANNELS as u32, STRIPS as u32, 1])
    }

    /// Writes `[height, width, c_out]` to `y`.
    pub(super) fn forward(
        &self,
        gpu: &Gpu,
        x: View<'_>,
        weight: View<'_>,
        bias: View<'_>,
        y: View<'_>,
    ) -> Result<()> {
        let mut args: Vec<Arg> = vec![x.into(), weight.into(), bias.into(), y.into()];
        args.extend(self.sizes());
        gpu.launch(self.names()?[0], self.by_strips(), 0, &args)
    }

    /// Gradients of the weight and the bias, from input, weight and the output's gradient; that of the input is written to `dx`.
    pub(super) fn backward(
        &self,
        gpu: &Gpu,
        (x, weight, dy): (View<'_>, View<'_>, View<'_>),
        dx: View<'_>,
    ) -> Result<[Array; 2]> {
        let ConvShape { height, width, c_out, k, .. } = self.shape;
        let [_, input_gradient, weight_gradient] = self.names()?;
        let mut args: Vec<Arg> = vec![dy.into(), weight.into(), dx.into()];
        args.extend(self.sizes());
        gpu.launch(input_gradient, self.by_strips(), 0, &args)?;

        let rows_per_block = height.div_ceil(ROW_BLOCKS);
        let n_blocks = height.div_ceil(rows_per_block);
        let partial = gpu.array(n_blocks * self.n_weights(), DType::F32)?;
        let mut args: Vec<Arg> = vec![x.into(), dy.into(), (&partial).into()];
        args.extend(self.sizes());
        args.push(Arg::I32(rows_per_block as i32));
        let config = ([c_out.div_ceil(CHANNELS), n_blocks, 1], [CHANNELS as u32, k as u32, 1]);
        gpu.launch(weight_gradient, config, 0, &args)?;
        let dweight = gpu.sum_partial(&partial, n_blocks, self.n_weights())?;

        let none = (Activation::Identity, None);
        let dbias = gpu.row_gradient(dy, none, None, [height * width, c_out], None)?;
        Ok([dweight, dbias])
    }
}

struct GroupedConv2d {
    shape: ConvShape,
}

impl CustomOp3 for GroupedConv2d {
    fn name(&self) -> &'static str {
        "grouped_conv2d"
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
        not_on_the_cpu("grouped_conv2d")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
        bias: &CudaStorage,
        bias_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let ConvShape { height, width, c_out, .. } = self.shape;
        let (weight, bias) = (View::of(weight, weight_layout)?, View::of(bias, bias_layout)?);
        let y = gpu.array(height * width * c_out, DType::F32)?;
        Conv { shape: self.shape }.forward(&gpu, View::of(x, x_layout)?, weight, bias, y.view())?;
        Ok((y.into_storage(&gpu), Shape::from((height, width, c_out))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gpu = Gpu::of(x.device())?;
        let grad = grad.contiguous()?;
        let [x_input, weight_input, grad_input] = [x, weight, &grad].map(Input::of);
        let conv = Conv { shape: self.shape };
        let dx = gpu.array(x.elem_count(), DType::F32)?;
        let views = (x_input.view()?, weight_input.view()?, grad_input.view()?);
        let [dweight, dbias] = conv.backward(&gpu, views, dx.view())?;
        Ok((
            gradients::deliver(x, dx.into_tensor(&gpu, x.shape()))?,
            gradients::deliver(weight, dweight.into_tensor(&gpu, weight.shape()))?,
            gradients::deliver(bias, dbias.into_tensor(&gpu, bias.shape()))?,
        ))
    }
}
