//! The report as one HTML file: texts that depend on the numbers, and the template they are put into.

use askama::Template;

use crate::error::{Error, Result};
use crate::figures;
use crate::number::{self, MISSING, count, counted, fixed, fixed_or_missing, significant};
use crate::report::{CrossValidationReport, EpochRow, FlowStep, FoldReport};
use crate::risk_groups::{Level, PatientFacts, RiskGroup, RiskGroups, patient_facts};
use crate::table::{CIndexRow, c_index_rows};

/// Renders the whole report as one HTML file that refers to nothing outside itself: no script, no network.
///
/// Results that are undefined become sentences.
///
/// # Errors
/// If a risk is not finite, the slides of a patient have different outcomes, or a C-index summary does not have one
/// entry per fold report.
pub fn render_html(report: &CrossValidationReport) -> Result<String> {
    report.check()?;
    let facts = patient_facts(&report.predictions)?;
    let mut groups = Vec::new();
    for level in [Level::Slide, Level::Patient] {
        groups.extend(RiskGroups::split(level, &report.predictions)?.map(|groups| LevelView::new(&groups)));
    }
    let page = Page {
        report,
        dark_rules: figures::dark_rules(),
        scored: scored(report, facts),
        follow_up: facts.map(follow_up),
        headline: headline(report),
        c_index_rows: c_index_rows(report),
        optimism: optimism(report),
        c_index_notes: c_index_notes(report),
        c_index_figure: figures::c_index(report).map(|figure| figure.svg),
        groups,
        overstatement: overstatement(facts),
        flow: report.flow.iter().map(FlowView::new).collect(),
        folds: report.folds.iter().map(FoldView::new).collect(),
        training_figure: figures::training(report).map(|figure| figure.svg),
        wall_time: number::duration(report.wall_seconds),
        peak_memory: number::bytes(report.peak_rss_bytes),
    };
    page.render().map_err(Error::Template)
}

/// What the template fills in, as text unless the template counts or repeats it.
#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a CrossValidationReport,
    dark_rules: String,
    scored: String,
    follow_up: Option<String>,
    headline: Headline,
    c_index_rows: [CIndexRow; 3],
    optimism: String,
    c_index_notes: Vec<String>,
    c_index_figure: Option<String>,
    groups: Vec<LevelView>,
    overstatement: String,
    flow: Vec<FlowView<'a>>,
    folds: Vec<FoldView>,
    training_figure: Option<String>,
    wall_time: String,
    peak_memory: String,
}

/// The number of the run and how to read it.
struct Headline {
    number: String,
    reading: String,
}

fn headline(report: &CrossValidationReport) -> Headline {
    let summary = &report.c_index;
    let n_folds = summary.folds.iter().flatten().count();
    let (Some(mean), Some(sd)) = (summary.mean, summary.sd) else {
        return Headline {
            number: MISSING.to_owned(),
            reading: "No C-index: no fold has a pair of slides that can be compared.".to_owned(),
        };
    };
    let folds = match (n_folds, report.folds.len()) {
        (1, 1) => "one fold, so that the spread is unknown".to_owned(),
        (n, all) if n == all => format!("mean and standard deviation of {n} folds"),
        (n, all) => format!("mean and standard deviation of the {n} of {all} folds that have one"),
    };
    let interval = match summary.ci95 {
        Some((low, high)) => format!(
            " 95 % confidence interval {} to {}.",
            fixed(low, 3),
            fixed(high, 3)
        ),
        None => String::new(),
    };
    let number = if n_folds == 1 {
        fixed(mean, 3)
    } else {
        format!("{} ± {}", fixed(mean, 3), fixed(sd, 3))
    };
    Headline {
        number,
        reading: format!("C-index of validation slides at the selected epoch, {folds}.{interval}"),
    }
}

