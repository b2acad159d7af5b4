//! The clinical table: every faulty row, the event share, and whether the status column has the right sign.

use serde::Serialize;
use survival_metrics::{KaplanMeier, Outcome};

use super::fault::Fault;
use super::finding::{Finding, Severity, listed, place, without_path};
use crate::cohort::{
    ClinicalTable, CohortConfig, Dropped, NO_ROWS, OF_UNKNOWN_PATIENT, RowFault, RowFaultKind,
    WITHOUT_SLIDE_ROW,
};
use crate::error::Error;
use crate::status_suspicion::{self, NameSign, StatusSuspicion, Verdict};

/// Sixty years: TCGA's longest follow-up is 31.
const LONGEST_MONTHS: f64 = 720.0;
/// Studies of survival go on for longer, unless they are of few patients.
const SHORTEST_MONTHS: f64 = 6.0;
const ENOUGH_PATIENTS: usize = 20;

/// The cohort as its table says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CohortFacts {
    /// Usable rows that are slides; `None` where only the names of bags tell the slides.
    pub n_slides: Option<usize>,
    /// Patients.
    pub n_patients: usize,
    /// Patients with an event.
    pub n_events: usize,
    /// Share of the patients with an event, in `[0, 1]`.
    pub event_share: f64,
    /// Kaplan-Meier estimate of the median survival in months; `None` where fewer than half died.
    pub median_survival_months: Option<f64>,
    /// The end of the Kaplan-Meier curve, either way round.
    pub survival_at_end: SurvivalAtEnd,
    /// What the signs of an inverted status column say.
    pub status: StatusSuspicion,
}

/// Kaplan-Meier survival at the last time of the table, in `[0, 1]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SurvivalAtEnd {
    /// With statuses as they are read.
    pub as_read: f64,
    /// With events taken for censored and the other way round.
    pub if_inverted: f64,
}

/// Reads the table and looks at its outcomes.
pub(super) fn examine(
    config: &CohortConfig,
    findings: &mut Vec<Finding>,
) -> Option<(ClinicalTable, CohortFacts)> {
    let mut faults = Vec::new();
    let table = ClinicalTable::examine(config, &mut faults);
    let lacks_columns = faults.iter().any(|fault| fault.kind == RowFaultKind::Columns);
    findings.extend(faults.iter().map(|fault| of_row(config, fault)));
    let table = match table {
        Ok(table) => table,
        Err(error) => {
            if let Some(finding) = not_there(config, &error) {
                findings.push(finding);
                return None;
            }
            let text = error.with_causes();
            // That no row is left was told of with the rows.
            if !lacks_columns && (faults.is_empty() || !text.contains(NO_ROWS)) {
                let place = place(&config.clinical, "");
                let found = without_path(&text, &config.clinical);
                findings.push(Finding::new(Severity::Error, Fault::UnusableTable, place, found));
            }
            return None;
        }
    };
    findings.extend(table.dropped().iter().map(|dropped| left_out(config, dropped)));
    let facts = facts_of(&table)?;
    findings.extend(sign_finding(config, &facts));
    findings.extend(times_finding(config, &table.patient_outcomes()));
    Some((table, facts))
}

/// What makes the outcomes of a cohort doubtful: a status that looks turned round, times in another unit.
pub(crate) fn doubts_of_outcomes(config: &CohortConfig, table: &ClinicalTable) -> Vec<String> {
    let sign = facts_of(table).and_then(|facts| sign_finding(config, &facts));
    let doubts = sign.into_iter().chain(times_finding(config, &table.patient_outcomes()));
    let told = |finding: Finding| format!("{}: {}; {}", finding.place, finding.found, finding.way_out);
    doubts.filter(|finding| finding.severity != Severity::Note).map(told).collect()
}

/// Of a table that is not there.
fn not_there(config: &CohortConfig, error: &Error) -> Option<Finding> {
    let Error::Io { path, source, .. } = error else { return None };
    let key = if config.slides.as_ref() == Some(path) { "cohort.slides" } else { "cohort.clinical" };
    let is_absent = source.kind() == std::io::ErrorKind::NotFound;
    let finding =
        Finding::new(Severity::Error, Fault::UnusableTable, place(path, ""), "there is no such file");
    is_absent.then(|| finding.with_way_out(format!("correct {key}")))
}

/// What the table has and a run has not.
fn left_out(config: &CohortConfig, dropped: &Dropped) -> Finding {
    let found = format!("{}: {}", dropped.reason, listed(&dropped.ids));
    let slide_table = || place(config.slides.as_deref().unwrap_or(&config.clinical), "");
    match dropped.reason.as_str() {
        WITHOUT_SLIDE_ROW => Finding {
            wanted: "a row in the slide table for every patient",
            ..Finding::new(Severity::Warning, Fault::IdsNotJoined, slide_table(), found)
        }
        .with_way_out("add the patient's slides to the slide table; a run leaves the patient out".to_owned()),
        OF_UNKNOWN_PATIENT => Finding {
            wanted: "a row in the clinical table for the patient of every slide",
            ..Finding::new(Severity::Note, Fault::IdsNotJoined, slide_table(), found)
        }
        .with_way_out("add the patients to the clinical table; a run leaves their slides out".to_owned()),
        _ => Finding::new(Severity::Note, Fault::RowsLeftOut, place(&config.clinical, ""), found),
    }
}

