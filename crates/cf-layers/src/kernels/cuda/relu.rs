//! The rectifier as an op of its own; after a product it is a part of [`super::linear`].

use candle_core::{CudaStorage, CustomOp1};

use super::*;

/// [`super::super::relu`] of a contiguous f32 tensor.
pub(in crate::kernels) fn relu(x: &Tensor) -> Result<Tensor> {
    x.apply_op1(Relu)
}

impl Gpu {
    /// Runs `kernel`, which writes one f32 number for each of the `n` of its inputs.
    fn for_each(&self, kernel: &'static str, inputs: &[View<'_>], n: usize) -> Result<Array> {
        let output = self.array(n, DType::F32)?;
        let mut args: Vec<Arg> = inputs.iter().map(|&input| input.into()).collect();
        args.extend([(&output).into(), Arg::U64(n as u64)]);
        self.launch(kernel, ([n.div_ceil(1024).clamp(1, 1 << 16), 1, 1], [256, 1, 1]), 0, &args)?;
        Ok(output)
    }
}

struct Relu;

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_on_the_cpu("relu")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let gpu = Gpu::new(&x.device)?;
        let y = gpu.for_each("relu", &[View::of(x, layout)?], layout.shape().elem_count())?;
        Ok((y.into_storage(&gpu), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let gpu = Gpu::of(y.device())?;
        let grad = grad.contiguous()?;
        let [output, grad] = [y, &grad].map(Input::of);
        let dx = gpu.for_each("relu_gradient", &[output.view()?, grad.view()?], y.elem_count())?;
        Ok(Some(dx.into_tensor(&gpu, y.shape())))
    }
}
