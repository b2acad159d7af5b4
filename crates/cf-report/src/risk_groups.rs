//! The median split of pooled validation risks, at slide and at patient level, with its log-rank test.

use survival_metrics::{
    CiType, CoxTies, CoxVariance, HazardRatio, KaplanMeier, LogRank, Outcome, RiskGroup as Side,
    SurvivalData, cox_model, log_rank_test, median_split, stratified_log_rank_test,
};

use crate::c_index_intervals::LEVEL;
use crate::error::Result;
use crate::number::{self, counted, fixed};
use crate::patients::{patients, slides};
use crate::report::PredictionRow;

/// What counts as one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Every slide, with the outcome of its patient.
    Slide,
    /// Every patient, with the mean risk of the slides.
    Patient,
}

impl Level {
    /// `slide` or `patient`.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Slide => "slide",
            Self::Patient => "patient",
        }
    }

    /// `Slide level` or `Patient level`.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Slide => "Slide level",
            Self::Patient => "Patient level",
        }
    }

    fn counted(self, n: usize) -> String {
        match self {
            Self::Slide => counted(n, "slide", "slides"),
            Self::Patient => counted(n, "patient", "patients"),
        }
    }
}

/// The two sides of the median split and the test between them.
#[derive(Debug)]
pub(crate) struct RiskGroups {
    pub(crate) level: Level,
    pub(crate) n: usize,
    /// Median risk; high is at least this.
    pub(crate) threshold: f64,
    pub(crate) high: Option<RiskGroup>,
    pub(crate) low: Option<RiskGroup>,
    /// The log-rank test, or a sentence that says why there is none.
    pub(crate) test: std::result::Result<TestResult, String>,
    /// The same test with the folds as strata.
    pub(crate) test_by_fold: std::result::Result<TestResult, String>,
    /// Hazard of high over low risk in a Cox model, or a sentence that says why there is none. At slide level its interval
    /// allows for slides of one patient.
    pub(crate) hazard_ratio: std::result::Result<HazardRatio, String>,
}

/// What the report prints of a log-rank test.
#[derive(Debug, Clone)]
pub(crate) struct TestResult {
    pub(crate) chi_square: f64,
    /// 0 where the p-value is below the range of f64.
    pub(crate) p: f64,
    pub(crate) p_value: String,
    /// Events of the high-risk group beyond those expected if both groups had one hazard.
    pub(crate) excess_of_high: f64,
}

impl From<LogRank<Side>> for TestResult {
    fn from(test: LogRank<Side>) -> Self {
        let p_value = number::p_value(test.p_value, test.log10_p);
        let high = test.groups.iter().find(|group| group.level == Side::High);
        let excess_of_high = high.map_or(0.0, |group| group.observed - group.expected);
        Self { chi_square: test.chi_square, p: test.p_value, p_value, excess_of_high }
    }
}

