//! What an external test hands to its report: trained models, applied as they are to another cohort.

mod findings;

pub(crate) use findings::ExternalFindings;

use survival_metrics::Outcome;

use crate::calibration::Calibration;
use crate::error::{Error, Result};
use crate::figures::{self, Figure, cohort_flow, kaplan_meier};
use crate::fold_patients::FoldPatients;
use crate::patients::{PatientFacts, patient_facts, patients};
use crate::report::{CIndexSummary, FlowStep, InputHash, PredictionRow};
use crate::risk_groups::{Level, RiskGroups};
use crate::time_scores::TimeScores;

/// Everything that the report of an external test shows.
#[derive(Debug, Clone)]
pub struct ExternalReport {
    /// Heading of the report.
    pub title: String,
    /// Name of the model, as `--model` takes it.
    pub model: String,
    /// Cohort that was tested on.
    pub cohort: String,
    /// Cohort that the models were trained on.
    pub trained_on: String,
    /// Patch encoder whose features were used.
    pub backbone: String,
    /// Protocol of the training, with its changed settings.
    pub protocol: String,
    /// Folds whose models were applied.
    pub folds: Vec<usize>,
    /// Cohort flow, from everything found to what was scored.
    pub flow: Vec<FlowStep>,
    /// Of slides.
    pub c_index: ExternalCIndex,
    /// Of patients; their risk is the mean over the slides.
    pub patient_c_index: ExternalCIndex,
    /// The risks and survival curves averaged over the models, a row per slide, all of fold 0.
    pub predictions: Vec<PredictionRow>,
    /// Months of the values of every row's survival, between which, from 1 at time 0, curves are straight; none where curves are not known.
    /// Nothing is predicted after the last.
    pub survival_months: Vec<f64>,
    /// Why there are none, as a sentence.
    pub no_survival: Option<String>,
    /// Of the patients that the models were trained on; none where they are not known.
    pub train_outcomes: Vec<Outcome>,
    /// Where slides are cut into groups of high and low risk.
    pub cut: f64,
    /// Where patients are.
    pub patient_cut: f64,
    /// Whether the cuts were learned in training, or are the medians of the tested cohort.
    pub cut_from: CutSource,
    /// Patients that were in the training run, too.
    pub n_patients_of_run: usize,
    /// Sentences about what is not as in training, and what was not read.
    pub remarks: Vec<String>,
    /// Versions, device, threads and the like, in the order to print.
    pub environment: Vec<(String, String)>,
    /// Inputs and their hashes, in the order to print.
    pub inputs: Vec<InputHash>,
    /// Directory of the run whose models were applied.
    pub run: String,
    /// Reference of the model, for the citation block.
    pub model_paper: String,
    /// Version of the software, for the citation block.
    pub software_version: String,
    /// The cohort's configuration, TOML text.
    pub cohort_toml: String,
}

/// A C-index of the averaged risk, and of each model by itself.
#[derive(Debug, Clone)]
pub struct ExternalCIndex {
    /// Of the averaged risk; `None` where no pair is comparable.
    pub averaged: Option<f64>,
    /// 95 % interval of it.
    pub ci95: Option<(f64, f64)>,
    /// Why there is a C-index and no interval of it, as half a sentence.
    pub no_ci95: Option<String>,
    /// One value per entry of [`ExternalReport::folds`].
    pub folds: Vec<Option<f64>>,
    /// Mean of them.
    pub mean: Option<f64>,
    /// Their population standard deviation.
    pub sd: Option<f64>,
}

/// Where the cut between high and low risk comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutSource {
    /// The mean over the models of the median risk in the training of each.
    Training,
    /// The median of the cohort that is tested on.
    TestedCohort,
}

impl ExternalCIndex {
    /// The averaged risk's, as a C-index over one fold.
    pub(crate) fn of_averaged(&self) -> CIndexSummary {
        CIndexSummary {
            mean: self.averaged,
            sd: None,
            folds: vec![self.averaged],
            ci95: self.ci95,
            no_ci95: self.no_ci95.clone(),
        }
    }
}

/// What is computed from the predictions, once for page and figures.
pub(crate) struct ExternalAnalysis {
    /// `None` without predictions.
    pub(crate) facts: Option<PatientFacts>,
    pub(crate) slides: RiskGroups,
    pub(crate) patients: RiskGroups,
    /// Or a sentence that says why there are none.
    pub(crate) time_scores: std::result::Result<TimeScores, String>,
    /// That patients were followed for longer than the models predict, if so.
    pub(crate) reach: Option<String>,
    /// `None` without curves.
    pub(crate) calibration: Option<Calibration>,
}

impl ExternalAnalysis {
    /// Checks the report and computes.
    ///
    /// # Errors
    /// As [`render_external_html`](crate::render_external_html).
    pub(crate) fn of(report: &ExternalReport) -> Result<Self> {
        for (field, c_index) in [("c_index", &report.c_index), ("patient_c_index", &report.patient_c_index)] {
            let (found, expected) = (c_index.folds.len(), report.folds.len());
            if found != expected {
                return Err(Error::FoldCount { field, found, expected });
            }
        }
        if let Some(row) = report.predictions.iter().find(|row| !row.risk.is_finite()) {
            return Err(Error::NonFiniteRisk { slide_id: row.slide_id.clone(), risk: row.risk });
        }
        let tested = FoldPatients::tested(report, &patients(&report.predictions)?)?;
        let (time_scores, calibration) = match &tested {
            Some(tested) => (TimeScores::of_cohort(tested), Calibration::of(std::slice::from_ref(tested))?),
            None => (Err("Nobody was scored.".to_owned()), None),
        };
        Ok(Self {
            time_scores,
            reach: tested.as_ref().and_then(FoldPatients::reach),
            calibration,
            facts: patient_facts(&report.predictions)?,
            slides: RiskGroups::split_at(Level::Slide, &report.predictions, report.cut)?,
            patients: RiskGroups::split_at(Level::Patient, &report.predictions, report.patient_cut)?,
        })
    }
}

/// The figures of an external test, by their place in the page.
pub(crate) struct PlacedFigures {
    pub(crate) kaplan_meier: [Figure; 2],
    pub(crate) auc: Option<Figure>,
    pub(crate) brier: Option<Figure>,
    pub(crate) calibration: Vec<Figure>,
    pub(crate) cohort_flow: Option<Figure>,
}

impl PlacedFigures {
    /// # Errors
    /// If a curve can't be drawn.
    pub(crate) fn of(report: &ExternalReport, analysis: &ExternalAnalysis) -> Result<Self> {
        let scores = analysis.time_scores.as_ref().ok();
        Ok(Self {
            kaplan_meier: [&analysis.slides, &analysis.patients].map(kaplan_meier),
            auc: scores.map(|scores| figures::auc(scores, "averaged risk")).transpose()?,
            brier: scores.map(figures::brier).transpose()?.flatten(),
            calibration: analysis
                .calibration
                .as_ref()
                .map(figures::calibration)
                .transpose()?
                .unwrap_or_default(),
            cohort_flow: cohort_flow(&report.flow),
        })
    }
}

/// Draws every figure of the report of an external test.
///
/// # Errors
/// As [`render_external_html`](crate::render_external_html).
pub fn external_figures(report: &ExternalReport) -> Result<Vec<Figure>> {
    let figures = PlacedFigures::of(report, &ExternalAnalysis::of(report)?)?;
    let over_time = figures.auc.into_iter().chain(figures.brier).chain(figures.calibration);
    Ok(figures.kaplan_meier.into_iter().chain(over_time).chain(figures.cohort_flow).collect())
}
