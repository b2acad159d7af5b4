//! The finding in plain language: what was found, and how certain it is.

use crate::analysis::Analysis;
use crate::calibration::Calibration;
use crate::number::{self, count, counted, fixed};
use crate::patients::PatientFacts;
use crate::report::{CIndexSummary, CrossValidationReport, Selection};
use crate::risk_cut::Cut;
use crate::risk_groups::{Level, RiskGroups};
use crate::time_scores::TimeScores;

/// Two paragraphs for readers who do not read tables.
pub(crate) struct Findings {
    pub(crate) found: String,
    pub(crate) certainty: String,
}

impl Findings {
    pub(crate) fn of(report: &CrossValidationReport, analysis: &Analysis) -> Self {
        let patients = &report.patient_c_index;
        let n_folds = patients.folds.iter().flatten().count();
        let of = if n_folds == 1 { "one fold".to_owned() } else { format!("mean of {n_folds} folds") };
        let nobody = "no fold has two patients who can be compared";
        let found = [
            Some(discrimination(patients.mean, &of, nobody)),
            groups(analysis.groups_of(Level::Patient)),
            probabilities(analysis.time_scores.as_ref().ok(), analysis.calibration.as_ref()),
        ];
        let n_events = analysis.facts.map_or(0, |facts| facts.n_event_patients);
        let of_pairs = analysis.patient_intervals.pooled.and_then(|pooled| pooled.limits);
        let certainty = [
            interval(patients, n_events, of_pairs),
            spread(&patients.folds, ["Every fold has", "Single folds range"]),
            analysis
                .facts
                .and_then(PatientFacts::validated_twice)
                .map(|fact| format!("{fact}, so that the folds are no independent tests of the model.")),
            selection(report),
            limits(report, analysis),
            sites(report),
        ];
        Self { found: joined(&found), certainty: joined(&certainty) }
    }
}

