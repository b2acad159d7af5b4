//! `cf-heatmap serve`: a run in a browser on the same machine.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use cf_model::ModelConfig;
use cf_model::kernels::device::DeviceName;
use cf_report::PredictionRow;
use cf_train::RunConfig;
use cf_train::config::FeaturesConfig;
use cf_train::predict::{AttributionOptions, Target, attribute};
use cf_train::run_dir::{CONFIG, fold_dir, fold_files};
use cf_viewer::heat_layers;
use cf_viewer::serve::{HeatSource, SlideHeat, Study, serve};
use wsi_features::SlideList;

use crate::args::ServeArguments;
use crate::chosen_model::bags_of_run;
use crate::error::CliError;
use crate::output::print;

/// As shells tell a process that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Makes a slide's heatmaps through the checkpoint that did not see it in training.
struct RunHeat {
    run: PathBuf,
    model: ModelConfig,
    features: FeaturesConfig,
    device: DeviceName,
}

impl RunHeat {
    fn layers(&self, prediction: &PredictionRow) -> Result<SlideHeat, CliError> {
        let target = Target {
            checkpoint: &fold_dir(&self.run, prediction.fold).join(fold_files::BEST),
            model: self.model.clone(),
            features: &self.features,
            slide: &prediction.slide_id,
            device: self.device.open().map_err(|error| CliError::Device(error.to_string()))?,
        };
        let found = attribute(&target, AttributionOptions::default())?;
        Ok(SlideHeat { info: found.info, layers: heat_layers(&found.bag, &found.layers)? })
    }
}

impl HeatSource for RunHeat {
    fn heat(&self, prediction: &PredictionRow) -> Result<SlideHeat, String> {
        let heat = self.layers(prediction).map_err(|error| error.to_string())?;
        if heat.layers.is_empty() {
            return Err(format!("{} has no attention to its patches", self.model.name()));
        }
        Ok(heat)
    }
}

pub(crate) fn run(arguments: &ServeArguments, quiet: bool) -> Result<(), CliError> {
    let mut report = cf_train::report::collect(&arguments.run)?;
    let config = RunConfig::read(&arguments.run.join(CONFIG), &[])?;
    if config.no_survival().is_some() {
        report.predictions.iter_mut().for_each(|row| row.survival.clear());
    }
    let (features, bags) = bags_of_run(config.features, arguments.features.as_deref(), arguments.layout)?;
    let slide_files = arguments.slides.as_deref().map(slide_files).transpose()?.unwrap_or_default();
    let n_slides = report.predictions.len();
    let n_bags = report.predictions.iter().filter(|row| bags.listed_as(&row.slide_id).is_some()).count();
    let n_files = report.predictions.iter().filter(|row| slide_files.contains_key(&row.slide_id)).count();
    let heat =
        RunHeat { run: arguments.run.clone(), model: config.model, features, device: arguments.device };
    let study = Study {
        title: report.title,
        predictions: report.predictions,
        risk_cut: report.risk_cut,
        time_bins: report.folds.into_iter().map(|fold| (fold.fold, fold.time_bin_edges_months)).collect(),
        slide_files,
        heat: Box::new(heat),
    };
    let ready = |address: SocketAddr| {
        // The address is all that a program that starts this one needs.
        let mut text = format!("http://{address}/\n");
        if !quiet {
            text.push_str(&format!(
                "Of {n_slides} slides, {n_bags} have features and {n_files} a slide file. Ctrl-C ends.\n"
            ));
        }
        let _ = print(&text);
    };
    let stop = async {
        interrupt().await;
        // Who presses it again does not wait for what is under way.
        tokio::spawn(async {
            interrupt().await;
            std::process::exit(INTERRUPTED);
        });
    };
    Ok(serve(study, arguments.port, ready, stop)?)
}

/// Waits for Ctrl-C. Where the signal cannot be waited for, the process ends by it all the same.
async fn interrupt() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The slides in a directory, by id.
fn slide_files(directory: &Path) -> Result<BTreeMap<String, PathBuf>, CliError> {
    // What is no directory would be taken for a slide.
    if let Err(source) = std::fs::read_dir(directory) {
        let (path, action) = (directory.to_owned(), "list the directory");
        return Err(wsi_features::Error::Io { path, action, source }.into());
    }
    let slides = SlideList::find(&[directory.to_owned()])?;
    Ok(slides.entries().iter().map(|slide| (slide.id.clone(), slide.path.clone())).collect())
}
