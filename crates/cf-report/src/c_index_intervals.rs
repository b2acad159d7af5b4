//! Analytic 95 % intervals of the C-index of each fold, and of the pairs of all folds together.

use survival_metrics::{
    ConcordanceConfig, ConcordanceEstimate, IntervalScale, Outcome, Risk, RiskTies, SurvivalData, concordance,
};

use crate::error::Result;
use crate::patients::Subject;

/// Coverage of every interval of the report.
pub(crate) const LEVEL: f64 = 0.95;

/// Intervals of one level (slides or patients).
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct CIndexIntervals {
    /// One entry per fold; `None` where the fold has no C-index or its standard error is 0, so that nothing would be said.
    pub(crate) folds: Vec<Option<(f64, f64)>>,
    /// All pairs of subjects within a fold, counted together.
    pub(crate) pooled: Option<Pooled>,
}

/// The C-index over the pairs of all folds: as if each pair, and not each fold, counted alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pooled {
    pub(crate) c_index: f64,
    pub(crate) limits: Option<(f64, f64)>,
}

impl CIndexIntervals {
    /// Intervals from the infinitesimal jackknife over patients, symmetric in the log odds (Therneau & Atkinson, vignette
    /// `concordance` of R `survival`). Only subjects of one fold are compared, since each fold has a model of its own.
    ///
    /// # Errors
    /// If a statistic fails for another reason than having no pair to compare.
    pub(crate) fn of(subjects: &[Subject<'_>], folds: &[usize]) -> Result<Self> {
        let in_fold = |fold: usize| -> Vec<&Subject<'_>> {
            subjects.iter().filter(|subject| subject.fold == fold).collect()
        };
        let limits = |estimate: Option<ConcordanceEstimate>| -> Result<Option<(f64, f64)>> {
            estimate.as_ref().map_or(Ok(None), limits)
        };
        let of_folds = folds.iter().map(|&fold| limits(estimate(&in_fold(fold))?)).collect::<Result<_>>()?;
        let pooled = match estimate(&subjects.iter().collect::<Vec<_>>())? {
            Some(pooled) => Some(Pooled { c_index: pooled.c_index, limits: limits(Some(pooled))? }),
            None => None,
        };
        Ok(Self { folds: of_folds, pooled })
    }
}

fn estimate(subjects: &[&Subject<'_>]) -> Result<Option<ConcordanceEstimate>> {
    use survival_metrics::Error as Metric;
    if subjects.is_empty() {
        return Ok(None);
    }
    let outcomes: Vec<Outcome> = subjects.iter().map(|subject| subject.outcome).collect();
    let risk: Vec<f64> = subjects.iter().map(|subject| subject.risk).collect();
    let folds: Vec<usize> = subjects.iter().map(|subject| subject.fold).collect();
    let patients: Vec<&str> = subjects.iter().map(|subject| subject.patient_id).collect();
    let data = SurvivalData::new(&outcomes)?.with_strata(&folds)?.with_clusters(&patients)?;
    let config = ConcordanceConfig { ties: RiskTies::default(), ..ConcordanceConfig::default() };
    match concordance(&data, &Risk::new(&risk)?, &config) {
        Ok(estimate) => Ok(Some(estimate)),
        Err(Metric::AllCensored { .. } | Metric::NoComparablePairs { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn limits(estimate: &ConcordanceEstimate) -> Result<Option<(f64, f64)>> {
    let inside = estimate.c_index > 0.0 && estimate.c_index < 1.0 && estimate.standard_error() > 0.0;
    Ok(if inside { Some(estimate.confidence_interval(LEVEL, IntervalScale::Logit)?) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(patient_id: &str, fold: usize, time: f64, risk: f64) -> Subject<'_> {
        let outcome = Outcome::event(time).expect("a valid time");
        Subject { patient_id, fold, folds: vec![fold], outcome, risk, survival: Vec::new() }
    }

    #[test]
    fn pairs_across_folds_do_not_count() {
        // Within fold 0 the order is right, within fold 1 wrong; across folds all pairs would be right.
        let subjects = [
            subject("a", 0, 1.0, 9.0),
            subject("b", 0, 2.0, 8.0),
            subject("c", 1, 3.0, 1.0),
            subject("d", 1, 4.0, 2.0),
        ];
        let intervals = CIndexIntervals::of(&subjects, &[0, 1, 2]).expect("defined");
        assert_eq!(intervals.pooled.map(|pooled| pooled.c_index), Some(0.5));
        // A C-index of 1 or 0 has a standard error of 0, and a fold without subjects has none.
        assert_eq!(intervals.folds, [None, None, None]);
    }

    #[test]
    fn copies_of_a_patient_do_not_narrow_the_interval() {
        let once: Vec<(String, f64, f64)> =
            (0..20).map(|i| (format!("p{i}"), f64::from(i), f64::from(i * 7 % 11))).collect();
        let subjects = |copies: usize| -> Vec<Subject<'_>> {
            let each = once.iter().map(|(id, time, risk)| subject(id, 0, *time, *risk));
            each.flat_map(|s| std::iter::repeat_n(s, copies)).collect()
        };
        let width = |copies: usize| {
            let intervals = CIndexIntervals::of(&subjects(copies), &[0]).expect("defined");
            let (low, high) = intervals.folds[0].expect("an interval");
            high - low
        };
        assert!((width(3) / width(1) - 1.0).abs() < 1e-9, "{} and {}", width(3), width(1));
    }
}
