//! `cf-train predict` and `cf-train grad`.

use std::path::PathBuf;

use cf_model::ModelName;
use cf_train::config::FeaturesConfig;
use cf_train::held_out;
use cf_train::predict::{self, Target};
use survival_metrics::Status;
use wsi_bags::Layout;

use super::device::DeviceArgument;
use super::{Failure, print, print_json};

/// Which slide, through which checkpoint.
#[derive(Debug, clap::Args)]
struct TargetArguments {
    /// Weights: our safetensors, or a released PyTorch state dict.
    #[arg(long, value_name = "FILE.{safetensors,pt}")]
    checkpoint: PathBuf,
    /// The model that the weights are of; `cf-train models` lists them.
    #[arg(long, value_name = "NAME")]
    model: ModelName,
    /// Settings (TOML) that a released checkpoint's shapes cannot tell, such as num_heads. The paper's by default.
    #[arg(long, value_name = "FILE.toml")]
    model_config: Option<PathBuf>,
    /// Directory of bags.
    #[arg(long, value_name = "DIR")]
    features: PathBuf,
    /// Layout of the directory, such as crossfusion, native, clam or trident; detected when left out.
    #[arg(long, value_name = "NAME")]
    layout: Option<Layout>,
    /// Encoder whose features are read.
    #[arg(long, value_name = "NAME")]
    backbone: String,
    /// The slide, with or without its extension.
    #[arg(long, value_name = "ID")]
    slide: String,
    #[command(flatten)]
    device: DeviceArgument,
}

/// Predict the survival curve of one slide.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cf-train predict --checkpoint runs/blca/fold_0/best.safetensors --model crossfusion \
                        --features features/blca --backbone resnet50 --slide TCGA-2F-A9KO-01Z-00-DX1 --json"
)]
pub(super) struct PredictArguments {
    #[command(flatten)]
    target: TargetArguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Gradient norms of one slide's loss, as JSON.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("status").required(true),
    after_help = "Example:\n  cf-train grad --checkpoint crossfusion.pt --model crossfusion --features features/blca \
                  --backbone resnet50 --slide TCGA-2F-A9KO-01Z-00-DX1 --time-bin 1 --event"
)]
pub(super) struct GradArguments {
    #[command(flatten)]
    target: TargetArguments,
    /// Time bin of the outcome, 0 to 3.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u8).range(0..4))]
    time_bin: u8,
    /// The outcome is an event.
    #[arg(long, group = "status")]
    event: bool,
    /// The outcome is a censoring.
    #[arg(long, group = "status")]
    censored: bool,
    /// Print JSON (the only form there is).
    #[arg(long)]
    json: bool,
}

impl TargetArguments {
    fn features(&self) -> FeaturesConfig {
        FeaturesConfig::of_directory(&self.features, self.layout, &self.backbone)
    }

    fn target<'a>(&'a self, features: &'a FeaturesConfig) -> Result<Target<'a>, Failure> {
        Ok(Target {
            checkpoint: &self.checkpoint,
            model: predict::model_config(self.model, self.model_config.as_deref())?,
            features,
            slide: &self.slide,
            device: self.device.open()?,
        })
    }
}

pub(super) fn run(arguments: &PredictArguments) -> Result<(), Failure> {
    let prediction = predict::predict(&arguments.target.target(&arguments.target.features())?)?;
    if let Some(reason) = held_out::no_survival(&arguments.target.checkpoint) {
        tracing::warn!(
            "the checkpoint's run says nothing of hazards and survival, only whose risk is higher: {reason}"
        );
    }
    if arguments.json {
        return print_json(&prediction);
    }
    print(&format!("slide {}", prediction.slide));
    let range = if prediction.risk_is_of_survival() { "; between -4 and 0" } else { "; the log risk" };
    print(&format!("risk  {:.6} (higher is worse{range})", prediction.risk));
    let edges = prediction.time_bin_edges_months.as_deref().unwrap_or_default();
    let months = if edges.is_empty() { "" } else { "  months" };
    print(&format!("{:<5} {:>10} {:>10} {:>10}{months}", "bin", "logit", "hazard", "survival"));
    for (bin, (hazard, survival)) in prediction.hazards.iter().zip(&prediction.survival).enumerate() {
        let logit = prediction.logits.map_or_else(|| "-".to_owned(), |logits| format!("{:.6}", logits[bin]));
        let months = match (edges.get(bin), edges.get(bin + 1)) {
            // The first begins just below the first time.
            (Some(from), Some(to)) => format!("  {:.1} to {to:.1}", from.max(0.0)),
            _ => String::new(),
        };
        print(&format!("{bin:<5} {logit:>10} {hazard:>10.6} {survival:>10.6}{months}"));
    }
    Ok(())
}

pub(super) fn run_gradients(arguments: &GradArguments) -> Result<(), Failure> {
    let status = if arguments.event { Status::Event } else { Status::Censored };
    let gradients = predict::gradients(
        &arguments.target.target(&arguments.target.features())?,
        arguments.time_bin.into(),
        status,
    )?;
    print_json(&gradients)
}
