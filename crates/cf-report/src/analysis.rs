//! Everything that the report computes from the predictions, once for page and figures.

use crate::c_index_intervals::CIndexIntervals;
use crate::calibration::Calibration;
use crate::error::Result;
use crate::fold_balance::FoldBalance;
use crate::fold_patients::FoldPatients;
use crate::patients::{PatientFacts, patient_facts, patients_in_folds, slides_in_folds};
use crate::report::CrossValidationReport;
use crate::risk_cut::RiskCut;
use crate::risk_groups::{Level, RiskGroups};
use crate::time_scores::TimeScores;

/// The statistics of a report.
pub(crate) struct Analysis {
    /// `None` without predictions.
    pub(crate) facts: Option<PatientFacts>,
    pub(crate) slide_intervals: CIndexIntervals,
    pub(crate) patient_intervals: CIndexIntervals,
    /// Slide level, then patient level; none without predictions.
    pub(crate) groups: Vec<RiskGroups>,
    /// The same cut at the pooled median, where the groups are not.
    pub(crate) pooled_groups: Vec<RiskGroups>,
    /// Or a sentence that says why there are none.
    pub(crate) time_scores: std::result::Result<TimeScores, String>,
    /// `None` without predictions.
    pub(crate) calibration: Option<Calibration>,
    pub(crate) balance: Vec<FoldBalance>,
}

impl Analysis {
    /// Checks the report and computes.
    ///
    /// # Errors
    /// As [`render_html`](crate::render_html).
    pub(crate) fn of(report: &CrossValidationReport) -> Result<Self> {
        report.check()?;
        let facts = patient_facts(&report.predictions)?;
        let (slides, patients) =
            (slides_in_folds(&report.predictions), patients_in_folds(&report.predictions)?);
        let numbers: Vec<usize> = report.folds.iter().map(|fold| fold.fold).collect();
        let groups_at = |cut: &RiskCut| -> Result<Vec<RiskGroups>> {
            let levels = [Level::Slide, Level::Patient];
            let split = |level| RiskGroups::split(level, &report.predictions, cut).transpose();
            levels.into_iter().filter_map(split).collect()
        };
        let pooled_groups = match report.risk_cut {
            RiskCut::PooledMedian => Vec::new(),
            RiskCut::Training(_) => groups_at(&RiskCut::PooledMedian)?,
        };
        let folds = FoldPatients::of(report, &patients)?;
        Ok(Self {
            facts,
            slide_intervals: CIndexIntervals::of(&slides, &numbers)?,
            patient_intervals: CIndexIntervals::of(&patients, &numbers)?,
            groups: groups_at(&report.risk_cut)?,
            pooled_groups,
            time_scores: TimeScores::of(&folds),
            calibration: Calibration::of(&folds)?,
            balance: FoldBalance::of(report, &patients),
        })
    }

    /// Risk groups of one level.
    pub(crate) fn groups_of(&self, level: Level) -> Option<&RiskGroups> {
        self.groups.iter().find(|groups| groups.level == level)
    }
}
