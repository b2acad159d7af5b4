//! `cf-train models`.

use cf_model::{ModelConfig, ModelName};
use cf_train::Error;
use serde::Serialize;
use wsi_bags::Magnification;

use super::{Failure, print, print_json};

/// List the models with their size and needs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cf-train models --backbone-dim 1536 --json")]
pub(super) struct Arguments {
    /// Columns of the features.
    #[arg(long, default_value_t = 2048, value_name = "D")]
    backbone_dim: usize,
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
    mean_bag_bytes: usize,
}

/// Patches of the paper's mean bag.
fn mean_patches(magnification: Magnification) -> usize {
    match magnification {
        Magnification::X5 => 895,
        Magnification::X10 => 3_449,
        Magnification::X20 => 13_496,
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let row = |name: ModelName| -> Result<Row, Error> {
        let config = ModelConfig::default_of(name);
        let magnifications = config.magnifications();
        let n_patches: usize = magnifications.iter().map(|&m| mean_patches(m)).sum();
        Ok(Row {
            name: name.as_str(),
            paper: name.paper(),
            magnifications: magnifications.iter().map(ToString::to_string).collect(),
            needs: vec!["features"],
            parameters: config.n_parameters(arguments.backbone_dim)?,
            mean_bag_bytes: n_patches * arguments.backbone_dim * size_of::<f32>(),
        })
    };
    let rows: Vec<Row> = ModelName::ALL.into_iter().map(row).collect::<Result<_, _>>()?;
    if arguments.json {
        return print_json(&rows);
    }
    print(&format!("{:<18} {:>11}  {:<11} {:>14}  paper", "model", "parameters", "reads", "mean bag (MiB)"));
    for row in rows {
        print(&format!(
            "{:<18} {:>11}  {:<11} {:>14}  {}",
            row.name,
            row.parameters,
            row.magnifications.join(" "),
            row.mean_bag_bytes >> 20,
            row.paper
        ));
    }
    Ok(())
}
