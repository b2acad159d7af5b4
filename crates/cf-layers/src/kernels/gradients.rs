//! Gradients of parameters that do not travel through the graph.
//!
//! Candle adds every gradient into an array of zeros, and its ops have at most three inputs. Ops leave the gradients of
//! parameters here instead, as they are made, for the [`backward`] that runs them.

use std::cell::RefCell;
use std::collections::HashMap;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, TensorId};

use super::adam::add_in_place;

thread_local! {
    /// Parameters and their gradients so far, while a [`backward`] runs on this thread.
    static LEFT: RefCell<Option<HashMap<TensorId, (Tensor, Tensor)>>> = const { RefCell::new(None) };
}

/// The gradient of `scalar` by every parameter ([`candle_core::Var`]) that it depends on: Candle's `backward`, on all devices.
/// Once for each forward pass: ops on a GPU give their memory back as it goes on.
///
/// # Errors
/// If `scalar` has no graph, an op in it has no backward, or one on a GPU went backward before.
pub fn backward(scalar: &Tensor) -> Result<GradStore> {
    /// Forgets what was left, also after an error.
    struct Scope;
    impl Drop for Scope {
        fn drop(&mut self) {
            LEFT.set(None);
        }
    }
    LEFT.set(Some(HashMap::new()));
    let scope = Scope;
    let mut store = scalar.backward()?;
    let left = LEFT.take().unwrap_or_default();
    drop(scope);
    for (parameter, gradient) in left.into_values() {
        if let Some(other) = store.remove(&parameter) {
            add_in_place(&gradient, &other)?;
        }
        store.insert(&parameter, gradient);
    }
    Ok(store)
}

/// Gives an argument its gradient, an array that nothing else refers to, where the graph wants it: a parameter's is left with
/// the others'.
pub(super) fn deliver(argument: &Tensor, gradient: Tensor) -> Result<Option<Tensor>> {
    if leave(argument, &gradient)? { Ok(None) } else { Ok(Some(gradient)) }
}

/// Takes the gradient of a parameter, an array that nothing else refers to. False if `argument` is no parameter, or no
/// [`backward`] of this module runs: then it belongs to the graph.
fn leave(argument: &Tensor, gradient: &Tensor) -> Result<bool> {
    if !argument.is_variable() {
        return Ok(false);
    }
    LEFT.with_borrow_mut(|left| {
        let Some(left) = left else {
            return Ok(false);
        };
        match left.get(&argument.id()) {
            Some((_, sum)) => add_in_place(sum, gradient)?,
            None => {
                left.insert(argument.id(), (argument.clone(), gradient.clone()));
            }
        }
        Ok(true)
    })
}

/// [`leave`] for a parameter that is no input of its op.
///
/// # Errors
/// If it is a tensor with a graph of its own, or Candle's `backward` runs instead of this module's.
#[cfg(feature = "cuda")]
pub(super) fn leave_of_captured(parameter: &Tensor, gradient: &Tensor) -> Result<()> {
    if !parameter.track_op() || leave(parameter, gradient)? {
        return Ok(());
    }
    Err(candle_core::Error::Msg(
        "the gradient of a layer's parameter has nowhere to go: on a GPU, parameters of attention and feed-forward layers must be \
         variables, and gradients come from `kernels::backward`"
            .to_owned(),
    ))
}