/// The sentences that there are, as a paragraph.
pub(crate) fn joined(sentences: &[Option<String>]) -> String {
    sentences.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn in_hundred(c_index: f64) -> String {
    fixed(100.0 * c_index, 0)
}

/// What a patient-level C-index says. `of` is what it is of, `nobody` why there may be none.
pub(crate) fn discrimination(c_index: Option<f64>, of: &str, nobody: &str) -> String {
    let Some(c_index) = c_index.filter(|c_index| c_index.is_finite()) else {
        return format!("Nothing can be said about the order of the predicted risks: {nobody}.");
    };
    format!(
        "Take two patients of whom one is known to have had the event first: in {} of 100 such pairs the model gave that \
         patient the higher risk (patient-level C-index {}, {of}). Guessing gets 50 of 100.",
        in_hundred(c_index),
        fixed(c_index, 3),
    )
}

/// What lies between the patients of high and low risk.
pub(crate) fn groups(groups: Option<&RiskGroups>) -> Option<String> {
    let groups = groups?;
    let (test, high, low) = match (&groups.test, &groups.high, &groups.low) {
        (Ok(test), Some(high), Some(low)) => (test, high, low),
        (test, ..) => {
            let reason = test.as_ref().err().map_or_else(String::new, |reason| format!(" {reason}"));
            return Some(format!(
                "The patients could not be split into two risk groups that a test can compare.{reason}"
            ));
        }
    };
    let others = format!("the {}", counted(low.n, "other", "others"));
    let (higher, others) = match &groups.cut {
        Cut::Training(_) => (
            format!(
                "the {} whose predicted risk is at least the median of those trained on in their fold",
                counted(high.n, "patient", "patients")
            ),
            others,
        ),
        Cut::Pooled(_) | Cut::Given(_) if high.n == low.n => (
            "the half of the patients with the higher predicted risk".to_owned(),
            "the other half".to_owned(),
        ),
        Cut::Pooled(_) | Cut::Given(_) => {
            (format!("the {} with the higher predicted risk", counted(high.n, "patient", "patients")), others)
        }
    };
    let reading = if test.p < 0.05 {
        "a difference larger than chance would usually make it"
    } else {
        "a difference that chance alone may explain"
    };
    Some(match &groups.hazard_ratio {
        Ok(ratio) => format!(
            "At any time, {higher} had the event at {} times the rate of {others} (hazard ratio, \
             95 % interval {} to {}), {reading} (log-rank p = {}).",
            number::significant(ratio.hazard_ratio),
            number::significant(ratio.lower),
            number::significant(ratio.upper),
            test.p_value
        ),
        // The strongest separation of all has no ratio.
        Err(reason) => format!(
            "Compared with {others}, {higher} had the event {}, {reading} (log-rank p = {}). \
             {reason}",
            if test.excess_of_high > 0.0 { "earlier or more often" } else { "later or less often" },
            test.p_value
        ),
    })
}

/// What the predicted probabilities are worth.
pub(crate) fn probabilities(
    scores: Option<&TimeScores>,
    calibration: Option<&Calibration>,
) -> Option<String> {
    let scores = scores?;
    let brier = scores.integrated_brier()?;
    let (model, reference, accuracy) = (brier.model, brier.reference, brier.accuracy()?);
    let numbers = format!("integrated Brier score {} against {}", fixed(model, 3), fixed(reference, 3));
    let calibrated = calibration.map(|calibration| calibration.d.p_value >= 0.05);
    let test = match calibrated {
        Some(true) => ", and as a whole they pass a test of calibration",
        Some(false) => ", but as a whole they fail a test of calibration",
        None => "",
    };
    Some(if accuracy > 0.0 {
        format!(
            "The predicted probabilities come closer to what happened than one curve for everybody ({numbers}: {} % less \
             error){test}.",
            fixed(100.0 * accuracy, 0)
        )
    } else {
        format!(
            "The predicted probabilities come no closer to what happened than one curve for everybody ({numbers}), so they \
             are not to be relied on."
        )
    })
}

/// What the interval of a patient-level C-index says. `of_pairs` is that of all pairs within folds, where there are folds.
pub(crate) fn interval(
    c_index: &CIndexSummary,
    n_events: usize,
    of_pairs: Option<(f64, f64)>,
) -> Option<String> {
    c_index.mean?;
    let Some((low, high)) = c_index.ci95 else {
        let reason = c_index.no_ci95.as_ref();
        let reason = reason.map_or_else(String::new, |reason| format!(", as {reason}"));
        return Some(format!("There is no interval for the C-index{reason}, so its certainty is unknown."));
    };
    let (low_text, high_text) = (in_hundred(low), in_hundred(high));
    let events = format!("{} with the event", counted(n_events, "patient", "patients"));
    // The mean weighs a fold of few pairs as one of many; a claim has to hold for all pairs alike, too.
    let contradicting = of_pairs.filter(|(of_pairs_low, of_pairs_high)| {
        (low > 0.5 && *of_pairs_low <= 0.5) || (high < 0.5 && *of_pairs_high >= 0.5)
    });
    Some(if let Some((of_pairs_low, of_pairs_high)) = contradicting {
        format!(
            "With {events}, the 95 % interval of the mean is {low_text} to {high_text} of 100; that of all pairs within folds, \
             counted alike, is {} to {} and includes 50: guessing remains a possible explanation.",
            in_hundred(of_pairs_low),
            in_hundred(of_pairs_high)
        )
    } else if low > 0.5 {
        format!(
            "With {events}, values between {low_text} and {high_text} of 100 agree with what was seen (95 % interval); \
             guessing is no likely explanation."
        )
    } else if high < 0.5 {
        format!(
            "The 95 % interval, {low_text} to {high_text} of 100, lies below 50: the order is wrong more often than guessing \
             would be. Look for a status column or a risk with the wrong sign."
        )
    } else {
        format!(
            "With {events}, the 95 % interval is {low_text} to {high_text} of 100 and includes 50: guessing remains a possible explanation."
        )
    })
}

/// How far single values lie apart. `words` open the sentence, where all are alike and where they are not.
pub(crate) fn spread(c_indices: &[Option<f64>], [alike, apart]: [&str; 2]) -> Option<String> {
    let values: Vec<f64> = c_indices.iter().flatten().copied().collect();
    let (low, high) = (values.iter().copied().reduce(f64::min)?, values.iter().copied().reduce(f64::max)?);
    let (low, high) = (in_hundred(low), in_hundred(high));
    (values.len() > 1).then(|| {
        if low == high {
            format!("{alike} {low} of 100.")
        } else {
            format!("{apart} from {low} to {high} of 100.")
        }
    })
}

fn selection(report: &CrossValidationReport) -> Option<String> {
    report.patient_c_index.mean?;
    Some(match (report.selection, report.patient_last_epoch_c_index.mean) {
        (Selection::WithoutReportedFold, _) => {
            "No epoch was chosen by its score on the patients that are scored here.".to_owned()
        }
        (Selection::OnReportedFold, Some(last)) => format!(
            "The epoch was chosen by its score on the very patients that are scored, which flatters every number here; the last \
             epoch, which nobody chose, orders {} of 100 pairs rightly.",
            in_hundred(last)
        ),
        (Selection::OnReportedFold, None) => {
            "The epoch was chosen by its score on the very patients that are scored, which flatters every number here."
                .to_owned()
        }
    })
}

fn limits(report: &CrossValidationReport, analysis: &Analysis) -> Option<String> {
    let has_test = analysis.groups_of(Level::Patient).is_some_and(|groups| groups.test.is_ok());
    (has_test || report.patient_c_index.ci95.is_some()).then(|| {
        "Intervals and p-values are about other patients of the same kind; they say nothing of another training run, another \
         split or another hospital."
            .to_owned()
    })
}

fn sites(report: &CrossValidationReport) -> Option<String> {
    let known: Vec<_> = report.folds.iter().filter_map(|fold| fold.sites.as_ref()).collect();
    let n_validation: usize = known.iter().map(|sites| sites.n_validation).sum();
    let n_shared: usize = known.iter().map(|sites| sites.shared.len()).sum();
    if n_validation == 0 {
        return None;
    }
    Some(if n_shared == 0 {
        "No hospital is on both sides of a fold.".to_owned()
    } else {
        format!(
            "Over all folds, {} of {} validation sites send slides to training, too, so that part of what was learned may be \
             the look of a hospital.",
            count(n_shared),
            count(n_validation)
        )
    })
}
