//! Weights and inputs from the formula of `fixtures/generate/baselines/shared.py` and `fixtures/generate/full_width.py`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use cf_model::{ModelConfig, ParamStore};

/// The f32 values of the tensor `name`.
pub(crate) fn formula(name: &str, shape: &[usize]) -> Tensor {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let per_row: usize = shape.iter().skip(1).product();
    let is_given = name.starts_with("input/") || name.starts_with("noise/");
    let is_half =
        ["cls_token", "log_spread", "directions", "scale_embeddings"].iter().any(|end| name.ends_with(end));
    let (centre, scale) = if is_given {
        (0.0, 1.0)
    } else if name.ends_with(".bias") {
        (0.0, 0.1)
    } else if name.ends_with(".alpha") {
        (0.01, 0.005)
    } else if shape.len() == 1 {
        (1.0, 0.2)
    } else if is_half {
        (0.0, 0.5)
    } else {
        (0.0, (3.0 / per_row as f64).sqrt())
    };
    let value = |index: u64| {
        let mut s = hash.wrapping_add((index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        s = (s ^ (s >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        s = (s ^ (s >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        s ^= s >> 31;
        (centre + scale * (2.0 * ((s >> 11) as f64 * 2f64.powi(-53)) - 1.0)) as f32
    };
    let values: Vec<f32> = (0..shape.iter().product::<usize>() as u64).map(value).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// A store with every parameter of `config` from the formula.
pub(crate) fn store(config: &ModelConfig, dim: usize, dtype: DType) -> ParamStore {
    let shapes = Shapes::default();
    let backend = VarBuilder::from_backend(Box::new(shapes.clone()), DType::F32, Device::Cpu);
    config.build(dim, backend).unwrap();
    let shapes = shapes.0.lock().unwrap();
    let values: BTreeMap<String, Tensor> =
        shapes.iter().map(|(name, shape)| (name.clone(), formula(name, shape.dims()))).collect();
    ParamStore::from_values(values, dtype, &Device::Cpu)
}

/// Notes which parameters a model asks for, and hands out tensors that take no memory.
#[derive(Clone, Default)]
struct Shapes(Arc<Mutex<BTreeMap<String, Shape>>>);

impl SimpleBackend for Shapes {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        self.0.lock().unwrap().insert(name.to_owned(), shape.clone());
        Tensor::zeros((), dtype, device)?.broadcast_as(shape)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        Err(candle_core::Error::CannotFindTensor { path: name.to_owned() })
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}
