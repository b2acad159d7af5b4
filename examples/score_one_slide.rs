//! The survival curve of one slide from a trained checkpoint.
//!
//! ```text
//! cargo run --release -p examples --bin train_tiny_cohort
//! cargo run --release -p examples --bin score_one_slide
//! cargo run --release -p examples --bin score_one_slide -- CHECKPOINT FEATURES BACKBONE SLIDE
//! ```

use std::error::Error;
use std::path::PathBuf;

use candle_core::Device;
use cf_model::weights::Checkpoint;
use cf_model::{BagTensors, ForwardCtx, ModelConfig, ModelName};
use wsi_bags::BagStore;

#[expect(clippy::print_stdout, reason = "a program that prints its result")]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (checkpoint, features, backbone, slide): (PathBuf, PathBuf, &str, Option<&str>) =
        match arguments.as_slice() {
            [] => {
                let checkpoint = "tiny_cohort/run/fold_0/best.safetensors".into();
                (checkpoint, "tiny_cohort/cohort/bags".into(), "simulated", None)
            }
            [checkpoint, features, backbone, slide] => {
                (checkpoint.into(), features.into(), backbone.as_str(), Some(slide.as_str()))
            }
            _ => return Err("expected: score_one_slide [CHECKPOINT FEATURES BACKBONE SLIDE]".into()),
        };

    // Our checkpoints say what model they hold; of a released state dict the shapes do, and this default tells the rest.
    let checkpoint = Checkpoint::read(&checkpoint)?;
    let fallback = ModelConfig::default_of(ModelName::Crossfusion);
    let (config, backbone_dim) = checkpoint.describe(fallback.name(), &fallback)?;
    let (_, model) = checkpoint.build(&config, backbone_dim, &Device::Cpu)?;

    let store = BagStore::open(&features, None, backbone)?;
    let slide = match slide {
        Some(slide) => slide.to_owned(),
        None => store.slide_ids().first().ok_or("no slide in the folder")?.clone(),
    };
    let bag = store.read(&slide, model.magnifications())?;
    let bag = BagTensors::from_bag(&bag, &Device::Cpu)?;
    let output = model.forward(&bag, &mut ForwardCtx::eval())?;
    let distribution = output.distribution()?;

    println!("{} on {slide}", config.name());
    for (bin, survival) in distribution.survival.iter().enumerate() {
        println!("survives time bin {bin} with probability {survival:.3}");
    }
    println!("risk {:.3} (higher is worse, from -4 to 0)", distribution.risk());
    Ok(())
}
