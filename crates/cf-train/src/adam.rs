//! Adam with the weight decay in the gradient, which Candle lacks.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use cf_model::ParamStore;
use cf_model::kernels::{self, AdamParameter, AdamStep};
use cf_model::weights::is_finite;

use crate::error::{Error, Result};

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPS: f64 = 1e-8;

/// Adam (Kingma and Ba, 2015) as PyTorch computes it, with an L2 penalty added to the gradient (not decoupled: not AdamW).
///
/// It also holds the gradients of a group of bags until they are stepped together.
#[derive(Debug)]
pub struct Adam {
    params: Vec<Param>,
    weight_decay: f64,
    n_steps: usize,
    n_bags: usize,
}

#[derive(Debug)]
struct Param {
    name: String,
    var: Var,
    first_moment: Tensor,
    second_moment: Tensor,
    gradient: Option<Tensor>,
}

impl Adam {
    /// An optimiser of every parameter in `store`.
    ///
    /// # Errors
    /// If the device can't hold the moments.
    pub fn new(store: &ParamStore, weight_decay: f64) -> Result<Self> {
        let param = |(name, var): (String, Var)| -> Result<Param> {
            let zeros = var.zeros_like()?;
            Ok(Param {
                name,
                first_moment: zeros.detach(),
                second_moment: var.zeros_like()?.detach(),
                var,
                gradient: None,
            })
        };
        let params = store.params().into_iter().map(param).collect::<Result<_>>()?;
        Ok(Self { params, weight_decay, n_steps: 0, n_bags: 0 })
    }

    /// The same optimiser without the parameters whose name `is_dead`: no gradient reaches them, and they stay as they are.
    #[must_use]
    pub fn without(mut self, is_dead: impl Fn(&str) -> bool) -> Self {
        self.params.retain(|param| !is_dead(&param.name));
        self
    }

    /// Adds the gradients of one bag.
    ///
    /// # Errors
    /// If a parameter got none: its graph is cut, and it would silently stay as it is.
    pub fn accumulate(&mut self, mut grads: GradStore) -> Result<()> {
        let of = |param: &Param| {
            let grad =
                grads.remove(&param.var).ok_or_else(|| Error::NoGradient { name: param.name.clone() })?;
            Ok(grad.detach().contiguous()?)
        };
        let new: Vec<Tensor> = self.params.iter().map(of).collect::<Result<_>>()?;
        let sums =
            self.params.iter().zip(&new).filter_map(|(param, new)| Some([param.gradient.as_ref()?, new]));
        kernels::add_all_in_place(&sums.collect::<Vec<_>>())?;
        for (param, new) in self.params.iter_mut().zip(new) {
            // The next bags are added into what the first one left, which is nobody else's.
            param.gradient.get_or_insert(new);
        }
        self.n_bags += 1;
        Ok(())
    }

    /// Bags accumulated since the last step.
    pub fn n_bags(&self) -> usize {
        self.n_bags
    }

    /// Steps made.
    pub fn n_steps(&self) -> usize {
        self.n_steps
    }

    /// Moves every parameter by the accumulated gradients and forgets them.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn step(&mut self, learning_rate: f64) -> Result<()> {
        self.n_steps += 1;
        self.n_bags = 0;
        let step = AdamStep {
            learning_rate,
            beta_1: BETA_1,
            beta_2: BETA_2,
            eps: EPS,
            weight_decay: self.weight_decay,
            n_steps: self.n_steps,
        };
        let gradients: Vec<Option<Tensor>> =
            self.params.iter_mut().map(|param| param.gradient.take()).collect();
        let values: Vec<Tensor> = self.params.iter().map(|param| param.var.as_detached_tensor()).collect();
        let parameters =
            self.params.iter().zip(&values).zip(&gradients).filter_map(|((param, value), gradient)| {
                Some(AdamParameter {
                    value,
                    gradient: gradient.as_ref()?,
                    first_moment: &param.first_moment,
                    second_moment: &param.second_moment,
                })
            });
        Ok(kernels::adam_step(&parameters.collect::<Vec<_>>(), step)?)
    }

    /// The first parameter that is not finite, or whose mean of squared gradients is not: steps by it would be 0 from then on.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn not_finite(&self) -> Result<Option<&str>> {
        for Param { name, var, second_moment, .. } in &self.params {
            if !is_finite(var)? || !is_finite(second_moment)? {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Everything but the parameters, by name, for a checkpoint.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let mut state = BTreeMap::new();
        for param in &self.params {
            state.insert(format!("first/{}", param.name), param.first_moment.clone());
            state.insert(format!("second/{}", param.name), param.second_moment.clone());
            if let Some(gradient) = &param.gradient {
                state.insert(format!("gradient/{}", param.name), gradient.clone());
            }
        }
        state
    }

    /// Takes over a [`Self::state`] saved after `n_steps` steps with `n_bags` bags pending, on whatever device it was.
    ///
    /// # Errors
    /// What is wrong with the first tensor that is missing, of another shape, or too large for the device.
    pub fn restore(
        &mut self,
        state: &BTreeMap<String, Tensor>,
        n_steps: usize,
        n_bags: usize,
    ) -> std::result::Result<(), String> {
        for param in &mut self.params {
            let get = |kind: &str| {
                let name = format!("{kind}/{}", param.name);
                let saved = state.get(&name).filter(|tensor| tensor.shape() == param.var.shape());
                let saved = saved.ok_or_else(|| format!("`{name}` is missing or of another shape"))?;
                saved.to_device(param.var.device()).map_err(|error| format!("`{name}`: {error}"))
            };
            param.first_moment = get("first")?;
            param.second_moment = get("second")?;
            param.gradient = if n_bags > 0 { Some(get("gradient")?) } else { None };
        }
        (self.n_steps, self.n_bags) = (n_steps, n_bags);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn parameters_that_can_no_longer_be_trained_are_named() {
        // All is well; parameters overflow, the first of which is named; a squared gradient does, and its parameter would not move again.
        for (gradient, rate, found) in [(1.0, 1e-3, None), (1.0, 1e300, Some("a")), (1e30, 1e-3, Some("b"))] {
            let store = ParamStore::seeded(7, DType::F32, &Device::Cpu);
            let builder = store.builder();
            let [a, b] = ["a", "b"].map(|name| builder.get((2, 3), name).unwrap());
            let mut adam = Adam::new(&store, 0.0).unwrap();
            let scalar = (a + (b * gradient).unwrap()).unwrap().sum_all().unwrap();
            adam.accumulate(kernels::backward(&scalar).unwrap()).unwrap();
            assert_eq!(adam.not_finite().unwrap(), None);
            adam.step(rate).unwrap();
            assert_eq!(adam.not_finite().unwrap(), found, "gradient {gradient}, rate {rate}");
        }
    }
}