/// `437 slides of 386 patients, 148 of them with the event, in 5 folds`.
fn scored(report: &CrossValidationReport, facts: Option<PatientFacts>) -> String {
    let folds = counted(report.folds.len(), "fold", "folds");
    match facts {
        Some(facts) => format!(
            "{} of {}, {} of them with the event, in {folds}",
            counted(report.predictions.len(), "slide", "slides"),
            counted(facts.n_patients, "patient", "patients"),
            count(facts.n_event_patients)
        ),
        None => format!("no slide, in {folds}"),
    }
}

fn follow_up(facts: PatientFacts) -> String {
    match facts.median_follow_up_months {
        Some(months) => format!("{} months (reverse Kaplan-Meier)", fixed(months, 1)),
        None => "not reached".to_owned(),
    }
}

/// What choosing the epoch on the scored folds may have added, as a number in a sentence.
fn optimism(report: &CrossValidationReport) -> String {
    let all_last = report
        .folds
        .iter()
        .all(|fold| last_epoch(fold).is_none_or(|last| last == fold.selected_epoch));
    if all_last {
        return "The selected epoch is the last one in every fold, so choosing an epoch added nothing to the result."
            .to_owned();
    }
    let (Some(selected), Some(last)) = (report.c_index.mean, report.last_epoch_c_index.mean) else {
        return "Selected and last epochs cannot be compared, because a C-index is missing.".to_owned();
    };
    let difference = selected - last;
    let comparison = if difference >= 0.0 {
        "higher than"
    } else {
        "lower than"
    };
    format!(
        "The selected epochs score {} {comparison} the last epochs; where an epoch is chosen by its score on the very \
         slides that are reported, such a difference comes from choosing and not from learning, and new slides will \
         show less (how epochs were chosen here stands under Protocol).",
        fixed(difference.abs(), 3)
    )
}

/// Why slide-level tests overstate, with the cohort's own numbers.
fn overstatement(facts: Option<PatientFacts>) -> String {
    let Some(facts) = facts else { return String::new() };
    if facts.n_with_several_slides == 0 {
        return "Every patient has one slide, so slide and patient level are the same test.".to_owned();
    }
    format!(
        "{} of {} {} more than one slide, at most {}. At slide level each of these slides counts as a subject of its \
         own with the same time and status, though they are copies of one observation; the test takes them for \
         independent, and its p-value overstates the evidence. The patient level, with the mean risk of a patient’s \
         slides, is the one to draw conclusions from; the slide level is for comparison with published values.",
        count(facts.n_with_several_slides),
        counted(facts.n_patients, "patient", "patients"),
        if facts.n_with_several_slides == 1 {
            "has"
        } else {
            "have"
        },
        count(facts.most_slides)
    )
}

fn c_index_notes(report: &CrossValidationReport) -> Vec<String> {
    let note = |fold: &FoldReport| match (&fold.c_index_note, fold.c_index) {
        (Some(note), _) => Some(format!("Fold {}: {}.", fold.fold, note.trim_end_matches('.'))),
        (None, None) => Some(format!(
            "Fold {}: no C-index, because no two slides can be compared.",
            fold.fold
        )),
        (None, Some(_)) => None,
    };
    report.folds.iter().filter_map(note).collect()
}

fn last_epoch(fold: &FoldReport) -> Option<usize> {
    fold.history.last().map(|row| row.epoch)
}

/// Risk groups of one level.
struct LevelView {
    name: &'static str,
    rows: Vec<GroupView>,
    threshold: String,
    chi_square: String,
    p_value: String,
    p_value_by_fold: String,
    undefined: Option<String>,
    svg: String,
}

/// One row of the table of risk groups.
struct GroupView {
    name: &'static str,
    n: String,
    n_events: String,
    median: String,
}

