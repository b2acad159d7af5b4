//! A matrix product with a bias, and a backward that neither copies nor scans what it need not.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, DType, Error, Layout, Result, Shape, Tensor, WithDType};

use super::cpu::unit::{Bf16Pair, Unit};
use super::{Compute, contiguous_slice, cpu, unsupported_dtype};

/// `x weight^T + bias`.
///
/// - `x`: `[n, d_in]`; `weight`: `[d_out, d_in]`; `bias`: `[d_out]`. Returns `[n, d_out]`.
/// - Products are computed in `compute`, sums in the type of the tensors. No gradient is computed for an `x` that records none, such as the features of a bag.
///
/// # Errors
/// If the shapes do not fit together, or the tensors are neither f32 nor f64.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor, compute: Compute) -> Result<Tensor> {
    let ((n, d_in), (d_out, width)) = (x.dims2()?, weight.dims2()?);
    if width != d_in || bias.dims() != [d_out] {
        return Err(Error::Msg(format!(
            "linear layer of {:?} by {:?} with a bias of {:?}",
            x.dims(),
            weight.dims(),
            bias.dims()
        )));
    }
    let op = Linear { shape: LinearShape { n, d_in, d_out }, compute };
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, op)
}

/// The sizes of one linear layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinearShape {
    pub(super) n: usize,
    pub(super) d_in: usize,
    pub(super) d_out: usize,
}

struct Linear {
    shape: LinearShape,
    compute: Compute,
}

impl Linear {
    fn forward<U: Unit>(
        &self,
        [x, weight, bias]: [(&CpuStorage, &Layout); 3],
    ) -> Result<CpuStorage> {
        let output = cpu::linear::forward::<U>(
            self.shape,
            contiguous_slice(x.0, x.1)?,
            contiguous_slice(weight.0, weight.1)?,
            contiguous_slice(bias.0, bias.1)?,
        );
        Ok(U::Sum::to_cpu_storage_owned(output))
    }

    fn backward<U: Unit>(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (shape, device) = (self.shape, x.device());
        cpu::with_values(grad, |grad| {
            let dx = x.track_op().then(|| {
                cpu::with_values(weight, |weight| cpu::linear::input_gradient::<U>(shape, weight, grad))
            });
            let dweight = cpu::with_values(x, |x| cpu::linear::weight_gradient::<U>(shape, x, grad))?;
            let dbias = cpu::linear::bias_gradient(shape, grad);
            Ok((
                dx.transpose()?.map(|dx| Tensor::from_vec(dx, x.shape(), device)).transpose()?,
                Some(Tensor::from_vec(dweight, weight.shape(), device)?),
                Some(Tensor::from_vec(dbias, bias.shape(), device)?),
            ))
        })?
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let inputs = [(x, x_layout), (weight, weight_layout), (bias, bias_layout)];
        let output = match (x.dtype(), self.compute) {
            (DType::F32, Compute::AsStored) => self.forward::<f32>(inputs)?,
            (DType::F32, Compute::Bf16) => self.forward::<Bf16Pair>(inputs)?,
            (DType::F64, Compute::AsStored) => self.forward::<f64>(inputs)?,
            (dtype, _) => return Err(unsupported_dtype("linear", dtype)),
        };
        Ok((output, Shape::from((self.shape.n, self.shape.d_out))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        match (x.dtype(), self.compute) {
            (DType::F32, Compute::AsStored) => self.backward::<f32>(x, weight, bias, grad),
            (DType::F32, Compute::Bf16) => self.backward::<Bf16Pair>(x, weight, bias, grad),
            (DType::F64, Compute::AsStored) => self.backward::<f64>(x, weight, bias, grad),
            (dtype, _) => Err(unsupported_dtype("linear", dtype)),
        }
    }
}
