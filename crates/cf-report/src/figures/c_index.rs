//! C-index per fold as a forest plot: three marks a fold with their intervals, their mean below, the values beside.

use super::axis::{Plot, Ticks};
use super::svg::{Anchor, Ink, Svg, circle, diamond, number};
use crate::c_index_intervals::CIndexIntervals;
use crate::number::{counted, fixed, fixed_or_missing};
use crate::report::{CIndexSummary, CrossValidationReport};

const WIDTH: f64 = 600.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 428.0;
const TOP: f64 = 62.0;
const ROW_HEIGHT: f64 = 44.0;
/// Right edges of the three columns of values.
const COLUMNS: [f64; 3] = [472.0, 524.0, 594.0];
/// Vertical distance between the three marks of a row.
const MARK_DISTANCE: f64 = 10.0;

/// Intervals of the selected epochs; the last epochs have none of single folds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Intervals<'a> {
    pub(crate) slides: &'a CIndexIntervals,
    pub(crate) patients: &'a CIndexIntervals,
}

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

    fn intervals<'a>(self, intervals: &Intervals<'a>) -> Option<&'a CIndexIntervals> {
        match self {
            Self::Slide => Some(intervals.slides),
            Self::Patient => Some(intervals.patients),
            Self::LastEpoch => None,
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

/// A row: what each series has there.
struct Row {
    label: String,
    detail: String,
    values: [Option<f64>; 3],
    limits: [Option<(f64, f64)>; 3],
}

/// Draws the figure, or nothing if no fold has a C-index.
pub(crate) fn draw(name: &str, report: &CrossValidationReport, intervals: Intervals<'_>) -> Option<String> {
    let rows = rows(report, intervals);
    let (low, high) = domain(&rows)?;
    // The pairs of all folds stand apart from the mean, and so does the mean from the folds.
    let bottom = TOP + ROW_HEIGHT * rows.len() as f64 + 6.0;
    let mut svg = Svg::new(name, WIDTH, bottom + 48.0, "C-index per validation fold", &description(report));
    let plot = Plot::new((LEFT, TOP, RIGHT, bottom), (low, high), (0.0, 1.0));
    let ticks = Ticks::decimal(low, high, 6);
    draw_grid(&mut svg, &plot, &ticks);
    draw_heading(&mut svg);
    for (i, row) in rows.iter().enumerate() {
        let top = TOP + ROW_HEIGHT * i as f64 + 3.0;
        if i == report.folds.len() {
            svg.line((8.0, top), (WIDTH - 8.0, top), Ink::Axis, r#"stroke-width="1""#);
        }
        draw_row(&mut svg, &plot, top + ROW_HEIGHT / 2.0, row);
    }
    plot.draw_x_axis(&mut svg, &ticks, "C-index");
    Some(svg.finish())
}

/// Every fold, the mean over folds, and the pairs of all folds together.
fn rows(report: &CrossValidationReport, intervals: Intervals<'_>) -> Vec<Row> {
    let each = |of: &dyn Fn(Series) -> Option<f64>| Series::ALL.map(|s| of(s).filter(|c| c.is_finite()));
    let mut rows: Vec<Row> = report
        .folds
        .iter()
        .enumerate()
        .map(|(i, fold)| Row {
            label: format!("Fold {}", fold.fold),
            detail: format!(
                "{}, {}",
                counted(fold.n_validation_slides, "slide", "slides"),
                counted(fold.n_validation_events, "event", "events")
            ),
            values: each(&|series| series.summary(report).folds.get(i).copied().flatten()),
            limits: Series::ALL
                .map(|series| series.intervals(&intervals).and_then(|of| of.folds.get(i).copied().flatten())),
        })
        .collect();
    rows.push(Row {
        label: "Mean of folds".to_owned(),
        detail: "bootstrap interval".to_owned(),
        values: each(&|series| series.summary(report).mean),
        limits: Series::ALL.map(|series| series.summary(report).ci95),
    });
    let pooled = |series: Series| series.intervals(&intervals).and_then(|of| of.pooled);
    if Series::ALL.into_iter().any(|series| pooled(series).is_some()) {
        rows.push(Row {
            label: "All pairs".to_owned(),
            detail: "within folds".to_owned(),
            values: each(&|series| pooled(series).map(|pooled| pooled.c_index)),
            limits: Series::ALL.map(|series| pooled(series).and_then(|pooled| pooled.limits)),
        });
    }
    rows
}

/// From 0.4 or less to 0.8 or more in steps of 0.1, so that reports of different runs look alike.
fn domain(rows: &[Row]) -> Option<(f64, f64)> {
    let values = rows.iter().flat_map(|row| row.values).flatten();
    // Without a value there is nothing to draw an interval around.
    let (low, high) = (values.clone().reduce(f64::min)?, values.reduce(f64::max)?);
    let limits = || rows.iter().flat_map(|row| row.limits).flatten();
    let low = limits().map(|(lower, _)| lower).fold(low, f64::min);
    let high = limits().map(|(_, upper)| upper).fold(high, f64::max);
    let down = ((low - 0.01) * 10.0).floor() / 10.0;
    let up = ((high + 0.01) * 10.0).ceil() / 10.0;
    Some((down.clamp(0.0, 0.4), up.clamp(0.8, 1.0)))
}

fn description(report: &CrossValidationReport) -> String {
    let mut sentences = Vec::new();
    for series in Series::ALL {
        let summary = series.summary(report);
        let values: Vec<String> = summary.folds.iter().map(|c| fixed_or_missing(*c, 3)).collect();
        let interval = summary.ci95.map_or_else(String::new, |(lower, upper)| {
            format!(", 95 % interval {} to {}", fixed(lower, 3), fixed(upper, 3))
        });
        sentences.push(format!(
            "{}: {}; mean {}{interval}.",
            series.label(),
            values.join(", "),
            fixed_or_missing(summary.mean, 3),
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
        series.draw_mark(svg, (column - 12.0, 22.0));
        svg.text(column, TOP - 20.0, Anchor::End, Ink::Text, series.label());
    }
}

fn draw_row(svg: &mut Svg, plot: &Plot, y: f64, row: &Row) {
    svg.text_with(8.0, y - 2.0, Anchor::Start, Ink::Text, r#"font-weight="600""#, &row.label);
    svg.text_with(8.0, y + 13.0, Anchor::Start, Ink::Muted, r#"font-size="11""#, &row.detail);
    for (k, (series, column)) in Series::ALL.into_iter().zip(COLUMNS).enumerate() {
        let at = y + series.offset();
        let (value, limits) = (row.values.get(k).copied().flatten(), row.limits.get(k).copied().flatten());
        if let Some((lower, upper)) = limits {
            let end = |value: f64| (plot.x.at(value.clamp(0.0, 1.0)), at);
            svg.line(end(lower), end(upper), series.ink(), r#"stroke-width="1.6""#);
        }
        if let Some(value) = value {
            series.draw_mark(svg, (plot.x.at(value), at));
        }
        svg.text(column, y + 4.0, Anchor::End, Ink::Text, &fixed_or_missing(value, 3));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{FoldReport, Selection};
    use crate::risk_cut::RiskCut;

    fn summary(folds: &[Option<f64>]) -> CIndexSummary {
        CIndexSummary {
            mean: folds.first().copied().flatten(),
            sd: Some(0.0),
            folds: folds.to_vec(),
            ci95: None,
            no_ci95: None,
        }
    }

    fn report(folds: &[Option<f64>]) -> CrossValidationReport {
        let fold = |fold| FoldReport {
            fold,
            train_outcomes: Vec::new(),
            n_train_slides: 0,
            n_train_events: 0,
            n_validation_slides: 9,
            n_validation_patients: 9,
            n_validation_events: 1,
            time_bin_edges_months: Vec::new(),
            sites: None,
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
            n_planned_folds: folds.len(),
            c_index: summary(folds),
            patient_c_index: summary(&vec![None; folds.len()]),
            last_epoch_c_index: summary(&vec![None; folds.len()]),
            patient_last_epoch_c_index: summary(&vec![None; folds.len()]),
            predictions: Vec::new(),
            risk_cut: RiskCut::PooledMedian,
            selection: Selection::OnReportedFold,
            environment: Vec::new(),
            inputs: Vec::new(),
            model_paper: String::new(),
            software_version: String::new(),
            config_toml: String::new(),
            no_survival: None,
            heatmaps: Vec::new(),
            wall_seconds: 0.0,
            peak_rss_bytes: 0,
        }
    }

    fn drawn(report: &CrossValidationReport, slides: &CIndexIntervals) -> Option<String> {
        draw("c", report, Intervals { slides, patients: &CIndexIntervals::default() })
    }

    #[test]
    fn marks_and_intervals_stand_at_their_values() {
        // 0.6 is the middle of the axis from 0.4 to 0.8: 289 units; 0.5 a quarter: 219.5. The mark of the slide level is 10
        // units above the middle of its row, 87.
        let limits = CIndexIntervals { folds: vec![Some((0.5, 0.7)), None], pooled: None };
        let svg = drawn(&report(&[Some(0.6), None]), &limits).expect("one fold has a value");
        assert!(svg.contains(&format!(r#"<path d="{}""#, circle((289.0, 77.0), 4.5))), "{svg}");
        assert!(svg.contains(r#"<line x1="219.5" y1="77" x2="358.5" y2="77""#), "{svg}");
        assert!(svg.contains("slide: 0.600, –; mean 0.600."), "{svg}");
        assert!(svg.contains(">9 slides, 1 event<"), "{svg}");
    }

    #[test]
    fn axis_reaches_from_04_to_08_and_further_where_needed() {
        let none = CIndexIntervals::default();
        let of = |folds: &[Option<f64>], slides| {
            domain(&rows(&report(folds), Intervals { slides, patients: &none }))
        };
        assert_eq!(of(&[Some(0.61)], &none), Some((0.4, 0.8)));
        assert_eq!(of(&[Some(0.61), Some(0.235), Some(0.83)], &none), Some((0.2, 0.9)));
        assert_eq!(of(&[Some(1.0), Some(0.0)], &none), Some((0.0, 1.0)));
        let wide = CIndexIntervals { folds: vec![Some((0.33, 0.87))], pooled: None };
        assert_eq!(of(&[Some(0.61)], &wide), Some((0.3, 0.9)));
    }

    #[test]
    fn without_a_value_there_is_no_figure() {
        assert_eq!(drawn(&report(&[None, Some(f64::NAN)]), &CIndexIntervals::default()), None);
    }
}
