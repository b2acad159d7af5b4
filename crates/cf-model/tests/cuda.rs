//! Every model on a GPU against the same model on the CPU: logits, gradients and dropout. Fails where there is no GPU.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "differences are read where they are near their tolerance"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Tensor};
use cf_model::{
    BagTensors, CrossFusionConfig, ForwardCtx, ModelConfig, ModelName, ParamStore, PatchFacts, Patches,
    ResidualForm, kernels, kernels::device::DeviceName, random,
};
use rand::Rng;
use wsi_bags::Magnification;

const DIM: usize = 96;
const SIDE: u32 = 256;

/// A lattice of `columns x rows` coarse patches, each with its four and sixteen children.
fn bag(columns: i64, rows: i64, device: &Device) -> BagTensors {
    let mut rng = random::stream(5, "cuda bag");
    let mut bag = BagTensors::default();
    let mut patches = Patches { slide_id: "slide-1".to_owned(), ..Patches::default() };
    for (at, per_side) in [(Magnification::X5, 1), (Magnification::X10, 2), (Magnification::X20, 4)] {
        let step = i64::from(4 * SIDE) / per_side;
        let row = |y: i64| (0..columns * per_side).map(move |x| [x * step, y * step]);
        let coords: Vec<[i64; 2]> = (0..rows * per_side).flat_map(row).collect();
        let n = coords.len();
        let values: Vec<f32> = (0..n * DIM).map(|_| rng.random_range(-1.0..1.0)).collect();
        let features =
            Some(Tensor::from_vec(values, (n, DIM), &Device::Cpu).unwrap().to_device(device).unwrap());
        let tissue = (at == Magnification::X20).then(|| (0..n).map(|i| (i % 5) as u8).collect());
        let facts = PatchFacts { coords: Some(coords), side: Some(step as u32), parents: None, tissue };
        match at {
            Magnification::X5 => (bag.x5, patches.x5) = (features, facts),
            Magnification::X10 => (bag.x10, patches.x10) = (features, facts),
            Magnification::X20 => (bag.x20, patches.x20) = (features, facts),
        }
    }
    BagTensors { patches: Arc::new(patches), ..bag }
}

/// Logits of a training pass, and the gradient of every parameter.
fn step(config: &ModelConfig, dtype: DType, device: &Device) -> (Vec<f64>, BTreeMap<String, Vec<f64>>) {
    let numbers = |tensor: &Tensor| -> Vec<f64> {
        let tensor = tensor.to_device(&Device::Cpu).unwrap().to_dtype(DType::F64).unwrap();
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    };
    let store = ParamStore::seeded(7, dtype, device);
    let model = config.build(DIM, store.builder()).unwrap();
    let output = model.forward(&bag(5, 3, device), &mut ForwardCtx::train(7, "cuda")).unwrap();
    let (_, scalar) = output.training_loss(1.0, |z| (0.0, z.map(|z| 0.5 - z))).unwrap();
    let grads = kernels::backward(&scalar).unwrap();
    let gradients = store.params().into_iter().filter_map(|(name, var)| {
        let grad = grads.get(&var)?;
        Some((name, numbers(grad)))
    });
    (numbers(&output.values), gradients.collect())
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}

/// The norm of the difference of all gradients over that of all gradients; each parameter's is printed where it is large.
fn gradient_error(
    name: ModelName,
    found: &BTreeMap<String, Vec<f64>>,
    wanted: &BTreeMap<String, Vec<f64>>,
    tolerance: f64,
) -> f64 {
    assert!(found.keys().eq(wanted.keys()), "{name}: the same parameters have gradients");
    let total = norm(wanted.values().flatten().copied());
    let mut difference = 0.0_f64;
    for (parameter, wanted) in wanted {
        let by = norm(found[parameter].iter().zip(wanted).map(|(f, w)| f - w));
        if by > tolerance * total {
            eprintln!("{name} {parameter}: {by:.2e} of {:.2e}", norm(wanted.iter().copied()));
        }
        difference = difference.hypot(by);
    }
    difference / total
}

static ONE: Mutex<()> = Mutex::new(());

