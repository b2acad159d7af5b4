//! Groups at high and at low risk, at slide and at patient level, with their log-rank test.

use survival_metrics::{
    CiType, CoxVariance, GroupFault, HazardRatio, KaplanMeier, LogRank, Outcome, RiskGroup as Side,
    group_hazard_ratio, log_rank_test, stratified_log_rank_test,
};

use crate::c_index_intervals::LEVEL;
use crate::error::Result;
use crate::number::{self, counted, fixed};
use crate::patients::{Subject, patients, patients_in_folds, slides, slides_in_folds};
use crate::report::PredictionRow;
use crate::risk_cut::{Cut, RiskCut};

/// What counts as one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
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

    pub(crate) fn counted(self, n: usize) -> String {
        match self {
            Self::Slide => counted(n, "slide", "slides"),
            Self::Patient => counted(n, "patient", "patients"),
        }
    }
}

/// How the groups at high and at low risk differ, in numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RiskSplit {
    /// Subjects at high risk.
    pub n_high: usize,
    /// Subjects at low risk.
    pub n_low: usize,
    /// Log-rank statistic, one degree of freedom; `None` where the test is undefined.
    pub chi_square: Option<f64>,
    /// Its upper tail; 0 below 1e-308.
    pub p_value: Option<f64>,
    /// Hazard of high over low risk; `None` where it has no finite estimate.
    pub hazard_ratio: Option<f64>,
    /// Its 95 % interval.
    pub hazard_ratio_ci95: Option<(f64, f64)>,
}

/// The groups of a report at one level, in numbers; `None` without predictions.
///
/// # Errors
/// If the slides of a patient have different outcomes, a fold has no finite cut, or a curve cannot be estimated.
pub fn risk_split(level: Level, predictions: &[PredictionRow], cut: &RiskCut) -> Result<Option<RiskSplit>> {
    Ok(RiskGroups::split(level, predictions, cut)?.map(|groups| {
        let (test, ratio) = (groups.test.as_ref().ok(), groups.hazard_ratio.as_ref().ok());
        RiskSplit {
            n_high: groups.n_of(Side::High),
            n_low: groups.n_of(Side::Low),
            chi_square: test.map(|test| test.chi_square),
            p_value: test.map(|test| test.p),
            hazard_ratio: ratio.map(|ratio| ratio.hazard_ratio),
            hazard_ratio_ci95: ratio.map(|ratio| (ratio.lower, ratio.upper)),
        }
    }))
}

/// The two sides of a cut and the test between them. Every slide, or patient, is one subject, with the mean risk where several folds
/// scored it.
#[derive(Debug)]
pub(crate) struct RiskGroups {
    pub(crate) level: Level,
    pub(crate) n: usize,
    pub(crate) cut: Cut,
    /// The side of each subject, in the order of [`slides`] or [`patients`].
    pub(crate) sides: Vec<Side>,
    pub(crate) high: Option<RiskGroup>,
    pub(crate) low: Option<RiskGroup>,
    /// The log-rank test, or a sentence that says why there is none.
    pub(crate) test: std::result::Result<TestResult, String>,
    /// The same test with the folds as strata; none where several folds validate a subject.
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
    /// Splits the predictions of all folds at `cut`, or returns `None` without predictions.
    ///
    /// # Errors
    /// If the slides of a patient have different outcomes, a fold has no finite cut, or a curve cannot be estimated. An
    /// empty group or an undefined test is a result and not an error.
    pub(crate) fn split(level: Level, predictions: &[PredictionRow], cut: &RiskCut) -> Result<Option<Self>> {
        let subjects = subjects(level, predictions)?;
        let in_folds = match level {
            Level::Slide => slides_in_folds(predictions),
            Level::Patient => patients_in_folds(predictions)?,
        };
        let cut = cut.sides(level, &subjects, &in_folds)?;
        cut.map(|(cut, sides)| Self::of(level, &subjects, cut, sides)).transpose()
    }

    /// Splits predictions at a risk that was found elsewhere; high is at least this.
    ///
    /// # Errors
    /// As [`RiskGroups::split`].
    pub(crate) fn split_at(level: Level, predictions: &[PredictionRow], threshold: f64) -> Result<Self> {
        let subjects = subjects(level, predictions)?;
        let sides = subjects.iter().map(|subject| Side::of(subject.risk, threshold)).collect();
        Self::of(level, &subjects, Cut::Given(threshold), sides)
    }

