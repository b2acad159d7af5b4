//! Whole runs on a GPU against the same runs on the CPU. Fails where there is no GPU.
//!
//! `cargo test -p cf-train --features cuda --test cuda` where CUDA is, or the binary alone, which needs no Rust.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Tensor};
use cf_model::kernels::device::{self, DeviceName};
use cf_model::{BagTensors, ForwardCtx, ModelConfig, ModelName, ParamStore, kernels};
use cf_train::config::FeaturesConfig;
use cf_train::environment::Environment;
use cf_train::evaluate::{Prediction, read_predictions};
use cf_train::event::Event;
use cf_train::predict::{Target, gradients, predict};
use cf_train::simulate::{CohortKind, SimulateOptions, simulate};
use cf_train::{Error, Remedy, RunConfig, RunOptions, cross_validate, run_dir};
use survival_metrics::Status;
use wsi_bags::{BagStore, Magnification};

const CPU: DeviceName = DeviceName::Cpu;
const GPU: DeviceName = DeviceName::Cuda(0);

/// Columns of the features: not the model's, so that it has a layer for them.
const DIM: usize = 96;

/// One test at a time: the deterministic mode and the peak of memory are the process's.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(name: DeviceName) -> Device {
    name.open().expect("these tests need an NVIDIA GPU")
}

/// A simulated cohort, and the settings that its runs differ in from its `config.toml`: heads of 32 channels, which kernels on
/// a GPU are made for.
struct Study {
    dir: tempfile::TempDir,
}

impl Study {
    fn new(n_patients: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = SimulateOptions {
            n_patients,
            backbone_dim: DIM,
            scale: 0.004,
            ..SimulateOptions::new(dir.path().join("cohort"), CohortKind::Additive)
        };
        simulate(&options, &mut |_, _| {}).unwrap();
        Self { dir }
    }

