//! A few weighted sums over many rows. Candle's matrix product computes the gradient of both sides, wanted or not; that of a bag's
//! features is as large as the bag.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, DType, Error, Layout, Result, Shape, Tensor};

use super::cpu::element::Element;
use super::{contiguous_slice, cpu, reference, unsupported_dtype};

/// `weights x`: each row of `weights` `[k, n]` with the rows of `x` `[n, d]` gives one sum of `[k, d]`.
///
/// For few sums, such as the poolings of a bag. No gradient is computed for an `x` that records none.
///
/// # Errors
/// If the shapes do not fit together or are empty, or the tensors are neither f32 nor f64.
pub fn weighted_sums(weights: &Tensor, x: &Tensor) -> Result<Tensor> {
    if reference::stands_in_for(x) {
        return reference::weighted_sums(weights, x);
    }
    let ((k, n), (rows, d)) = (weights.dims2()?, x.dims2()?);
    if rows != n || k * n * d == 0 {
        return Err(Error::Msg(format!("weighted sums of {:?} by {:?}", x.dims(), weights.dims())));
    }
    weights.contiguous()?.apply_op2(&x.contiguous()?, WeightedSums { shape: SumsShape { k, n, d } })
}

/// The sizes of some sums.
#[derive(Debug, Clone, Copy)]
pub(super) struct SumsShape {
    pub(super) k: usize,
    pub(super) n: usize,
    pub(super) d: usize,
}

struct WeightedSums {
    shape: SumsShape,
}

impl WeightedSums {
    fn forward<T: Element>(
        &self,
        weights: (&CpuStorage, &Layout),
        x: (&CpuStorage, &Layout),
    ) -> Result<CpuStorage> {
        let (weights, x) = (contiguous_slice(weights.0, weights.1)?, contiguous_slice(x.0, x.1)?);
        Ok(T::to_cpu_storage_owned(cpu::weighted_sums::forward::<T>(self.shape, weights, x)))
    }

    fn backward<T: Element>(
        &self,
        weights: &Tensor,
        x: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let contiguous_grad = grad.contiguous()?;
        let [weight_values, x_values, grad] = [weights, x, &contiguous_grad].map(cpu::Values::of);
        let grad = grad.as_slice::<T>()?;
        let dweights = match weights.track_op() {
            true => {
                let dweights = cpu::weighted_sums::dots(self.shape, x_values.as_slice()?, grad);
                Some(Tensor::from_vec(dweights, weights.shape(), weights.device())?)
            }
            false => None,
        };
        let dx = match x.track_op() {
            true => {
                let dx = cpu::weighted_sums::row_gradient(self.shape, weight_values.as_slice()?, grad);
                Some(Tensor::from_vec(dx, x.shape(), x.device())?)
            }
            false => None,
        };
        Ok((dweights, dx))
    }
}

impl CustomOp2 for WeightedSums {
    fn name(&self) -> &'static str {
        "weighted-sums"
    }

    fn cpu_fwd(
        &self,
        weights: &CpuStorage,
        weight_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (weights, x) = ((weights, weight_layout), (x, x_layout));
        let output = match x.0.dtype() {
            DType::F32 => self.forward::<f32>(weights, x)?,
            DType::F64 => self.forward::<f64>(weights, x)?,
            dtype => return Err(unsupported_dtype("weighted-sums", dtype)),
        };
        Ok((output, Shape::from((self.shape.k, self.shape.d))))
    }

    fn bwd(
        &self,
        weights: &Tensor,
        x: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        match x.dtype() {
            DType::F32 => self.backward::<f32>(weights, x, grad),
            DType::F64 => self.backward::<f64>(weights, x, grad),
            dtype => Err(unsupported_dtype("weighted-sums", dtype)),
        }
    }
}
