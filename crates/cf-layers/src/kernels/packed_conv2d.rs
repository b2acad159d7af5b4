//! Convolutions whose weights are packed once and used many times: those of an encoder.

use candle_core::{Error, Result, Tensor};

use super::cpu::conv2d::Conv2d;
use super::to_vec;

/// The sizes of a convolution of square maps. Its padding, `kernel / 2` zeros on each side, keeps the side at a stride of 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedConvShape {
    /// Channels that it reads.
    pub c_in: usize,
    /// Channels that it gives.
    pub c_out: usize,
    /// Side of the kernel, odd.
    pub kernel: usize,
    /// Distance between the windows of neighbouring outputs.
    pub stride: usize,
}

impl PackedConvShape {
    /// Side of its output for maps of this side.
    #[must_use]
    pub fn side_out(self, side: usize) -> usize {
        side.div_ceil(self.stride)
    }
}

/// Square channels-last maps: `values` is `[n_images, side, side, channels]`.
#[derive(Debug, Clone, Copy)]
pub struct SquareMaps<'a> {
    /// All values, row by row.
    pub values: &'a [f32],
    /// How many maps there are.
    pub n_images: usize,
    /// Pixels along each side.
    pub side: usize,
}

/// What is done with the sum of a convolution and its bias, while it is in the cache.
#[derive(Debug, Clone, Copy)]
pub enum AfterConv<'a> {
    /// Nothing.
    Identity,
    /// `max(y, 0)`; NaN stays NaN.
    Relu,
    /// `max(y + r, 0)`, r being maps of the output's size; NaN stays NaN.
    AddRelu(&'a [f32]),
}

/// Who computes a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// The calling thread alone, such as one of many that have maps of their own.
    Caller,
    /// The threads of the pool that it is called in.
    Pool,
}

/// A convolution with bias for the CPU, f32, without a backward pass, as maps of an encoder go through it.
///
/// Outputs are products of what lies under the kernel by the weights. Kernels of 3 x 3 at a stride of 1 between 16 and 256 channels are
/// computed for tiles of 4 x 4 outputs at once, by a quarter of the multiplications (Lavin and Gray, Fast Algorithms for
/// Convolutional Neural Networks, CVPR 2016): their results differ from the plain sums by a few 1e-6 of the largest.
#[derive(Debug)]
pub struct PackedConv2d {
    shape: PackedConvShape,
    conv: Conv2d,
}

impl PackedConv2d {
    /// Packs `weight`, `[c_out, c_in, kernel, kernel]`, and `bias`, `[c_out]`, both f32.
    ///
    /// # Errors
    /// If their shapes are others, or the kernel is even or a size 0.
    pub fn new(shape: PackedConvShape, weight: &Tensor, bias: &Tensor) -> Result<Self> {
        let PackedConvShape { c_in, c_out, kernel, stride } = shape;
        if weight.dims() != [c_out, c_in, kernel, kernel]
            || bias.dims() != [c_out]
            || kernel.is_multiple_of(2)
            || c_in * c_out * stride == 0
        {
            return Err(Error::Msg(format!(
                "weights {:?} and a bias {:?} for {shape:?}: expected [c_out, c_in, kernel, kernel] with an odd kernel, and [c_out]",
                weight.dims(),
                bias.dims()
            )));
        }
        let weight: Vec<f32> = to_vec(weight)?;
        Ok(Self { shape, conv: Conv2d::new(shape, &weight, to_vec(bias)?) })
    }

    /// Its sizes.
    #[must_use]
    pub fn shape(&self) -> PackedConvShape {
        self.shape
    }

    /// Writes the convolution of `x`, and what comes after it, to `output`, `[n_images, side_out, side_out, c_out]`. The result does not
    /// depend on who computes it, nor that of an image on the others.
    ///
    /// # Errors
    /// If a slice is not of its size.
    pub fn forward(
        &self,
        x: SquareMaps<'_>,
        after: AfterConv<'_>,
        workers: Workers,
        output: &mut [f32],
    ) -> Result<()> {
        let SquareMaps { values, n_images, side } = x;
        let PackedConvShape { c_in, c_out, .. } = self.shape;
        let side_out = self.shape.side_out(side);
        let n_added = if let AfterConv::AddRelu(added) = after { added.len() } else { output.len() };
        if values.len() != n_images * side * side * c_in
            || output.len() != n_images * side_out * side_out * c_out
            || n_added != output.len()
        {
            return Err(Error::Msg(format!(
                "{:?} of {n_images} maps of {side} x {side}, {} values, to {} values, {n_added} of them added",
                self.shape,
                values.len(),
                output.len()
            )));
        }
        self.conv.forward(x, after, workers, output);
        Ok(())
    }
}
