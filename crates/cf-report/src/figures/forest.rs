//! A forest plot: one estimate with its interval per row, and a line where nothing would be found.

use super::Figure;
use super::axis::{Plot, Ticks};
use super::svg::{Anchor, Ink, Svg, diamond, number};
use crate::error::{Error, Result};
use crate::number::percent;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 210.0;
const RIGHT: f64 = 540.0;
const TOP: f64 = 56.0;
const ROW_HEIGHT: f64 = 30.0;

/// One estimate of a [`ForestPlot`].
#[derive(Debug, Clone, PartialEq)]
pub struct ForestRow {
    /// What was estimated.
    pub label: String,
    /// Small print below the label, such as the number of events; may be empty.
    pub detail: String,
    /// The estimate.
    pub estimate: f64,
    /// Confidence limits, if known.
    pub limits: Option<(f64, f64)>,
}

/// Scale of the axis of a [`ForestPlot`], with the value at which there is no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForestScale {
    /// C-indices: linear, chance at 0.5.
    CIndex,
    /// Hazard ratios: logarithmic, no effect at 1.
    HazardRatio,
}

impl ForestScale {
    fn figure(self) -> &'static str {
        match self {
            Self::CIndex => "c-index-forest",
            Self::HazardRatio => "hazard-ratios",
        }
    }
}

/// What a forest plot shows.
#[derive(Debug, Clone, PartialEq)]
pub struct ForestPlot<'a> {
    /// Heading; also what a screen reader says first.
    pub title: &'a str,
    /// Scale of the estimates.
    pub scale: ForestScale,
    /// Coverage of the limits, such as 0.95.
    pub level: f64,
    /// Rows from top to bottom.
    pub rows: &'a [ForestRow],
}

/// Draws C-indices or hazard ratios with their intervals.
///
/// # Errors
/// [`Error::Figure`] without rows, or for a value that cannot be drawn on its scale.
pub fn forest_plot(plot: &ForestPlot<'_>) -> Result<Figure> {
    let name = plot.scale.figure();
    Ok(Figure { name, svg: draw(name, plot)? })
}

