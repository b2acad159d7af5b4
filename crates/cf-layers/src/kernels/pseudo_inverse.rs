//! The pseudo-inverse of Nystrom attention: a fixed number of steps towards it, as one op.

use std::sync::{Mutex, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, DType, Error, Layout, Result, Shape, Tensor, WithDType};

use super::cpu::pseudo_inverse::{Step, Steps};
use super::cpu::unit::Unit;
use super::{contiguous_slice, cpu, reference, unsupported_dtype};

/// `n_steps` times `Z <- Z (13 I - A Z (15 I - A Z (7 I - A Z))) / 4`, which tends to the inverse of each matrix of `a` (Razavi et al.,
/// 2014; Xiong et al., 2021, eq. 11).
///
/// - `a`: `[heads, m, m]`; `z`: the start, of the same shape. Returns the last `Z`.
/// - Always in the type of the tensors: rounded operands would not converge.
///
/// # Errors
/// If the shapes differ or the matrices are not square, or the tensors are neither f32 nor f64.
pub fn pseudo_inverse(a: &Tensor, z: &Tensor, n_steps: usize) -> Result<Tensor> {
    let (_, m, columns) = a.dims3()?;
    if a.dims() != z.dims() || m != columns {
        return Err(Error::Msg(format!("pseudo-inverse of {:?} from {:?}", a.dims(), z.dims())));
    }
    if reference::stands_in_for(a) {
        return reference::pseudo_inverse(a, z, n_steps);
    }
    let op = PseudoInverse { m, n_steps, kept: Mutex::new(Kept::None) };
    a.contiguous()?.apply_op2(&z.contiguous()?, op)
}

struct PseudoInverse {
    m: usize,
    n_steps: usize,
    /// Each head's steps, from the forward pass for the backward one.
    kept: Mutex<Kept>,
}

enum Kept {
    None,
    F32(Steps<f32>),
    F64(Steps<f64>),
}

impl PseudoInverse {
    fn forward<U: Unit>(
        &self,
        a: (&CpuStorage, &Layout),
        z: (&CpuStorage, &Layout),
        kept: impl Fn(Steps<U::Sum>) -> Kept,
    ) -> Result<CpuStorage> {
        let (a, z) = (contiguous_slice(a.0, a.1)?, contiguous_slice(z.0, z.1)?);
        let (inverse, steps) = cpu::pseudo_inverse::forward::<U>(self.m, self.n_steps, a, z);
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = kept(steps);
        Ok(U::Sum::to_cpu_storage_owned(inverse))
    }

    fn backward<U: Unit>(
        &self,
        a: &Tensor,
        steps: &[Vec<Step<U::Sum>>],
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let contiguous_grad = grad.contiguous()?;
        let [a_values, grad] = [a, &contiguous_grad].map(cpu::Values::of);
        let (da, dz) =
            cpu::pseudo_inverse::backward::<U>(self.m, a_values.as_slice()?, steps, grad.as_slice()?);
        let tensor = |values| Tensor::from_vec(values, a.shape(), a.device());
        Ok((Some(tensor(da)?), Some(tensor(dz)?)))
    }
}

impl CustomOp2 for PseudoInverse {
    fn name(&self) -> &'static str {
        "pseudo_inverse"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        z: &CpuStorage,
        z_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let inputs = ((a, a_layout), (z, z_layout));
        let output = match a.dtype() {
            DType::F32 => self.forward::<f32>(inputs.0, inputs.1, Kept::F32)?,
            DType::F64 => self.forward::<f64>(inputs.0, inputs.1, Kept::F64)?,
            dtype => return Err(unsupported_dtype("pseudo_inverse", dtype)),
        };
        Ok((output, a_layout.shape().clone()))
    }

    fn bwd(
        &self,
        a: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        match &*self.kept.lock().unwrap_or_else(PoisonError::into_inner) {
            Kept::F32(steps) => self.backward::<f32>(a, steps, grad),
            Kept::F64(steps) => self.backward::<f64>(a, steps, grad),
            Kept::None => Err(Error::Msg("pseudo_inverse: backward before forward".to_owned())),
        }
    }
}
