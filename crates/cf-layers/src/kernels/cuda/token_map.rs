//! Rows that are repeated, and sums of maps.

use candle_core::{CudaStorage, CustomOp1, CustomOp3};

use super::super::gradients;
use super::*;

/// Blocks that share the sums over a map.
const MIX_BLOCKS: usize = 264;

/// [`super::super::repeat_first`] of a contiguous f32 tensor with enough rows.
pub(in crate::kernels) fn repeat_first(x: &Tensor, n_repeated: usize) -> Result<Tensor> {
    x.apply_op1(RepeatFirst { n_repeated })
}

struct RepeatFirst {
    n_repeated: usize,
}

impl CustomOp1 for RepeatFirst {
    fn name(&self) -> &'static str {
        "repeat_first"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_on_the_cpu("repeat_first")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let (n, d) = layout.shape().dims2()?;
        let x = View::of(x, layout)?;
        let parts = [(x, n * d), (x, self.n_repeated * d)];
        let y = gpu.gathered(&parts, DType::F32)?;
        Ok((y.into_storage(&gpu), Shape::from((n + self.n_repeated, d))))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let gpu = Gpu::of(x.device())?;
        let grad = grad.contiguous()?;
        let grad = Input::of(&grad);
        let (n, repeated) = (x.elem_count(), self.n_repeated * x.dim(1)?);
        let dx = gpu.array(n, DType::F32)?;
        let args = [grad.view()?.into(), (&dx).into(), Arg::U64(n as u64), Arg::U64(repeated as u64)];
        gpu.launch("fold_repeated", ([n.div_ceil(4 * 256), 1, 1], [256, 1, 1]), 0, &args)?;
        gradients::deliver(x, dx.into_tensor(&gpu, x.shape()))
    }
}

/// [`super::super::mix`] of three contiguous f32 maps of one shape.
pub(in crate::kernels) fn mix(maps: &[Tensor; 3], weights: &Tensor, constant: &Tensor) -> Result<Tensor> {
    let [a, b, c] = maps;
    a.apply_op3(b, c, Mix { weights: weights.clone(), constant: constant.clone() })
}

struct Mix {
    weights: Tensor,
    constant: Tensor,
}

impl CustomOp3 for Mix {
    fn name(&self) -> &'static str {
        "mix"
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
        not_on_the_cpu("mix")
    }

    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        a_layout: &Layout,
        b: &CudaStorage,
        b_layout: &Layout,
        c: &CudaStorage,
        c_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&a.device)?;
        let n = a_layout.shape().elem_count();
        let (weights, constant) = (Input::of(&self.weights), Input::of(&self.constant));
        let y = gpu.array(n, DType::F32)?;
        let args = [
            View::of(a, a_layout)?.into(),
            View::of(b, b_layout)?.into(),
            View::of(c, c_layout)?.into(),
            weights.view()?.into(),
            constant.view()?.into(),
            (&y).into(),
            Arg::U64(n as u64),
        ];
        gpu.launch("mix_three", ([n.div_ceil(256).min(4096), 1, 1], [256, 1, 1]), 0, &args)?;
        Ok((y.into_storage(&gpu), a_layout.shape().clone()))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gpu = Gpu::of(a.device())?;
        let n = a.elem_count();
        let grad = grad.contiguous()?;
        let inputs = [a, b, c, &self.weights, &grad].map(Input::of);
        let gradients = [(); 3].map(|()| gpu.array(n, DType::F32));
        let [da, db, dc] = gradients;
        let (da, db, dc) = (da?, db?, dc?);
        let partial = gpu.array(MIX_BLOCKS * 4, DType::F32)?;
        let views = inputs.iter().map(|input| Ok(input.view()?.into()));
        let mut args = views.collect::<Result<Vec<Arg>>>()?;
        args.extend_from_slice(&[(&da).into(), (&db).into(), (&dc).into(), (&partial).into()]);
        args.push(Arg::U64(n as u64));
        gpu.launch("mix_three_backward", ([MIX_BLOCKS, 1, 1], [256, 1, 1]), 0, &args)?;
        let sums = gpu.sum_partial(&partial, MIX_BLOCKS, 4)?.into_tensor(&gpu, 4);
        let of_weights = sums.narrow(0, 0, 3)?.reshape(self.weights.shape())?;
        let of_constant = sums.narrow(0, 3, 1)?.reshape(self.constant.shape())?;
        gradients::leave_of_captured(&self.weights, &of_weights)?;
        gradients::leave_of_captured(&self.constant, &of_constant)?;
        let delivered =
            |of: &Tensor, array: Array| gradients::deliver(of, array.into_tensor(&gpu, of.shape()));
        Ok((delivered(a, da)?, delivered(b, db)?, delivered(c, dc)?))
    }
}