impl RiskGroups {
    /// Splits the pooled predictions at their median risk, or returns `None` without predictions.
    ///
    /// # Errors
    /// If the slides of a patient have different outcomes or a curve cannot be estimated. An empty group or an
    /// undefined test is a result and not an error.
    pub(crate) fn split(level: Level, predictions: &[PredictionRow]) -> Result<Option<Self>> {
        let subjects = match level {
            Level::Slide => slides(predictions),
            Level::Patient => patients(predictions)?,
        };
        let risks: Vec<f64> = subjects.iter().map(|subject| subject.risk).collect();
        let (threshold, sides) = match median_split(&risks) {
            Ok(split) => (split.threshold, split.groups),
            Err(survival_metrics::Error::EmptyGroup { threshold, .. }) => {
                (threshold, vec![Side::High; risks.len()])
            }
            Err(survival_metrics::Error::Empty { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let side = |wanted: Side| -> Vec<Outcome> {
            let members = subjects.iter().zip(&sides).filter(|&(_, &side)| side == wanted);
            members.map(|(subject, _)| subject.outcome).collect()
        };
        let (high, low) = (RiskGroup::new(&side(Side::High))?, RiskGroup::new(&side(Side::Low))?);
        let outcomes: Vec<Outcome> = subjects.iter().map(|subject| subject.outcome).collect();
        let folds: Vec<usize> = subjects.iter().map(|subject| subject.fold).collect();
        let test = log_rank_test(&outcomes, &sides).map(TestResult::from);
        let test_by_fold = stratified_log_rank_test(&outcomes, &sides, &folds).map(TestResult::from);
        let patients: Vec<&str> = subjects.iter().map(|subject| subject.patient_id).collect();
        let hazard_ratio = hazard_ratio(level, &outcomes, &sides, &patients);
        let reason = |error| undefined_because(&error, level, threshold);
        Ok(Some(Self {
            level,
            n: subjects.len(),
            threshold,
            high,
            low,
            test: test.map_err(reason),
            test_by_fold: test_by_fold.map_err(reason),
            hazard_ratio: hazard_ratio.map_err(|error| no_hazard_ratio(&error)),
        }))
    }

    /// `Slide level: 437 slides, cut at risk 2.31`.
    pub(crate) fn heading(&self) -> String {
        let (level, n) = (self.level.heading(), self.level.counted(self.n));
        format!("{level}: {n}, cut at risk {}", number::significant(self.threshold))
    }

    /// The test in one line that fits into a figure.
    pub(crate) fn short_verdict(&self) -> String {
        match &self.test {
            Ok(test) => format!("log-rank p = {} (χ² = {}, 1 df)", test.p_value, fixed(test.chi_square, 2)),
            Err(_) => "no log-rank test is possible".to_owned(),
        }
    }

    /// `hazard ratio 2.31 (95 % CI 1.40 to 3.82)`, if there is one.
    pub(crate) fn short_hazard_ratio(&self) -> Option<String> {
        let ratio = self.hazard_ratio.as_ref().ok()?;
        let [value, low, high] = [ratio.hazard_ratio, ratio.lower, ratio.upper].map(number::significant);
        Some(format!("hazard ratio {value} (95 % CI {low} to {high})"))
    }

    /// The test in a sentence, with the reason where there is none.
    pub(crate) fn verdict(&self) -> String {
        match &self.test {
            Ok(test) => {
                let chi_square = fixed(test.chi_square, 2);
                format!("Log-rank test: p = {}, chi-square {chi_square} with 1 df.", test.p_value)
            }
            Err(reason) => reason.clone(),
        }
    }
}

/// One side of the split.
#[derive(Debug)]
pub(crate) struct RiskGroup {
    pub(crate) n: usize,
    pub(crate) n_events: usize,
    pub(crate) curve: KaplanMeier,
    /// 95 % log-log limits at each time of the curve.
    pub(crate) limits: Vec<Option<(f64, f64)>>,
}

impl RiskGroup {
    /// The group with these outcomes, or `None` if there are none.
    fn new(outcomes: &[Outcome]) -> Result<Option<Self>> {
        if outcomes.is_empty() {
            return Ok(None);
        }
        let curve = KaplanMeier::fit(outcomes)?;
        let limits = curve.confidence_limits(0.95, CiType::LogLog)?;
        let n_events = outcomes.iter().filter(|o| o.is_event()).count();
        Ok(Some(Self { n: outcomes.len(), n_events, curve, limits }))
    }

    /// Median survival in words: `31.2 months` or `not reached`.
    pub(crate) fn median(&self) -> String {
        let median = self.curve.median_survival();
        median.map_or_else(|| "not reached".to_owned(), |t| format!("{} months", fixed(t, 1)))
    }

    /// `218 slides, 94 events, median 31.2 months`.
    pub(crate) fn summary(&self, level: Level) -> String {
        let events = counted(self.n_events, "event", "events");
        format!("{}, {events}, median {}", level.counted(self.n), self.median())
    }
}

/// Hazard of high over low risk (Cox, Efron's ties); at slide level with the variance over patients (Lin & Wei 1989).
fn hazard_ratio(
    level: Level,
    outcomes: &[Outcome],
    sides: &[Side],
    patients: &[&str],
) -> survival_metrics::Result<HazardRatio> {
    let is_high: Vec<f64> = sides.iter().map(|&side| f64::from(u8::from(side == Side::High))).collect();
    let (data, variance) = match level {
        Level::Slide => (SurvivalData::new(outcomes)?.with_clusters(patients)?, CoxVariance::Robust),
        Level::Patient => (SurvivalData::new(outcomes)?, CoxVariance::Model),
    };
    cox_model(&data, &[&is_high], CoxTies::Efron)?.hazard_ratio(0, LEVEL, variance)
}

/// A sentence for a hazard ratio that does not exist.
fn no_hazard_ratio(error: &survival_metrics::Error) -> String {
    use survival_metrics::Error as Metric;
    match error {
        Metric::Collinear { .. } => "There is no hazard ratio, as one of the groups is empty.".to_owned(),
        Metric::AllCensored { .. } => "There is no hazard ratio, as nobody has the event.".to_owned(),
        Metric::Separation { .. } => {
            "The hazard ratio has no finite estimate, as all events of one group come before all of the other, or one group \
             has none."
                .to_owned()
        }
        other => format!("The hazard ratio is undefined: {other}."),
    }
}

/// A sentence for a test that does not exist.
fn undefined_because(error: &survival_metrics::Error, level: Level, threshold: f64) -> String {
    use survival_metrics::Error as Metric;
    match error {
        Metric::SingleGroup => format!(
            "The risk of every {} is at least the median, {}, so that the low-risk group is empty and no log-rank \
             test is possible.",
            level.noun(),
            number::significant(threshold)
        ),
        Metric::ZeroVariance => {
            "The log-rank test is undefined: at no event time are both groups at risk with a \
                                 choice of who has the event."
                .to_owned()
        }
        other => format!("The log-rank test is undefined: {other}."),
    }
}

#[cfg(test)]
mod tests {
    use survival_metrics::Status;

    use super::*;

    fn row(patient: &str, slide: &str, time: f64, status: Status, risk: f64) -> PredictionRow {
        PredictionRow {
            case_id: patient.to_owned(),
            slide_id: slide.to_owned(),
            patient_id: patient.to_owned(),
            fold: 0,
            outcome: Outcome::new(time, status).expect("a valid time"),
            risk,
            survival: Vec::new(),
        }
    }

    #[test]
    fn slides_of_a_patient_with_different_outcomes_are_refused_by_name() {
        let rows = [row("a", "a1", 3.0, Status::Event, 1.0), row("a", "a2", 3.5, Status::Event, 1.0)];
        let error = RiskGroups::split(Level::Patient, &rows).expect_err("3 is not 3.5");
        assert_eq!(error.to_string(), "slides a1 and a2 of patient a have different outcomes");
        assert!(RiskGroups::split(Level::Slide, &rows).is_ok());
    }

    #[test]
    fn hand_made_split_gives_the_known_test() {
        let rows = [
            row("a", "a1", 1.0, Status::Event, 4.0),
            row("b", "b1", 2.0, Status::Event, 3.0),
            row("c", "c1", 3.0, Status::Event, 2.0),
            row("d", "d1", 4.0, Status::Event, 1.0),
        ];
        let groups = RiskGroups::split(Level::Slide, &rows).expect("valid").expect("four rows");
        assert_eq!(groups.threshold, 2.5);
        // O = 2, E = 1/2 + 1/3, V = 1/4 + 2/9: chi-square 49/17, p 0.08956.
        assert_eq!(groups.short_verdict(), "log-rank p = 8.96e-2 (χ² = 2.88, 1 df)");
        assert_eq!(groups.high.as_ref().map(RiskGroup::median), Some("1.5 months".to_owned()));
        // All events of the high group come first: the likelihood of the hazard ratio has no maximum.
        assert!(groups.hazard_ratio.is_err_and(|reason| reason.contains("no finite estimate")));
    }

    #[test]
    fn hazard_ratio_of_a_known_table() {
        // High risk (1, 2, 4 months) against low (3, 5, 6): with x = exp(b) the likelihood is
        // x/(3x+3) * x/(2x+3) * 1/(x+3) * x/(x+2) times constants.
        let times_and_risks = [(1.0, 9.0), (2.0, 8.0), (3.0, 1.0), (4.0, 7.0), (5.0, 2.0), (6.0, 3.0)];
        let names: Vec<String> = (0..6).map(|i| format!("p{i}")).collect();
        let rows: Vec<PredictionRow> = times_and_risks
            .iter()
            .zip(&names)
            .map(|(&(time, risk), name)| row(name, name, time, Status::Event, risk))
            .collect();
        let log_likelihood = |b: f64| {
            let x = b.exp();
            3.0 * b - (3.0 * x + 3.0).ln() - (2.0 * x + 3.0).ln() - (x + 3.0).ln() - (x + 2.0).ln()
        };
        let groups = RiskGroups::split(Level::Patient, &rows).expect("valid").expect("six rows");
        let ratio = groups.hazard_ratio.expect("defined");
        let b = ratio.coefficient;
        assert!(
            log_likelihood(b) >= log_likelihood(b + 1e-4) && log_likelihood(b) >= log_likelihood(b - 1e-4)
        );
        // One slide per patient: only the variance differs.
        let slides = RiskGroups::split(Level::Slide, &rows).expect("valid").expect("six rows");
        let of_slides = slides.hazard_ratio.expect("defined");
        assert_eq!(of_slides.coefficient, b);
        assert!(of_slides.standard_error != ratio.standard_error);
    }

    #[test]
    fn equal_risks_give_one_group_and_a_sentence() {
        let rows = [row("a", "a1", 1.0, Status::Event, -4.0), row("b", "b1", 2.0, Status::Censored, -4.0)];
        let groups = RiskGroups::split(Level::Patient, &rows).expect("valid").expect("two rows");
        assert!(groups.low.is_none());
        assert_eq!(groups.high.as_ref().map(|g| g.n), Some(2));
        assert!(
            groups.verdict().starts_with("The risk of every patient is at least the median, −4.00, so that")
        );
    }
}