fn of_row(config: &CohortConfig, fault: &RowFault) -> Finding {
    let states_sign =
        config.preset.is_some() || config.columns.event.is_some() || config.columns.censorship.is_some();
    let name = match fault.kind {
        RowFaultKind::Columns if !states_sign => Fault::SignNotStated,
        RowFaultKind::Columns => Fault::MissingColumn,
        RowFaultKind::EmptyId => Fault::EmptyId,
        RowFaultKind::TimeMissing
        | RowFaultKind::DecimalComma
        | RowFaultKind::ThousandsComma
        | RowFaultKind::Time => Fault::BadTime,
        RowFaultKind::Status => Fault::BadStatus,
        RowFaultKind::DuplicateSlide => Fault::DuplicateSlide,
        RowFaultKind::DuplicatePatient => Fault::DuplicatePatient,
        RowFaultKind::TwoOutcomes => Fault::TwoOutcomes,
        RowFaultKind::NoEvent => Fault::NoEvent,
    };
    let (place, found) = match &fault.error {
        Error::Data { path, reason } => match reason.split_once(": ") {
            Some((inside, found)) if inside.starts_with("line ") => (place(path, inside), found.to_owned()),
            _ => (place(path, ""), reason.clone()),
        },
        other => (place(&config.clinical, ""), other.with_causes()),
    };
    let finding = Finding::new(Severity::Error, name, place, found);
    match fault.kind {
        RowFaultKind::TimeMissing => finding.with_way_out(
            "fill in the cell, or write missing_outcome = \"skip\" in [cohort] to leave such rows out".to_owned(),
        ),
        RowFaultKind::DecimalComma => finding.with_way_out(
            "write the whole column with decimal points, or export the table again with the number format of English".to_owned(),
        ),
        RowFaultKind::ThousandsComma => finding.with_way_out(
            "look up what the commas of the column are: cells with other than three digits after the comma have decimal commas; then write \
             it without commas, or export the table again without separators of thousands and with decimal points"
                .to_owned(),
        ),
        _ => finding,
    }
}

/// Times whose unit can't be what it is read as.
fn times_finding(config: &CohortConfig, outcomes: &[Outcome]) -> Option<Finding> {
    let longest = outcomes.iter().map(|outcome| outcome.time()).fold(0.0, f64::max);
    let found = if longest > LONGEST_MONTHS {
        format!("the longest follow-up is read as {longest:.0} months, {:.0} years", longest / 12.0)
    } else if longest < SHORTEST_MONTHS && outcomes.len() >= ENOUGH_PATIENTS {
        format!("the longest follow-up of {} patients is read as {longest:.1} months", outcomes.len())
    } else {
        return None;
    };
    Some(Finding::new(Severity::Warning, Fault::ImplausibleTimes, place(&config.clinical, ""), found))
}

fn facts_of(table: &ClinicalTable) -> Option<CohortFacts> {
    let outcomes = table.patient_outcomes();
    let status = status_suspicion::examine(table.status_column(), &outcomes);
    let turned: Vec<Outcome> = outcomes.iter().filter_map(|outcome| turned(*outcome)).collect();
    let curve = KaplanMeier::fit(&outcomes).ok()?;
    let at_end = |curve: &KaplanMeier| curve.survival().last().copied().unwrap_or(1.0);
    Some(CohortFacts {
        n_slides: table.slides().map(<[_]>::len),
        n_patients: outcomes.len(),
        n_events: outcomes.iter().filter(|outcome| outcome.is_event()).count(),
        event_share: status.event_share,
        median_survival_months: curve.median_survival(),
        survival_at_end: SurvivalAtEnd {
            as_read: at_end(&curve),
            if_inverted: at_end(&KaplanMeier::fit(&turned).ok()?),
        },
        status,
    })
}

fn turned(outcome: Outcome) -> Option<Outcome> {
    let turned =
        if outcome.is_event() { Outcome::censored(outcome.time()) } else { Outcome::event(outcome.time()) };
    turned.ok()
}

fn sign_finding(config: &CohortConfig, facts: &CohortFacts) -> Option<Finding> {
    let status = &facts.status;
    // Who names the column has said what it holds; a disease as lethal as glioblastoma looks inverted.
    let is_stated = config.columns.event.is_some() || config.columns.censorship.is_some();
    let severity = match (status.verdict, status.name_sign) {
        (Verdict::Plausible | Verdict::TooFewPatients, _) => return None,
        (Verdict::Unclear, _) => Severity::Warning,
        (Verdict::LooksInverted, NameSign::Contradicts) => Severity::Error,
        (Verdict::LooksInverted, NameSign::Silent | NameSign::Agrees) if may_be_chance(status) => {
            Severity::Note
        }
        (Verdict::LooksInverted, NameSign::Silent | NameSign::Agrees) if is_stated => Severity::Warning,
        (Verdict::LooksInverted, NameSign::Silent | NameSign::Agrees) => Severity::Error,
    };
    let SurvivalAtEnd { as_read, if_inverted } = facts.survival_at_end;
    let found = format!(
        "{}; the Kaplan-Meier curve ends at {as_read:.2} as read, and would end at {if_inverted:.2} with the sign turned",
        status.explanation
    );
    Some(Finding::new(severity, Fault::InvertedStatus, place(&config.clinical, ""), found))
}

/// Whether the share of events among the longest fifth of the times is within two standard errors of one half: of few patients
/// it is so in sound studies, too.
fn may_be_chance(status: &StatusSuspicion) -> bool {
    let n_late = (status.n_patients as f64 / 5.0).max(1.0);
    status.late_event_share - 0.5 <= 1.0 / n_late.sqrt()
}
