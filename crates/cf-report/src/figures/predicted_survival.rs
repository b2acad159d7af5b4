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
///
/// # Errors
/// [`Error::Figure`] without bins, or with a probability that lies outside `[0, 1]` or above the one before.
pub fn predicted_survival(title: &str, survival: &[f64]) -> Result<Figure> {
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
    let said: Vec<String> = survival.iter().map(|value| fixed(*value, 2)).collect();
    let description = format!("Probability of surviving past time bins 1 to {n_bins}: {}.", said.join(", "));
    let mut svg = Svg::new(NAME, WIDTH, HEIGHT, title, &description);
    let plot = Plot::new((50.0, 34.0, WIDTH - 14.0, HEIGHT - 46.0), (0.0, n_bins as f64), (0.0, 1.0));
    svg.text_with(plot.left, 20.0, Anchor::Start, Ink::Text, r#"font-size="14" font-weight="600""#, title);
    plot.draw_y_axis(&mut svg, &Ticks::decimal(0.0, 1.0, 5), "");
    let mut frame = format!("M{} {}H{}", number(plot.left), number(plot.bottom), number(plot.right));
    let mut curve = format!("M{} {}", number(plot.x.at(0.0)), number(plot.y.at(1.0)));
    for (bin, value) in survival.iter().enumerate() {
        let end = plot.x.at(bin as f64 + 1.0);
        frame.push_str(&format!("M{} {}v5", number(end), number(plot.bottom)));
        curve.push_str(&format!("H{}V{}", number(end), number(plot.y.at(*value))));
        let middle = plot.x.at(bin as f64 + 0.5);
        svg.text(middle, plot.bottom + 16.0, Anchor::Middle, Ink::Muted, &format!("{}", bin + 1));
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
    svg.text(middle, plot.bottom + 35.0, Anchor::Middle, Ink::Text, "Time bin");
    Ok(Figure { name: NAME, svg: svg.finish() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_steps_down_at_the_end_of_each_bin() {
        let svg = predicted_survival("Predicted survival", &[0.9, 0.5]).expect("drawn").svg;
        // 50 to 346 across, 204 at the bottom and 34 at the top.
        assert!(svg.contains(r#"d="M50 34H198V51H346V119""#), "{svg}");
        assert!(svg.contains("past time bins 1 to 2: 0.90, 0.50."));
    }

    #[test]
    fn what_is_no_survival_curve_is_refused() {
        for bad in [&[][..], &[1.1], &[0.5, 0.6], &[f64::NAN], &[-0.1]] {
            assert!(predicted_survival("", bad).is_err(), "{bad:?}");
        }
    }
}
