//! Whether a status column was read with the wrong sign: events taken for censoring and the other way round.
//!
//! Nothing here changes how a table is read. Three signs are looked at, on one outcome per patient:
//!
//! 1. **Who is followed longest.** Most studies end while patients are alive, so the longest follow-ups are censored ones.
//!    Where at least half of the patients with the longest fifth of the times have an event, the column looks inverted.
//! 2. **Whether almost everybody has an event**, above 0.9. With censored patients followed longer than the others, that is
//!    complete follow-up (or a lethal disease), and this shape is shared with some inverted tables: the verdict is
//!    [`Verdict::Unclear`].
//! 3. **The column's name.** One that is called `censorship` and read as events contradicts itself, whatever the numbers
//!    say.
//!
//! Measured: the six TCGA cohorts of the paper have 0.07 to 0.31 events among the longest fifth, their inverted copies
//! 0.69 to 0.93, and every verdict is right; so it is on nine classical data sets, but for two of almost complete follow-up
//! (unclear; their inverted copies pass).
//!
//! Limits: a disease as lethal as glioblastoma (0.83 of patients with an event, 0.94 among the longest fifth, in the
//! GBM part of TCGA) looks inverted and is not. An inverted table of almost complete follow-up looks plausible. Fewer than 30
//! patients say nothing.

use serde::Serialize;
use survival_metrics::{Outcome, Status};

use crate::cohort::StatusColumn;

/// Fewer patients than this say nothing.
const MIN_PATIENTS: usize = 30;
/// The longest fifth of the times.
const LATE_QUANTILE: f64 = 0.8;
/// From this share of events among the longest times on, a column looks inverted.
const MAX_LATE_EVENT_SHARE: f64 = 0.5;
/// Above this share of events, follow-up is all but complete.
const COMPLETE_EVENT_SHARE: f64 = 0.9;

/// What the signs say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As a column with the right sign looks.
    Plausible,
    /// Either way: look at the table's documentation.
    Unclear,
    /// As a column with the wrong sign looks.
    LooksInverted,
    /// Too few patients to say.
    TooFewPatients,
}

/// What the name of a status column says about its sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameSign {
    /// Nothing, as `status` does.
    Silent,
    /// That it holds what it is read as.
    Agrees,
    /// That it holds the opposite.
    Contradicts,
}

/// The signs, and the verdict.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusSuspicion {
    /// What the signs say together.
    pub verdict: Verdict,
    /// Patients looked at.
    pub n_patients: usize,
    /// Share of patients with an event, in `[0, 1]`.
    pub event_share: f64,
    /// The same among the patients with the longest fifth of the times.
    pub late_event_share: f64,
    /// Probability that a censored patient was followed for longer than one with an event, ties half; `None` without
    /// either.
    pub censored_longer: Option<f64>,
    /// What the column's name says.
    pub name_sign: NameSign,
    /// The verdict in words, with its numbers.
    pub explanation: String,
}

/// Looks for signs that `column` was read with the wrong sign. `outcomes`: one per patient
/// ([`crate::cohort::ClinicalTable::patient_outcomes`]). O(n log n).
pub fn examine(column: &StatusColumn, outcomes: &[Outcome]) -> StatusSuspicion {
    let n_patients = outcomes.len();
    let share = |outcomes: &[&Outcome]| {
        let n_events = outcomes.iter().filter(|outcome| outcome.is_event()).count();
        if outcomes.is_empty() { 0.0 } else { n_events as f64 / outcomes.len() as f64 }
    };
    let mut times: Vec<f64> = outcomes.iter().map(|outcome| outcome.time()).collect();
    times.sort_unstable_by(f64::total_cmp);
    // Ties at the limit belong to the late ones, so that the order of the table does not matter.
    let limit = times.get((LATE_QUANTILE * n_patients as f64) as usize).copied().unwrap_or_default();
    let late: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.time() >= limit).collect();
    let event_share = share(&outcomes.iter().collect::<Vec<_>>());
    let late_event_share = share(&late);
    let censored_longer = censored_longer(outcomes);
    let name_sign = name_sign(column);

    let by_numbers = if n_patients < MIN_PATIENTS {
        Verdict::TooFewPatients
    } else if late_event_share < MAX_LATE_EVENT_SHARE {
        Verdict::Plausible
    } else if event_share > COMPLETE_EVENT_SHARE && censored_longer.is_none_or(|share| share > 0.5) {
        Verdict::Unclear
    } else {
        Verdict::LooksInverted
    };
    let verdict = match (name_sign, by_numbers) {
        (NameSign::Silent | NameSign::Agrees, verdict) => verdict,
        (NameSign::Contradicts, Verdict::Plausible | Verdict::TooFewPatients) => Verdict::Unclear,
        (NameSign::Contradicts, Verdict::Unclear | Verdict::LooksInverted) => Verdict::LooksInverted,
    };
    let mut found = StatusSuspicion {
        verdict,
        n_patients,
        event_share,
        late_event_share,
        censored_longer,
        name_sign,
        explanation: String::new(),
    };
    found.explanation = in_words(column, &found);
    found
}

