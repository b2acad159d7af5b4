//! C-index per fold as a forest plot: three marks a fold, their mean with its deviation below, the values beside.

use super::axis::{Plot, Ticks};
use super::svg::{Anchor, Ink, Svg, circle, diamond, number};
use crate::number::{counted, fixed_or_missing};
use crate::report::{CIndexSummary, CrossValidationReport};

const WIDTH: f64 = 780.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 540.0;
const TOP: f64 = 62.0;
const ROW_HEIGHT: f64 = 40.0;
/// Right edges of the three columns of values.
const COLUMNS: [f64; 3] = [605.0, 685.0, 772.0];
/// Vertical distance between the three marks of a row.
const MARK_DISTANCE: f64 = 10.0;

/// The three C-indices of a row, in the order of drawing and of the columns.
#[derive(Clone, Copy)]
enum Series {
    Slide,
    Patient,
    LastEpoch,
}

impl Series {
    const ALL: [Self; 3] = [Self::Slide, Self::Patient, Self::LastEpoch];

    fn label(self) -> &'static str {
        match self {
            Self::Slide => "slide",
            Self::Patient => "patient",
            Self::LastEpoch => "last epoch",
        }
    }

    fn ink(self) -> Ink {
        match self {
            Self::Slide => Ink::Blue,
            Self::Patient => Ink::Vermillion,
            Self::LastEpoch => Ink::Muted,
        }
    }

    fn summary(self, report: &CrossValidationReport) -> &CIndexSummary {
        match self {
            Self::Slide => &report.c_index,
            Self::Patient => &report.patient_c_index,
            Self::LastEpoch => &report.last_epoch_c_index,
        }
    }

    fn offset(self) -> f64 {
        match self {
            Self::Slide => -MARK_DISTANCE,
            Self::Patient => 0.0,
            Self::LastEpoch => MARK_DISTANCE,
        }
    }

    fn draw_mark(self, svg: &mut Svg, at: (f64, f64)) {
        match self {
            Self::Slide => svg.area(&circle(at, 4.5), self.ink(), ""),
            Self::Patient => svg.area(&diamond(at, 5.5), self.ink(), ""),
            Self::LastEpoch => svg.path(&circle(at, 4.0), self.ink(), r#"stroke-width="1.6""#),
        }
    }
}

/// Draws the figure, or nothing if no fold has a C-index.
pub(crate) fn draw(name: &str, report: &CrossValidationReport) -> Option<String> {
    let (low, high) = domain(report)?;
    let n_rows = report.folds.len() + 1;
    let bottom = TOP + ROW_HEIGHT * n_rows as f64 + 6.0;
    let mut svg = Svg::new(name, WIDTH, bottom + 48.0, "C-index per validation fold", &description(report));
    let plot = Plot::new((LEFT, TOP, RIGHT, bottom), (low, high), (0.0, 1.0));
    let ticks = Ticks::decimal(low, high, 6);
    draw_grid(&mut svg, &plot, &ticks);
    draw_heading(&mut svg);

    let mut y = TOP + ROW_HEIGHT / 2.0;
    for (i, fold) in report.folds.iter().enumerate() {
        let size = format!(
            "{}, {}",
            counted(fold.n_validation_slides, "slide", "slides"),
            counted(fold.n_validation_events, "event", "events")
        );
        draw_row_label(&mut svg, y, &format!("Fold {}", fold.fold), &size);
        for (series, column) in Series::ALL.into_iter().zip(COLUMNS) {
            let value = series.summary(report).folds.get(i).copied().flatten().filter(|c| c.is_finite());
            if let Some(value) = value {
                series.draw_mark(&mut svg, (plot.x.at(value), y + series.offset()));
            }
            svg.text(column, y + 4.0, Anchor::End, Ink::Text, &fixed_or_missing(value, 3));
        }
        y += ROW_HEIGHT;
    }
    svg.line(
        (8.0, y - ROW_HEIGHT / 2.0),
        (WIDTH - 8.0, y - ROW_HEIGHT / 2.0),
        Ink::Axis,
        r#"stroke-width="1""#,
    );
    draw_mean_row(&mut svg, &plot, y + 3.0, report);
    plot.draw_x_axis(&mut svg, &ticks, "C-index");
    Some(svg.finish())
}

/// From 0.4 or less to 0.8 or more in steps of 0.1, so that reports of different runs look alike.
fn domain(report: &CrossValidationReport) -> Option<(f64, f64)> {
    let mut values = Vec::new();
    for series in Series::ALL {
        let summary = series.summary(report);
        values.extend(summary.folds.iter().flatten().copied());
        if let (Some(mean), Some(sd)) = (summary.mean, summary.sd) {
            values.extend([mean - sd, mean + sd]);
        }
    }
    values.retain(|value| value.is_finite());
    let (low, high) = (values.iter().copied().reduce(f64::min)?, values.iter().copied().reduce(f64::max)?);
    let down = ((low - 0.01) * 10.0).floor() / 10.0;
    let up = ((high + 0.01) * 10.0).ceil() / 10.0;
    Some((down.clamp(0.0, 0.4), up.clamp(0.8, 1.0)))
}

fn description(report: &CrossValidationReport) -> String {
    let mut sentences = Vec::new();
    for series in Series::ALL {
        let summary = series.summary(report);
        let values: Vec<String> = summary.folds.iter().map(|c| fixed_or_missing(*c, 3)).collect();
        sentences.push(format!(
            "{}: {}; mean {}, standard deviation {}.",
            series.label(),
            values.join(", "),
            fixed_or_missing(summary.mean, 3),
            fixed_or_missing(summary.sd, 3)
        ));
    }
    sentences.join(" ")
}

