//! Counts the parameters that a model asks for, without allocating them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

/// Hands out tensors that take no memory, and counts what was asked for; clones count together.
#[derive(Clone, Default)]
pub(crate) struct ParameterCounter {
    n_parameters: Arc<AtomicUsize>,
}

impl ParameterCounter {
    /// A builder that counts here.
    pub(crate) fn builder(&self) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), DType::F32, Device::Cpu)
    }

    /// Scalars asked for.
    pub(crate) fn n_parameters(&self) -> usize {
        self.n_parameters.load(Ordering::Relaxed)
    }
}

impl SimpleBackend for ParameterCounter {
    fn get(
        &self,
        shape: Shape,
        _: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        self.n_parameters.fetch_add(shape.elem_count(), Ordering::Relaxed);
        Tensor::zeros((), dtype, device)?.broadcast_as(shape)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        Err(candle_core::Error::CannotFindTensor { path: name.to_owned() })
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}
