//! One step of Adam, in place.

use std::cell::Cell;
use std::marker::PhantomData;

use candle_core::{CpuStorage, DType, Error, InplaceOp1, Layout, Result, Tensor};

use super::cpu::element::Element;
use super::cpu::{self, Values};
#[cfg(feature = "cuda")]
use super::cuda;
use super::unsupported_dtype;

/// The settings of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamStep {
    /// Learning rate.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta_1: f64,
    /// Decay of the second moment.
    pub beta_2: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// L2 penalty, added to the gradient (not decoupled: not AdamW).
    pub weight_decay: f64,
    /// Steps made, this one included: at least 1.
    pub n_steps: usize,
}

/// What an [`adam_step`] works on: four contiguous tensors of one shape.
#[derive(Debug, Clone, Copy)]
pub struct AdamParameter<'a> {
    /// The parameter; changed.
    pub value: &'a Tensor,
    /// Its gradient.
    pub gradient: &'a Tensor,
    /// Decayed mean of gradients; changed.
    pub first_moment: &'a Tensor,
    /// Decayed mean of squared gradients; changed.
    pub second_moment: &'a Tensor,
}

/// One step of Adam (Kingma and Ba, 2015) as PyTorch computes it, on every parameter, in place.
///
/// # Errors
/// If the shapes of a parameter differ, two of its tensors share memory, or tensors are neither f32 nor f64.
pub fn adam_step(parameters: &[AdamParameter<'_>], step: AdamStep) -> Result<()> {
    for parameter in parameters {
        let AdamParameter { value, gradient, first_moment, second_moment } = parameter;
        let shape = value.shape();
        if [gradient, first_moment, second_moment].iter().any(|tensor| tensor.shape() != shape) {
            return Err(Error::Msg(format!(
                "an Adam step of {shape:?} by a gradient of {:?} with moments {:?} and {:?}",
                gradient.shape(),
                first_moment.shape(),
                second_moment.shape()
            )));
        }
        let all = [value, gradient, first_moment, second_moment];
        if all
            .iter()
            .enumerate()
            .any(|(at, one)| all.iter().skip(at + 1).any(|other| share_memory(one, other)))
        {
            return Err(Error::Msg(format!("an Adam step of {shape:?} whose tensors share memory")));
        }
    }
    #[cfg(feature = "cuda")]
    if parameters.iter().all(|parameter| cuda::serves(parameter.value)) {
        return cuda::optimiser::adam(parameters, step);
    }
    parameters.iter().try_for_each(|parameter| match parameter.value.dtype() {
        DType::F32 => step_on_cpu::<f32>(*parameter, step),
        DType::F64 => step_on_cpu::<f64>(*parameter, step),
        dtype => Err(unsupported_dtype("adam_step", dtype)),
    })
}

fn step_on_cpu<T: Element>(parameter: AdamParameter<'_>, step: AdamStep) -> Result<()> {
    let coefficients = cpu::adam::Coefficients::<T>::of(step);
    let gradient = Values::of(parameter.gradient);
    let gradient = gradient.as_slice::<T>()?;
    change(parameter.value, |value: &mut [T]| {
        change(parameter.first_moment, |first: &mut [T]| {
            change(parameter.second_moment, |second: &mut [T]| {
                let work = COST * gradient.len();
                cpu::for_each_chunks([value, first, second], BLOCK, work, |block, [value, first, second]| {
                    let gradient = &gradient[block * BLOCK..][..value.len()];
                    cpu::adam::step(value, first, second, gradient, coefficients);
                });
            })
        })?
    })??;
    Ok(())
}

/// Adds `other` to `total`, in place.
///
/// # Errors
/// If the shapes differ, or the tensors share memory or are neither f32 nor f64.
pub fn add_in_place(total: &Tensor, other: &Tensor) -> Result<()> {
    if total.shape() != other.shape() {
        return Err(Error::Msg(format!("sum of {:?} and {:?}", total.shape(), other.shape())));
    }
    add_all_in_place(&[[total, &other.contiguous()?]])
}

/// [`add_in_place`] for every pair `[total, other]` of contiguous tensors.
///
/// # Errors
/// As [`add_in_place`].
pub fn add_all_in_place(pairs: &[[&Tensor; 2]]) -> Result<()> {
    #[cfg(feature = "cuda")]
    if pairs.iter().all(|[total, _]| cuda::serves(total)) {
        return cuda::optimiser::add_all(pairs);
    }
    pairs.iter().try_for_each(|[total, other]| match total.dtype() {
        DType::F32 => add_on_cpu::<f32>(total, other),
        DType::F64 => add_on_cpu::<f64>(total, other),
        dtype => Err(unsupported_dtype("add_in_place", dtype)),
    })
}

fn add_on_cpu<T: Element>(total: &Tensor, other: &Tensor) -> Result<()> {
    if share_memory(total, other) {
        return Err(Error::Msg("a sum in place of tensors that share memory".to_owned()));
    }
    let other = Values::of(other);
    let other = other.as_slice::<T>()?;
    change(total, |total: &mut [T]| {
        cpu::for_each_chunk(total, BLOCK, COST * other.len(), |block, total| {
            cpu::rows::add(total, &other[block * BLOCK..][..total.len()]);
        });
    })
}

/// Elements that a thread works on at a time.
const BLOCK: usize = 4096;
/// Multiply-adds of a step per element, about.
const COST: usize = 8;

/// Whether two tensors are views of one storage: locking both for writing would wait for ever.
fn share_memory(a: &Tensor, b: &Tensor) -> bool {
    let (a, b) = (a.storage_and_layout().0, b.storage_and_layout().0);
    std::ptr::eq(&raw const *a, &raw const *b)
}

/// Calls `f` with the values of a contiguous tensor, to be changed, and returns what it returns.
fn change<T: Element, R>(tensor: &Tensor, f: impl FnOnce(&mut [T]) -> R) -> Result<R> {
    let op = Change { f: Cell::new(Some(f)), result: Cell::new(None), element: PhantomData };
    tensor.inplace_op1(&op)?;
    op.result.into_inner().ok_or_else(|| Error::Msg("a change in place that did not run".to_owned()))
}

/// An op that runs a closure once: Candle hands out a tensor's memory for writing to ops alone, one tensor to each.
struct Change<T, R, F> {
    f: Cell<Option<F>>,
    result: Cell<Option<R>>,
    element: PhantomData<T>,
}

impl<T: Element, R, F: FnOnce(&mut [T]) -> R> InplaceOp1 for Change<T, R, F> {
    fn name(&self) -> &'static str {
        "change"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let outside = || {
            Error::Msg(
                "a tensor that is changed in place must be contiguous and of the type of the others"
                    .to_owned(),
            )
        };
        let (start, end) = layout.contiguous_offsets().ok_or_else(outside)?;
        let values =
            T::values_mut(storage).and_then(|values| values.get_mut(start..end)).ok_or_else(outside)?;
        self.result.set(self.f.take().map(|f| f(values)));
        Ok(())
    }
}
