//! Convolutions of one map whose outputs are summed: their kernels are summed first, and its gradients split at the end.

use candle_core::{CudaStorage, CustomOp2};

use super::super::gradients;
use super::super::grouped_conv2d::ConvShape;
use super::super::merged_conv2d::{ConvBranch, TokenGrid};
use super::grouped_conv2d::Conv;
use super::*;

/// Kernels that are merged at once, at most.
const MOST_BRANCHES: usize = 4;

/// The sizes of the merged convolution if it has a form here.
pub(in crate::kernels) fn shape(
    x: &Tensor,
    grid: TokenGrid,
    branches: &[ConvBranch<'_>],
    largest: usize,
) -> Result<Option<ConvShape>> {
    let ((n, c_in), TokenGrid { height, width, n_before }) = (x.dims2()?, grid);
    let Some(first) = branches.first().filter(|_| branches.len() <= MOST_BRANCHES) else {
        return Ok(None);
    };
    let (c_out, per_group, ..) = first.weight.dims4()?;
    let fits = |branch: &ConvBranch<'_>| {
        let k = branch.size().unwrap_or(0);
        branch.weight.dims() == [c_out, per_group, k, k] && k % 2 == 1 && branch.bias.dims() == [c_out]
    };
    let shape = ConvShape { height, width, c_out, per_group, k: largest };
    let whole = n == grid.n_tokens() && c_out * per_group == c_in && height * width > 0;
    let passes = n_before == 0 || per_group == 1;
    let serves = super::grouped_conv2d::serves(x, &shape) && branches.iter().all(fits);
    Ok((whole && passes && serves).then_some(shape))
}

/// [`super::super::merged_conv2d`] of a contiguous map and branches whose [`shape`] this is.
pub(in crate::kernels) fn merged_conv2d(
    x: &Tensor,
    grid: TokenGrid,
    branches: &[ConvBranch<'_>],
    identity: bool,
    shape: ConvShape,
) -> Result<Tensor> {
    let owned = |branch: &ConvBranch<'_>| (branch.weight.clone(), branch.bias.clone());
    let op = MergedConv2d {
        shape,
        n_before: grid.n_before,
        branches: branches.iter().map(owned).collect(),
        identity,
    };
    // A weight is an input so that the op is in the graph also where the map is not.
    let first = branches.first().ok_or_else(|| Error::Msg("a merged convolution without branches".into()))?;
    x.apply_op2(first.weight, op)
}

struct MergedConv2d {
    shape: ConvShape,
    n_before: usize,
    branches: Vec<(Tensor, Tensor)>,
    identity: bool,
}

impl MergedConv2d {
    /// `k` of each branch, and 0 for those that are not there.
    fn sizes(&self) -> [usize; MOST_BRANCHES] {
        std::array::from_fn(|at| {
            self.branches.get(at).map_or(0, |(weight, _)| weight.dims().last().copied().unwrap_or(0))
        })
    }

    /// The merged kernel and bias.
    fn merged(&self, gpu: &Gpu) -> Result<[Array; 2]> {
        let conv = Conv { shape: self.shape };
        let (weight, bias) =
            (gpu.array(conv.n_weights(), DType::F32)?, gpu.array(self.shape.c_out, DType::F32)?);
        let weights: Vec<Input<'_>> = self.branches.iter().map(|(weight, _)| Input::of(weight)).collect();
        let biases: Vec<Input<'_>> = self.branches.iter().map(|(_, bias)| Input::of(bias)).collect();
        let mut args = Vec::with_capacity(18);
        for inputs in [&weights, &biases] {
            for at in 0..MOST_BRANCHES {
                args.push(inputs.get(at).map(Input::view).transpose()?.into());
            }
        }
        args.extend(self.sizes().map(|size| Arg::I32(size as i32)));
        args.extend_from_slice(&[(&weight).into(), (&bias).into()]);
        let ConvShape { c_out, per_group, k, .. } = self.shape;
        args.extend([c_out * per_group, c_out, k].map(|size| Arg::I32(size as i32)));
        args.push(Arg::I32(i32::from(self.identity)));
        let blocks = conv.n_weights().div_ceil(256);
        gpu.launch("merge_kernels", ([blocks, 1, 1], [256, 1, 1]), 0, &args)?;
        Ok([weight, bias])
    }
}

impl CustomOp2 for MergedConv2d {
    fn name(&self) -> &'static str {
        "merged_conv2d"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_on_the_cpu("merged_conv2d")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        layout: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let [weight, bias] = self.merged(&gpu)?;
        let ConvShape { height, width, c_out, .. } = self.shape;
        let (n, first) = (self.n_before + height * width, self.n_before * c_out);
        let (x, y) = (View::of(x, layout)?, gpu.array(n * c_out, DType::F32)?);
        gpu.copy(x, y.view(), first)?;
        let conv = Conv { shape: self.shape };
        conv.forward(&gpu, x.from(first), weight.view(), bias.view(), y.view().from(first))?;
        Ok((y.into_storage(&gpu), Shape::from((n, c_out))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gpu = Gpu::of(x.device())?;
        let [weight, _] = self.merged(&gpu)?;
        let grad = grad.contiguous()?;
        let (x_input, grad_input) = (Input::of(x), Input::of(&grad));
        let (x_view, dy) = (x_input.view()?, grad_input.view()?);
        let (first, dx) = (self.n_before * self.shape.c_out, gpu.array(x.elem_count(), DType::F32)?);
        gpu.copy(dy, dx.view(), first)?;
        let conv = Conv { shape: self.shape };
        let views = (x_view.from(first), weight.view(), dy.from(first));
        let [dweight, dbias] = conv.backward(&gpu, views, dx.view().from(first))?;

        let n = |tensors: &(Tensor, Tensor)| tensors.0.elem_count() + tensors.1.elem_count();
        let n_all = self.branches.iter().map(n).sum::<usize>();
        let all = gpu.array(n_all, DType::F32)?;
        let mut args: Vec<Arg> = vec![(&dweight).into(), (&dbias).into(), (&all).into()];
        args.extend(self.sizes().map(|size| Arg::I32(size as i32)));
        let ConvShape { c_out, per_group, k, .. } = self.shape;
        args.extend([c_out * per_group, c_out, k].map(|size| Arg::I32(size as i32)));
        gpu.launch("split_kernel_gradients", ([n_all.div_ceil(256), 1, 1], [256, 1, 1]), 0, &args)?;
        let all = all.into_tensor(&gpu, n_all);
        let weights = self.branches.iter().map(|(weight, _)| weight);
        let mut first = 0;
        for parameter in weights.chain(self.branches.iter().map(|(_, bias)| bias)) {
            let n = parameter.elem_count();
            gradients::leave_of_captured(parameter, &all.narrow(0, first, n)?.reshape(parameter.shape())?)?;
            first += n;
        }
        Ok((gradients::deliver(x, dx.into_tensor(&gpu, x.shape()))?, None))
    }
}
