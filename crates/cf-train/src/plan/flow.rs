//! The cohort flow: from the clinical table to the folds, with every id that fell out.

use std::collections::BTreeSet;

use cf_report::{Dropped as ReportDropped, FlowStep};
use serde::{Deserialize, Serialize};

use super::FoldRecord;
use crate::cohort::{Cohort, Dropped, Slide};
use crate::folds::{CASE_WITHOUT_ROW, IN_NO_SPLIT, JoinedFolds};

/// The last step that is the same for every choice of folds.
const VALIDATED: &str = "validated by a fold";

/// What remains of the cohort after a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowRecord {
    /// The step.
    pub label: String,
    /// Slides that remain.
    pub n_slides: usize,
    /// Their patients.
    pub n_patients: usize,
    /// Slides with an event.
    pub n_events: usize,
    /// What fell out, by reason.
    pub dropped: Vec<DroppedRecord>,
}

/// Ids that fell out for one reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DroppedRecord {
    /// Why.
    pub reason: String,
    /// Which.
    pub ids: Vec<String>,
    /// Whether they are of slides that the step before counts. Left out of the file where they are.
    #[serde(default = "counted", skip_serializing_if = "is_counted")]
    pub is_counted: bool,
}

fn counted() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_counted(is_counted: &bool) -> bool {
    *is_counted
}

/// The slides that some fold validates.
pub(super) fn validated(cohort: &Cohort, joined: &JoinedFolds) -> Vec<Slide> {
    let validated: BTreeSet<usize> =
        joined.folds.iter().flat_map(|fold| fold.validation.iter().copied()).collect();
    validated.into_iter().map(|index| cohort.slides()[index].clone()).collect()
}

/// The steps from the table to the slides that have bags.
pub(crate) fn of_bags(
    cohort: &Cohort,
    without_bag: &[Dropped],
    bags_without_row: Option<&Dropped>,
) -> Vec<FlowRecord> {
    let no_bag: BTreeSet<&String> = without_bag.iter().flat_map(|dropped| &dropped.ids).collect();
    let with_bag = cohort.slides().iter().filter(|slide| !no_bag.contains(&slide.slide_id));
    vec![
        step("in the clinical table", cohort.slides().iter(), records(cohort.dropped(), None)),
        step(
            "with a bag at every magnification that the model reads",
            with_bag,
            records(without_bag, bags_without_row),
        ),
    ]
}

/// The slides, rows of the table and cases of the splits that a run goes without, in a line; `None` where it has all. What is trained on and
/// not validated takes part.
pub(super) fn left_out(flow: &[FlowRecord]) -> Option<String> {
    let before_folds =
        flow.iter().take(2).flat_map(|step| &step.dropped).filter(|dropped| dropped.is_counted);
    let of_folds = flow.iter().skip(2).flat_map(|step| &step.dropped);
    let by_splits =
        of_folds.filter(|dropped| [IN_NO_SPLIT, CASE_WITHOUT_ROW].contains(&dropped.reason.as_str()));
    let reasons: Vec<String> = before_folds
        .chain(by_splits)
        .map(|dropped| format!("{} ({})", dropped.ids.len(), dropped.reason))
        .collect();
    (!reasons.is_empty()).then(|| reasons.join(", "))
}

/// The steps from the table to `validated`.
pub(super) fn of_cohort(cohort: &Cohort, joined: &JoinedFolds, validated: &[Slide]) -> Vec<FlowRecord> {
    let mut flow = of_bags(cohort, &joined.without_bag, joined.bags_without_row.as_ref());
    flow.push(step(
        VALIDATED,
        validated.iter(),
        records(&joined.without_fold, joined.cases_without_row.as_ref()),
    ));
    flow
}

fn records(dropped: &[Dropped], listed_only: Option<&Dropped>) -> Vec<DroppedRecord> {
    let listed_only = listed_only.map(|dropped| DroppedRecord { is_counted: false, ..dropped.into() });
    dropped.iter().map(DroppedRecord::from).chain(listed_only).collect()
}

/// The step from `validated` to what a run of some of `n_folds` folds validates; `None` where it leaves nothing out.
pub(super) fn of_run(validated: &[Slide], folds: &[FoldRecord], n_folds: usize) -> Option<FlowRecord> {
    let of_run: BTreeSet<&String> = folds.iter().flat_map(|fold| &fold.validation).collect();
    let (kept, others): (Vec<&Slide>, Vec<&Slide>) =
        validated.iter().partition(|slide| of_run.contains(&slide.slide_id));
    let others = others.into_iter().map(|slide| slide.slide_id.clone()).collect();
    of_some_folds(kept.into_iter(), others, (folds.len(), n_folds))
}

/// The step to the slides that `n` of `n_folds` folds validate; `None` where there are no others.
pub(super) fn of_some_folds<'a>(
    slides: impl Iterator<Item = &'a Slide> + Clone,
    others: Vec<String>,
    (n, n_folds): (usize, usize),
) -> Option<FlowRecord> {
    let dropped = Dropped::new("slide that only other folds validate", others)?;
    let label = format!("validated by the folds of this run, {n} of {n_folds}");
    Some(step(&label, slides, vec![DroppedRecord::from(&dropped)]))
}

/// The steps to what the folds of the splits validate, and those from there to what the folds of a run do.
pub(super) fn at_validated(flow: &[FlowRecord]) -> (&[FlowRecord], &[FlowRecord]) {
    let validated = flow.iter().position(|step| step.label == VALIDATED);
    flow.split_at(validated.map_or(flow.len(), |at| at + 1))
}

fn step<'a>(
    label: &str,
    slides: impl Iterator<Item = &'a Slide> + Clone,
    dropped: Vec<DroppedRecord>,
) -> FlowRecord {
    FlowRecord {
        label: label.to_owned(),
        n_slides: slides.clone().count(),
        n_patients: super::n_patients(slides.clone()),
        n_events: slides.filter(|slide| slide.outcome.is_event()).count(),
        dropped,
    }
}

impl From<&Dropped> for DroppedRecord {
    fn from(dropped: &Dropped) -> Self {
        Self { reason: dropped.reason.clone(), ids: dropped.ids.clone(), is_counted: true }
    }
}

impl From<FlowRecord> for FlowStep {
    fn from(record: FlowRecord) -> Self {
        let dropped = record.dropped.into_iter().map(|dropped| {
            let DroppedRecord { reason, ids, is_counted } = dropped;
            ReportDropped { reason, ids, is_counted }
        });
        Self {
            label: record.label,
            n_slides: record.n_slides,
            n_patients: record.n_patients,
            n_events: record.n_events,
            dropped: dropped.collect(),
        }
    }
}
