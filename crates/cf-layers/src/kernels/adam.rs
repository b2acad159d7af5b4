//! One step of Adam, in place.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, DType, Error, InplaceOp2, InplaceOp3, Layout, Result, Tensor};

use super::cpu::element::Element;
#[cfg(feature = "cuda")]
use super::cuda;
use super::{contiguous_slice, cpu, unsupported_dtype};

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
/// If the shapes of a parameter differ, or tensors are neither f32 nor f64.
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
    }
    #[cfg(feature = "cuda")]
    if parameters.iter().all(|parameter| cuda::serves(parameter.value)) {
        return cuda::optimiser::adam(parameters, step);
    }
    for &AdamParameter { value, gradient, first_moment, second_moment } in parameters {
        first_moment.inplace_op3(gradient, value, &Moment { step, order: Order::First })?;
        second_moment.inplace_op3(gradient, value, &Moment { step, order: Order::Second })?;
        value.inplace_op3(first_moment, second_moment, &Update { step })?;
    }
    Ok(())
}

/// Adds `other` to `total`, in place.
///
/// # Errors
/// If the shapes differ, or the tensors are neither f32 nor f64.
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
    pairs.iter().try_for_each(|[total, other]| total.inplace_op2(other, &Add))
}

#[derive(Debug, Clone, Copy)]
enum Order {
    First,
    Second,
}

struct Moment {
    step: AdamStep,
    order: Order,
}

struct Update {
    step: AdamStep,
}

struct Add;

const BLOCK: usize = 4096;
/// Multiply-adds per element, about.
const COST: usize = 8;

/// Runs `f` on blocks of `target` and of two others.
fn in_blocks<T: Element>(
    target: &mut CpuStorage,
    layout: &Layout,
    [a, b]: [&[T]; 2],
    f: impl Fn(&mut [T], &[T], &[T]) + Sync,
) -> Result<()> {
    let outside = || {
        Error::Msg(
            "a tensor that is changed in place must be contiguous and of the type of the others".to_owned(),
        )
    };
    let (start, end) = layout.contiguous_offsets().ok_or_else(outside)?;
    let target = T::values_mut(target).and_then(|values| values.get_mut(start..end)).ok_or_else(outside)?;
    let work = COST * target.len();
    cpu::for_each_chunk(target, BLOCK, work, |block, target| {
        let range = block * BLOCK..block * BLOCK + target.len();
        f(target, &a[range.clone()], &b[range]);
    });
    Ok(())
}

impl Moment {
    fn run<T: Element>(&self, moment: &mut CpuStorage, layout: &Layout, inputs: [&[T]; 2]) -> Result<()> {
        let decay = T::from_f64(self.step.weight_decay);
        match self.order {
            Order::First => {
                let (kept, new) = (T::from_f64(self.step.beta_1), T::from_f64(1.0 - self.step.beta_1));
                in_blocks(moment, layout, inputs, |m, g, p| {
                    cpu::adam::first_moment(m, g, p, kept, new, decay)
                })
            }
            Order::Second => {
                let (kept, new) = (T::from_f64(self.step.beta_2), T::from_f64(1.0 - self.step.beta_2));
                in_blocks(moment, layout, inputs, |v, g, p| {
                    cpu::adam::second_moment(v, g, p, kept, new, decay)
                })
            }
        }
    }
}

impl InplaceOp3 for Moment {
    fn name(&self) -> &'static str {
        "adam_moment"
    }

    fn cpu_fwd(
        &self,
        moment: &mut CpuStorage,
        layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
        param: &CpuStorage,
        param_layout: &Layout,
    ) -> Result<()> {
        match param.dtype() {
            DType::F32 => {
                let inputs = [
                    contiguous_slice::<f32>(gradient, gradient_layout)?,
                    contiguous_slice(param, param_layout)?,
                ];
                self.run(moment, layout, inputs)
            }
            DType::F64 => {
                let inputs = [
                    contiguous_slice::<f64>(gradient, gradient_layout)?,
                    contiguous_slice(param, param_layout)?,
                ];
                self.run(moment, layout, inputs)
            }
            dtype => Err(unsupported_dtype("adam_step", dtype)),
        }
    }
}

impl Update {
    fn run<T: Element>(&self, param: &mut CpuStorage, layout: &Layout, moments: [&[T]; 2]) -> Result<()> {
        let AdamStep { learning_rate, beta_1, beta_2, eps, n_steps, .. } = self.step;
        let bias = |beta: f64| 1.0 - beta.powf(n_steps as f64);
        let rate = T::from_f64(learning_rate / bias(beta_1));
        let root = T::from_f64(1.0 / bias(beta_2).sqrt());
        let eps = T::from_f64(eps);
        in_blocks(param, layout, moments, |p, m, v| cpu::adam::update(p, m, v, rate, root, eps))
    }
}

impl InplaceOp3 for Update {
    fn name(&self) -> &'static str {
        "adam_update"
    }

    fn cpu_fwd(
        &self,
        param: &mut CpuStorage,
        layout: &Layout,
        first: &CpuStorage,
        first_layout: &Layout,
        second: &CpuStorage,
        second_layout: &Layout,
    ) -> Result<()> {
        match first.dtype() {
            DType::F32 => {
                let moments =
                    [contiguous_slice::<f32>(first, first_layout)?, contiguous_slice(second, second_layout)?];
                self.run(param, layout, moments)
            }
            DType::F64 => {
                let moments =
                    [contiguous_slice::<f64>(first, first_layout)?, contiguous_slice(second, second_layout)?];
                self.run(param, layout, moments)
            }
            dtype => Err(unsupported_dtype("adam_step", dtype)),
        }
    }
}

impl InplaceOp2 for Add {
    fn name(&self) -> &'static str {
        "add_in_place"
    }

    fn cpu_fwd(
        &self,
        total: &mut CpuStorage,
        layout: &Layout,
        other: &CpuStorage,
        other_layout: &Layout,
    ) -> Result<()> {
        match other.dtype() {
            DType::F32 => {
                let other = contiguous_slice::<f32>(other, other_layout)?;
                in_blocks(total, layout, [other, other], |total, other, _| cpu::rows::add(total, other))
            }
            DType::F64 => {
                let other = contiguous_slice::<f64>(other, other_layout)?;
                in_blocks(total, layout, [other, other], |total, other, _| cpu::rows::add(total, other))
            }
            dtype => Err(unsupported_dtype("add_in_place", dtype)),
        }
    }
}
