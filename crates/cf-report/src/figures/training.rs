//! Training curves: losses and validation C-index by epoch, one line a fold, the selected epoch marked.

use super::axis::{Plot, Ticks};
use super::svg::{Anchor, Ink, Svg, circle, dash, diamond, polyline, square, triangle};
use crate::report::{CrossValidationReport, EpochRow, FoldReport};

const WIDTH: f64 = 900.0;
/// Height above and below a panel, with one line of the key.
const ABOVE: f64 = 74.0;
const BELOW: f64 = 54.0;
const PANEL_HEIGHT: f64 = 202.0;
/// Left edges of the three panels.
const PANELS: [f64; 3] = [58.0, 358.0, 658.0];
const PANEL_WIDTH: f64 = 228.0;
/// Distances between the entries of the key, and how many stand in a line.
const KEY_DISTANCE: f64 = 82.0;
const KEY_LINE_HEIGHT: f64 = 20.0;
const N_KEYS_IN_A_LINE: usize = 8;
const COLOURS: [Ink; 6] = [Ink::Blue, Ink::Vermillion, Ink::Green, Ink::Purple, Ink::Orange, Ink::Sky];
/// What a panel shows of an epoch.
#[derive(Clone, Copy)]
enum Quantity {
    TrainLoss,
    ValidationLoss,
    ValidationCIndex,
}

impl Quantity {
    const ALL: [Self; 3] = [Self::TrainLoss, Self::ValidationLoss, Self::ValidationCIndex];

    fn label(self) -> &'static str {
        match self {
            Self::TrainLoss => "Training loss",
            Self::ValidationLoss => "Validation loss",
            Self::ValidationCIndex => "Validation C-index",
        }
    }

    /// The value, unless it is missing or training diverged.
    fn of(self, epoch: &EpochRow) -> Option<f64> {
        let value = match self {
            Self::TrainLoss => Some(epoch.train_loss),
            Self::ValidationLoss => Some(epoch.validation_loss),
            Self::ValidationCIndex => epoch.validation_c_index,
        };
        value.filter(|v| v.is_finite())
    }
}

