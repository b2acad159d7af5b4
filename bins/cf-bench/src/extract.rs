//! From a slide to features: all of it, or reading and resizing alone.

use std::path::{Path, PathBuf};
use std::time::Instant;

use cf_train::environment;
use patch_encoders::{DeviceName, Encoder, EncoderName, RgbImage};
use serde_json::json;
use wsi_bags::native;
use wsi_features::{ExtractOptions, PatchEncoder, extract};
use wsi_slides::ResolutionOverride;
use wsi_slides::render::{Base, RenderOptions, Signal, render};

use crate::timing::median;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The slide; drawn if it is not there. Its patches are written beside it as a bag, for the peer to read the same.
    slide: PathBuf,
    /// Cells of tissue of a slide that is drawn: 21 patches each.
    #[arg(long, default_value_t = 16)]
    cells: u32,
    /// Magnification of its level 0: 20 or 40.
    #[arg(long, default_value = "40", value_parser = ["20", "40"])]
    base: String,
    /// A file of ResNet50's weights; without one, patches are read and resized, and nothing is computed of them.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Timed repetitions after the first; with 0 the first is what counts.
    #[arg(long, default_value_t = 3)]
    repeats: usize,
}

/// Looks at nothing: what is left is reading and resizing.
struct NoEncoder;

impl PatchEncoder for NoEncoder {
    fn name(&self) -> &str {
        "none"
    }

    fn patch_side(&self) -> usize {
        256
    }

    fn feature_dim(&self) -> usize {
        1
    }

    fn encode(&self, patches: &[RgbImage]) -> patch_encoders::Result<Vec<f32>> {
        Ok(vec![0.0; patches.len()])
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let slide = &arguments.slide;
    if !slide.is_file() {
        let base = if arguments.base == "20" { Base::X20 } else { Base::X40 };
        let signal = Signal::Additive([0.0; 3]);
        render(slide, &RenderOptions { seed: 7, n_cells: arguments.cells, base, signal })?;
    }
    let encoder: Box<dyn PatchEncoder> = match &arguments.weights {
        None => Box::new(NoEncoder),
        Some(path) => Box::new(Encoder::open_on(DeviceName::Cpu, EncoderName::Resnet50, Some(path))?),
    };
    let (mut seconds, mut n_patches) = (Vec::new(), 0);
    for _ in 0..=arguments.repeats {
        let started = Instant::now();
        let options = ExtractOptions::default();
        let (given, scratch) = (ResolutionOverride::default(), slide.parent().unwrap_or(Path::new(".")));
        let extracted = extract(slide, given, encoder.as_ref(), &options, scratch, &|_| {})?;
        seconds.push(started.elapsed().as_secs_f64());
        n_patches = extracted.bag.sets().map(|(_, set)| set.n_patches()).sum();
        native::write(&slide.with_extension("h5"), &extracted.bag, encoder.name(), &extracted.info)?;
    }
    if arguments.repeats > 0 {
        seconds.remove(0);
    }
    Ok(json!({
        "seconds": median(&seconds),
        "patches": n_patches,
        "peak_rss_bytes": environment::peak_rss_bytes(),
    }))
}
