//! D-calibration: how patients are spread over the survival that they were predicted to have at their own time.

use survival_metrics::DCalibration;

use super::Figure;
use super::axis::{Plot, Ticks};
use super::svg::{Anchor, Ink, Svg, number};
use crate::number::fixed;

const SIZE: f64 = 420.0;
const FRAME: (f64, f64, f64, f64) = (66.0, 44.0, 400.0, 364.0);

/// Draws the share of patients in each bin of predicted survival, with the even share as a line.
pub(crate) fn draw(test: &DCalibration) -> Figure {
    const NAME: &str = "d-calibration";
    let n: f64 = test.bins.iter().sum();
    let n_bins = test.bins.len() as f64;
    let even = 1.0 / n_bins;
    // Bins from the lowest predicted survival up, as the axis has them.
    let shares: Vec<f64> = test.bins.iter().rev().map(|bin| bin / n.max(1.0)).collect();
    let highest = shares.iter().copied().fold(2.0 * even, f64::max);
    let texts: Vec<String> = shares.iter().map(|share| format!("{} %", fixed(100.0 * share, 0))).collect();
    let description = format!(
        "Share of patients by predicted survival at their own time, from 0 to 1 in {} steps: {}. Even would be {} % each.",
        test.bins.len(),
        texts.join(", "),
        fixed(100.0 * even, 0)
    );
    let title = "D-calibration";
    let mut svg = Svg::new(NAME, SIZE, SIZE, title, &description);
    let plot = Plot::new(FRAME, (0.0, 1.0), (0.0, 100.0 * highest * 1.05));
    svg.text_with(FRAME.0, 22.0, Anchor::Start, Ink::Text, r#"font-size="14" font-weight="600""#, title);
    plot.draw_y_axis(&mut svg, &Ticks::decimal(0.0, 100.0 * highest * 1.05, 5), "Patients, %");
    for (k, share) in shares.iter().enumerate() {
        let (left, top) = plot.at((k as f64 / n_bins, 100.0 * share));
        let right = plot.x.at((k as f64 + 1.0) / n_bins);
        let bar = format!(
            "M{} {}V{}H{}V{}z",
            number(left + 2.0),
            number(plot.bottom),
            number(top),
            number(right - 2.0),
            number(plot.bottom)
        );
        svg.area(&bar, Ink::Blue, "");
    }
    let y = plot.y.at(100.0 * even);
    svg.line((plot.left, y), (plot.right, y), Ink::Text, r#"stroke-width="1" stroke-dasharray="4 3""#);
    plot.draw_x_axis(&mut svg, &Ticks::decimal(0.0, 1.0, 5), "Predicted survival at the patient’s own time");
    Figure { name: NAME, svg: svg.finish() }
}

#[cfg(test)]
mod tests {
    use survival_metrics::{Outcome, d_calibration};

    use super::*;

    #[test]
    fn even_bars_end_at_the_line() {
        let outcomes = [1.0, 2.0, 3.0, 4.0].map(|t| Outcome::event(t).expect("a valid time"));
        let test = d_calibration(&outcomes, &[0.9, 0.7, 0.4, 0.1], 4).expect("probabilities");
        let svg = draw(&test).svg;
        // 25 of 52.5 % on an axis of 320 units: 152.38 above 364.
        assert_eq!(svg.matches("V211.62H").count(), 4, "{svg}");
        assert!(svg.contains(r#"<line x1="66" y1="211.62" x2="400" y2="211.62""#), "{svg}");
        assert!(svg.contains("25 %, 25 %, 25 %, 25 %. Even would be 25 % each."), "{svg}");
    }
}
