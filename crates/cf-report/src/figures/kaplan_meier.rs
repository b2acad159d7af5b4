//! Kaplan-Meier curves of the two risk groups with confidence bands, censor marks and numbers at risk.

use survival_metrics::{KaplanMeier, Outcome, RiskGroup as Side};

use super::axis::{Plot, Ticks};
use super::svg::{Anchor, Ink, Svg, dash, number, polyline};
use crate::number::fixed;
use crate::risk_cut::Cut;
use crate::risk_groups::{RiskGroup, RiskGroups};

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 488.0;
/// Left, top, right and bottom of the plot. The right margin holds the names at the ends of the curves.
const FRAME: (f64, f64, f64, f64) = (70.0, 110.0, 516.0, 370.0);
const LINE_HEIGHT: f64 = 18.0;
/// Names at the ends of the curves keep this distance.
const NAME_DISTANCE: f64 = 14.0;

/// Steps of a curve that are less than this apart, in both directions, are drawn as one: a tenth of a pixel.
const FINEST: f64 = 0.1;

/// One subject on the curve of its group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marked {
    pub(crate) side: Side,
    pub(crate) outcome: Outcome,
}

impl Marked {
    /// `high risk, event at 23.1 months`.
    fn words(&self) -> String {
        let status = if self.outcome.is_event() { "event" } else { "censored" };
        let side = match self.side {
            Side::High => "high",
            Side::Low => "low",
        };
        format!("{side} risk, {status} at {} months", fixed(self.outcome.time(), 1))
    }
}

/// Draws the curves of both risk groups, or of the only one that has subjects.
pub(crate) fn draw(name: &str, groups: &RiskGroups) -> String {
    draw_marking(name, groups, None)
}

