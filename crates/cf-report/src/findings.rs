//! The finding in plain language: what was found, and how certain it is.

use crate::analysis::Analysis;
use crate::number::{self, count, counted, fixed};
use crate::report::{CrossValidationReport, Selection};
use crate::risk_groups::Level;
use crate::time_scores::FoldScores;

/// Two paragraphs for readers who do not read tables.
pub(crate) struct Findings {
    pub(crate) found: String,
    pub(crate) certainty: String,
}

impl Findings {
    pub(crate) fn of(report: &CrossValidationReport, analysis: &Analysis) -> Self {
        let found = [discrimination(report), groups(analysis), probabilities(analysis)];
        let certainty = [
            interval(report, analysis),
            spread(report),
            selection(report),
            limits(report, analysis),
            sites(report),
        ];
        Self { found: joined(&found), certainty: joined(&certainty) }
    }
}

fn joined(sentences: &[Option<String>]) -> String {
    sentences.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn in_hundred(c_index: f64) -> String {
    fixed(100.0 * c_index, 0)
}

fn discrimination(report: &CrossValidationReport) -> Option<String> {
    let Some(mean) = report.patient_c_index.mean.filter(|mean| mean.is_finite()) else {
        return Some(
            "Nothing can be said about the order of the predicted risks: no fold has two patients who can be compared."
                .to_owned(),
        );
    };
    let n_folds = report.patient_c_index.folds.iter().flatten().count();
    Some(format!(
        "Take two patients of whom one is known to have had the event first: in {} of 100 such pairs the model gave that \
         patient the higher risk (patient-level C-index {}, {}). Guessing gets 50 of 100.",
        in_hundred(mean),
        fixed(mean, 3),
        if n_folds == 1 { "one fold".to_owned() } else { format!("mean of {n_folds} folds") },
    ))
}

fn groups(analysis: &Analysis) -> Option<String> {
    let groups = analysis.groups_of(Level::Patient)?;
    let (Ok(test), Some(high), Some(low)) = (&groups.test, &groups.high, &groups.low) else {
        return Some(
            "The patients could not be split into two risk groups that a test can compare.".to_owned(),
        );
    };
    let (higher, others) = if high.n == low.n {
        ("the half of the patients".to_owned(), "the other half".to_owned())
    } else {
        let others = counted(low.n, "other", "others");
        (format!("the {}", counted(high.n, "patient", "patients")), format!("the {others}"))
    };
    let reading = if test.p < 0.05 {
        "a difference larger than chance would usually make it"
    } else {
        "a difference that chance alone may explain"
    };
    Some(match &groups.hazard_ratio {
        Ok(ratio) => format!(
            "At any time, {higher} with the higher predicted risk had the event at {} times the rate of {others} (hazard ratio, \
             95 % interval {} to {}), {reading} (log-rank p = {}).",
            number::significant(ratio.hazard_ratio),
            number::significant(ratio.lower),
            number::significant(ratio.upper),
            test.p_value
        ),
        // The strongest separation of all has no ratio.
        Err(reason) => format!(
            "Compared with {others}, {higher} with the higher predicted risk had the event {}, {reading} (log-rank p = {}). \
             {reason}",
            if test.excess_of_high > 0.0 { "earlier or more often" } else { "later or less often" },
            test.p_value
        ),
    })
}

fn probabilities(analysis: &Analysis) -> Option<String> {
    let scores = analysis.time_scores.as_ref().ok()?;
    let (model, reference) =
        (scores.mean_of(FoldScores::integrated_brier), scores.mean_of(FoldScores::integrated_reference));
    let accuracy = scores.accuracy()?;
    let numbers = format!("integrated Brier score {} against {}", fixed(model, 3), fixed(reference, 3));
    let calibrated = analysis.calibration.as_ref().map(|calibration| calibration.d.p_value >= 0.05);
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

fn interval(report: &CrossValidationReport, analysis: &Analysis) -> Option<String> {
    report.patient_c_index.mean?;
    let n_events = analysis.facts.map_or(0, |facts| facts.n_event_patients);
    let Some((low, high)) = report.patient_c_index.ci95 else {
        let reason = report.patient_c_index.no_ci95.as_ref();
        let reason = reason.map_or_else(String::new, |reason| format!(", as {reason}"));
        return Some(format!("There is no interval for the C-index{reason}, so its certainty is unknown."));
    };
    let (low_text, high_text) = (in_hundred(low), in_hundred(high));
    let events = format!("{} with the event", counted(n_events, "patient", "patients"));
    let of_pairs = analysis.patient_intervals.pooled.and_then(|pooled| pooled.limits);
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

fn spread(report: &CrossValidationReport) -> Option<String> {
    let folds: Vec<f64> = report.patient_c_index.folds.iter().flatten().copied().collect();
    let (low, high) = (folds.iter().copied().reduce(f64::min)?, folds.iter().copied().reduce(f64::max)?);
    let (low, high) = (in_hundred(low), in_hundred(high));
    (folds.len() > 1).then(|| {
        if low == high {
            format!("Every fold has {low} of 100.")
        } else {
            format!("Single folds range from {low} to {high} of 100.")
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
