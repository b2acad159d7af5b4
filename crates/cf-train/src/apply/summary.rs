//! `summary.json` of models applied to slides without outcomes, and the rows beside it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use survival_metrics::RiskGroup;

use crate::cohort::{Dropped, ListedSlide, SlideList};
use crate::ensemble::{Applied, AppliedRun, Columns, FaultySlide, Scores, TrainedRun, cut_of_training};
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
    /// What is wrong with the bag of each, where that is the reason.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub faults: Vec<String>,
}

/// Why a slide was not scored.
const UNREADABLE: &str = "slide whose bag can't be read";

impl LeftOut {
    /// Slides whose bags can't be read; `None` where all can.
    fn unreadable(faulty: &[FaultySlide]) -> Option<Self> {
        let sorted: BTreeMap<&String, &String> =
            faulty.iter().map(|faulty| (&faulty.slide_id, &faulty.fault)).collect();
        let (ids, faults) = sorted.into_iter().map(|(id, fault)| (id.clone(), fault.clone())).unzip();
        (!faulty.is_empty()).then(|| Self { reason: UNREADABLE.to_owned(), ids, faults })
    }
}

impl From<Dropped> for LeftOut {
    fn from(Dropped { reason, ids }: Dropped) -> Self {
        Self { reason, ids, faults: Vec::new() }
    }
}

/// What models say of slides, or of patients.
pub(super) struct Scored {
    pub(super) ids: Vec<String>,
    /// Whether each was in the run.
    pub(super) in_run: Vec<bool>,
    pub(super) columns: Columns,
    /// High risk is at least this.
    pub(super) cut: Option<f64>,
}

/// All that is written of the risks.
pub(super) struct ScoredList {
    /// In the order of the list.
    pub(super) slides: Scored,
    /// Of each slide.
    pub(super) patient_of: Vec<String>,
    /// Sorted.
    pub(super) patients: Scored,
    /// Of each patient.
    pub(super) n_slides_of: Vec<usize>,
}

impl Scored {
    /// On which side of the cut a row lies.
    pub(super) fn group(&self, row: usize) -> Option<RiskGroup> {
        Some(RiskGroup::of(*self.columns.risk().get(row)?, self.cut?))
    }

    fn n_high(&self) -> Option<usize> {
        let is_high = |&row: &usize| self.group(row) == Some(RiskGroup::High);
        self.cut.map(|_| (0..self.ids.len()).filter(is_high).count())
    }
}

impl ScoredList {
    /// `scores` are of the slides of `list`, in its order; survival is asked for at `months`.
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
        let columns = Columns::of_slides(scores, months);
        let patient_of: Vec<String> = list.slides.iter().map(|slide| slide.patient_id.clone()).collect();
        let has_seen = |slide: &ListedSlide| match list.takes_slides_for_patients() {
            true => run.has_seen_name(&slide.slide_id),
            false => run.has_seen(&slide.slide_id, &slide.patient_id),
        };
        let in_run: Vec<bool> = list.slides.iter().map(has_seen).collect();
        let mut patients: BTreeMap<&str, (usize, bool)> = BTreeMap::new();
        for (patient, in_run) in patient_of.iter().zip(&in_run) {
            let (n_slides, any_in_run) = patients.entry(patient).or_default();
            *n_slides += 1;
            *any_in_run |= in_run;
        }
        Ok(Self {
            n_slides_of: patients.values().map(|(n_slides, _)| *n_slides).collect(),
            patients: Scored {
                ids: patients.keys().map(|&patient| patient.to_owned()).collect(),
                in_run: patients.values().map(|(_, in_run)| *in_run).collect(),
                columns: columns.of_patients(&patient_of),
                cut: cut_of(patients_trained)?,
            },
            slides: Scored {
                ids: list.slides.iter().map(|slide| slide.slide_id.clone()).collect(),
                in_run,
                columns,
                cut: cut_of(train)?,
            },
            patient_of,
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
        let slides_of_run: Vec<String> = slides
            .ids
            .iter()
            .zip(&slides.in_run)
            .filter(|(_, in_run)| **in_run)
            .map(|(id, _)| id.clone())
            .collect();
        let mut remarks = applied.remarks.clone();
        if !slides_of_run.is_empty() {
            remarks.push(format!(
                "{} of {} slides were in the run, or their patients: models may have learned from their outcomes, so that their risks are \
                 not those of new patients (column in_run)",
                slides_of_run.len(),
                slides.ids.len()
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
            n_slides: slides.ids.len(),
            n_patients: patients.ids.len(),
            n_high_slides: slides.n_high(),
            n_high_patients: patients.n_high(),
            cut: slides.cut,
            patient_cut: patients.cut,
            at: months.to_vec(),
            left_out: left_out
                .into_iter()
                .map(LeftOut::from)
                .chain(LeftOut::unreadable(&applied.left_out))
                .collect(),
            substitutes: applied.bags.substitutes(slides.ids.iter().map(String::as_str)),
            slides_of_run,
            remarks,
        }
    }
}
