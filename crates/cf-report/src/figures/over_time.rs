//! Scores over time: AUC(t), Brier score and the like, as lines with bands.

use super::Figure;
use super::axis::{Plot, Ticks};
use super::svg::{Anchor, Ink, Svg, circle, dash, polyline};
use crate::error::{Error, Result};

const WIDTH: f64 = 560.0;
const FRAME: (f64, f64, f64, f64) = (70.0, 60.0, 516.0, 330.0);
const LINE_HEIGHT: f64 = 18.0;
/// Of more points, the line alone is clearer.
const MOST_MARKS: usize = 16;

/// One line of [`TimeCurves`].
#[derive(Debug, Clone, PartialEq)]
pub struct TimeCurve {
    /// What the line is of.
    pub label: String,
    /// Times, ascending.
    pub times: Vec<f64>,
    /// Value at each time.
    pub values: Vec<f64>,
    /// Limits at each time; empty without a band.
    pub limits: Vec<(f64, f64)>,
}

/// Which quantity is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeQuantity {
    /// AUC(t): from 0 to 1, chance at 0.5.
    Auc,
    /// Brier score: from 0, where 0.25 is that of always predicting one half.
    Brier,
}

/// What a figure of scores over time shows.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeCurves<'a> {
    /// Heading; also what a screen reader says first.
    pub title: &'a str,
    /// The quantity, which sets the axis.
    pub quantity: TimeQuantity,
    /// Title of the time axis, such as `Months`.
    pub time_label: &'a str,
    /// The lines; at most six can be told apart.
    pub curves: &'a [TimeCurve],
}

const INKS: [Ink; 6] = [Ink::Blue, Ink::Vermillion, Ink::Green, Ink::Purple, Ink::Orange, Ink::Sky];

