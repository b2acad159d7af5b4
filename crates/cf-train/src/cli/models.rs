//! `cf-train models`.

use cf_model::kernels::Retention;
use cf_model::{ModelConfig, ModelName};
use cf_train::Error;
use cf_train::memory::{BagSize, NumberBytes, StepMemory};
use serde::Serialize;

use super::{Failure, print, print_json};

/// List the models with their size and needs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cf-train models --backbone-dim 1536 --json")]
pub(super) struct Arguments {
    /// Columns of the features.
    #[arg(long, default_value_t = 2048, value_name = "D", value_parser = clap::value_parser!(u32).range(1..=MOST_COLUMNS))]
    backbone_dim: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    paper: &'static str,
    magnifications: Vec<String>,
    needs: Vec<&'static str>,
    parameters: usize,
    /// Features of a mean bag of the paper, in f32.
    mean_bag_bytes: u64,
    /// Predicted peak memory of a training step on that bag.
    mean_step_bytes: u64,
}

/// Columns of features at most: several times what any encoder makes.
const MOST_COLUMNS: i64 = 65_536;

/// Patches of the paper's mean bag.
const MEAN_BAG: BagSize = BagSize { x5: 895, x10: 3_449, x20: 13_496 };

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let row = |name: ModelName| -> Result<Row, Error> {
        let config = ModelConfig::default_of(name);
        let dim = arguments.backbone_dim as usize;
        let parameters = config.n_parameters(dim)?;
        let memory =
            StepMemory::predict(&config, parameters, dim, MEAN_BAG, NumberBytes::SINGLE, Retention::Keep);
        Ok(Row {
            name: name.as_str(),
            paper: name.paper(),
            magnifications: config.magnifications().iter().map(ToString::to_string).collect(),
            needs: std::iter::once("features")
                .chain(config.needs().iter().map(|need| need.as_str()))
                .collect(),
            parameters,
            mean_bag_bytes: memory.bag_bytes,
            mean_step_bytes: memory.peak_bytes(),
        })
    };
    let rows: Vec<Row> = ModelName::ALL.into_iter().map(row).collect::<Result<_, _>>()?;
    if arguments.json {
        return print_json(&rows);
    }
    print(&format!(
        "{:<18} {:>11}  {:<11} {:<38} {:>15}  paper",
        "model", "parameters", "reads", "needs", "mean step (MiB)"
    ));
    for row in rows {
        print(&format!(
            "{:<18} {:>11}  {:<11} {:<38} {:>15}  {}",
            row.name,
            row.parameters,
            row.magnifications.join(" "),
            row.needs.join(", "),
            row.mean_step_bytes >> 20,
            row.paper
        ));
    }
    Ok(())
}
