//! Calibration: observed against predicted risk, with the diagonal on which both are equal.

use survival_metrics::CalibrationGroup;

use super::Figure;
use super::axis::{Plot, Ticks};
use super::svg::{Anchor, Ink, Svg, circle, polyline};
use crate::error::{Error, Result};

const SIZE: f64 = 420.0;
const FRAME: (f64, f64, f64, f64) = (66.0, 44.0, 400.0, 364.0);

/// Draws groups of subjects by predicted risk; the bars are 95% limits from Greenwood's standard error.
///
/// # Errors
/// [`Error::Figure`] without groups or with values outside [0, 1].
pub fn calibration_plot(title: &str, groups: &[CalibrationGroup]) -> Result<Figure> {
    draw("calibration", title, groups)
}

/// [`calibration_plot`] under a name of its own, for several on one page.
pub(crate) fn draw(name: &'static str, title: &str, groups: &[CalibrationGroup]) -> Result<Figure> {
    let probability = |x: f64| (0.0..=1.0).contains(&x);
    if groups.is_empty() || groups.iter().any(|g| !probability(g.predicted) || !probability(g.observed)) {
        let reason = "it needs groups with predicted and observed risks between 0 and 1".to_owned();
        return Err(Error::Figure { figure: name, reason });
    }
    let sentence = |g: &CalibrationGroup| {
        format!("{} subjects: predicted {:.2}, observed {:.2}.", g.n, g.predicted, g.observed)
    };
    let description = groups.iter().map(sentence).collect::<Vec<_>>().join(" ");
    let mut svg = Svg::new(name, SIZE, SIZE, title, &description);
    let plot = Plot::new(FRAME, (0.0, 1.0), (0.0, 1.0));
    svg.text_with(FRAME.0, 22.0, Anchor::Start, Ink::Text, r#"font-size="14" font-weight="600""#, title);
    let ticks = Ticks::decimal(0.0, 1.0, 5);
    plot.draw_y_axis(&mut svg, &ticks, "Observed risk");
    let diagonal = [plot.at((0.0, 0.0)), plot.at((1.0, 1.0))];
    svg.path(&polyline(&diagonal), Ink::Axis, r#"stroke-width="1" stroke-dasharray="4 3""#);
    for group in groups {
        let (x, y) = plot.at((group.predicted, group.observed));
        if let Some(se) = group.standard_error {
            let end = |sign: f64| plot.y.at((group.observed + sign * 1.96 * se).clamp(0.0, 1.0));
            svg.line((x, end(-1.0)), (x, end(1.0)), Ink::Blue, r#"stroke-width="1.4""#);
        }
        svg.area(&circle((x, y), 4.5), Ink::Blue, "");
    }
    plot.draw_x_axis(&mut svg, &ticks, "Predicted risk");
    Ok(Figure { name, svg: svg.finish() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calibrated_group_stands_on_the_diagonal() {
        let group = CalibrationGroup { n: 9, predicted: 0.5, observed: 0.5, standard_error: Some(0.1) };
        let svg = calibration_plot("Calibration", &[group]).expect("drawn").svg;
        assert!(svg.contains(&circle((233.0, 204.0), 4.5)), "{svg}");
        assert!(svg.contains("9 subjects: predicted 0.50, observed 0.50."));
        assert!(calibration_plot("Calibration", &[]).is_err());
        assert!(calibration_plot("", &[CalibrationGroup { predicted: 1.5, ..group }]).is_err());
    }
}