fn in_words(column: &StatusColumn, found: &StatusSuspicion) -> String {
    let StatusSuspicion { n_patients, event_share, late_event_share, .. } = found;
    let name = &column.name;
    let numbers = format!(
        "{event_share:.2} of {n_patients} patients have an event, {late_event_share:.2} of those with the longest \
         fifth of the times"
    );
    let (read_as, other) = match column.one {
        Status::Event => ("1 = event", "censorship"),
        Status::Censored => ("1 = censored", "event"),
    };
    let contradiction = match found.name_sign {
        NameSign::Contradicts => format!("; its name says the opposite of {read_as}"),
        NameSign::Silent | NameSign::Agrees => String::new(),
    };
    let way_out = format!("if the sign is wrong, write {other} = \"{name}\" in [cohort.columns]");
    match found.verdict {
        Verdict::Plausible => format!("column `{name}` ({read_as}) is plausible: {numbers}"),
        Verdict::TooFewPatients => {
            format!("column `{name}` ({read_as}): {n_patients} patients are too few to tell an inverted sign")
        }
        Verdict::Unclear => {
            format!("column `{name}` ({read_as}) may be inverted: {numbers}{contradiction}; {way_out}")
        }
        Verdict::LooksInverted => {
            format!(
                "column `{name}` ({read_as}) looks inverted: {numbers}, where the longest follow-ups are usually \
                 censored{contradiction}; {way_out}"
            )
        }
    }
}

fn censored_longer(outcomes: &[Outcome]) -> Option<f64> {
    let times = |status: Status| {
        let mut times: Vec<f64> = outcomes
            .iter()
            .filter(|outcome| outcome.status() == status)
            .map(|outcome| outcome.time())
            .collect();
        times.sort_unstable_by(f64::total_cmp);
        times
    };
    let (events, censored) = (times(Status::Event), times(Status::Censored));
    if events.is_empty() || censored.is_empty() {
        return None;
    }
    let wins = |&time: &f64| {
        let shorter = events.partition_point(|&event| event < time);
        let equal = events.partition_point(|&event| event <= time) - shorter;
        shorter as f64 + 0.5 * equal as f64
    };
    Some(censored.iter().map(wins).sum::<f64>() / (events.len() as f64 * censored.len() as f64))
}

fn name_sign(column: &StatusColumn) -> NameSign {
    const EVENT_PARTS: [&str; 6] = ["event", "events", "dead", "death", "died", "deceased"];
    // Values that are spelt out need no name.
    if !column.event_values.is_empty() {
        return NameSign::Silent;
    }
    let name = column.name.to_ascii_lowercase();
    let mut says = None;
    for part in name.split(|c: char| !c.is_ascii_alphanumeric()) {
        if part.starts_with("cens") {
            says = Some(Status::Censored);
        } else if EVENT_PARTS.contains(&part) || part == "uncensored" {
            says = Some(Status::Event);
        }
    }
    match says {
        None => NameSign::Silent,
        Some(status) if status == column.one => NameSign::Agrees,
        Some(_) => NameSign::Contradicts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, one: Status) -> StatusColumn {
        StatusColumn { name: name.to_owned(), one, event_values: Vec::new(), censored_values: Vec::new() }
    }

    /// A study of 40 patients that ends at 30 months with every second patient alive.
    fn study(event: Status, censored: Status) -> Vec<Outcome> {
        let outcome = |i: u32| match i % 2 {
            0 => Outcome::new(f64::from(i) * 0.5, event),
            _ => Outcome::new(20.0 + f64::from(i % 10), censored),
        };
        (0..40).map(|i| outcome(i).unwrap()).collect()
    }

    #[test]
    fn the_longest_follow_ups_tell_the_sign() {
        let silent = column("status", Status::Event);
        let right = examine(&silent, &study(Status::Event, Status::Censored));
        assert_eq!((right.verdict, right.late_event_share), (Verdict::Plausible, 0.0));
        let wrong = examine(&silent, &study(Status::Censored, Status::Event));
        assert_eq!((wrong.verdict, wrong.late_event_share), (Verdict::LooksInverted, 1.0));
        assert!(wrong.explanation.contains("censorship = \"status\""), "{}", wrong.explanation);
        // Events at 0, 1, .. 19; censored from 21 on: every pair is won, and lost when inverted.
        assert_eq!((right.censored_longer, wrong.censored_longer), (Some(1.0), Some(0.0)));
    }

    #[test]
    fn a_name_that_says_the_opposite_is_never_plausible() {
        let outcomes = study(Status::Event, Status::Censored);
        let verdict = |name: &str, one: Status| examine(&column(name, one), &outcomes).verdict;
        assert_eq!(verdict("censorship", Status::Censored), Verdict::Plausible);
        assert_eq!(verdict("censorship", Status::Event), Verdict::Unclear);
        assert_eq!(verdict("OS_event", Status::Censored), Verdict::Unclear);
        assert_eq!(verdict("eventual_status", Status::Censored), Verdict::Plausible);
        let inverted = study(Status::Censored, Status::Event);
        assert_eq!(
            examine(&column("os_censorship", Status::Event), &inverted).verdict,
            Verdict::LooksInverted
        );
        assert_eq!(
            examine(&column("status", Status::Event), &inverted[..20]).verdict,
            Verdict::TooFewPatients
        );
    }

    #[test]
    fn complete_follow_up_is_unclear() {
        let mut outcomes: Vec<Outcome> = (0..38).map(|i| Outcome::event(f64::from(i)).unwrap()).collect();
        outcomes.extend([30.0, 40.0].map(|time| Outcome::censored(time).unwrap()));
        assert_eq!(examine(&column("status", Status::Event), &outcomes).verdict, Verdict::Unclear);
        // The same share with the censored ones first: nobody leaves a study of the living that early.
        outcomes.truncate(38);
        outcomes.extend([0.5, 1.5].map(|time| Outcome::censored(time).unwrap()));
        assert_eq!(examine(&column("status", Status::Event), &outcomes).verdict, Verdict::LooksInverted);
    }
}