/// Draws scores over time.
///
/// # Errors
/// [`Error::Figure`] without a line or with more than six, for lists that differ in length, or values that are not finite.
pub fn time_curves(figure: &TimeCurves<'_>) -> Result<Figure> {
    let (name, axis_title, neutral) = match figure.quantity {
        TimeQuantity::Auc => ("auc-over-time", "AUC(t)", 0.5),
        TimeQuantity::Brier => ("brier-over-time", "Brier score", 0.25),
    };
    check(name, figure)?;
    let every = |of: fn(&TimeCurve) -> &[f64]| figure.curves.iter().flat_map(of).copied();
    let end = every(|c| &c.times).fold(0.0, f64::max);
    let limits = figure.curves.iter().flat_map(|c| &c.limits).flat_map(|&(l, u)| [l, u]);
    let all: Vec<f64> = every(|c| &c.values).chain(limits).collect();
    let lowest = all.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let y = match figure.quantity {
        TimeQuantity::Auc => (((lowest * 10.0).floor() / 10.0).clamp(0.0, 0.4), 1.0),
        TimeQuantity::Brier => (0.0, ((highest * 20.0).ceil() / 20.0).max(0.3)),
    };
    let top = FRAME.1 + LINE_HEIGHT * figure.curves.len() as f64 - LINE_HEIGHT;
    let shift = top - FRAME.1;
    let height = FRAME.3 + shift + 48.0;
    let mut svg = Svg::new(name, WIDTH, height, figure.title, &description(figure, axis_title));
    let plot = Plot::new((FRAME.0, top, FRAME.2, FRAME.3 + shift), (0.0, end), y);
    svg.text_with(
        FRAME.0,
        20.0,
        Anchor::Start,
        Ink::Text,
        r#"font-size="14" font-weight="600""#,
        figure.title,
    );
    plot.draw_y_axis(&mut svg, &Ticks::decimal(y.0, y.1, 6), axis_title);
    let from_to = [plot.at((0.0, neutral)), plot.at((end, neutral))];
    svg.path(&polyline(&from_to), Ink::Axis, r#"stroke-width="1" stroke-dasharray="4 3""#);
    for (k, (curve, ink)) in figure.curves.iter().zip(INKS).enumerate() {
        let legend_y = 20.0 + LINE_HEIGHT * (k + 1) as f64;
        let sample = format!(r#"stroke-width="1.8"{}"#, dash(k));
        svg.line((FRAME.0, legend_y - 4.0), (FRAME.0 + 22.0, legend_y - 4.0), ink, &sample);
        svg.text(FRAME.0 + 30.0, legend_y, Anchor::Start, Ink::Text, &curve.label);
        draw_curve(&mut svg, &plot, curve, ink, dash(k));
    }
    plot.draw_x_axis(&mut svg, &Ticks::months(end, 8), figure.time_label);
    Ok(Figure { name, svg: svg.finish() })
}

fn draw_curve(svg: &mut Svg, plot: &Plot, curve: &TimeCurve, ink: Ink, dash: &str) {
    let (low, high) = (plot.bottom, plot.top);
    // Limits may leave the axis.
    let at = |t: f64, v: f64| {
        let (x, y) = plot.at((t, v));
        (x, y.clamp(high, low))
    };
    if !curve.limits.is_empty() {
        let with_times = || curve.times.iter().zip(&curve.limits);
        let mut outline: Vec<(f64, f64)> = with_times().map(|(&t, l)| at(t, l.1)).collect();
        outline.extend(with_times().rev().map(|(&t, l)| at(t, l.0)));
        svg.area(&format!("{}Z", polyline(&outline)), ink, r#"fill-opacity="0.16""#);
    }
    let points: Vec<(f64, f64)> = curve.times.iter().zip(&curve.values).map(|(&t, &v)| at(t, v)).collect();
    svg.path(&polyline(&points), ink, &format!(r#"stroke-width="1.8" stroke-linejoin="round"{dash}"#));
    if points.len() <= MOST_MARKS {
        let marks: String = points.iter().map(|&point| circle(point, 2.5)).collect();
        svg.area(&marks, ink, "");
    }
}

fn check(name: &'static str, figure: &TimeCurves<'_>) -> Result<()> {
    let fault = |reason: String| Err(Error::Figure { figure: name, reason });
    if figure.curves.is_empty() || figure.curves.len() > INKS.len() {
        return fault(format!("it has {} lines, expected 1 to {}", figure.curves.len(), INKS.len()));
    }
    for curve in figure.curves {
        let (n, label) = (curve.times.len(), &curve.label);
        if n == 0 || curve.values.len() != n || (!curve.limits.is_empty() && curve.limits.len() != n) {
            return fault(format!(
                "the times, values and limits of `{label}` differ in length, or there are none"
            ));
        }
        let limits = curve.limits.iter().flat_map(|&(l, u)| [l, u]);
        if curve.times.iter().chain(&curve.values).copied().chain(limits).any(|x| !x.is_finite()) {
            return fault(format!("`{label}` has a value that is not finite"));
        }
    }
    Ok(())
}

fn description(figure: &TimeCurves<'_>, axis_title: &str) -> String {
    let ends = |curve: &TimeCurve| {
        let point =
            |at: Option<(&f64, &f64)>| at.map_or_else(String::new, |(t, v)| format!("{v:.3} at {t:.0}"));
        let mut points = curve.times.iter().zip(&curve.values);
        let first = point(points.next());
        let last = point(points.next_back());
        let to = if last.is_empty() { String::new() } else { format!(" to {last}") };
        format!("{axis_title} of {}: {first}{to}.", curve.label)
    };
    figure.curves.iter().map(ends).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_passes_through_its_values() {
        let curve = TimeCurve {
            label: "risk".to_owned(),
            times: vec![12.0, 24.0],
            values: vec![0.7, 0.7],
            limits: vec![(0.6, 0.8), (0.5, 0.9)],
        };
        let curves = [curve];
        let figure = |quantity| {
            time_curves(&TimeCurves { title: "AUC", quantity, time_label: "Months", curves: &curves })
        };
        let svg = figure(TimeQuantity::Auc).expect("drawn").svg;
        // From 0.4 at 330 to 1 at 60: 0.7 is the middle. 12 of 24 months is the middle, too.
        assert!(svg.contains(r#"<path d="M293 195L516 195""#), "{svg}");
        assert!(svg.contains("AUC(t) of risk: 0.700 at 12 to 0.700 at 24."));
    }

    #[test]
    fn lists_that_differ_in_length_are_refused() {
        let curve = TimeCurve { label: "x".to_owned(), times: vec![1.0], values: vec![], limits: vec![] };
        let curves = [curve];
        let figure = TimeCurves { title: "", quantity: TimeQuantity::Brier, time_label: "", curves: &curves };
        assert!(time_curves(&figure).is_err());
        assert!(time_curves(&TimeCurves { curves: &[], ..figure }).is_err());
    }
}