/// The drawing; `id` has to be unique on its page.
///
/// # Errors
/// As [`forest_plot`].
pub(crate) fn draw(id: &str, plot: &ForestPlot<'_>) -> Result<String> {
    let name = plot.scale.figure();
    let values = || {
        plot.rows
            .iter()
            .flat_map(|row| [Some(row.estimate), row.limits.map(|l| l.0), row.limits.map(|l| l.1)])
            .flatten()
    };
    let drawable = |x: f64| x.is_finite() && (plot.scale == ForestScale::CIndex || x > 0.0);
    if plot.rows.is_empty() {
        return Err(Error::Figure { figure: name, reason: "there are no rows".to_owned() });
    }
    if let Some(value) = values().find(|&x| !drawable(x)) {
        return Err(Error::Figure { figure: name, reason: format!("{value} is outside its scale") });
    }
    let at = |x: f64| if plot.scale == ForestScale::HazardRatio { x.ln() } else { x };
    let (low, high, neutral) = domain(plot.scale, values());
    let bottom = TOP + ROW_HEIGHT * plot.rows.len() as f64 + 6.0;
    let mut svg = Svg::new(id, WIDTH, bottom + 48.0, plot.title, &description(plot));
    let frame = Plot::new((LEFT, TOP, RIGHT, bottom), (at(low), at(high)), (0.0, 1.0));
    svg.text_with(8.0, 20.0, Anchor::Start, Ink::Text, r#"font-size="14" font-weight="600""#, plot.title);
    let percent = percent(plot.level);
    svg.text(WIDTH - 8.0, TOP - 10.0, Anchor::End, Ink::Muted, &format!("estimate ({percent} interval)"));
    let upright = |x: f64| format!("M{} {}V{}", number(frame.x.at(at(x))), number(TOP), number(bottom));
    svg.path(&upright(neutral), Ink::Axis, r#"stroke-width="1" stroke-dasharray="4 3""#);
    let mut y = TOP + ROW_HEIGHT / 2.0;
    for row in plot.rows {
        let label_y = if row.detail.is_empty() { y + 4.0 } else { y - 2.0 };
        svg.text(8.0, label_y, Anchor::Start, Ink::Text, &row.label);
        svg.text_with(8.0, y + 11.0, Anchor::Start, Ink::Muted, r#"font-size="11""#, &row.detail);
        if let Some((lower, upper)) = row.limits {
            let (from, to) = (frame.x.at(at(lower)), frame.x.at(at(upper)));
            svg.line((from, y), (to, y), Ink::Blue, r#"stroke-width="1.6""#);
            for x in [from, to] {
                svg.line((x, y - 4.0), (x, y + 4.0), Ink::Blue, r#"stroke-width="1.6""#);
            }
        }
        svg.area(&diamond((frame.x.at(at(row.estimate)), y), 5.5), Ink::Blue, "");
        svg.text(WIDTH - 8.0, y + 4.0, Anchor::End, Ink::Text, &value_text(plot.scale, row));
        y += ROW_HEIGHT;
    }
    match plot.scale {
        ForestScale::CIndex => frame.draw_x_axis(&mut svg, &Ticks::decimal(low, high, 6), "C-index"),
        ForestScale::HazardRatio => draw_ratio_axis(&mut svg, &frame, low, high),
    }
    Ok(svg.finish())
}

/// Ends of the axis, and the value without effect, which is inside.
fn domain(scale: ForestScale, values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    match scale {
        ForestScale::CIndex => {
            let down = ((low - 0.01) * 10.0).floor() / 10.0;
            let up = ((high + 0.01) * 10.0).ceil() / 10.0;
            (down.clamp(0.0, 0.4), up.clamp(0.8, 1.0), 0.5)
        }
        ForestScale::HazardRatio => (low.min(0.8) / 1.1, high.max(1.25) * 1.1, 1.0),
    }
}

/// An axis of ratios, with ticks at 1, 2 and 5 times powers of ten.
fn draw_ratio_axis(svg: &mut Svg, frame: &Plot, low: f64, high: f64) {
    let ticks = (-6..=6).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
    let mut d = format!("M{} {}H{}", number(frame.left), number(frame.bottom), number(frame.right));
    for tick in ticks.filter(|tick| (low..=high).contains(tick)) {
        let x = frame.x.at(tick.ln());
        d.push_str(&format!("M{} {}v5", number(x), number(frame.bottom)));
        svg.text(x, frame.bottom + 18.0, Anchor::Middle, Ink::Muted, &tick.to_string());
    }
    svg.path(&d, Ink::Axis, r#"stroke-width="1""#);
    let middle = (frame.left + frame.right) / 2.0;
    let title = "Hazard ratio (above 1: earlier events)";
    svg.text(middle, frame.bottom + 37.0, Anchor::Middle, Ink::Text, title);
}

fn value_text(scale: ForestScale, row: &ForestRow) -> String {
    let decimals = if scale == ForestScale::CIndex { 3 } else { 2 };
    let text = |x: f64| format!("{x:.decimals$}");
    match row.limits {
        Some((lower, upper)) => format!("{} ({} to {})", text(row.estimate), text(lower), text(upper)),
        None => text(row.estimate),
    }
}

fn description(plot: &ForestPlot<'_>) -> String {
    let rows: Vec<String> =
        plot.rows.iter().map(|row| format!("{}: {}.", row.label, value_text(plot.scale, row))).collect();
    rows.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(estimate: f64, limits: Option<(f64, f64)>) -> ForestRow {
        ForestRow { label: "age".to_owned(), detail: String::new(), estimate, limits }
    }

    fn plot(scale: ForestScale, rows: &[ForestRow]) -> Result<Figure> {
        forest_plot(&ForestPlot { title: "Effects", scale, level: 0.95, rows })
    }

    #[test]
    fn a_ratio_of_1_stands_on_the_line_of_no_effect() {
        let figure = plot(ForestScale::HazardRatio, &[row(1.0, Some((0.5, 2.0)))]).expect("drawn");
        // The axis goes from 0.5 / 1.1 to 2 * 1.1, whose geometric mean is 1: the middle, 375.
        assert!(
            figure.svg.contains(&format!(r#"<path d="{}""#, diamond((375.0, 71.0), 5.5))),
            "{}",
            figure.svg
        );
        assert!(figure.svg.contains(r#"<path d="M375 56V92""#), "{}", figure.svg);
        assert!(figure.svg.contains("age: 1.00 (0.50 to 2.00)."));
    }

    #[test]
    fn values_outside_the_scale_are_refused() {
        assert!(plot(ForestScale::HazardRatio, &[row(0.0, None)]).is_err());
        assert!(plot(ForestScale::CIndex, &[row(f64::NAN, None)]).is_err());
        assert!(plot(ForestScale::CIndex, &[]).is_err());
    }
}
