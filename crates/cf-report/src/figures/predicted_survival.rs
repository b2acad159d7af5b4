//! The survival curve that a model predicts for one slide, in its time bins.

use super::Figure;
use super::axis::{Plot, Ticks};
use super::svg::{Anchor, Ink, Svg, number};
use crate::error::{Error, Result};
use crate::number::fixed;

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 250.0;

/// Draws a survival curve in discrete time.
///
/// - `survival`: the probability of surviving past each bin, `[0, 1]`, never rising. The curve starts at 1 and falls at
///   the end of each bin, since nothing is known of where in a bin an event lies.
/// - `edges_months`: where the bins begin and end, one more than there are bins; empty where nobody knows. Bins are equally wide in the figure.
///
/// # Errors
/// [`Error::Figure`] without bins, with a probability that lies outside `[0, 1]` or above the one before, or with another number of edges.
pub fn predicted_survival(title: &str, survival: &[f64], edges_months: &[f64]) -> Result<Figure> {
    const NAME: &str = "predicted-survival";
    let mut before = 1.0;
    for value in survival {
        // Written so that NaN is refused.
        if !(0.0..=before).contains(value) {
            let reason =
                format!("a survival of {value} follows one of {before}, expected a curve that falls");
            return Err(Error::Figure { figure: NAME, reason });
        }
        before = *value;
    }
    if survival.is_empty() {
        return Err(Error::Figure { figure: NAME, reason: "it has no time bin".to_owned() });
    }
    let n_bins = survival.len();
    if !edges_months.is_empty() && edges_months.len() != n_bins + 1 {
        let reason =
            format!("it has {} edges of {n_bins} time bins, expected {}", edges_months.len(), n_bins + 1);
        return Err(Error::Figure { figure: NAME, reason });
    }
    let said: Vec<String> = survival.iter().map(|value| fixed(*value, 2)).collect();
    let ends = bin_ends(n_bins, edges_months);
    let description = format!("Probability of surviving past {ends}: {}.", said.join(", "));
    let mut svg = Svg::new(NAME, WIDTH, HEIGHT, title, &description);
    // Months stand below the end of each bin, the last one half beyond the plot.
    let beyond = if edges_months.is_empty() { 14.0 } else { 26.0 };
    let plot = Plot::new((50.0, 34.0, WIDTH - beyond, HEIGHT - 46.0), (0.0, n_bins as f64), (0.0, 1.0));
    svg.text_with(plot.left, 20.0, Anchor::Start, Ink::Text, r#"font-size="14" font-weight="600""#, title);
    plot.draw_y_axis(&mut svg, &Ticks::decimal(0.0, 1.0, 5), "");
    let mut frame = format!("M{} {}H{}", number(plot.left), number(plot.bottom), number(plot.right));
    let mut curve = format!("M{} {}", number(plot.x.at(0.0)), number(plot.y.at(1.0)));
    for (bin, value) in survival.iter().enumerate() {
        let end = plot.x.at(bin as f64 + 1.0);
        frame.push_str(&format!("M{} {}v5", number(end), number(plot.bottom)));
        curve.push_str(&format!("H{}V{}", number(end), number(plot.y.at(*value))));
        let (at, text) = match edges_months.get(bin + 1) {
            Some(months) => (end, fixed(*months, 1)),
            None => (plot.x.at(bin as f64 + 0.5), format!("{}", bin + 1)),
        };
        svg.text(at, plot.bottom + 16.0, Anchor::Middle, Ink::Muted, &text);
    }
    svg.path(&frame, Ink::Axis, r#"stroke-width="1""#);
    svg.path(&curve, Ink::Blue, r#"stroke-width="2" stroke-linejoin="round""#);
    for (bin, (value, text)) in survival.iter().zip(&said).enumerate() {
        // Beside the foot of the step, where neither curve nor axis runs.
        let (x, y) = plot.at((bin as f64 + 1.0, *value));
        let y = if *value < 0.1 { y - 6.0 } else { y + 14.0 };
        svg.text(x - 5.0, y.min(plot.bottom - 4.0), Anchor::End, Ink::Text, text);
    }
    let middle = (plot.left + plot.right) / 2.0;
    let axis = if edges_months.is_empty() { "Time bin" } else { "Months at the end of each time bin" };
    svg.text(middle, plot.bottom + 35.0, Anchor::Middle, Ink::Text, axis);
    Ok(Figure { name: NAME, svg: svg.finish() })
}

/// Past what the probabilities of a curve are: `12.1, 27.0, 50.3 and 141.0 months`, or `time bins 1 to 4` where `edges_months` is empty.
#[must_use]
pub fn bin_ends(n_bins: usize, edges_months: &[f64]) -> String {
    let ends: Vec<String> = edges_months.iter().skip(1).map(|months| fixed(*months, 1)).collect();
    match ends.as_slice() {
        [] if n_bins == 1 => "time bin 1".to_owned(),
        [] => format!("time bins 1 to {n_bins}"),
        [end] => format!("{end} months"),
        [others @ .., last] => format!("{} and {last} months", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_steps_down_at_the_end_of_each_bin() {
        let svg = predicted_survival("Predicted survival", &[0.9, 0.5], &[]).expect("drawn").svg;
        // 50 to 346 across, 204 at the bottom and 34 at the top.
        assert!(svg.contains(r#"d="M50 34H198V51H346V119""#), "{svg}");
        assert!(svg.contains("past time bins 1 to 2: 0.90, 0.50.") && svg.contains(">Time bin<"));
    }

    #[test]
    fn where_the_bins_end_is_said_in_months() {
        let svg =
            predicted_survival("Predicted survival", &[0.9, 0.5], &[-1e-6, 12.06, 141.0]).expect("drawn").svg;
        assert!(
            svg.contains("past 12.1 and 141.0 months: 0.90, 0.50.") && !svg.contains("Time bin"),
            "{svg}"
        );
        // Below the end of its bin.
        assert!(svg.contains(r#"<text x="192" y="220""#) && svg.contains(">12.1<"), "{svg}");
        assert!(predicted_survival("", &[0.9, 0.5], &[0.0, 12.0]).is_err());
        assert_eq!([bin_ends(1, &[]), bin_ends(1, &[0.0, 3.0])], ["time bin 1", "3.0 months"]);
    }

    #[test]
    fn what_is_no_survival_curve_is_refused() {
        for bad in [&[][..], &[1.1], &[0.5, 0.6], &[f64::NAN], &[-0.1]] {
            assert!(predicted_survival("", bad, &[]).is_err(), "{bad:?}");
        }
    }
}
