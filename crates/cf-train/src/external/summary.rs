//! `summary.json` of an external test.

use serde::{Deserialize, Serialize};
use survival_metrics::CoxVariance;

use super::cohort::ExternalCohort;
use super::level::{ExternalCIndex, RiskGroupSummary};
use super::scored::ScoredSlides;
use crate::config::ExternalConfig;
use crate::ensemble::{Applied, AppliedRun, TrainedRun};
use crate::error::Result;
use crate::evaluate::Risks;
use crate::plan::{DroppedRecord, FlowRecord};
use crate::substitutes::{self, SubstituteRow};

/// What an external test finds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExternalSummary {
    /// Model name.
    pub model: String,
    /// Name of the cohort that was tested on.
    pub cohort: String,
    /// Encoder.
    pub backbone: String,
    /// Version of this program.
    pub cf_train: String,
    /// Whose models were tested.
    pub run: AppliedRun,
    /// Slides scored.
    pub n_slides: usize,
    /// Their patients.
    pub n_patients: usize,
    /// Slides with an event.
    pub n_events: usize,
    /// Patients with an event.
    pub n_event_patients: usize,
    /// Of slides.
    pub c_index: ExternalCIndex,
    /// Of patients (mean risk of their slides).
    pub patient_c_index: ExternalCIndex,
    /// Slides of high and low risk.
    pub risk_groups: RiskGroupSummary,
    /// Patients of high and low risk.
    pub patient_risk_groups: RiskGroupSummary,
    /// From the clinical table to the slides scored, with every id that fell out.
    pub flow: Vec<FlowRecord>,
    /// Months at which the tables say survival, in the order of the columns.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub at: Vec<f64>,
    /// Patients that were in the run, too.
    pub patients_of_run: Vec<String>,
    /// What stood in for what bags lack.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub substitutes: Vec<SubstituteRow>,
    /// In words: what is not as in training, and what was not read.
    pub remarks: Vec<String>,
}

impl ExternalSummary {
    pub(super) fn new(
        (config, cohort): (&ExternalConfig, &ExternalCohort),
        (run, applied): (&TrainedRun, &Applied),
        scored: &ScoredSlides,
    ) -> Result<Self> {
        let (slides, seed) = (&scored.averaged, run.config.training.seed);
        let patients = slides.of_patients();
        let patients_by_model: Vec<Risks> = scored.by_model.iter().map(Risks::of_patients).collect();
        let train = run.train_risks();
        let patients_trained: Option<Vec<Risks>> =
            train.as_ref().map(|train| train.iter().map(Risks::of_patients).collect());
        let n_events = |risks: &Risks| risks.outcomes.iter().filter(|outcome| outcome.is_event()).count();
        let slide_ids = cohort.slides.iter().map(|slide| slide.slide_id.as_str());
        Ok(Self {
            model: run.config.model.name().to_string(),
            cohort: config.cohort.name.clone(),
            backbone: config.features.backbone.clone(),
            cf_train: env!("CARGO_PKG_VERSION").to_owned(),
            n_slides: slides.risk.len(),
            n_patients: patients.risk.len(),
            n_events: n_events(slides),
            n_event_patients: n_events(&patients),
            c_index: ExternalCIndex::of(slides, &scored.by_model, seed)?,
            patient_c_index: ExternalCIndex::of(&patients, &patients_by_model, seed)?,
            risk_groups: RiskGroupSummary::of(slides, train.as_deref(), CoxVariance::Robust)?,
            patient_risk_groups: RiskGroupSummary::of(
                &patients,
                patients_trained.as_deref(),
                CoxVariance::Model,
            )?,
            flow: cohort.flow.clone(),
            at: scored.columns.months().to_vec(),
            patients_of_run: cohort.overlap.clone(),
            substitutes: applied.bags.substitutes(slide_ids),
            remarks: all_remarks(config, cohort, run, applied),
            run: AppliedRun::new(run, &applied.models),
        })
    }

    /// The model's name, with a word where it ran without what it is named for.
    pub fn model_label(&self) -> String {
        substitutes::label(&self.model, &self.substitutes)
    }

    /// What fell out before the slides that were scored, by reason.
    pub fn left_out(&self) -> impl Iterator<Item = &DroppedRecord> {
        self.flow.iter().flat_map(|step| &step.dropped)
    }
}

fn all_remarks(
    config: &ExternalConfig,
    cohort: &ExternalCohort,
    run: &TrainedRun,
    applied: &Applied,
) -> Vec<String> {
    let mut remarks = applied.remarks.clone();
    if !config.not_read.is_empty() {
        remarks.push(format!(
            "the configuration says {}, which a test does not read: model and training are the run's, and nothing is split",
            cf_cli::listed(&config.not_read)
        ));
    }
    remarks.extend(cohort.doubts.iter().cloned());
    if !cohort.overlap.is_empty() {
        let patients = match cohort.overlap.len() {
            1 => "1 patient was".to_owned(),
            n => format!("{n} patients were"),
        };
        remarks.push(format!(
            "{patients} in the run, too, of whom this is no external test: {}",
            cf_cli::listed(&cohort.overlap)
        ));
    }
    if run.train_risks().is_none() {
        remarks.push(
            "the run does not say the risks of its training slides, so that groups are cut at the median of the tested cohort itself"
                .to_owned(),
        );
    }
    remarks
}