/// [`draw`], with a subject on the curve of its group, if it has one.
pub(crate) fn draw_marking(name: &str, groups: &RiskGroups, marked: Option<Marked>) -> String {
    let curves = curves(groups);
    let title = format!("Kaplan-Meier curves by predicted risk, {} level", groups.level.noun());
    let mut description = description(groups);
    if let Some(marked) = marked {
        description.push_str(&format!(" Marked {}: {}.", groups.level.noun(), marked.words()));
    }
    let mut svg = Svg::new(name, WIDTH, HEIGHT, &title, &description);
    let last_time = curves.iter().filter_map(|c| c.group.curve.times().last().copied()).fold(0.0, f64::max);
    let end = if last_time > 0.0 { last_time } else { 1.0 };
    let plot = Plot::new(FRAME, (0.0, end), (0.0, 1.0));
    let months = Ticks::months(end, 8);

    draw_heading(&mut svg, groups, &curves);
    plot.draw_y_axis(&mut svg, &Ticks::decimal(0.0, 1.0, 5), "Survival probability");
    for curve in &curves {
        svg.area(
            &band_path(&curve.group.limits, &curve.group.curve, &plot),
            curve.ink,
            r#"fill-opacity="0.16""#,
        );
    }
    for curve in &curves {
        let km = &curve.group.curve;
        let style = format!(r#"stroke-width="1.8" stroke-linejoin="round"{}"#, curve.dash);
        svg.path(&step_path(km, &plot), curve.ink, &style);
        svg.path(&censor_path(km, &plot), curve.ink, r#"stroke-width="1""#);
    }
    if let Some(marked) = marked {
        draw_marked(&mut svg, &plot, groups, marked);
    }
    draw_names(&mut svg, &plot, &curves);
    plot.draw_x_axis(&mut svg, &months, "Months");
    draw_numbers_at_risk(&mut svg, &plot, &months, &curves);
    svg.finish()
}

/// A ring at the subject's time, on the curve of its group, and what it is.
fn draw_marked(svg: &mut Svg, plot: &Plot, groups: &RiskGroups, marked: Marked) {
    let group = match marked.side {
        Side::High => groups.high.as_ref(),
        Side::Low => groups.low.as_ref(),
    };
    let Some(group) = group else { return };
    let time = marked.outcome.time();
    let (x, y) = plot.at((time, group.curve.survival_at(time)));
    let style = r#"stroke-width="1" stroke-dasharray="2 3""#;
    svg.line((x, y), (x, plot.bottom), Ink::Axis, style);
    // Two half circles: a ring that stays one in grey.
    let ring = format!("M{} {}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0", number(x - 5.0), number(y));
    svg.path(&ring, Ink::Text, r#"stroke-width="2""#);
    let (anchor, shift) =
        if x > (plot.left + plot.right) / 2.0 { (Anchor::End, -8.0) } else { (Anchor::Start, 8.0) };
    svg.text(x + shift, plot.bottom - 6.0, anchor, Ink::Text, &marked.words());
}

/// A risk group with what tells it apart.
struct Curve<'a> {
    group: &'a RiskGroup,
    name: &'static str,
    ink: Ink,
    dash: &'static str,
}

fn curves(groups: &RiskGroups) -> Vec<Curve<'_>> {
    let low = groups.low.as_ref().map(|group| Curve { group, name: "low", ink: Ink::Blue, dash: dash(1) });
    let high =
        groups.high.as_ref().map(|group| Curve { group, name: "high", ink: Ink::Vermillion, dash: dash(0) });
    low.into_iter().chain(high).collect()
}

fn description(groups: &RiskGroups) -> String {
    let mut sentences: Vec<String> = curves(groups)
        .iter()
        .map(|curve| format!("Group at {} risk: {}.", curve.name, curve.group.summary(groups.level)))
        .collect();
    let learned =
        matches!(groups.cut, Cut::Training(_)).then(|| format!("Groups are {}.", groups.cut.short()));
    sentences.extend(learned);
    sentences.push(groups.verdict());
    sentences.extend(groups.short_hazard_ratio().map(|ratio| format!("High against low risk: {ratio}.")));
    sentences.join(" ")
}

fn draw_heading(svg: &mut Svg, groups: &RiskGroups, curves: &[Curve<'_>]) {
    let left = FRAME.0;
    let mut y = 20.0;
    svg.text_with(
        left,
        y,
        Anchor::Start,
        Ink::Text,
        r#"font-size="14" font-weight="600""#,
        &groups.heading(),
    );
    for curve in curves {
        y += LINE_HEIGHT;
        let sample = format!(r#"stroke-width="1.8"{}"#, curve.dash);
        svg.line((left, y - 4.0), (left + 22.0, y - 4.0), curve.ink, &sample);
        svg.line((left + 11.0, y - 8.0), (left + 11.0, y), curve.ink, r#"stroke-width="1""#);
        let text = format!("{} risk: {}", capitalised(curve.name), curve.group.summary(groups.level));
        svg.text(left + 30.0, y, Anchor::Start, Ink::Text, &text);
    }
    y += LINE_HEIGHT;
    svg.text(left, y, Anchor::Start, Ink::Text, &groups.short_verdict());
    if let Some(ratio) = groups.short_hazard_ratio() {
        y += LINE_HEIGHT;
        svg.text(left, y, Anchor::Start, Ink::Text, &format!("high against low: {ratio}"));
    }
}

fn capitalised(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// The curve from (0, 1): across to each time with an event, then down, and across to the last time.
pub(super) fn step_path(km: &KaplanMeier, plot: &Plot) -> String {
    let (x, y) = plot.at((0.0, 1.0));
    let mut d = format!("M{} {}", number(x), number(y));
    let steps = km.times().iter().zip(km.survival()).zip(km.events()).filter(|&(_, &events)| events > 0);
    let steps = steps.map(|((&time, &survival), _)| plot.at((time, survival)));
    for (x, y) in apart(steps, |&(x, y)| [x, y]) {
        d.push_str(&format!("H{}V{}", number(x), number(y)));
    }
    if let Some(&last) = km.times().last() {
        d.push_str(&format!("H{}", number(plot.x.at(last))));
    }
    d
}

/// Upright strokes through the curve wherever someone was censored.
pub(super) fn censor_path(km: &KaplanMeier, plot: &Plot) -> String {
    let marks = km.censor_marks().map(|point| plot.at(point));
    let marks = apart(marks, |&(x, y)| [x, y]).into_iter();
    marks.map(|(x, y)| format!("M{} {}v8", number(x), number(y - 4.0))).collect()
}

/// The area between the confidence limits, stepped like the curve. It starts at the first event and ends where
/// the limits do: when the curve reaches 0, or at the last time.
pub(super) fn band_path(limits: &[Option<(f64, f64)>], km: &KaplanMeier, plot: &Plot) -> String {
    // Limits change at events only; the last time closes the band.
    let changes = km.times().iter().zip(km.events()).zip(limits).filter(|&((_, &events), _)| events > 0);
    let changes = changes.map(|((&time, _), &limit)| (time, limit));
    let changes = apart(changes, |&(time, limit)| {
        let (low, high) = limit.unwrap_or((f64::NAN, f64::NAN));
        [plot.x.at(time), plot.y.at(low), plot.y.at(high)]
    });
    let ends = changes.iter().skip(1).map(|&(time, _)| time).chain(km.times().last().copied());
    let (mut upper, mut lower) = (Vec::new(), Vec::new());
    for (&(from, limit), to) in changes.iter().zip(ends) {
        if let Some((low, high)) = limit {
            upper.extend([plot.at((from, high)), plot.at((to, high))]);
            lower.extend([plot.at((from, low)), plot.at((to, low))]);
        }
    }
    if upper.is_empty() {
        return String::new();
    }
    upper.extend(lower.into_iter().rev());
    format!("{}Z", polyline(&upper))
}

/// Leaves out what lies closer than [`FINEST`] to what comes before it, in all that `places` has of it; the first and the last stay. A curve
/// of a million subjects is then of no more steps than can be seen.
fn apart<T: Copy, const N: usize>(items: impl Iterator<Item = T>, places: impl Fn(&T) -> [f64; N]) -> Vec<T> {
    let (mut kept, mut last, mut left_out): (Vec<T>, Option<[f64; N]>, Option<T>) = (Vec::new(), None, None);
    for item in items {
        let found = places(&item);
        let is_near = last.is_some_and(|last| last.iter().zip(&found).all(|(a, b)| (a - b).abs() < FINEST));
        left_out = is_near.then_some(item);
        if !is_near {
            last = Some(found);
            kept.push(item);
        }
    }
    kept.extend(left_out);
    kept
}

/// Names at the right ends of the curves, so that the figure can be read in grey.
fn draw_names(svg: &mut Svg, plot: &Plot, curves: &[Curve<'_>]) {
    let mut ends: Vec<(f64, f64, &Curve<'_>)> = curves
        .iter()
        .filter_map(|curve| {
            let km = &curve.group.curve;
            let (x, y) = plot.at((*km.times().last()?, *km.survival().last()?));
            Some((x, y, curve))
        })
        .collect();
    ends.sort_by(|a, b| a.1.total_cmp(&b.1));
    let gap = match ends.as_slice() {
        [(_, upper, _), (_, lower, _)] => (NAME_DISTANCE - (lower - upper)).max(0.0),
        _ => 0.0,
    };
    for (i, (x, y, curve)) in ends.iter().enumerate() {
        let shift = if i == 0 { -gap / 2.0 } else { gap / 2.0 };
        svg.text(x + 6.0, (y + 4.0 + shift).min(plot.bottom - 3.0), Anchor::Start, curve.ink, curve.name);
    }
}

/// The numbers at risk just before each tick of the time axis, below it.
fn draw_numbers_at_risk(svg: &mut Svg, plot: &Plot, months: &Ticks, curves: &[Curve<'_>]) {
    let mut y = plot.bottom + 64.0;
    svg.text(plot.left - 62.0, y, Anchor::Start, Ink::Muted, "At risk");
    for curve in curves {
        y += LINE_HEIGHT;
        svg.text(plot.left - 62.0, y, Anchor::Start, curve.ink, curve.name);
        for &time in &months.values {
            let at_risk = curve.group.curve.at_risk_at(time).to_string();
            svg.text(plot.x.at(time), y, Anchor::Middle, Ink::Text, &at_risk);
        }
    }
}

#[cfg(test)]
mod tests {
    use survival_metrics::{CiType, Outcome};

    use super::*;

    /// Times 1 to 4, the second censored: S is 3/4, 3/4, 3/8, 0.
    fn hand_made() -> KaplanMeier {
        let outcomes =
            [Outcome::event(1.0), Outcome::censored(2.0), Outcome::event(3.0), Outcome::event(4.0)];
        let outcomes: Vec<Outcome> = outcomes.into_iter().map(|o| o.expect("a valid time")).collect();
        KaplanMeier::fit(&outcomes).expect("four outcomes")
    }

    /// 100 units per month and 100 units for the whole of survival.
    fn plot() -> Plot {
        Plot::new((0.0, 0.0, 400.0, 100.0), (0.0, 4.0), (0.0, 1.0))
    }

    #[test]
    fn step_path_goes_across_then_down_at_events_only() {
        assert_eq!(step_path(&hand_made(), &plot()), "M0 0H100V25H300V62.5H400V100H400");
    }

    #[test]
    fn censor_mark_stands_on_the_curve() {
        assert_eq!(censor_path(&hand_made(), &plot()), "M200 21v8");
    }

    #[test]
    fn a_curve_of_many_subjects_has_the_steps_that_can_be_seen() {
        let plot = Plot::new(FRAME, (0.0, 120.0), (0.0, 1.0));
        // Every other subject is censored, so that S(t) falls as the root of what is left of 120 months.
        let outcomes: Vec<Outcome> = (1..=200_000_u32)
            .map(|at| (f64::from(at) * 120.0 / 200_000.0, at % 2 == 0))
            .map(|(time, event)| if event { Outcome::event(time) } else { Outcome::censored(time) })
            .collect::<survival_metrics::Result<_>>()
            .expect("valid times");
        let km = KaplanMeier::fit(&outcomes).expect("outcomes");
        let limits = km.confidence_limits(0.95, CiType::LogLog).expect("0.95 is a level");
        let line = step_path(&km, &plot);
        for d in [&line, &censor_path(&km, &plot), &band_path(&limits, &km, &plot)] {
            assert!((20_000..300_000).contains(&d.len()), "{}", d.len());
        }
        // What is drawn over each time is the curve at that time, to less than the width of its line.
        let mut steps = line.split('H').skip(1).map(|step| {
            let (x, y) = step.split_once('V').unwrap_or((step, ""));
            (x.parse::<f64>().expect("a number"), y.parse::<f64>().ok())
        });
        let (mut before, mut n) = (FRAME.1, 0);
        let months = |x: f64| (x - FRAME.0) / (FRAME.2 - FRAME.0) * 120.0;
        let last = loop {
            let Some((x, y)) = steps.next() else { panic!("the path ends with a line across") };
            let drawn = |time| plot.y.at(km.survival_at(time));
            // At its end the curve falls further than that within the last digit of x.
            let is_told = x < FRAME.2 - 1.0;
            assert!(!is_told || (drawn(months(x - 0.01)) - before).abs() < 0.25, "{x}: {before}");
            let Some(y) = y else { break x };
            assert!(!is_told || (drawn(months(x + 0.01)) - y).abs() < 0.25, "{x}: {y}");
            (before, n) = (y, n + 1);
        };
        assert_eq!((last, before), (FRAME.2, FRAME.3));
        assert!((2_000..6_000).contains(&n), "{n}");
    }

    #[test]
    fn band_starts_at_the_first_event_and_ends_where_survival_reaches_zero() {
        let km = hand_made();
        let limits = km.confidence_limits(0.95, CiType::LogLog).expect("0.95 is a level");
        let d = band_path(&limits, &km, &plot());
        // Upper limit at S = 3/4 of 4: 0.9605; lower 0.1279 (R survfit, conf.type = "log-log").
        assert!(d.starts_with("M100 3.95L300 3.95"), "{d}");
        assert!(d.ends_with("L300 87.21L100 87.21Z"), "{d}");
        assert!(d.contains("L400 "), "{d}");
    }

    #[test]
    fn band_of_a_curve_without_events_is_empty() {
        let km = KaplanMeier::fit(&[Outcome::censored(5.0).expect("a valid time")]).expect("one outcome");
        let limits = km.confidence_limits(0.95, CiType::LogLog).expect("0.95 is a level");
        assert_eq!(band_path(&limits, &km, &plot()), "");
    }
}