    fn config(&self, more: &[(&str, &str)]) -> RunConfig {
        let settings = [("model.embed_dim", "64"), ("model.num_heads", "2"), ("training.max_epochs", "3")];
        let settings = settings.iter().chain(more);
        let settings: Vec<_> =
            settings.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        RunConfig::read(&self.dir.path().join("cohort/config.toml"), &settings).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Trains all folds on a device, from where an earlier session stopped if there was one.
    fn run(&self, run: &str, config: &RunConfig, name: DeviceName) -> (PathBuf, f64) {
        let run = self.path(run);
        let summary = cross_validate(config, &run, &how(name, run.is_dir()), &NEVER, &mut |_| {}).unwrap();
        (run, summary.c_index.mean.unwrap())
    }

    /// The same, stopped in the second epoch of the first fold.
    fn begin(&self, run: &str, config: &RunConfig, name: DeviceName) {
        let stop = AtomicBool::new(false);
        let mut epoch = 0;
        let mut observe = |event: Event| match event {
            Event::Epoch { epoch: begun, .. } => epoch = begun,
            Event::Bag { n_done: 5, .. } if epoch == 2 => stop.store(true, Ordering::Relaxed),
            _ => {}
        };
        let ended = cross_validate(config, &self.path(run), &how(name, false), &stop, &mut observe);
        assert!(matches!(ended, Err(Error::Interrupted { fold: 0, epoch: 2, .. })), "{ended:?}");
    }
}

static NEVER: AtomicBool = AtomicBool::new(false);

fn how(name: DeviceName, resume: bool) -> RunOptions {
    RunOptions { folds: Vec::new(), resume, device_name: name, device: open(name) }
}

/// Validation rows of all folds, last epoch.
fn predictions(run: &Path) -> Vec<Prediction> {
    read_predictions(run).unwrap().into_iter().flat_map(|fold| fold.last).collect()
}

const PREDICTIONS: [&str; 2] = ["predictions.csv", "predictions_train.csv"];

/// Files of the first two folds that must not differ between runs which are to be the same.
fn bytes(run: &Path) -> Vec<Vec<u8>> {
    bytes_of(run, &[&PREDICTIONS[..], &["last.safetensors", "best.safetensors"]].concat())
}

fn bytes_of(run: &Path, files: &[&str]) -> Vec<Vec<u8>> {
    let paths = [0, 1].into_iter().flat_map(|fold| files.iter().map(move |file| (fold, file)));
    paths.map(|(fold, file)| std::fs::read(run_dir::fold_dir(run, fold).join(file)).unwrap()).collect()
}

fn largest_difference(a: &[Prediction], b: &[Prediction]) -> f64 {
    assert!(!a.is_empty() && a.len() == b.len());
    let pairs = a.iter().zip(b);
    pairs
        .map(|(a, b)| {
            assert_eq!(a.slide_id, b.slide_id);
            (a.risk - b.risk).abs()
        })
        .fold(0.0, f64::max)
}

#[test]
fn a_run_agrees_with_the_cpu() {
    let _alone = alone();
    let study = Study::new(120);
    let config = study.config(&[]);
    let (cpu, c_index) = study.run("cpu", &config, CPU);
    let (gpu, on_gpu) = study.run("gpu", &config, GPU);
    assert!((c_index - on_gpu).abs() <= 0.01, "C-index {c_index} on the CPU, {on_gpu} on the GPU");
    // On the CPU, f32 and f64 differ by 2e-7 after these steps.
    let difference = largest_difference(&predictions(&cpu), &predictions(&gpu));
    assert!(difference < 1e-4, "risks differ by {difference}");
    let environment: Environment =
        serde_json::from_slice(&std::fs::read(gpu.join(run_dir::ENVIRONMENT)).unwrap()).unwrap();
    assert_eq!(environment.device, "cuda:0");
    assert!(environment.device_name.is_some_and(|name| !name.is_empty()));
    assert!(environment.device_driver.is_some_and(|driver| driver.contains("CUDA")));

    // On the CPU, rounded products move risks by at most 1e-3, and the risks of this cohort lie within 0.12.
    let (bf16, _) = study.run("bf16", &study.config(&[("training.precision", "bf16")]), GPU);
    let difference = largest_difference(&predictions(&cpu), &predictions(&bf16));
    assert!(difference > 0.0 && difference < 0.01, "risks differ by {difference} in bf16");
}

#[test]
fn a_run_repeats_and_resumes_to_the_same_bytes_in_deterministic_mode() {
    let _alone = alone();
    kernels::set_deterministic(true);
    let study = Study::new(40);
    for precision in ["f32", "bf16"] {
        let settings = [("training.precision", precision), ("model.attention_dropout", "0.2")];
        let config = study.config(&settings);
        let [first, again, parts] = ["first", "again", "parts"].map(|name| format!("{name}-{precision}"));
        let (first, _) = study.run(&first, &config, GPU);
        let (again, _) = study.run(&again, &config, GPU);
        assert!(bytes(&first) == bytes(&again), "{precision}: two runs differ");
        study.begin(&parts, &config, GPU);
        let (parts, _) = study.run(&parts, &config, GPU);
        assert!(bytes(&first) == bytes(&parts), "{precision}: the resumed run differs");
    }
    kernels::set_deterministic(false);
}

/// With a budget that holds no more than a training step, bags are read and copied in every epoch.
#[test]
fn bags_that_do_not_stay_on_the_gpu_give_the_same_predictions() {
    let _alone = alone();
    kernels::set_deterministic(true);
    let study = Study::new(12);
    for precision in ["f32", "bf16"] {
        let run = |name: &str, settings: &[(&str, &str)]| {
            let (mut step_bytes, mut n_staying, mut n_all) = (0, 0, 0);
            let mut observe = |event: Event| match event {
                Event::Memory { predicted_bytes, .. } => step_bytes = predicted_bytes,
                Event::Resident { n_resident, n_bags, .. } => (n_staying, n_all) = (n_resident, n_bags),
                _ => {}
            };
            let config = study.config(&[&[("training.precision", precision)], settings].concat());
            let run = study.path(&format!("{name}-{precision}"));
            cross_validate(&config, &run, &how(GPU, false), &NEVER, &mut observe).unwrap();
            (run, step_bytes, n_staying, n_all)
        };
        let (stay, step_bytes, n_staying, n_all) = run("stay", &[]);
        assert!(n_staying == n_all && n_all == 12, "{n_staying} of {n_all}");
        // A kilobyte more, which is less than a bag.
        let budget = format!("{} MiB", step_bytes as f64 / f64::from(1 << 20) + 0.001);
        let (read, _, n_staying, _) = run("read", &[("training.memory_budget", budget.as_str())]);
        assert_eq!(n_staying, 0);
        // Checkpoints hold a hash of all settings.
        assert!(bytes_of(&stay, &PREDICTIONS) == bytes_of(&read, &PREDICTIONS), "{precision}");
    }
    kernels::set_deterministic(false);
}

#[test]
fn a_run_goes_on_on_another_device() {
    let _alone = alone();
    let study = Study::new(40);
    let config = study.config(&[]);
    let (whole, _) = study.run("whole", &config, CPU);
    for (run, from, to) in [("to-gpu", CPU, GPU), ("to-cpu", GPU, CPU)] {
        study.begin(run, &config, from);
        let (run, _) = study.run(run, &config, to);
        let difference = largest_difference(&predictions(&whole), &predictions(&run));
        assert!(difference < 1e-4, "from {from} to {to}: risks differ by {difference}");
    }
}

#[test]
fn weights_of_a_run_on_either_device_predict_alike_on_both() {
    let _alone = alone();
    let study = Study::new(40);
    let features = study.path("cohort/bags");
    let slides = BagStore::open(&features, None, "simulated").unwrap().slide_ids().to_vec();
    let features = FeaturesConfig::of_directory(&features, None, "simulated");
    for (run, trained_on) in [("cpu", CPU), ("gpu", GPU)] {
        let (run, _) = study.run(run, &study.config(&[]), trained_on);
        let checkpoint = run_dir::fold_dir(&run, 0).join("best.safetensors");
        let target = |slide, device| Target {
            checkpoint: &checkpoint,
            model: ModelConfig::default_of(ModelName::Crossfusion),
            features: &features,
            slide,
            device,
        };
        let gpu = open(GPU);
        for slide in slides.iter().take(5) {
            let [cpu, gpu] =
                [Device::Cpu, gpu.clone()].map(|device| predict(&target(slide, device)).unwrap());
            for (a, b) in cpu.logits.unwrap().iter().zip(gpu.logits.unwrap()) {
                assert!((a - b).abs() < 1e-4 * a.abs().max(1.0), "{slide}: {a} on the CPU, {b} on the GPU");
            }
        }
        let [cpu, gpu] = [Device::Cpu, gpu]
            .map(|device| gradients(&target(&slides[0], device), 1, Status::Event).unwrap());
        assert!((cpu.loss - gpu.loss).abs() < 1e-4 * cpu.loss, "{} and {}", cpu.loss, gpu.loss);
        let largest = cpu.grad_norms.values().copied().fold(0.0, f64::max);
        for (name, norm) in &cpu.grad_norms {
            let difference = (norm - gpu.grad_norms[name]).abs();
            assert!(difference < 1e-3 * norm + 1e-6 * largest, "{name}: {norm} and {}", gpu.grad_norms[name]);
        }
    }
}

#[test]
fn features_rounded_before_and_in_the_first_layer_give_the_same_bytes() {
    let _alone = alone();
    kernels::set_deterministic(true);
    let study = Study::new(10);
    let config = study.config(&[]).model;
    let store = BagStore::open(&study.path("cohort/bags"), None, "simulated").unwrap();
    let bag = store.read(&store.slide_ids()[0], &Magnification::ALL).unwrap();
    let gpu = open(GPU);
    let features = BagTensors::from_bag(&bag, &gpu).unwrap();
    assert!(config.only_projects_features(DIM) && !config.only_projects_features(64));
    let pass = |features: &BagTensors| {
        let store = ParamStore::seeded(7, DType::BF16, &gpu);
        let model = config.build(DIM, store.builder()).unwrap();
        let output = model.forward(features, &mut ForwardCtx::train(7, "test")).unwrap();
        let (_, scalar) = output.training_loss(1.0, |logits| (0.0, logits.map(|z| 0.5 - z))).unwrap();
        let gradients = kernels::backward(&scalar).unwrap();
        let gradients = store.params().into_iter().filter_map(|(name, var)| {
            let gradient = gradients.get(&var)?.flatten_all().unwrap();
            Some((name, gradient.to_vec1::<f32>().unwrap()))
        });
        (output.logit_values().unwrap(), gradients.collect::<Vec<_>>())
    };
    let [before, within] =
        [features.to_dtype(DType::BF16).unwrap(), features].map(|features| pass(&features));
    kernels::set_deterministic(false);
    assert!(before.1.len() > 50 && before == within);
}

#[test]
fn double_precision_is_of_the_cpu() {
    let _alone = alone();
    let study = Study::new(10);
    let config = study.config(&[("training.precision", "f64")]);
    let ended = cross_validate(&config, &study.path("run"), &how(GPU, false), &NEVER, &mut |_| {});
    assert!(matches!(ended, Err(Error::PrecisionOfCpu { device: GPU })), "{ended:?}");
    assert!(!study.path("run").exists());
}

#[test]
fn memory_of_the_device_is_told_and_its_lack_recognised() {
    let _alone = alone();
    let gpu = open(GPU);
    let memory = device::memory(&gpu).unwrap().unwrap();
    assert!(memory.free_bytes > 1 << 30 && memory.free_bytes <= memory.total_bytes, "{memory:?}");
    let quarter = Tensor::zeros(1 << 26, DType::F32, &gpu).unwrap();
    device::synchronize(&gpu).unwrap();
    let less = device::memory(&gpu).unwrap().unwrap();
    assert!(memory.free_bytes - less.free_bytes >= 1 << 28, "{memory:?}, then {less:?}");
    assert!(device::peak_bytes(&gpu).unwrap().unwrap() >= 1 << 28);
    drop(quarter);
    device::reset_peak(&gpu).unwrap();
    assert!(device::peak_bytes(&gpu).unwrap().unwrap() < 1 << 28);

    let error = Tensor::zeros(memory.total_bytes as usize, DType::F32, &gpu).unwrap_err();
    assert!(device::is_out_of_memory(&error), "{error}");
    assert_eq!(Error::from(error).remedy(), Remedy::LessMemory);
    let text = DeviceName::Cuda(1_000).open().unwrap_err().to_string();
    assert!(text.contains("cuda:1000") && text.contains("GPU"), "{text}");
}
