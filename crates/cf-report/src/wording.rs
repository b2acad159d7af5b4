//! Sentences of the page that depend on the numbers.

use crate::number::{MISSING, count, counted, fixed};
use crate::patients::PatientFacts;
use crate::report::{CIndexSummary, CrossValidationReport, FoldReport};

/// A C-index of the run and how to read it.
pub(crate) struct Headline {
    /// `Patient level` or `Slide level`.
    pub(crate) level: &'static str,
    /// Its place in `summary.json`.
    pub(crate) key: &'static str,
    /// The name of the number there.
    pub(crate) value: &'static str,
    /// The C-index.
    pub(crate) mean: String,
    /// `None` for one fold, whose spread is unknown.
    pub(crate) sd: Option<String>,
    pub(crate) reading: String,
    pub(crate) ci95: Option<[String; 2]>,
}

/// The headlines of patient and slide level.
pub(crate) fn headlines(report: &CrossValidationReport) -> [Headline; 2] {
    [
        headline("Patient level", "patient_c_index", "patients", &report.patient_c_index),
        headline("Slide level", "c_index", "slides", &report.c_index),
    ]
}

/// The headline of one C-index over folds, or a dash and the reason.
fn headline(level: &'static str, key: &'static str, units: &str, summary: &CIndexSummary) -> Headline {
    let n_folds = summary.folds.iter().flatten().count();
    let place = (level, key, "mean");
    if summary.mean.is_none() {
        let reading = format!("No C-index: no fold has a pair of {units} that can be compared.");
        return headline_of(place, None, None, reading);
    }
    let folds = match (n_folds, summary.folds.len()) {
        (1, 1) => "one fold, so that the spread is unknown".to_owned(),
        (1, all) => {
            format!("that of the only one of {all} folds that has one, so that the spread is unknown")
        }
        (n, all) if n == all => format!("mean and standard deviation of {n} folds"),
        (n, all) => format!("mean and standard deviation of the {n} of {all} folds that have one"),
    };
    let reading = match &summary.no_ci95 {
        None => format!("C-index of validation {units} at the selected epoch, {folds}."),
        Some(reason) => format!(
            "C-index of validation {units} at the selected epoch, {folds}. There is no confidence interval: {reason}."
        ),
    };
    Headline {
        sd: summary.sd.filter(|_| n_folds > 1).map(|sd| fixed(sd, 3)),
        ..headline_of(place, summary.mean, summary.ci95, reading)
    }
}