/// Faint lines at the ticks, and one at 0.5, where a risk without information stands.
fn draw_grid(svg: &mut Svg, plot: &Plot, ticks: &Ticks) {
    let upright =
        |value: f64| format!("M{} {}V{}", number(plot.x.at(value)), number(plot.top), number(plot.bottom));
    let d: String = ticks.values.iter().map(|&value| upright(value)).collect();
    svg.path(&d, Ink::Grid, r#"stroke-width="1""#);
    svg.path(&upright(0.5), Ink::Axis, r#"stroke-width="1" stroke-dasharray="4 3""#);
    svg.text_with(plot.x.at(0.5), plot.top - 8.0, Anchor::Middle, Ink::Muted, r#"font-size="11""#, "chance");
}

/// Marks and their names, as the heads of the columns of values.
fn draw_heading(svg: &mut Svg) {
    for (series, column) in Series::ALL.into_iter().zip(COLUMNS) {
        series.draw_mark(svg, (column - 16.0, 20.0));
        svg.text(column, TOP - 20.0, Anchor::End, Ink::Text, series.label());
    }
}

fn draw_row_label(svg: &mut Svg, y: f64, label: &str, detail: &str) {
    svg.text_with(8.0, y - 2.0, Anchor::Start, Ink::Text, r#"font-weight="600""#, label);
    svg.text_with(8.0, y + 13.0, Anchor::Start, Ink::Muted, r#"font-size="11""#, detail);
}

fn draw_mean_row(svg: &mut Svg, plot: &Plot, y: f64, report: &CrossValidationReport) {
    draw_row_label(svg, y, "Mean", "± standard deviation");
    for (series, column) in Series::ALL.into_iter().zip(COLUMNS) {
        let summary = series.summary(report);
        let (mean, sd) = (fixed_or_missing(summary.mean, 3), fixed_or_missing(summary.sd, 3));
        svg.text_with(column, y - 2.0, Anchor::End, Ink::Text, r#"font-weight="600""#, &mean);
        svg.text_with(column, y + 13.0, Anchor::End, Ink::Muted, r#"font-size="11""#, &format!("± {sd}"));
        let Some(mean) = summary.mean.filter(|mean| mean.is_finite()) else {
            continue;
        };
        let at = y + series.offset();
        if let Some(sd) = summary.sd.filter(|sd| sd.is_finite()) {
            let within = |value: f64| plot.x.at(value.clamp(0.0, 1.0));
            let (from, to) = ((within(mean - sd), at), (within(mean + sd), at));
            svg.line(from, to, series.ink(), r#"stroke-width="1.6""#);
        }
        series.draw_mark(svg, (plot.x.at(mean), at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::FoldReport;

    fn summary(folds: &[Option<f64>]) -> CIndexSummary {
        CIndexSummary {
            mean: folds.first().copied().flatten(),
            sd: Some(0.0),
            folds: folds.to_vec(),
            ci95: None,
        }
    }

    fn report(folds: &[Option<f64>]) -> CrossValidationReport {
        let fold = |fold| FoldReport {
            fold,
            n_train_slides: 0,
            n_train_events: 0,
            n_validation_slides: 9,
            n_validation_patients: 9,
            n_validation_events: 1,
            time_bin_edges_months: Vec::new(),
            selected_epoch: 0,
            c_index: None,
            patient_c_index: None,
            last_epoch_c_index: None,
            c_index_note: None,
            history: Vec::new(),
        };
        CrossValidationReport {
            title: String::new(),
            model: String::new(),
            cohort: String::new(),
            backbone: String::new(),
            protocol: String::new(),
            protocol_notes: Vec::new(),
            flow: Vec::new(),
            folds: (0..folds.len()).map(fold).collect(),
            c_index: summary(folds),
            patient_c_index: summary(&vec![None; folds.len()]),
            last_epoch_c_index: summary(&vec![None; folds.len()]),
            predictions: Vec::new(),
            environment: Vec::new(),
            config_toml: String::new(),
            wall_seconds: 0.0,
            peak_rss_bytes: 0,
        }
    }

    #[test]
    fn marks_stand_at_their_value() {
        // 0.6 is the middle of the axis from 0.4 to 0.8: 365 units. The mark of the slide level is 10 units above
        // the middle of its row, 82.
        let svg = draw("c", &report(&[Some(0.6), None])).expect("one fold has a value");
        assert!(svg.contains(&format!(r#"<path d="{}""#, circle((365.0, 72.0), 4.5))), "{svg}");
        assert!(svg.contains("slide: 0.600, –; mean 0.600, standard deviation 0.000."), "{svg}");
        assert!(svg.contains(">9 slides, 1 event<"), "{svg}");
    }

    #[test]
    fn axis_reaches_from_04_to_08_and_further_where_needed() {
        assert_eq!(domain(&report(&[Some(0.61)])), Some((0.4, 0.8)));
        assert_eq!(domain(&report(&[Some(0.61), Some(0.235), Some(0.83)])), Some((0.2, 0.9)));
        assert_eq!(domain(&report(&[Some(1.0), Some(0.0)])), Some((0.0, 1.0)));
    }

    #[test]
    fn without_a_value_there_is_no_figure() {
        assert_eq!(draw("c", &report(&[None, Some(f64::NAN)])), None);
    }
}
