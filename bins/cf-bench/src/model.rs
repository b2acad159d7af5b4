//! The whole model on bags of the paper's sizes.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use cf_model::kernels::Retention;
use cf_model::kernels::device::{self, DeviceName};
use cf_model::{BagTensors, ForwardCtx, ModelConfig, ModelName, ParamStore, SurvivalModel};
use cf_train::adam::Adam;
use cf_train::{environment, loss};
use serde_json::json;
use survival_metrics::Status;

use crate::lattice;
use crate::timing::{fastest, median, timed};

/// Width of the full ResNet50's features.
pub(crate) const BACKBONE_DIM: usize = 2048;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// `{mean,tenth,largest}/{train,infer}/{f32,bf16}[/published]`; `/published` keeps attention dropout 0.2.
    case: String,
    /// The model, with its settings by default.
    #[arg(long, value_name = "NAME", default_value = "crossfusion")]
    model: ModelName,
    /// Make again in the backward pass what would otherwise be kept for it; always so for the largest bag.
    #[arg(long)]
    recompute: bool,
    /// Device to compute on.
    #[arg(long, value_name = "cpu|cuda:N", default_value_t)]
    device: DeviceName,
    /// Timed repetitions after one that is not timed.
    #[arg(long, default_value_t = 3)]
    repeats: usize,
}

/// Patches at 5x, 10x and 20x of a bag of the paper's.
pub(crate) fn sizes_of(size: &str) -> Result<[usize; 3], String> {
    match size {
        "mean" => Ok([895, 3_449, 13_496]),
        "tenth" => Ok([90, 345, 1_350]),
        "largest" => Ok([9_000, 35_000, 137_990]),
        other => Err(format!("size `{other}`, expected mean, tenth or largest")),
    }
}

struct Case {
    /// Patches at 5x, 10x and 20x.
    sizes: [usize; 3],
    trains: bool,
    /// What the model computes in.
    dtype: DType,
    attention_dropout: f64,
}

impl Case {
    fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let (parts, published) = match parts.as_slice() {
            [parts @ .., "published"] => (parts, true),
            parts => (parts, false),
        };
        let &[size, work, precision] = parts else {
            return Err(format!(
                "case `{text}` is not of the form {{mean,tenth,largest}}/{{train,infer}}/{{f32,bf16}}[/published]"
            ));
        };
        let sizes = sizes_of(size)?;
        let trains = match work {
            "train" => true,
            "infer" => false,
            other => return Err(format!("work `{other}`, expected train or infer")),
        };
        let dtype = match precision {
            "f32" => DType::F32,
            "bf16" => DType::BF16,
            other => return Err(format!("precision `{other}`, expected f32 or bf16")),
        };
        Ok(Self { sizes, trains, dtype, attention_dropout: if published { 0.2 } else { 0.0 } })
    }
}

/// Features without a pattern: a hash of the index, in [-1, 1).
fn features(n: usize, salt: u32, device: &Device) -> candle_core::Result<Tensor> {
    let values: Vec<f32> = (0..(n * BACKBONE_DIM) as u32)
        .map(|i| {
            (i.wrapping_mul(0x9e37_79b9) ^ salt).wrapping_mul(0x85eb_ca6b) as f32 / (1u64 << 31) as f32 - 1.0
        })
        .collect();
    Tensor::from_vec(values, (n, BACKBONE_DIM), device)
}

pub(crate) fn run(arguments: &Arguments) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let case = Case::parse(&arguments.case)?;
    let mut config = ModelConfig::default_of(arguments.model);
    if let ModelConfig::Crossfusion(settings)
    | ModelConfig::CrossfusionWoCp(settings)
    | ModelConfig::CrossfusionWoFc(settings) = &mut config
    {
        settings.attention_dropout = case.attention_dropout;
    }
    let device = arguments.device.open()?;
    let store = ParamStore::seeded(7, case.dtype, &device);
    // As `cf-train` keeps them.
    let dtype = config.feature_type(BACKBONE_DIM, &device, case.dtype);
    let [x5, x10, x20] =
        [0, 1, 2].map(|level| features(case.sizes[level], level as u32 + 1, &device)?.to_dtype(dtype));
    let patches = Arc::new(lattice::patches(case.sizes));
    let bag = BagTensors { x5: Some(x5?), x10: Some(x10?), x20: Some(x20?), patches };
    let builder = if case.trains { store.builder() } else { store.eval_builder() };
    let mut model = config.build(BACKBONE_DIM, builder)?;
    let mut optimiser = match case.trains {
        true => Some(Adam::new(&store, 4e-6)?.without(|name| config.is_dead(name))),
        false => {
            model.freeze()?;
            None
        }
    };
    drop(store);
    let mut seconds = Vec::new();
    // On a GPU what is made again costs a thirtieth of a step.
    let recompute = arguments.recompute || arguments.case.starts_with("largest") || device.is_cuda();
    let retention = if recompute { Retention::Recompute } else { Retention::Keep };
    device::reset_peak(&device)?;
    for repeat in 0..=arguments.repeats {
        let pass = || -> Result<(), Box<dyn std::error::Error>> {
            match &mut optimiser {
                Some(adam) => train(model.as_ref(), &bag, adam, (repeat, retention))?,
                None => {
                    model.forward(&bag, &mut ForwardCtx::eval())?.logit_values()?;
                }
            }
            Ok(())
        };
        seconds.push(timed(&device, pass)?.1);
    }
    let first = seconds.remove(0);
    Ok(json!({
        "case": arguments.case,
        "seconds": median(&seconds).unwrap_or(first),
        "fastest_seconds": fastest(&seconds).unwrap_or(first),
        "first_seconds": first,
        "peak_rss_bytes": environment::peak_rss_bytes(),
        "device": device::description(&device)?.map_or_else(|| arguments.device.to_string(), |gpu| gpu.name),
        "peak_device_bytes": device::peak_bytes(&device)?,
    }))
}

fn train(
    model: &dyn SurvivalModel,
    bag: &BagTensors,
    adam: &mut Adam,
    (repeat, retention): (usize, Retention),
) -> Result<(), Box<dyn std::error::Error>> {
    let mut ctx = ForwardCtx::train(7, &format!("bench {repeat}")).with_retention(retention);
    let output = model.forward(bag, &mut ctx)?;
    let (_, scalar) = output.training_loss(1.0, |logits| {
        let at = loss::nll(logits, 1, Status::Event, 0.2);
        (at.loss, at.gradient)
    })?;
    adam.accumulate(cf_model::kernels::backward(&scalar)?)?;
    adam.step(1e-4)?;
    Ok(())
}
