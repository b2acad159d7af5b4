//! One training step on a bag of the paper's mean size, at full width, and what memory it takes.
//!
//! A binary of its own: the peak is that of the whole process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use candle_core::{DType, Device, Tensor};
use cf_model::kernels::Retention;
use cf_model::{BagTensors, CrossFusionConfig, ForwardCtx, ModelConfig, ParamStore};
use cf_train::adam::Adam;
use cf_train::memory::{BagSize, NumberBytes, StepMemory};
use cf_train::{environment, loss};
use survival_metrics::Status;

const GIB: u64 = 1 << 30;

/// As the programs have it.
#[global_allocator]
static ALLOCATOR: cf_model::kernels::TensorAllocator = cf_model::kernels::TensorAllocator::new();

/// Features without a pattern that a bug could hide behind: a hash of the index, in [-1, 1).
fn features(n: usize, d: usize, salt: u32) -> Tensor {
    let values: Vec<f32> = (0..(n * d) as u32)
        .map(|i| {
            (i.wrapping_mul(0x9e37_79b9) ^ salt).wrapping_mul(0x85eb_ca6b) as f32 / (1u64 << 31) as f32 - 1.0
        })
        .collect();
    Tensor::from_vec(values, (n, d), &Device::Cpu).unwrap()
}

#[test]
fn a_mean_size_bag_trains_one_step_within_2_gib() {
    let config = ModelConfig::Crossfusion(CrossFusionConfig::default());
    let store = ParamStore::seeded(7, DType::F32, &Device::Cpu);
    let model = config.build(2048, store.builder()).unwrap();
    let mut adam = Adam::new(&store, 4e-6).unwrap();
    let bag = BagTensors {
        x5: Some(features(895, 2048, 1)),
        x10: Some(features(3449, 2048, 2)),
        x20: Some(features(13_496, 2048, 3)),
        ..BagTensors::default()
    };
    let logits = |label: &str| {
        let output = model.forward(&bag, &mut ForwardCtx::train(7, label)).unwrap();
        (output.logit_values().unwrap(), output.values)
    };
    let (values, tensor) = logits("step");
    let before = loss::nll(values, 1, Status::Event, 0.2);
    let gradient =
        Tensor::from_slice(&before.gradient, 4, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
    let started = std::time::Instant::now();
    adam.accumulate((tensor * gradient).unwrap().sum_all().unwrap().backward().unwrap()).unwrap();
    adam.step(1e-4).unwrap();
    println!("backward and step: {:.1} s", started.elapsed().as_secs_f64());

    // The same dropout masks: only the weights have changed, downhill.
    let (values, _) = logits("step");
    let after = loss::nll(values, 1, Status::Event, 0.2);
    assert!(after.loss < before.loss, "the loss went from {} to {}", before.loss, after.loss);
    let peak = environment::peak_rss_bytes();
    println!("peak memory: {:.2} GiB", peak as f64 / GIB as f64);
    assert!(peak > GIB, "no measurement of memory: {peak}");
    assert!(peak < 2 * GIB, "{peak} bytes");

    let size = BagSize { x5: 895, x10: 3_449, x20: 13_496 };
    let forecast = StepMemory::predict(
        &config,
        config.n_parameters(2048).unwrap(),
        2048,
        size,
        NumberBytes::SINGLE,
        Retention::Keep,
    );
    // No bag is read ahead here.
    let predicted = forecast.peak_bytes() - forecast.read_ahead_bytes;
    println!("predicted: {:.2} GiB", predicted as f64 / GIB as f64);
    let ratio = predicted as f64 / peak as f64;
    assert!((0.75..=1.25).contains(&ratio), "predicted {predicted}, measured {peak}: {ratio:.2}");
}
