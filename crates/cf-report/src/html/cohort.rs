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
    pub(super) reason: String,
    pub(super) ids: &'a [String],
}

impl<'a> FlowView<'a> {
    pub(super) fn new(step: &'a FlowStep) -> Self {
        let dropped = step.dropped.iter().map(|dropped| {
            let n = dropped.ids.len();
            DroppedView {
                n: if dropped.is_counted { number::fixed(-(n as f64), 0) } else { count(n) },
                reason: in_number(&dropped.reason, n),
                ids: &dropped.ids,
            }
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

/// What ids are called in the reasons why they are left out.
const NOUNS: [&str; 5] = ["slide", "bag", "case", "patient", "row"];

/// A reason that begins with the name of one thing, such as `slide without a bag`, for `n` of them.
fn in_number(reason: &str, n: usize) -> String {
    let (noun, rest) = reason.split_once(' ').unwrap_or((reason, ""));
    if n != 1 && NOUNS.contains(&noun) { format!("{noun}s {rest}") } else { reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_things_are_told_in_the_plural() {
        assert_eq!(in_number("slide without a bag", 4), "slides without a bag");
        assert_eq!(in_number("slide without a bag", 1), "slide without a bag");
        assert_eq!(in_number("no row in the clinical table", 4), "no row in the clinical table");
    }
}
