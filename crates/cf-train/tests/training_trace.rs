//! Twenty optimiser steps against the PyTorch oracle: loss at every step, every parameter norm after it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it compared"
)]

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor};
use cf_model::{BagTensors, CrossFusionConfig, ForwardCtx, ModelConfig, ModelName, ParamStore};
use cf_train::adam::Adam;
use cf_train::loss;
use cf_train::protocol::Protocol;
use cf_train::schedule::Schedule;
use survival_metrics::Status;

const ACCUMULATION: usize = 4;

fn reference(file: &str) -> Vec<u8> {
    let path = format!("{}/../../fixtures/reference/{file}.safetensors", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

fn tensors(bytes: &[u8]) -> HashMap<String, Tensor> {
    candle_core::safetensors::load_buffer(bytes, &Device::Cpu).unwrap()
}

fn norm(tensor: &Tensor) -> f64 {
    let squares = tensor.to_dtype(DType::F64).unwrap().sqr().unwrap().sum_all().unwrap();
    squares.to_scalar::<f64>().unwrap().sqrt()
}

fn follow(variant: &str) {
    let trace_bytes = reference(&format!("training_trace_{variant}"));
    let trace = tensors(&trace_bytes);
    let (_, header) = safetensors::SafeTensors::read_metadata(&trace_bytes).unwrap();
    let mut config: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&header.metadata().as_ref().unwrap()["config"]).unwrap();
    let backbone_dim = config.remove("backbone_dim").unwrap().as_u64().unwrap() as usize;
    config.remove("n_bins");
    let name: ModelName = config.remove("variant").unwrap().as_str().unwrap().parse().unwrap();
    let settings: CrossFusionConfig = serde_json::from_value(config.into()).unwrap();
    assert_eq!((settings.dropout, settings.attention_dropout), (0.0, 0.0));

    let params: BTreeMap<String, Tensor> = tensors(&reference(variant))
        .into_iter()
        .filter_map(|(key, tensor)| Some((key.strip_prefix("param/")?.to_owned(), tensor)))
        .collect();
    let store = ParamStore::from_values(params, DType::F32, &Device::Cpu);
    let model = ModelConfig::crossfusion(name.variant().unwrap(), settings)
        .build(backbone_dim, store.builder())
        .unwrap();
    let mut adam = Adam::new(&store, 4e-6).unwrap();

    let bag = |index: i64| {
        let get = |scale: &str| Some(trace[&format!("bag/{index}/{scale}")].clone());
        BagTensors { x5: get("x5"), x10: get("x10"), x20: get("x20"), ..BagTensors::default() }
    };
    let targets: Vec<Vec<i64>> = trace["target"].to_vec2().unwrap();
    let order: Vec<Vec<i64>> = trace["order"].to_vec2().unwrap();
    let losses: Vec<f64> = trace["loss"].to_vec1().unwrap();
    let rates: Vec<f64> = trace["learning_rate"].to_vec1().unwrap();
    let logits = |index: i64, step: usize| {
        let mut ctx = ForwardCtx::train(7, &format!("trace {step}"));
        let output = model.forward(&bag(index), &mut ctx).unwrap();
        (output.logit_values().unwrap(), output.values)
    };
    let mut n_norms = 0;
    for (step, group) in order.iter().enumerate() {
        let mut total = 0.0;
        for &index in group {
            let [bin, censored] = <[i64; 2]>::try_from(targets[index as usize].as_slice()).unwrap();
            let status = if censored == 1 { Status::Censored } else { Status::Event };
            let (values, tensor) = logits(index, step);
            let at = loss::nll(values, bin as usize, status, 0.2);
            total += at.loss;
            let gradient = at.gradient.map(|g| (g / ACCUMULATION as f64) as f32);
            let gradient = Tensor::from_slice(&gradient, 4, &Device::Cpu).unwrap();
            adam.accumulate((tensor * gradient).unwrap().sum_all().unwrap().backward().unwrap()).unwrap();
        }
        assert_eq!(adam.n_bags(), ACCUMULATION);
        let (found, wanted) = (total / ACCUMULATION as f64, losses[step]);
        assert!(
            (found - wanted).abs() <= 1e-4 * wanted,
            "{variant} step {step}: loss {found}, oracle {wanted}"
        );
        adam.step(rates[step]).unwrap();
        for (name, var) in store.params() {
            // Their gradient is rounding noise, which Adam scales up to full steps.
            if name.ends_with("k_proj.bias") {
                continue;
            }
            let wanted: Vec<f64> = trace[&format!("norm/{name}")].to_vec1().unwrap();
            let (found, wanted) = (norm(&var), wanted[step]);
            assert!(
                (found - wanted).abs() <= 1e-4 * wanted,
                "{variant} step {step}: norm of {name} {found}, oracle {wanted}"
            );
            n_norms += 1;
        }
    }
    let final_logits: Vec<Vec<f64>> = trace["final_logits"].to_vec2().unwrap();
    for (index, wanted) in final_logits.iter().enumerate() {
        for (found, wanted) in logits(index as i64, 20).0.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-3, "{variant} bag {index}: logit {found}, oracle {wanted}");
        }
    }
    println!("{variant}: 20 losses and {n_norms} parameter norms compared");
    assert!(n_norms >= 20 * 50, "only {n_norms} norms");
}

#[test]
fn crossfusion_follows_the_oracle_for_twenty_steps() {
    follow("crossfusion");
}

#[test]
fn without_the_conv_processor_it_follows_the_oracle_too() {
    follow("crossfusion-wo-cp");
}

#[test]
fn without_context_scales_it_follows_the_oracle_too() {
    follow("crossfusion-wo-fc");
}

#[test]
fn the_sound_schedule_is_the_oracle_s() {
    let rates: Vec<f64> =
        tensors(&reference("training_trace_crossfusion-wo-cp"))["learning_rate"].to_vec1().unwrap();
    let peak = rates.iter().copied().fold(0.0, f64::max);
    let schedule = Schedule::new(Protocol::Sound, peak, rates.len());
    for (step, &wanted) in rates.iter().enumerate() {
        let found = schedule.rate(0, step);
        assert!((found - wanted).abs() <= 1e-12 * peak, "step {step}: {found}, oracle {wanted}");
    }
    assert!(rates.windows(2).any(|pair| pair[0] < pair[1]) && rates.windows(2).any(|pair| pair[0] > pair[1]));
}