/// The headline of a C-index without a spread, or a dash. Its place is the level, and key and name of the number in `summary.json`.
pub(crate) fn headline_of(
    (level, key, value): (&'static str, &'static str, &'static str),
    c_index: Option<f64>,
    ci95: Option<(f64, f64)>,
    reading: String,
) -> Headline {
    Headline {
        level,
        key,
        value,
        mean: c_index.map_or_else(|| MISSING.to_owned(), |c_index| fixed(c_index, 3)),
        sd: None,
        reading,
        ci95: ci95.map(|(low, high)| [fixed(low, 3), fixed(high, 3)]),
    }
}

/// What was scored, as counts of the page's head.
pub(crate) struct Scored {
    pub(crate) n_slides: String,
    pub(crate) n_patients: String,
    pub(crate) n_event_patients: String,
    pub(crate) n_events: String,
    pub(crate) n_folds: String,
}

/// Counts of the scored slides and patients.
pub(crate) fn scored(report: &CrossValidationReport, facts: Option<PatientFacts>) -> Scored {
    Scored {
        n_slides: count(facts.map_or(0, |facts| facts.n_slides)),
        n_patients: count(facts.map_or(0, |facts| facts.n_patients)),
        n_event_patients: count(facts.map_or(0, |facts| facts.n_event_patients)),
        n_events: count(facts.map_or(0, |facts| facts.n_event_slides)),
        n_folds: match (report.folds.len(), report.n_planned_folds) {
            (n, all) if n < all => format!("{n} of {}", counted(all, "fold", "folds")),
            (n, _) => counted(n, "fold", "folds"),
        },
    }
}

/// What the command that repeats the run says of folds, where not all of them were run: ` --folds 0,2`.
pub(crate) fn folds_argument(report: &CrossValidationReport) -> String {
    if report.folds.len() >= report.n_planned_folds {
        return String::new();
    }
    let folds: Vec<String> = report.folds.iter().map(|fold| fold.fold.to_string()).collect();
    format!(" --folds {}", folds.join(","))
}

/// `30.1 months (reverse Kaplan-Meier)`.
pub(crate) fn follow_up(facts: PatientFacts) -> String {
    match facts.median_follow_up_months {
        Some(months) => format!("{} months (reverse Kaplan-Meier)", fixed(months, 1)),
        None => "not reached".to_owned(),
    }
}

/// What choosing the epoch on the scored folds may have added, as a number in a sentence.
pub(crate) fn optimism(report: &CrossValidationReport) -> String {
    let all_last =
        report.folds.iter().all(|fold| last_epoch(fold).is_none_or(|last| last == fold.selected_epoch));
    if all_last {
        return "The selected epoch is the last one in every fold, so choosing an epoch added nothing to the result."
            .to_owned();
    }
    let (Some(selected), Some(last)) = (report.c_index.mean, report.last_epoch_c_index.mean) else {
        return "Selected and last epochs cannot be compared, because a C-index is missing.".to_owned();
    };
    let difference = selected - last;
    let comparison = if difference >= 0.0 { "higher than" } else { "lower than" };
    format!(
        "The selected epochs score {} {comparison} the last epochs; where an epoch is chosen by its score on the very \
         slides that are reported, such a difference comes from choosing and not from learning, and new slides will \
         show less (how epochs were chosen here stands under Protocol).",
        fixed(difference.abs(), 3)
    )
}

/// `7 of 17 patients are validated by several folds`; `None` where none is.
#[must_use]
pub fn validated_twice(n: usize, n_patients: usize) -> Option<String> {
    let patients = counted(n_patients, "patient", "patients");
    let are = if n == 1 { "is" } else { "are" };
    (n > 0).then(|| format!("{} of {patients} {are} validated by several folds", count(n)))
}

/// What predicted the patients of cross-validation. `shared` says that folds share patients, where they do.
pub(crate) fn predicted_by(shared: Option<&str>) -> String {
    let counted = shared.map_or_else(String::new, |fact| {
        format!(". {fact}; they count once, with the mean of the probabilities that the models of these folds predict")
    });
    format!("a model that was not trained on them{counted}")
}

/// Why slide-level tests overstate, with the cohort's own numbers.
pub(crate) fn overstatement(facts: Option<PatientFacts>) -> String {
    let Some(facts) = facts else { return String::new() };
    if facts.n_with_several_slides == 0 {
        return "Every patient has one slide, so slide and patient level are the same test.".to_owned();
    }
    format!(
        "{} of {} {} more than one slide, at most {}. At slide level each of these slides counts as a subject of its \
         own with the same time and status, though they are copies of one observation. The test takes them for \
         independent, so its p-value is not to be relied on; as a rule it overstates the evidence. Draw conclusions \
         from the patient level, where the risk is the mean over a patient’s slides, and use the slide level to \
         compare with published values.",
        count(facts.n_with_several_slides),
        counted(facts.n_patients, "patient", "patients"),
        if facts.n_with_several_slides == 1 { "has" } else { "have" },
        count(facts.most_slides)
    )
}

/// A sentence for each fold that has a note or lacks a C-index.
pub(crate) fn c_index_notes(report: &CrossValidationReport) -> Vec<String> {
    let note = |fold: &FoldReport| match (&fold.c_index_note, fold.c_index) {
        (Some(note), _) => Some(format!("Fold {}: {}.", fold.fold, note.trim_end_matches('.'))),
        (None, None) => {
            Some(format!("Fold {}: no C-index, because no two slides can be compared.", fold.fold))
        }
        (None, Some(_)) => None,
    };
    report.folds.iter().filter_map(note).collect()
}

/// The last epoch that was trained.
pub(crate) fn last_epoch(fold: &FoldReport) -> Option<usize> {
    fold.history.last().map(|row| row.epoch)
}
