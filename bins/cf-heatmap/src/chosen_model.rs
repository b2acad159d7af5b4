//! Which model draws, and where its bags lie: as the arguments say, or as the run does that is named.

use std::path::{Path, PathBuf};

use cf_model::ModelConfig;
use cf_train::bags::open_store;
use cf_train::config::{FeatureRoots, FeaturesConfig};
use cf_train::held_out::{self, Part, RunModels};
use cf_train::predict;
use wsi_bags::{BagStore, Layout, slide_stem};

use crate::args::RenderArguments;
use crate::error::CliError;

/// A model and its input.
pub(crate) struct ChosenModel {
    pub(crate) checkpoint: PathBuf,
    pub(crate) config: ModelConfig,
    pub(crate) features: FeaturesConfig,
    /// The fold of its run that it is of, and what the slide was to it; `None` where its run is not known.
    pub(crate) fold: Option<(usize, Part)>,
    /// Folds of the run that held the slide out as well.
    pub(crate) others: Vec<usize>,
}

/// The bags that a run read, or those of `dir` in their place.
///
/// # Errors
/// If there are no bags.
pub(crate) fn bags_of_run(
    of_run: FeaturesConfig,
    dir: Option<&Path>,
    layout: Option<Layout>,
) -> Result<(FeaturesConfig, BagStore), CliError> {
    let Some(dir) = dir else {
        let store = open_store(&of_run).map_err(CliError::BagsOfRun)?;
        return Ok((of_run, store));
    };
    let features = FeaturesConfig::of_directory(dir, layout, &of_run.backbone);
    let store = open_store(&features)?;
    Ok((features, store))
}

impl ChosenModel {
    /// Finds the model and its bags.
    ///
    /// # Errors
    /// If settings can't be read, or the run has no finished fold that held the slide out and none was asked for.
    pub(crate) fn of(arguments: &RenderArguments) -> Result<Self, CliError> {
        let mut others = Vec::new();
        let (checkpoint, config, features) = match &arguments.run {
            Some(run) => {
                let models = RunModels::open(run)?;
                let fold = match arguments.fold {
                    Some(fold) => fold,
                    None => {
                        let (first, more) = models.folds_holding_out(&arguments.slide)?;
                        others = more;
                        first
                    }
                };
                let checkpoint = models.checkpoint(fold)?;
                let (features, _) =
                    bags_of_run(models.config.features, arguments.features.as_deref(), arguments.layout)?;
                (checkpoint, models.config.model, features)
            }
            None => {
                let (Some(checkpoint), Some(model), Some(dir), Some(backbone)) =
                    (&arguments.checkpoint, arguments.model, &arguments.features, &arguments.backbone)
                else {
                    return Err(CliError::Usage(
                        "give --run, or --checkpoint, --model, --features and --backbone",
                    ));
                };
                let config = predict::model_config(model, arguments.model_config.as_deref())?;
                let features = FeaturesConfig::of_directory(dir, arguments.layout, backbone);
                (checkpoint.clone(), config, features)
            }
        };
        let fold = held_out::part(&checkpoint, slide_stem(&arguments.slide));
        Ok(Self { checkpoint, config, features, fold, others })
    }

    /// Where the bags lie, for people.
    pub(crate) fn bags_in_words(&self) -> String {
        let of_roots = |roots: &FeatureRoots| {
            let named = [("x5", &roots.x5), ("x10", &roots.x10), ("x20", &roots.x20)];
            let named = named
                .into_iter()
                .filter_map(|(name, dir)| Some(format!("{name} {}", dir.as_ref()?.display())));
            named.collect::<Vec<_>>().join(", ")
        };
        match (&self.features.dir, &self.features.roots) {
            (Some(dir), _) => dir.display().to_string(),
            (None, roots) => roots.as_ref().map_or_else(String::new, of_roots),
        }
    }
}
