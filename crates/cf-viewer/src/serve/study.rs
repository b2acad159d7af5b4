//! What is served: the slides of a run, their files, and who makes their heatmaps.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cf_report::{PredictionRow, RiskCut};
use wsi_bags::SlideInfo;

use crate::layer::HeatLayer;

/// A run and the slides that it predicted.
pub struct Study {
    /// What the page is headed, such as `CrossFusion on BLCA`.
    pub title: String,
    /// Every slide with its prediction, once each; without survival where none is predicted.
    pub predictions: Vec<PredictionRow>,
    /// Where patients are cut into groups at high and at low risk.
    pub risk_cut: RiskCut,
    /// By fold, where its time bins begin and end, in months: one more than there are bins. Of folds that are not there, nobody knows.
    pub time_bins: BTreeMap<usize, Vec<f64>>,
    /// The file of each slide, by slide id, where there is one.
    pub slide_files: BTreeMap<String, PathBuf>,
    /// Makes the heatmaps of a slide.
    pub heat: Box<dyn HeatSource>,
}

/// Makes the heatmaps of a slide from its stored features.
pub trait HeatSource: Send + Sync {
    /// The layers of one of the study's slides.
    ///
    /// # Errors
    /// Why there are none, in words for the reader of the page.
    fn heat(&self, prediction: &PredictionRow) -> Result<SlideHeat, String>;
}

/// The heatmaps of one slide.
pub struct SlideHeat {
    /// What the features state of the slide that they were cut from.
    pub info: SlideInfo,
    /// The layers, at least one.
    pub layers: Vec<HeatLayer>,
}
