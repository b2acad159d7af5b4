//! The cohort flow: how many slides and patients were found, left out and scored, as boxes with arrows.

use super::Figure;
use super::svg::{Anchor, Ink, Svg, number};
use crate::number::counted;
use crate::report::{Dropped, FlowStep};

const WIDTH: f64 = 640.0;
const BOX_WIDTH: f64 = 270.0;
const BOX_HEIGHT: f64 = 48.0;
const STEP: f64 = 84.0;
const ASIDE: f64 = 340.0;

/// Draws the flow from the first step down, with what was dropped beside each; nothing without steps.
pub fn cohort_flow(steps: &[FlowStep]) -> Option<Figure> {
    const NAME: &str = "cohort-flow";
    if steps.is_empty() {
        return None;
    }
    let height = 16.0 + STEP * (steps.len() - 1) as f64 + BOX_HEIGHT + 16.0;
    let title = "Cohort flow";
    let sentences: Vec<String> = steps.iter().map(sentence).collect();
    let mut svg = Svg::new(NAME, WIDTH, height, title, &sentences.join(" "));
    for (k, step) in steps.iter().enumerate() {
        let (top, middle) = (16.0 + STEP * k as f64, 16.0 + BOX_WIDTH / 2.0);
        if k > 0 {
            let start = top - STEP + BOX_HEIGHT;
            let arrow = format!(
                "M{x} {}V{y}M{x} {y}l-4 -7M{x} {y}l4 -7",
                number(start),
                x = number(middle),
                y = number(top)
            );
            svg.path(&arrow, Ink::Axis, r#"stroke-width="1.2""#);
        }
        let outline = format!(
            "M16 {}h{}v{}h-{}z",
            number(top),
            number(BOX_WIDTH),
            number(BOX_HEIGHT),
            number(BOX_WIDTH)
        );
        svg.path(&outline, Ink::Axis, r#"stroke-width="1.2""#);
        svg.text_with(middle, top + 20.0, Anchor::Middle, Ink::Text, r#"font-weight="600""#, &step.label);
        svg.text(middle, top + 37.0, Anchor::Middle, Ink::Text, &counts(step));
        for (line, dropped) in step.dropped.iter().enumerate() {
            let y = top + 20.0 + 16.0 * line as f64;
            svg.text(ASIDE, y, Anchor::Start, Ink::Muted, &drop_text(dropped));
        }
        if !step.dropped.is_empty() {
            let y = number(top + 16.0);
            svg.path(
                &format!("M{} {y}H{}", number(16.0 + BOX_WIDTH), number(ASIDE - 8.0)),
                Ink::Axis,
                r#"stroke-width="1.2""#,
            );
        }
    }
    Some(Figure { name: NAME, svg: svg.finish() })
}

fn counts(step: &FlowStep) -> String {
    format!(
        "{}, {}, {}",
        counted(step.n_patients, "patient", "patients"),
        counted(step.n_slides, "slide", "slides"),
        counted(step.n_events, "event", "events")
    )
}

fn drop_text(dropped: &Dropped) -> String {
    format!("{}: {}", dropped.reason, dropped.ids.len())
}

fn sentence(step: &FlowStep) -> String {
    let dropped: Vec<String> = step.dropped.iter().map(drop_text).collect();
    let left_out =
        if dropped.is_empty() { String::new() } else { format!("; left out: {}", dropped.join(", ")) };
    format!("{}: {}{left_out}.", step.label, counts(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_its_counts_and_what_it_dropped() {
        let step = |label: &str, dropped| FlowStep {
            label: label.to_owned(),
            n_slides: 3,
            n_patients: 1,
            n_events: 0,
            dropped,
        };
        let lost = Dropped { reason: "no features".to_owned(), ids: vec!["a".to_owned(), "b".to_owned()] };
        let svg =
            cohort_flow(&[step("found", vec![]), step("with features", vec![lost])]).expect("drawn").svg;
        assert_eq!(svg.matches(">1 patient, 3 slides, 0 events<").count(), 2, "{svg}");
        assert!(svg.contains("with features: 1 patient, 3 slides, 0 events; left out: no features: 2."));
        assert!(cohort_flow(&[]).is_none());
    }
}
