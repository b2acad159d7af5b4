//! What the page says of the cohort flow.

use crate::number::{self, count};
use crate::report::FlowStep;

/// One step of the cohort flow.
pub(super) struct FlowView<'a> {
    pub(super) label: &'a str,
    pub(super) n_slides: String,
    pub(super) n_patients: String,
    pub(super) n_events: String,
    pub(super) dropped: Vec<DroppedView<'a>>,
}

/// One reason of a step.
pub(super) struct DroppedView<'a> {
    pub(super) n: String,
    pub(super) reason: &'a str,
    pub(super) ids: &'a [String],
}

impl<'a> FlowView<'a> {
    pub(super) fn new(step: &'a FlowStep) -> Self {
        let dropped = step.dropped.iter().map(|dropped| DroppedView {
            n: number::fixed(-(dropped.ids.len() as f64), 0),
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
