//! Kaplan-Meier curves of any groups, with confidence bands, censor marks and numbers at risk.

use survival_metrics::KaplanMeier;

use super::Figure;
use super::axis::{Plot, Ticks};
use super::kaplan_meier::{band_path, censor_path, step_path};
use super::svg::{Anchor, Ink, Svg, dash};
use crate::error::{Error, Result};

const WIDTH: f64 = 600.0;
const LEFT: f64 = 110.0;
const RIGHT: f64 = 580.0;
const PLOT_HEIGHT: f64 = 270.0;
const LINE_HEIGHT: f64 = 18.0;
const INKS: [Ink; 6] = [Ink::Blue, Ink::Vermillion, Ink::Green, Ink::Purple, Ink::Orange, Ink::Sky];

/// One curve of a figure.
#[derive(Debug, Clone, PartialEq)]
pub struct SurvivalCurve<'a> {
    /// Name of the group.
    pub name: &'a str,
    /// The estimate.
    pub km: &'a KaplanMeier,
    /// Confidence limits at each time of the estimate; empty without a band.
    pub limits: &'a [Option<(f64, f64)>],
}

/// Draws survival curves. `note` stands below the heading, such as the result of a test.
///
/// # Errors
/// [`Error::Figure`] without curves, with more than six, or with limits for another number of times.
pub fn survival_curves(
    title: &str,
    note: &str,
    time_label: &str,
    curves: &[SurvivalCurve<'_>],
) -> Result<Figure> {
    const NAME: &str = "survival-curves";
    let fault = |reason: String| Err(Error::Figure { figure: NAME, reason });
    if curves.is_empty() || curves.len() > INKS.len() {
        return fault(format!("it has {} curves, expected 1 to {}", curves.len(), INKS.len()));
    }
    if curves.iter().any(|c| !c.limits.is_empty() && c.limits.len() != c.km.times().len()) {
        return fault("a curve has limits for another number of times".to_owned());
    }
    let end = curves.iter().filter_map(|c| c.km.times().last().copied()).fold(0.0, f64::max);
    let end = if end > 0.0 { end } else { 1.0 };
    let top = 30.0 + LINE_HEIGHT * (curves.len() + usize::from(!note.is_empty())) as f64 + 12.0;
    let bottom = top + PLOT_HEIGHT;
    let height = bottom + 64.0 + LINE_HEIGHT * curves.len() as f64 + 14.0;
    let description: Vec<String> = curves.iter().map(|c| format!("{}: {}.", c.name, summary(c.km))).collect();
    let description = format!("{} {note}", description.join(" "));
    let mut svg = Svg::new(NAME, WIDTH, height, title, description.trim_end());
    let plot = Plot::new((LEFT, top, RIGHT, bottom), (0.0, end), (0.0, 1.0));
    svg.text_with(LEFT, 20.0, Anchor::Start, Ink::Text, r#"font-size="14" font-weight="600""#, title);
    let mut y = 20.0;
    for (k, (curve, ink)) in curves.iter().zip(INKS).enumerate() {
        y += LINE_HEIGHT;
        let sample = format!(r#"stroke-width="1.8"{}"#, dash(k));
        svg.line((LEFT, y - 4.0), (LEFT + 22.0, y - 4.0), ink, &sample);
        let text = format!("{}: {}", curve.name, summary(curve.km));
        svg.text(LEFT + 30.0, y, Anchor::Start, Ink::Text, &text);
    }
    svg.text(LEFT, y + LINE_HEIGHT, Anchor::Start, Ink::Text, note);
    plot.draw_y_axis(&mut svg, &Ticks::decimal(0.0, 1.0, 5), "Survival probability");
    for (curve, ink) in curves.iter().zip(INKS) {
        svg.area(&band_path(curve.limits, curve.km, &plot), ink, r#"fill-opacity="0.16""#);
    }
    for (k, (curve, ink)) in curves.iter().zip(INKS).enumerate() {
        let style = format!(r#"stroke-width="1.8" stroke-linejoin="round"{}"#, dash(k));
        svg.path(&step_path(curve.km, &plot), ink, &style);
        svg.path(&censor_path(curve.km, &plot), ink, r#"stroke-width="1""#);
    }
    let ticks = Ticks::months(end, 7);
    plot.draw_x_axis(&mut svg, &ticks, time_label);
    let mut y = bottom + 60.0;
    svg.text(8.0, y, Anchor::Start, Ink::Muted, "At risk");
    for (curve, ink) in curves.iter().zip(INKS) {
        y += LINE_HEIGHT;
        svg.text(8.0, y, Anchor::Start, ink, curve.name);
        for &time in &ticks.values {
            svg.text(plot.x.at(time), y, Anchor::Middle, Ink::Text, &curve.km.at_risk_at(time).to_string());
        }
    }
    Ok(Figure { name: NAME, svg: svg.finish() })
}

fn summary(km: &KaplanMeier) -> String {
    let n_events: u64 = km.events().iter().sum();
    let median =
        km.median_survival().map_or_else(|| "not reached".to_owned(), |m| crate::number::fixed(m, 1));
    format!("{} subjects, {n_events} events, median {median}", km.n_subjects())
}

#[cfg(test)]
mod tests {
    use super::*;
    use survival_metrics::Outcome;

    #[test]
    fn every_curve_has_its_numbers_at_risk() {
        let outcomes: Vec<Outcome> =
            [12.0, 24.0, 36.0, 48.0].map(|t| Outcome::event(t).expect("valid")).to_vec();
        let km = KaplanMeier::fit(&outcomes).expect("not empty");
        let curve = |name| SurvivalCurve { name, km: &km, limits: &[] };
        let svg =
            survival_curves("Survival", "p = 1", "Months", &[curve("a"), curve("b")]).expect("drawn").svg;
        assert_eq!(svg.matches(">4</text>").count(), 4, "at 0 and at 12, of two groups: {svg}");
        assert!(svg.contains("a: 4 subjects, 4 events, median 30.0. b: "), "{svg}");
        assert!(survival_curves("", "", "", &[]).is_err());
    }
}
