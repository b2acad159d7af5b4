//! CrossFusion and its ablations at their published width (embed 512, four heads of 128, backbone 2048) against the PyTorch oracle,
//! with weights from a formula: logits, losses and the gradient of every parameter and input, in f64, f32 and bf16.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod formula;
mod oracle;

use std::sync::Arc;

use candle_core::{DType, Var};
use cf_model::{BagTensors, CrossFusionConfig, ForwardCtx, ModelConfig, ModelName, Patches, kernels};
use oracle::{fingerprint, flat, nll};
use serde_json::Value;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// How far a result may be from the oracle: logits absolutely, a gradient relative to its norm, and all gradients relative to the
/// largest, since what is zero in exact arithmetic is rounding of the others.
struct Tolerance {
    logits: f64,
    gradient: f64,
    floor: f64,
}

/// Products of bf16 keep eight bits.
fn tolerance(dtype: DType) -> Tolerance {
    match dtype {
        DType::F64 => Tolerance { logits: 1e-9, gradient: 1e-7, floor: 1e-10 },
        DType::F32 => Tolerance { logits: 1e-5, gradient: 1e-3, floor: 1e-6 },
        _ => Tolerance { logits: 3e-2, gradient: 5e-2, floor: 0.0 },
    }
}

fn compare(name: ModelName, dtype: DType) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/reference/full_width.json");
    let oracle: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let facts = &oracle["models"][name.as_str()];
    let mut settings = facts["config"].as_object().unwrap().clone();
    let dim = settings.remove("backbone_dim").unwrap().as_u64().unwrap() as usize;
    settings.retain(|key, _| key != "variant" && key != "n_bins");
    let settings: CrossFusionConfig = serde_json::from_value(settings.into()).unwrap();
    let config = ModelConfig::crossfusion(name.variant().unwrap(), settings);

    let store = formula::store(&config, dim, dtype);
    let model = config.build(dim, store.builder()).unwrap();
    assert_eq!(store.n_parameters() as u64, facts["parameters"].as_u64().unwrap());
    // Master weights and features of the bf16 tier are f32.
    let stored = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let input = |scale: &str| {
        let n = oracle["sizes"][scale].as_u64().unwrap() as usize;
        let values = formula::formula(&format!("input/{scale}"), &[n, dim]);
        Var::from_tensor(&values.to_dtype(stored).unwrap()).unwrap()
    };
    let inputs = ["x5", "x10", "x20"].map(|scale| (format!("input/{scale}"), input(scale)));
    let [x5, x10, x20] = [0, 1, 2].map(|at: usize| Some(inputs[at].1.as_tensor().clone()));
    let bag = BagTensors { x5, x10, x20, patches: Arc::new(Patches::default()) };

    let output = model.forward(&bag, &mut ForwardCtx::eval()).unwrap();
    let Tolerance { logits, gradient, floor } = tolerance(dtype);
    let what = format!("{name} {dtype:?}");
    for (found, wanted) in output.logit_values().unwrap().iter().zip(numbers(&facts["logits"])) {
        assert!((found - wanted).abs() < logits, "{what}: logit {found}, PyTorch {wanted}");
    }
    for (found, wanted) in output.survival().unwrap().iter().zip(numbers(&facts["survival"])) {
        assert!((found - wanted).abs() < logits, "{what}: survival {found}, PyTorch {wanted}");
    }
    assert!((output.risk().unwrap() - facts["risk"].as_f64().unwrap()).abs() < 4.0 * logits, "{what}: risk");
    for (target, bin, censored) in [("1_event", 1, false), ("3_censored", 3, true)] {
        let loss = nll(&output.values, bin, censored);
        let wanted = &facts["gradients"][target];
        assert!((flat(&loss)[0] - wanted["loss"].as_f64().unwrap()).abs() < logits.max(1e-5), "{what}: loss");
        let grads = kernels::backward(&loss).unwrap();
        let wanted = wanted["fingerprints"].as_object().unwrap();
        let largest = wanted.values().map(|norms| numbers(norms)[0]).fold(0.0, f64::max);
        let read = inputs.iter().filter(|(name, _)| wanted.contains_key(name)).cloned();
        let all: Vec<(String, Var)> = store.params().into_iter().chain(read).collect();
        assert_eq!(all.len(), wanted.len(), "{what}: other parameters than the oracle's");
        // Of bf16 the gradient as a whole is compared: single tensors are as noisy as their operands.
        let (mut deviation, mut norm) = (0.0, 0.0);
        for (parameter, var) in all {
            let wanted = numbers(&wanted[&parameter]);
            let found = fingerprint(&flat(grads.get(&var).unwrap()));
            let allowed = (gradient * wanted[0]).max(floor * largest);
            norm += wanted[0] * wanted[0];
            for (found, wanted) in found.iter().zip(&wanted) {
                let off = (found - wanted).abs();
                deviation += off * off;
                assert!(
                    dtype == DType::BF16 || off <= allowed,
                    "{what} {target} {parameter}: {found}, PyTorch {wanted}, allowed {allowed:.1e}"
                );
            }
        }
        let share = (deviation / norm).sqrt();
        assert!(share < gradient, "{what} {target}: gradients are off by {share:.1e} of their norm");
    }
}

/// CrossFusion and its two ablations.
const VARIANTS: [ModelName; 3] =
    [ModelName::Crossfusion, ModelName::CrossfusionWoCp, ModelName::CrossfusionWoFc];

#[test]
fn the_published_width_equals_the_oracle_in_f64() {
    VARIANTS.into_iter().for_each(|name| compare(name, DType::F64));
}

#[test]
fn the_published_width_equals_the_oracle_in_f32() {
    VARIANTS.into_iter().for_each(|name| compare(name, DType::F32));
}

#[test]
fn the_published_width_is_near_the_oracle_in_bf16() {
    VARIANTS.into_iter().for_each(|name| compare(name, DType::BF16));
}