    fn of(level: Level, subjects: &[Subject<'_>], cut: Cut, sides: Vec<Side>) -> Result<Self> {
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
        // Of slides, with the variance over patients.
        let variance = match level {
            Level::Slide => CoxVariance::Robust,
            Level::Patient => CoxVariance::Model,
        };
        let hazard_ratio = group_hazard_ratio(&outcomes, &sides, &patients, variance, LEVEL);
        let reason = |error| undefined_because(&error, level, &cut, &sides);
        let (test, test_by_fold) = (test.map_err(reason), test_by_fold.map_err(reason));
        let test_by_fold = if subjects.iter().any(Subject::is_of_several_folds) {
            Err("There is no test by fold, as some are validated by several folds.".to_owned())
        } else {
            test_by_fold
        };
        Ok(Self {
            level,
            n: subjects.len(),
            high,
            low,
            test,
            test_by_fold,
            hazard_ratio: hazard_ratio.map_err(|error| no_hazard_ratio(&error)),
            cut,
            sides,
        })
    }

    /// Subjects of a side.
    pub(crate) fn n_of(&self, side: Side) -> usize {
        let group = match side {
            Side::High => &self.high,
            Side::Low => &self.low,
        };
        group.as_ref().map_or(0, |group| group.n)
    }

    /// `Slide level: 437 slides, cut at risk 2.31`.
    pub(crate) fn heading(&self) -> String {
        let (level, n) = (self.level.heading(), self.level.counted(self.n));
        format!("{level}: {n}, {}", self.cut.short())
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

fn subjects(level: Level, predictions: &[PredictionRow]) -> Result<Vec<Subject<'_>>> {
    match level {
        Level::Slide => slides(predictions),
        Level::Patient => patients(predictions),
    }
}

/// A sentence for a hazard ratio that does not exist.
fn no_hazard_ratio(error: &survival_metrics::Error) -> String {
    use survival_metrics::Error as Metric;
    match error {
        Metric::GroupHazardRatio(fault @ GroupFault::Empty(_)) => {
            format!("There is no hazard ratio, as {fault}.")
        }
        Metric::AllCensored { .. } => "There is no hazard ratio, as nobody has the event.".to_owned(),
        Metric::GroupHazardRatio(fault) => {
            format!("The hazard ratio has no finite estimate, as {fault}.")
        }
        other => format!("The hazard ratio is undefined: {other}."),
    }
}

/// A sentence for a test that does not exist.
fn undefined_because(error: &survival_metrics::Error, level: Level, cut: &Cut, sides: &[Side]) -> String {
    use survival_metrics::Error as Metric;
    match error {
        Metric::SingleGroup => cut.only(sides.first().copied().unwrap_or(Side::High), level),
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
    use crate::risk_cut::TrainingCut;

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
        let error =
            RiskGroups::split(Level::Patient, &rows, &RiskCut::PooledMedian).expect_err("3 is not 3.5");
        assert_eq!(error.to_string(), "slides a1 and a2 of patient a have different outcomes");
        assert!(RiskGroups::split(Level::Slide, &rows, &RiskCut::PooledMedian).is_ok());
    }

    #[test]
    fn hand_made_split_gives_the_known_test() {
        let rows = [
            row("a", "a1", 1.0, Status::Event, 4.0),
            row("b", "b1", 2.0, Status::Event, 3.0),
            row("c", "c1", 3.0, Status::Event, 2.0),
            row("d", "d1", 4.0, Status::Event, 1.0),
        ];
        let groups = RiskGroups::split(Level::Slide, &rows, &RiskCut::PooledMedian)
            .expect("valid")
            .expect("four rows");
        assert!(matches!(groups.cut, Cut::Pooled(2.5)));
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
        let groups = RiskGroups::split(Level::Patient, &rows, &RiskCut::PooledMedian)
            .expect("valid")
            .expect("six rows");
        let ratio = groups.hazard_ratio.expect("defined");
        let b = ratio.coefficient;
        assert!(
            log_likelihood(b) >= log_likelihood(b + 1e-4) && log_likelihood(b) >= log_likelihood(b - 1e-4)
        );
        // One slide per patient: only the variance differs.
        let slides =
            RiskGroups::split(Level::Slide, &rows, &RiskCut::PooledMedian).expect("valid").expect("six rows");
        let of_slides = slides.hazard_ratio.expect("defined");
        assert_eq!(of_slides.coefficient, b);
        assert!(of_slides.standard_error != ratio.standard_error);
    }

    #[test]
    fn a_cut_from_elsewhere_may_leave_either_group_empty() {
        let rows = [row("a", "a1", 1.0, Status::Event, 4.0), row("b", "b1", 2.0, Status::Event, 3.0)];
        let at = |cut| RiskGroups::split_at(Level::Patient, &rows, cut).expect("valid");
        let between = at(3.5);
        assert_eq!(
            [&between.high, &between.low].map(|group| group.as_ref().map(|g| g.n)),
            [Some(1), Some(1)]
        );
        let (above, below) = (at(9.0), at(1.0));
        assert!(
            above
                .verdict()
                .starts_with("The risk of every patient is below the cut, 9.00, so that the high-risk")
        );
        assert!(
            below
                .verdict()
                .starts_with("The risk of every patient is at least the cut, 1.00, so that the low-risk")
        );
    }

    #[test]
    fn equal_risks_give_one_group_and_a_sentence() {
        let rows = [row("a", "a1", 1.0, Status::Event, -4.0), row("b", "b1", 2.0, Status::Censored, -4.0)];
        let groups = RiskGroups::split(Level::Patient, &rows, &RiskCut::PooledMedian)
            .expect("valid")
            .expect("two rows");
        assert!(groups.low.is_none());
        assert_eq!(groups.high.as_ref().map(|g| g.n), Some(2));
        assert!(
            groups.verdict().starts_with("The risk of every patient is at least the median, −4.00, so that")
        );
    }

    /// Two folds whose models have no scale in common, with the patients `a` and `i` on two slides each.
    fn two_scales() -> Vec<PredictionRow> {
        let fold_0 = [
            ("a", "a1", 2.0, 1, 5.0),
            ("a", "a2", 2.0, 1, 3.0),
            ("b", "b1", 4.0, 1, 2.5),
            ("c", "c1", 9.0, 0, 1.0),
            ("d", "d1", 12.0, 1, 3.5),
            ("e", "e1", 15.0, 0, 0.5),
            ("f", "f1", 7.0, 1, 4.5),
        ];
        let fold_1 = [
            ("g", "g1", 3.0, 1, -1.0),
            ("h", "h1", 5.0, 0, -2.0),
            ("i", "i1", 8.0, 1, -3.5),
            ("i", "i2", 8.0, 1, -1.5),
            ("j", "j1", 11.0, 1, -4.0),
            ("k", "k1", 14.0, 0, -5.0),
            ("l", "l1", 6.0, 1, -0.5),
        ];
        let of_fold = |fold, rows: [(&str, &str, f64, u8, f64); 7]| {
            rows.map(|(patient, slide, time, event, risk)| {
                let status = if event == 1 { Status::Event } else { Status::Censored };
                PredictionRow { fold, ..row(patient, slide, time, status, risk) }
            })
        };
        [of_fold(0, fold_0), of_fold(1, fold_1)].concat()
    }

    /// Of the patient `i` the risk is the very cut.
    fn training_cut() -> RiskCut {
        let cut = |fold, slides, patients| TrainingCut { fold, slides, patients };
        RiskCut::Training(vec![cut(0, 3.2, 3.0), cut(1, -2.2, -2.5)])
    }

    #[test]
    fn groups_of_a_learned_cut_are_those_of_lifelines() {
        // lifelines 0.30.3: logrank_test and CoxPHFitter.
        let learned = (training_cut(), [[7, 7], [7, 5]]);
        let pooled = (RiskCut::PooledMedian, [[7, 7], [6, 6]]);
        let numbers = [
            [
                [1.958_381_942_932_445_6, 0.161_686_472_509_751_52, 2.446_197_438_001_195_5],
                [3.416_016_705_231_671_7, 0.064_566_629_522_577_97, 4.195_087_562_970_165],
            ],
            [
                [0.011_061_395_018_757_978, 0.916_238_402_389_951_7, 1.053_339_084_326_148_3],
                [0.018_885_198_686_786_175, 0.890_696_113_501_520_7, 0.906_742_374_947_013_6],
            ],
        ];
        // Of patients; that of slides allows for slides of one patient, which `survival-metrics` checks against R.
        let limits = [
            (0.817_743_443_387_605_3, 21.521_125_975_748_426),
            (0.224_325_285_881_000_84, 3.665_131_780_822_507_7),
        ];
        let close = |found: Option<f64>, expected: f64, tolerance: f64| {
            let found = found.expect("defined");
            assert!((found / expected - 1.0).abs() < tolerance, "{found}, not {expected}");
        };
        for (((cut, sizes), numbers), limits) in [learned, pooled].into_iter().zip(numbers).zip(limits) {
            for (at, level) in [Level::Slide, Level::Patient].into_iter().enumerate() {
                let split = risk_split(level, &two_scales(), &cut).expect("valid").expect("rows");
                assert_eq!([split.n_high, split.n_low], sizes[at], "{level:?} {cut:?}");
                let [chi_square, p_value, ratio] = numbers[at];
                close(split.chi_square, chi_square, 1e-12);
                close(split.p_value, p_value, 1e-12);
                // lifelines stops its iteration earlier.
                close(split.hazard_ratio, ratio, 1e-6);
                if level == Level::Patient {
                    close(split.hazard_ratio_ci95.map(|found| found.0), limits.0, 1e-5);
                    close(split.hazard_ratio_ci95.map(|found| found.1), limits.1, 1e-5);
                }
            }
        }
        // The pooled median puts all of a fold to one side, which the learned cut does not.
        let groups =
            |cut| RiskGroups::split(Level::Patient, &two_scales(), &cut).expect("valid").expect("rows");
        let Cut::Training(folds) = groups(training_cut()).cut else { panic!("a learned cut") };
        let sides: Vec<_> = folds.iter().map(|fold| (fold.fold, fold.n_high, fold.n_low)).collect();
        assert_eq!(sides, [(0, 3, 3), (1, 4, 2)]);
        let median = |group: Option<RiskGroup>| group.map(|group| group.median());
        let groups = groups(training_cut());
        assert_eq!(median(groups.high).as_deref(), Some("7.0 months"));
        assert_eq!(median(groups.low).as_deref(), Some("not reached"));
    }

    #[test]
    fn a_learned_cut_that_leaves_a_group_empty_says_which() {
        let cut = |at| {
            let cut = |fold| TrainingCut { fold, slides: at, patients: at };
            RiskCut::Training(vec![cut(0), cut(1)])
        };
        let verdict = |at| {
            let groups =
                RiskGroups::split(Level::Patient, &two_scales(), &cut(at)).expect("valid").expect("rows");
            assert_eq!((groups.high.is_some(), groups.low.is_some()), (at < 0.0, at > 0.0));
            groups.verdict()
        };
        assert_eq!(
            verdict(-99.0),
            "The risk of every patient is at least the training median of the fold, so that the low-risk group is empty and \
             no log-rank test is possible."
        );
        assert!(verdict(99.0).starts_with(
            "The risk of every patient is below the training median of the fold, so that the high"
        ));
    }

    #[test]
    fn a_fold_without_a_cut_is_refused_by_name() {
        let cut = |slides| TrainingCut { fold: 0, slides, patients: 0.0 };
        for (cuts, found) in [
            (vec![cut(0.0)], "fold 1 has no cut between high and low risk, expected the median"),
            (vec![cut(f64::NAN)], "fold 0 has the cut NaN between high and low risk, expected the median"),
        ] {
            let error = RiskGroups::split(Level::Slide, &two_scales(), &RiskCut::Training(cuts));
            let error = error.expect_err("no cut").to_string();
            assert!(error.starts_with(found), "{error}");
        }
    }

    #[test]
    fn a_patient_that_several_folds_score_is_cut_at_the_mean_of_their_cuts() {
        // The mean risk of p is 4, the mean of its cuts (0 + 0 + 9) / 3 = 3.
        let mut rows = two_scales();
        for (slide, fold, risk) in [("p1", 0, 1.0), ("p2", 0, 1.0), ("p3", 1, 10.0)] {
            rows.push(PredictionRow { fold, ..row("p", slide, 1.0, Status::Event, risk) });
        }
        let side = |of_second| {
            let cut = |fold, patients| TrainingCut { fold, slides: 0.0, patients };
            let cut = RiskCut::Training(vec![cut(0, 0.0), cut(1, of_second)]);
            let groups = RiskGroups::split(Level::Patient, &rows, &cut).expect("valid").expect("rows");
            groups.sides.last().copied()
        };
        assert_eq!(
            [side(9.0), side(12.0), side(12.5)],
            [Some(Side::High), Some(Side::High), Some(Side::Low)]
        );
    }
}
