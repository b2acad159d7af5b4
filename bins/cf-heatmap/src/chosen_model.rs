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
    pub(crate) of_run: OfRun,
}

/// Which models of a run these are.
pub(crate) enum OfRun {
    /// A checkpoint whose run is not known.
    Unknown,
    /// That of one fold.
    Fold {
        fold: usize,
        /// What the slide was to it.
        part: Part,
        /// Folds that held the slide out as well.
        others: Vec<usize>,
    },
    /// Those of all folds that are finished: the slide took no part in the run.
    All {
        folds: Vec<usize>,
        /// The checkpoints of all but the first.
        others: Vec<PathBuf>,
        /// Whether another slide of its patient did.
        has_patient: bool,
    },
}

impl OfRun {
    fn fold_of(checkpoint: &Path, slide: &str, others: Vec<usize>) -> Self {
        held_out::part(checkpoint, slide).map_or(Self::Unknown, |(fold, part)| Self::Fold {
            fold,
            part,
            others,
        })
    }

    /// The checkpoints over which all numbers are means, but for the first.
    pub(crate) fn other_checkpoints(&self) -> &[PathBuf] {
        match self {
            Self::All { others, .. } => others,
            Self::Unknown | Self::Fold { .. } => &[],
        }
    }

    /// What the slide was to the models; `None` where nobody knows.
    pub(crate) fn slide_in_words(&self) -> Option<&'static str> {
        match self {
            Self::Unknown => None,
            Self::Fold { part, .. } => Some(part.in_words()),
            Self::All { has_patient: false, .. } => Some("this slide is in no fold of the run"),
            Self::All { has_patient: true, .. } => {
                Some("this slide is in no fold of the run, but another slide of its patient is")
            }
        }
    }
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
    /// If settings can't be read, or the run has no finished fold that held the slide out, none was asked for, and the slide was in a fold
    /// of it or has no bag.
    pub(crate) fn of(arguments: &RenderArguments) -> Result<Self, CliError> {
        if let Some(run) = &arguments.run {
            return Self::of_run(run, arguments);
        }
        let (Some(checkpoint), Some(model), Some(dir), Some(backbone)) =
            (&arguments.checkpoint, arguments.model, &arguments.features, &arguments.backbone)
        else {
            return Err(CliError::Usage("give --run, or --checkpoint, --model, --features and --backbone"));
        };
        Ok(Self {
            checkpoint: checkpoint.clone(),
            config: predict::model_config(model, arguments.model_config.as_deref())?,
            features: FeaturesConfig::of_directory(dir, arguments.layout, backbone),
            of_run: OfRun::fold_of(checkpoint, slide_stem(&arguments.slide), Vec::new()),
        })
    }

    /// The model of the fold that was asked for or held the slide out; all models where the slide took no part in the run.
    fn of_run(run: &Path, arguments: &RenderArguments) -> Result<Self, CliError> {
        let slide = slide_stem(&arguments.slide);
        let models = RunModels::open(run)?;
        let held_out = match arguments.fold {
            Some(fold) => Ok((fold, Vec::new())),
            None => models.folds_holding_out(slide),
        };
        let of_run = models.config.features.clone();
        let strangers = models.strangers_to(slide);
        let (features, bags) = bags_of_run(of_run, arguments.features.as_deref(), arguments.layout)?;
        let (checkpoint, of_run) = match (held_out, strangers) {
            (Ok((fold, others)), _) => {
                let checkpoint = models.checkpoint(fold)?;
                let of_run = OfRun::fold_of(&checkpoint, slide, others);
                (checkpoint, of_run)
            }
            // A name without a bag is a typing error.
            (Err(_), Some([first, others @ ..])) if bags.listed_as(slide).is_some() => {
                let checkpoints = others.iter().map(|fold| models.checkpoint(*fold));
                let of_run = OfRun::All {
                    folds: [&[*first], others].concat(),
                    others: checkpoints.collect::<Result<_, _>>()?,
                    has_patient: models.has_patient_of(slide)?,
                };
                (models.checkpoint(*first)?, of_run)
            }
            (Err(error), _) => return Err(error.into()),
        };
        Ok(Self { checkpoint, config: models.config.model, features, of_run })
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