impl LevelView {
    fn new(groups: &RiskGroups) -> Self {
        let row = |name, group: &Option<RiskGroup>| GroupView {
            name,
            n: count(group.as_ref().map_or(0, |group| group.n)),
            n_events: count(group.as_ref().map_or(0, |group| group.n_events)),
            median: group
                .as_ref()
                .map_or_else(|| MISSING.to_owned(), RiskGroup::median),
        };
        let p_value = |test: &std::result::Result<crate::risk_groups::TestResult, String>| {
            test.as_ref()
                .map_or_else(|_| MISSING.to_owned(), |test| test.p_value.clone())
        };
        Self {
            name: groups.level.heading(),
            rows: vec![row("high risk", &groups.high), row("low risk", &groups.low)],
            threshold: significant(groups.threshold),
            chi_square: fixed_or_missing(groups.test.as_ref().ok().map(|test| test.chi_square), 2),
            p_value: p_value(&groups.test),
            p_value_by_fold: p_value(&groups.test_by_fold),
            undefined: groups.test.as_ref().err().cloned(),
            svg: figures::kaplan_meier(groups).svg,
        }
    }
}

/// One step of the cohort flow.
struct FlowView<'a> {
    label: &'a str,
    n_slides: String,
    n_patients: String,
    n_events: String,
    dropped: Vec<DroppedView<'a>>,
}

/// One reason of a step.
struct DroppedView<'a> {
    n: String,
    reason: &'a str,
    ids: &'a [String],
}

impl<'a> FlowView<'a> {
    fn new(step: &'a FlowStep) -> Self {
        let dropped = step.dropped.iter().map(|dropped| DroppedView {
            n: count(dropped.ids.len()),
            reason: &dropped.reason,
            ids: &dropped.ids,
        });
        Self {
            label: &step.label,
            n_slides: count(step.n_slides),
            n_patients: count(step.n_patients),
            n_events: count(step.n_events),
            dropped: dropped.collect(),
        }
    }
}

/// One fold of the table of folds, and its training.
struct FoldView {
    fold: usize,
    n_train_slides: String,
    n_train_events: String,
    n_validation_slides: String,
    n_validation_patients: String,
    n_validation_events: String,
    selected_epoch: usize,
    last_epoch: String,
    c_index: String,
    patient_c_index: String,
    last_epoch_c_index: String,
    edges: Vec<String>,
    history_summary: String,
    history: Vec<EpochView>,
}

/// One epoch of the table of a fold's training.
struct EpochView {
    epoch: usize,
    selected: bool,
    learning_rate: String,
    train_loss: String,
    validation_loss: String,
    c_index: String,
    time: String,
}

impl FoldView {
    fn new(fold: &FoldReport) -> Self {
        let seconds: f64 = fold.history.iter().map(|row| row.seconds).sum();
        let epochs = counted(fold.history.len(), "epoch", "epochs");
        Self {
            fold: fold.fold,
            n_train_slides: count(fold.n_train_slides),
            n_train_events: count(fold.n_train_events),
            n_validation_slides: count(fold.n_validation_slides),
            n_validation_patients: count(fold.n_validation_patients),
            n_validation_events: count(fold.n_validation_events),
            selected_epoch: fold.selected_epoch,
            last_epoch: last_epoch(fold).map_or_else(|| MISSING.to_owned(), |epoch| epoch.to_string()),
            c_index: fixed_or_missing(fold.c_index, 3),
            patient_c_index: fixed_or_missing(fold.patient_c_index, 3),
            last_epoch_c_index: fixed_or_missing(fold.last_epoch_c_index, 3),
            edges: fold
                .time_bin_edges_months
                .iter()
                .map(|&edge| fixed(edge, 2))
                .collect(),
            history_summary: format!("{epochs} in {}", number::duration(seconds)),
            history: fold
                .history
                .iter()
                .map(|row| EpochView::new(row, fold.selected_epoch))
                .collect(),
        }
    }
}

impl EpochView {
    fn new(row: &EpochRow, selected_epoch: usize) -> Self {
        Self {
            epoch: row.epoch,
            selected: row.epoch == selected_epoch,
            learning_rate: significant(row.learning_rate),
            train_loss: fixed(row.train_loss, 4),
            validation_loss: fixed(row.validation_loss, 4),
            c_index: fixed_or_missing(row.validation_c_index, 3),
            time: number::duration(row.seconds),
        }
    }
}
