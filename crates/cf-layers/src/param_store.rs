//! The parameters of a model, by name and in order.
//!
//! Candle's own `VarMap` is a `HashMap` drawing from one unseeded generator. Here each parameter is drawn from the
//! stream (seed, its name), so its value does not depend on the order of construction, and iteration is by name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Error, Result, Shape, Tensor, Var};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use rand::Rng;
use rand_distr::StandardNormal;

use crate::kernels::device::stored_type;
use crate::random::stream;

/// Where a parameter that is asked for the first time comes from.
#[derive(Debug)]
enum Source {
    /// Drawn from the stream (seed, name).
    Seed(u64),
    /// Taken from these values; a name that is not there is an error.
    Values(BTreeMap<String, Tensor>),
}

/// An ordered store of named parameters; clones share it.
///
/// ```
/// use candle_core::{DType, Device};
/// use cf_layers::{ParamStore, init};
///
/// let store = ParamStore::seeded(7, DType::F32, &Device::Cpu);
/// store.builder().get_with_hints((2, 3), "head.weight", init::LINEAR_WEIGHT)?;
/// assert_eq!(store.n_parameters(), 6);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ParamStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    params: Mutex<BTreeMap<String, Var>>,
    source: Source,
    dtype: DType,
    device: Device,
}

impl ParamStore {
    /// A store whose parameters are drawn from streams of `seed` as a model asks for them.
    ///
    /// `dtype` is what models compute in. With bf16 the parameters, activations and gradients are f32 all the same, and
    /// matrix products are made in bf16 ([`crate::kernels::Compute`]).
    pub fn seeded(seed: u64, dtype: DType, device: &Device) -> Self {
        Self::from_source(Source::Seed(seed), dtype, device)
    }

    /// A store whose parameters are `values`; a model that asks for another name or shape gets an error.
    pub fn from_values(values: BTreeMap<String, Tensor>, dtype: DType, device: &Device) -> Self {
        Self::from_source(Source::Values(values), dtype, device)
    }

    fn from_source(source: Source, dtype: DType, device: &Device) -> Self {
        let inner = Inner { params: Mutex::new(BTreeMap::new()), source, dtype, device: device.clone() };
        Self { inner: Arc::new(inner) }
    }