fn agree(names: &[ModelName], dtype: DType, logit_tolerance: f64, gradient_tolerance: f64) {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let gpu = DeviceName::Cuda(0).open().expect("these tests need an NVIDIA GPU");
    let mut failed = Vec::new();
    for &name in names {
        let config = ModelConfig::default_of(name);
        let (wanted_logits, wanted) = step(&config, DType::F32, &Device::Cpu);
        let (logits, found) = step(&config, dtype, &gpu);
        let logit_error =
            norm(logits.iter().zip(&wanted_logits).map(|(f, w)| f - w)) / norm(wanted_logits.iter().copied());
        let gradient_error = gradient_error(name, &found, &wanted, gradient_tolerance);
        println!("{name} {dtype:?}: logits {logit_error:.2e}, gradients {gradient_error:.2e}");
        if !(logit_error <= logit_tolerance && gradient_error <= gradient_tolerance) {
            failed.push(format!("{name}: logits {logit_error:.2e}, gradients {gradient_error:.2e}"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn crossfusion_agrees_with_the_cpu_in_f32() {
    let of_the_paper: Vec<ModelName> =
        ModelName::ALL.into_iter().filter(|name| name.variant().is_some()).collect();
    agree(&of_the_paper, DType::F32, 1e-4, 1e-3);
}

#[test]
fn crossfusion_agrees_with_the_cpu_in_bf16() {
    let of_the_paper: Vec<ModelName> =
        ModelName::ALL.into_iter().filter(|name| name.variant().is_some()).collect();
    agree(&of_the_paper, DType::BF16, 3e-2, 5e-2);
}

/// In evaluation a GPU keeps nothing and works by rows; a frozen model has no parameters in f32 beside its operands. Where it looks is
/// the same, too.
#[test]
fn crossfusion_evaluates_and_freezes_to_the_numbers_of_the_cpu() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let gpu = DeviceName::Cuda(0).open().expect("these tests need an NVIDIA GPU");
    let narrow = CrossFusionConfig { embed_dim: 32, num_heads: 4, ..CrossFusionConfig::default() };
    let prenorm = CrossFusionConfig { residual: ResidualForm::Prenorm, ..CrossFusionConfig::default() };
    let of_the_paper = ModelName::ALL.into_iter().filter(|name| name.variant().is_some());
    let configs =
        of_the_paper.map(ModelConfig::default_of).chain([narrow, prenorm].map(ModelConfig::Crossfusion));
    for config in configs {
        let name = config.name();
        // Logits, and the attention of all maps.
        let numbers = |dtype, device: &Device, frozen: bool| -> [Vec<f64>; 2] {
            let store = ParamStore::seeded(7, dtype, device);
            let mut model = config.build(DIM, store.eval_builder()).unwrap();
            if frozen {
                model.freeze().unwrap();
            }
            drop(store);
            let bag = bag(5, 3, device);
            let output = model.forward(&bag, &mut ForwardCtx::eval()).unwrap();
            let maps = cf_model::attribute(model.as_ref(), &bag).unwrap().layers;
            assert!(!maps.is_empty());
            [output.logit_values().unwrap().to_vec(), maps.into_iter().flat_map(|map| map.scores).collect()]
        };
        let apart = |found: &[f64], wanted: &[f64]| {
            norm(found.iter().zip(wanted).map(|(f, w)| f - w)) / norm(wanted.iter().copied())
        };
        let wanted = numbers(DType::F32, &Device::Cpu, false);
        for (dtype, tolerance) in [(DType::F32, 1e-4), (DType::BF16, 3e-2)] {
            let [found, frozen] = [false, true].map(|frozen| numbers(dtype, &gpu, frozen));
            for (at, what) in ["logits", "maps"].into_iter().enumerate() {
                let (error, by_freezing) = (apart(&found[at], &wanted[at]), apart(&frozen[at], &found[at]));
                println!("{name} {dtype:?}: {what} {error:.2e}, by freezing {by_freezing:.2e}");
                assert!(error <= tolerance, "{name} {dtype:?}: {what} {error:.2e}");
                assert!(
                    by_freezing <= tolerance / 10.0,
                    "{name} {dtype:?}: {what} {by_freezing:.2e} by freezing"
                );
            }
        }
    }
}

#[test]
fn compared_methods_agree_with_the_cpu() {
    let compared: Vec<ModelName> =
        ModelName::ALL.into_iter().filter(|name| name.variant().is_none()).collect();
    agree(&compared, DType::F32, 1e-4, 1e-3);
}
