//! `summary.json` of models applied to slides without outcomes, and the rows beside it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use survival_metrics::RiskGroup;

use crate::cohort::{Dropped, SlideList};
use crate::ensemble::{Applied, AppliedRun, Scores, TrainedRun, cut_of_training};
use crate::error::Result;
use crate::evaluate::Risks;
use crate::substitutes::SubstituteRow;

/// What came of slides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApplySummary {
    /// Model name.
    pub model: String,
    /// Encoder.
    pub backbone: String,
    /// Version of this program.
    pub cf_train: String,
    /// Whose models were applied.
    pub run: AppliedRun,
    /// Slides scored.
    pub n_slides: usize,
    /// Their patients.
    pub n_patients: usize,
    /// Slides of high risk; null where the run does not say where to cut.
    pub n_high_slides: Option<usize>,
    /// Patients of high risk.
    pub n_high_patients: Option<usize>,
    /// High risk of a slide is at least this: the mean over the models of the median risk of what each was trained on.
    pub cut: Option<f64>,
    /// Of a patient.
    pub patient_cut: Option<f64>,
    /// Months at which survival is predicted, in the order of the columns.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub at: Vec<f64>,
    /// Slides that were not scored, by reason.
    pub left_out: Vec<LeftOut>,
    /// Slides that were in the run, or their patients.
    pub slides_of_run: Vec<String>,
    /// What stood in for what bags lack.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub substitutes: Vec<SubstituteRow>,
    /// In words: what is not as in training.
    pub remarks: Vec<String>,
}

/// Slides that were not scored for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Why.
    pub reason: String,
    /// Which, sorted.
    pub ids: Vec<String>,
}

/// The risks of slides, or of patients.
pub(super) struct ScoredRows {
    pub(super) rows: Vec<ScoredRow>,
    /// High risk is at least this.
    pub(super) cut: Option<f64>,
}

/// A slide, or a patient.
pub(super) struct ScoredRow {
    pub(super) id: String,
    /// Whether it was in the run.
    pub(super) in_run: bool,
    /// By each model.
    pub(super) by_model: Vec<f64>,
    /// Mean over the models.
    pub(super) risk: f64,
    /// At the times that were asked for, mean over the models.
    pub(super) survival: Vec<f64>,
}

/// All that is written of the risks.
pub(super) struct ScoredList {
    /// Folds of the models.
    pub(super) folds: Vec<usize>,
    /// In the order of the list.
    pub(super) slides: ScoredRows,
    /// Of each slide.
    pub(super) patient_of: Vec<String>,
    /// Sorted.
    pub(super) patients: ScoredRows,
    /// Of each patient.
    pub(super) n_slides_of: Vec<usize>,
}

impl ScoredRows {
    /// On which side of the cut a row lies.
    pub(super) fn group(&self, row: &ScoredRow) -> Option<RiskGroup> {
        self.cut.map(|cut| RiskGroup::of(row.risk, cut))
    }

    fn n_high(&self) -> Option<usize> {
        self.cut?;
        Some(self.rows.iter().filter(|row| self.group(row) == Some(RiskGroup::High)).count())
    }
}

impl ScoredList {
    /// `scores` are of the slides of `list`, in its order.
    ///
    /// # Errors
    /// If a risk of the run's training is not finite.
    pub(super) fn new(
        list: &SlideList,
        run: &TrainedRun,
        (scores, months): (&Scores, &[f64]),
    ) -> Result<Self> {
        let train = run.train_risks();
        let cut_of = |train: Option<Vec<Risks>>| train.map(|train| cut_of_training(&train)).transpose();
        let patients_trained = train.as_ref().map(|train| train.iter().map(Risks::of_patients).collect());
        let mut slides = Vec::new();
        let mut of_patient: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, (slide, &risk)) in list.slides.iter().zip(&scores.averaged).enumerate() {
            of_patient.entry(&slide.patient_id).or_default().push(at);
            slides.push(ScoredRow {
                id: slide.slide_id.clone(),
                in_run: run.has_seen(&slide.slide_id, &slide.patient_id),
                by_model: scores.by_model.iter().filter_map(|risks| risks.get(at).copied()).collect(),
                risk,
                survival: scores.survival_at(at, months),
            });
        }
        let patient = |(patient, at): (&&str, &Vec<usize>)| {
            let own = || at.iter().filter_map(|&at| slides.get(at));
            let mean = |risk: &dyn Fn(&ScoredRow) -> f64| own().map(risk).sum::<f64>() / at.len() as f64;
            let each = |n: usize, of: fn(&ScoredRow) -> &[f64]| {
                (0..n).map(|k| mean(&|row| of(row).get(k).copied().unwrap_or(f64::NAN))).collect()
            };
            ScoredRow {
                id: (*patient).to_owned(),
                in_run: own().any(|row| row.in_run),
                by_model: each(scores.folds.len(), |row| &row.by_model),
                risk: mean(&|row| row.risk),
                survival: each(months.len(), |row| &row.survival),
            }
        };
        let patients = of_patient.iter().map(patient).collect();
        Ok(Self {
            folds: scores.folds.clone(),
            n_slides_of: of_patient.values().map(Vec::len).collect(),
            patient_of: list.slides.iter().map(|slide| slide.patient_id.clone()).collect(),
            patients: ScoredRows { rows: patients, cut: cut_of(patients_trained)? },
            slides: ScoredRows { rows: slides, cut: cut_of(train)? },
        })
    }
}

impl ApplySummary {
    pub(super) fn new(
        (run, applied): (&TrainedRun, &Applied),
        (scored, months): (&ScoredList, &[f64]),
        left_out: Vec<Dropped>,
        takes_slides_for_patients: bool,
    ) -> Self {
        let ScoredList { slides, patients, .. } = scored;
        let slides_of_run: Vec<String> =
            slides.rows.iter().filter(|row| row.in_run).map(|row| row.id.clone()).collect();
        let mut remarks = applied.remarks.clone();
        if !slides_of_run.is_empty() {
            remarks.push(format!(
                "{} of {} slides were in the run, or their patients: models have learned from their outcomes, so that their risks are not \
                 those of new patients (column in_run)",
                slides_of_run.len(),
                slides.rows.len()
            ));
        }
        if slides.cut.is_none() {
            remarks.push(
                "the run does not say the risks of its training slides, so that there is no cut between high and low risk"
                    .to_owned(),
            );
        }
        if takes_slides_for_patients {
            remarks.push(
                "nothing says which slides are of one patient, so that each counts as one; list them in a table with a column case_id \
                 (--slides)"
                    .to_owned(),
            );
        }
        Self {
            model: run.config.model.name().to_string(),
            backbone: run.config.features.backbone.clone(),
            cf_train: env!("CARGO_PKG_VERSION").to_owned(),
            run: AppliedRun::new(run, &applied.models),
            n_slides: slides.rows.len(),
            n_patients: patients.rows.len(),
            n_high_slides: slides.n_high(),
            n_high_patients: patients.n_high(),
            cut: slides.cut,
            patient_cut: patients.cut,
            at: months.to_vec(),
            left_out: left_out.into_iter().map(|Dropped { reason, ids }| LeftOut { reason, ids }).collect(),
            substitutes: applied.bags.substitutes(slides.rows.iter().map(|row| row.id.as_str())),
            slides_of_run,
            remarks,
        }
    }
}