    /// A builder whose parameters are trainable and recorded in this store.
    pub fn builder(&self) -> VarBuilder<'static> {
        self.builder_with(Tracking::Trainable)
    }

    /// A builder over the same memory whose tensors record no graph: for evaluation, where a graph would keep every
    /// intermediate alive. It sees every later update of the parameters.
    pub fn eval_builder(&self) -> VarBuilder<'static> {
        self.builder_with(Tracking::Detached)
    }

    fn builder_with(&self, tracking: Tracking) -> VarBuilder<'static> {
        let backend = StoreBackend { store: self.clone(), tracking };
        VarBuilder::from_backend(Box::new(backend), self.inner.dtype, self.inner.device.clone())
    }

    /// All parameters, ordered by name.
    pub fn params(&self) -> Vec<(String, Var)> {
        self.lock().iter().map(|(name, var)| (name.clone(), var.clone())).collect()
    }

    /// The number of scalars over all parameters.
    pub fn n_parameters(&self) -> usize {
        self.lock().values().map(|var| var.elem_count()).sum()
    }

    /// Overwrites every parameter with the tensor of its name.
    ///
    /// # Errors
    /// If a parameter has no value of its name, or one of another shape.
    pub fn assign(&self, values: &BTreeMap<String, Tensor>) -> Result<()> {
        for (name, var) in self.lock().iter() {
            let value = values.get(name).ok_or_else(|| missing(name))?;
            check_shape(name, value.shape(), var.shape())?;
            var.set(&value.to_dtype(var.dtype())?.to_device(var.device())?)?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Var>> {
        // A panic while the lock was held leaves the map whole: insertion is its only mutation.
        self.inner.params.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get_or_create(&self, name: &str, shape: &Shape, init: Init) -> Result<Var> {
        let mut params = self.lock();
        if let Some(var) = params.get(name) {
            check_shape(name, var.shape(), shape)?;
            return Ok(var.clone());
        }
        let value = match &self.inner.source {
            Source::Seed(seed) => draw(*seed, name, shape, init)?,
            Source::Values(values) => values.get(name).ok_or_else(|| missing(name))?.clone(),
        };
        check_shape(name, value.shape(), shape)?;
        // A copy, so that training never writes into memory that the caller still holds.
        let value = value.to_dtype(stored_type(self.inner.dtype))?.to_device(&self.inner.device)?.copy()?;
        let var = Var::from_tensor(&value)?;
        params.insert(name.to_owned(), var.clone());
        Ok(var)
    }
}

#[derive(Debug, Clone, Copy)]
enum Tracking {
    Trainable,
    Detached,
}

struct StoreBackend {
    store: ParamStore,
    tracking: Tracking,
}

impl SimpleBackend for StoreBackend {
    fn get(&self, shape: Shape, name: &str, init: Init, _: DType, _: &Device) -> Result<Tensor> {
        let var = self.store.get_or_create(name, &shape, init)?;
        Ok(match self.tracking {
            Tracking::Trainable => var.as_tensor().clone(),
            Tracking::Detached => var.as_detached_tensor(),
        })
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        Err(Error::Msg(format!("parameter `{name}` was asked for without a shape")))
    }

    fn contains_tensor(&self, name: &str) -> bool {
        match &self.store.inner.source {
            Source::Seed(_) => true,
            Source::Values(values) => values.contains_key(name),
        }
    }
}

fn draw(seed: u64, name: &str, shape: &Shape, init: Init) -> Result<Tensor> {
    let n = shape.elem_count();
    let values: Vec<f64> = match init {
        Init::Const(value) => vec![value; n],
        Init::Randn { mean, stdev } => {
            let mut rng = stream(seed, &format!("init/{name}"));
            (0..n).map(|_| mean + stdev * rng.sample::<f64, _>(StandardNormal)).collect()
        }
        Init::Uniform { lo, up } => {
            let mut rng = stream(seed, &format!("init/{name}"));
            (0..n).map(|_| rng.random_range(lo..up)).collect()
        }
        Init::Kaiming { .. } => {
            return Err(Error::Msg(format!("parameter `{name}`: give its spread instead of a Kaiming rule")));
        }
    };
    Tensor::from_vec(values, shape, &Device::Cpu)
}

fn missing(name: &str) -> Error {
    Error::CannotFindTensor { path: name.to_owned() }
}

fn check_shape(name: &str, found: &Shape, wanted: &Shape) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(Error::Msg(format!("parameter `{name}` has shape {:?}, expected {:?}", found.dims(), wanted.dims())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init;

    fn values(store: &ParamStore, name: &str) -> Vec<f32> {
        let (_, var) = store.params().into_iter().find(|(n, _)| n == name).unwrap();
        var.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn a_parameter_does_not_depend_on_the_order_of_construction() {
        let (a, b) = (
            ParamStore::seeded(7, DType::F32, &Device::Cpu),
            ParamStore::seeded(7, DType::F32, &Device::Cpu),
        );
        for name in ["x", "y"] {
            a.builder().get_with_hints((3, 4), name, init::LINEAR_WEIGHT).unwrap();
        }
        for name in ["y", "x"] {
            b.builder().get_with_hints((3, 4), name, init::LINEAR_WEIGHT).unwrap();
        }
        assert_eq!(values(&a, "x"), values(&b, "x"));
        assert_ne!(values(&a, "x"), values(&a, "y"));
    }

    #[test]
    fn draws_have_the_asked_spread() {
        let store = ParamStore::seeded(1, DType::F32, &Device::Cpu);
        store.builder().get_with_hints(40_000, "w", init::LINEAR_WEIGHT).unwrap();
        let w = values(&store, "w");
        let sd = (w.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / w.len() as f64).sqrt();
        // The standard error of a standard deviation from 40,000 draws is 0.35 %.
        assert!((sd / 0.02 - 1.0).abs() < 0.02, "sd {sd}");
    }

    #[test]
    fn the_eval_view_sees_updates_and_records_no_graph() {
        let store = ParamStore::seeded(1, DType::F32, &Device::Cpu);
        store.builder().get_with_hints(2, "w", init::ONE).unwrap();
        let view = store.eval_builder().get(2, "w").unwrap();
        store.params()[0].1.set(&Tensor::new(&[3f32, 4.0], &Device::Cpu).unwrap()).unwrap();
        assert_eq!(view.to_vec1::<f32>().unwrap(), [3.0, 4.0]);
        assert!(!view.sum_all().unwrap().track_op());
    }

    #[test]
    fn bf16_is_what_layers_are_told_and_f32_what_is_stored() {
        let store = ParamStore::seeded(1, DType::BF16, &Device::Cpu);
        let w = store.builder().get_with_hints(2, "w", init::ONE).unwrap();
        assert_eq!((w.dtype(), store.builder().dtype()), (DType::F32, DType::BF16));
    }

    #[test]
    fn a_missing_or_misshapen_value_is_named() {
        let values = BTreeMap::from([("w".to_owned(), Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap())]);
        let store = ParamStore::from_values(values, DType::F32, &Device::Cpu);
        let text = store.builder().get(3, "w").unwrap_err().to_string();
        assert!(text.contains("`w` has shape [2], expected [3]"), "{text}");
        assert!(store.builder().get(3, "v").unwrap_err().to_string().contains('v'));
    }
}
