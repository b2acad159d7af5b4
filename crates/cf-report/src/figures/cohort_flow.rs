//! The cohort flow: how many slides and patients were found, left out and scored, as boxes with arrows.

use super::Figure;
use super::svg::{Anchor, Ink, Svg, number, wrapped};
use crate::number::counted;
use crate::report::{Dropped, FlowStep};

const WIDTH: f64 = 600.0;
const BOX_WIDTH: f64 = 280.0;
const LEFT: f64 = 8.0;
const ASIDE: f64 = 320.0;
const LINE_HEIGHT: f64 = 16.0;
/// Room for an arrow between two boxes.
const GAP: f64 = 30.0;
/// Characters of a line, in a box and beside it.
const MOST_IN_BOX: usize = 38;
const MOST_ASIDE: usize = 42;

/// A step with its text broken into lines and its place.
struct Block<'a> {
    step: &'a FlowStep,
    label: Vec<String>,
    aside: Vec<String>,
    top: f64,
    box_height: f64,
}

impl<'a> Block<'a> {
    fn new(step: &'a FlowStep, top: f64) -> Self {
        let label = wrapped(&step.label, MOST_IN_BOX);
        let aside =
            step.dropped.iter().flat_map(|dropped| wrapped(&drop_text(dropped), MOST_ASIDE)).collect();
        let box_height = 16.0 + LINE_HEIGHT * (label.len() + 1) as f64;
        Self { step, label, aside, top, box_height }
    }

    fn bottom(&self) -> f64 {
        self.top + self.box_height.max(8.0 + LINE_HEIGHT * self.aside.len() as f64)
    }
}

/// Draws the flow from the first step down, with what was dropped beside each; nothing without steps.
pub fn cohort_flow(steps: &[FlowStep]) -> Option<Figure> {
    const NAME: &str = "cohort-flow";
    let mut blocks: Vec<Block<'_>> = Vec::with_capacity(steps.len());
    for step in steps {
        let top = blocks.last().map_or(8.0, |above| above.bottom() + GAP);
        blocks.push(Block::new(step, top));
    }
    let height = blocks.last()?.bottom() + 8.0;
    let sentences: Vec<String> = steps.iter().map(sentence).collect();
    let mut svg = Svg::new(NAME, WIDTH, height, "Cohort flow", &sentences.join(" "));
    let middle = LEFT + BOX_WIDTH / 2.0;
    for (k, block) in blocks.iter().enumerate() {
        if let Some(above) = k.checked_sub(1).and_then(|k| blocks.get(k)) {
            draw_arrow(&mut svg, middle, above.top + above.box_height, block.top);
        }
        draw_box(&mut svg, middle, block);
    }
    Some(Figure { name: NAME, svg: svg.finish() })
}

fn draw_arrow(svg: &mut Svg, x: f64, from: f64, to: f64) {
    let (x, to) = (number(x), number(to));
    let arrow = format!("M{x} {}V{to}M{x} {to}l-4 -7M{x} {to}l4 -7", number(from));
    svg.path(&arrow, Ink::Axis, r#"stroke-width="1.2""#);
}

fn draw_box(svg: &mut Svg, middle: f64, block: &Block<'_>) {
    let (width, height) = (number(BOX_WIDTH), number(block.box_height));
    let outline = format!("M{} {}h{width}v{height}h-{width}z", number(LEFT), number(block.top));
    svg.path(&outline, Ink::Axis, r#"stroke-width="1.2""#);
    let mut y = block.top + 20.0;
    for line in &block.label {
        svg.text_with(middle, y, Anchor::Middle, Ink::Text, r#"font-weight="600""#, line);
        y += LINE_HEIGHT;
    }
    svg.text(middle, y, Anchor::Middle, Ink::Text, &counts(block.step));
    if !block.aside.is_empty() {
        let branch =
            format!("M{} {}H{}", number(LEFT + BOX_WIDTH), number(block.top + 16.0), number(ASIDE - 8.0));
        svg.path(&branch, Ink::Axis, r#"stroke-width="1.2""#);
    }
    for (k, line) in block.aside.iter().enumerate() {
        svg.text(ASIDE, block.top + 20.0 + LINE_HEIGHT * k as f64, Anchor::Start, Ink::Muted, line);
    }
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
        let lost = Dropped {
            reason: "no features".to_owned(),
            ids: vec!["a".to_owned(), "b".to_owned()],
            is_counted: true,
        };
        let svg =
            cohort_flow(&[step("found", vec![]), step("with features", vec![lost])]).expect("drawn").svg;
        assert_eq!(svg.matches(">1 patient, 3 slides, 0 events<").count(), 2, "{svg}");
        assert!(svg.contains("with features: 1 patient, 3 slides, 0 events; left out: no features: 2."));
        assert!(cohort_flow(&[]).is_none());
    }

    #[test]
    fn long_texts_break_and_push_the_next_step_down() {
        let step = |label: &str| FlowStep {
            label: label.to_owned(),
            n_slides: 1,
            n_patients: 1,
            n_events: 1,
            dropped: Vec::new(),
        };
        let long = "with a bag at every magnification that the model reads";
        let svg = cohort_flow(&[step(long), step("last")]).expect("drawn").svg;
        assert!(
            svg.contains(">with a bag at every magnification that<") && svg.contains(">the model reads<")
        );
        // Three lines of 16 with 16 around them end at 72; the arrow takes 30.
        assert!(svg.contains(r#"<path d="M8 102h280v48h-280z""#), "{svg}");
    }
}