/// Draws the figure, or nothing if no fold has an epoch.
pub(crate) fn draw(name: &str, report: &CrossValidationReport) -> Option<String> {
    let epochs = || report.folds.iter().flat_map(|fold| &fold.history).map(|row| row.epoch);
    let (first, last) = (epochs().min()?, epochs().max()?);
    let n_key_lines = report.folds.len().div_ceil(N_KEYS_IN_A_LINE).max(1);
    let top = ABOVE + KEY_LINE_HEIGHT * (n_key_lines - 1) as f64;
    let bottom = top + PANEL_HEIGHT;
    let about = description(report, first, last);
    let mut svg = Svg::new(name, WIDTH, bottom + BELOW, "Training curves", &about);
    draw_key(&mut svg, report);
    let epoch_ticks = Ticks::whole(first, last, 5);
    for (quantity, left) in Quantity::ALL.into_iter().zip(PANELS) {
        let values = report.folds.iter().flat_map(|fold| &fold.history).filter_map(|row| quantity.of(row));
        let (low, high) = padded_extent(values);
        let frame = (left, top, left + PANEL_WIDTH, bottom);
        let plot = Plot::new(frame, (first as f64, last as f64), (low, high));
        svg.text_with(left, top - 14.0, Anchor::Start, Ink::Text, r#"font-weight="600""#, quantity.label());
        plot.draw_y_axis(&mut svg, &Ticks::decimal(low, high, 5), "");
        if matches!(quantity, Quantity::ValidationCIndex) && plot.y.contains(0.5) {
            let y = plot.y.at(0.5);
            let style = r#"stroke-width="1" stroke-dasharray="4 3""#;
            svg.line((plot.left, y), (plot.right, y), Ink::Axis, style);
        }
        for (i, fold) in report.folds.iter().enumerate() {
            draw_fold(&mut svg, &plot, quantity, fold, i);
        }
        plot.draw_x_axis(&mut svg, &epoch_ticks, "Epoch");
    }
    Some(svg.finish())
}

fn description(report: &CrossValidationReport, first: usize, last: usize) -> String {
    let selected: Vec<String> =
        report.folds.iter().map(|fold| format!("fold {}: {}", fold.fold, fold.selected_epoch)).collect();
    format!(
        "Training loss, validation loss and validation C-index for epochs {first} to {last}, one line per fold. \
         Selected epochs: {}.",
        selected.join(", ")
    )
}

fn colour(fold_idx: usize) -> Ink {
    COLOURS.get(fold_idx % COLOURS.len()).copied().unwrap_or(Ink::Text)
}

/// The mark of the selected epoch: its shape tells folds apart where colours do not.
fn mark(fold_idx: usize, at: (f64, f64)) -> String {
    match fold_idx % 4 {
        0 => circle(at, 4.0),
        1 => diamond(at, 5.2),
        2 => square(at, 3.6),
        _ => triangle(at, 4.4),
    }
}

fn draw_key(svg: &mut Svg, report: &CrossValidationReport) {
    let place = |i: usize| {
        let (line, column) = (i / N_KEYS_IN_A_LINE, i % N_KEYS_IN_A_LINE);
        (PANELS[0] + KEY_DISTANCE * column as f64, 18.0 + KEY_LINE_HEIGHT * line as f64)
    };
    for (i, fold) in report.folds.iter().enumerate() {
        let (x, y) = place(i);
        svg.line((x, y), (x + 22.0, y), colour(i), &format!(r#"stroke-width="2"{}"#, dash(i)));
        svg.area(&mark(i, (x + 11.0, y)), colour(i), "");
        svg.text(x + 27.0, y + 4.0, Anchor::Start, Ink::Text, &format!("fold {}", fold.fold));
    }
    // After the last entry, not at the start of a line of its own.
    let (x, y) = place(report.folds.len().saturating_sub(1));
    svg.text(x + KEY_DISTANCE + 6.0, y + 4.0, Anchor::Start, Ink::Muted, "(mark: selected epoch)");
}

/// Smallest and largest value with a margin of 5 %, or a margin of 0.05 around a single value.
fn padded_extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let extent = values.fold(None, |extent: Option<(f64, f64)>, v| {
        Some(extent.map_or((v, v), |(low, high)| (low.min(v), high.max(v))))
    });
    match extent {
        Some((low, high)) => {
            let margin = if high > low { 0.05 * (high - low) } else { 0.05 };
            (low - margin, high + margin)
        }
        None => (0.0, 1.0),
    }
}

fn draw_fold(svg: &mut Svg, plot: &Plot, quantity: Quantity, fold: &FoldReport, fold_idx: usize) {
    let ink = colour(fold_idx);
    let (line, dots) = line_and_dots(plot, quantity, &fold.history);
    svg.path(&line, ink, &format!(r#"stroke-width="1.5" stroke-linejoin="round"{}"#, dash(fold_idx)));
    if !dots.is_empty() {
        svg.area(&dots, ink, "");
    }
    let selected = fold.history.iter().find(|row| row.epoch == fold.selected_epoch);
    if let Some((row, value)) = selected.and_then(|row| quantity.of(row).map(|value| (row, value))) {
        svg.area(&mark(fold_idx, plot.at((row.epoch as f64, value))), ink, "");
    }
}

/// The line through neighbouring values, broken where one is missing, and dots for values without a neighbour.
fn line_and_dots(plot: &Plot, quantity: Quantity, history: &[EpochRow]) -> (String, String) {
    let (mut line, mut dots) = (String::new(), String::new());
    let points: Vec<Option<(f64, f64)>> =
        history.iter().map(|row| quantity.of(row).map(|value| plot.at((row.epoch as f64, value)))).collect();
    for run in points.split(Option::is_none) {
        let run: Vec<(f64, f64)> = run.iter().flatten().copied().collect();
        match run.as_slice() {
            [] => {}
            [point] => dots.push_str(&circle(*point, 2.0)),
            _ => line.push_str(&polyline(&run)),
        }
    }
    (line, dots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(epoch: usize, c_index: Option<f64>) -> EpochRow {
        EpochRow {
            epoch,
            learning_rate: Some(1e-4),
            train_loss: 1.0,
            validation_loss: f64::INFINITY,
            validation_c_index: c_index,
            seconds: 1.0,
        }
    }

    fn plot() -> Plot {
        Plot::new((0.0, 0.0, 100.0, 100.0), (0.0, 10.0), (0.0, 1.0))
    }

    #[test]
    fn missing_values_break_the_line_and_leave_dots() {
        let history = [row(0, Some(0.5)), row(1, Some(0.6)), row(2, None), row(3, Some(0.7))];
        let (line, dots) = line_and_dots(&plot(), Quantity::ValidationCIndex, &history);
        assert_eq!(line, "M0 50L10 40");
        assert_eq!(dots, circle((30.0, 30.0), 2.0));
    }

    #[test]
    fn a_diverged_loss_draws_nothing() {
        let history = [row(0, None), row(1, None)];
        let (line, dots) = line_and_dots(&plot(), Quantity::ValidationLoss, &history);
        assert_eq!((line.as_str(), dots.as_str()), ("", ""));
    }

    #[test]
    fn extent_has_a_margin_and_survives_no_values() {
        let (low, high) = padded_extent([1.0, 3.0].into_iter());
        assert!((low - 0.9).abs() < 1e-12 && (high - 3.1).abs() < 1e-12);
        assert_eq!(padded_extent([0.5].into_iter()), (0.45, 0.55));
        assert_eq!(padded_extent(std::iter::empty()), (0.0, 1.0));
    }
}
