//! Fold balance: validation patients of every fold, with and without the event, and when their time ended.

use super::Figure;
use super::axis::{Plot, Ticks};
use super::svg::{Anchor, Ink, Svg, number};
use crate::fold_balance::FoldBalance;
use crate::number::{count, fixed};

const WIDTH: f64 = 600.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 396.0;
const TOP: f64 = 44.0;
const ROW_HEIGHT: f64 = 30.0;
const BAR_HEIGHT: f64 = 18.0;

/// Draws a bar of patients per fold, split by status; nothing without folds.
pub(crate) fn draw(folds: &[FoldBalance]) -> Option<Figure> {
    const NAME: &str = "fold-balance";
    let most = folds.iter().map(|fold| fold.n_patients).max().filter(|&most| most > 0)?;
    let bottom = TOP + ROW_HEIGHT * folds.len() as f64 + 4.0;
    let sentence = |fold: &FoldBalance| format!("Fold {}: {}.", fold.fold, numbers(fold));
    let description: Vec<String> = folds.iter().map(sentence).collect();
    let mut svg =
        Svg::new(NAME, WIDTH, bottom + 48.0, "Validation patients per fold", &description.join(" "));
    let plot = Plot::new((LEFT, TOP, RIGHT, bottom), (0.0, most as f64), (0.0, 1.0));
    draw_key(&mut svg);
    for (i, fold) in folds.iter().enumerate() {
        let middle = TOP + ROW_HEIGHT * (i as f64 + 0.5);
        let end_of_events = plot.x.at(fold.n_event_patients as f64);
        svg.text(8.0, middle + 4.0, Anchor::Start, Ink::Text, &format!("Fold {}", fold.fold));
        svg.area(&bar(LEFT, end_of_events, middle), Ink::Blue, "");
        svg.path(
            &bar(end_of_events, plot.x.at(fold.n_patients as f64), middle),
            Ink::Blue,
            r#"stroke-width="1.2""#,
        );
        svg.text(RIGHT + 12.0, middle + 4.0, Anchor::Start, Ink::Text, &numbers(fold));
    }
    plot.draw_x_axis(&mut svg, &Ticks::whole(0, most, 6), "Patients");
    Some(Figure { name: NAME, svg: svg.finish() })
}

fn numbers(fold: &FoldBalance) -> String {
    let share = 100.0 * fold.n_event_patients as f64 / fold.n_patients.max(1) as f64;
    format!(
        "{} of {} with event ({} %)",
        count(fold.n_event_patients),
        count(fold.n_patients),
        fixed(share, 0)
    )
}

fn bar(from: f64, to: f64, middle: f64) -> String {
    let (top, width) = (number(middle - BAR_HEIGHT / 2.0), number(to - from));
    format!("M{} {top}h{width}v{height}h-{width}z", number(from), height = number(BAR_HEIGHT))
}

fn draw_key(svg: &mut Svg) {
    let sample = |x: f64| bar(x, x + 18.0, 18.0);
    svg.area(&sample(LEFT), Ink::Blue, "");
    svg.text(LEFT + 25.0, 22.0, Anchor::Start, Ink::Text, "event seen");
    svg.path(&sample(LEFT + 110.0), Ink::Blue, r#"stroke-width="1.2""#);
    svg.text(LEFT + 135.0, 22.0, Anchor::Start, Ink::Text, "censored");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_counts() {
        let fold = |fold, n_patients, n_event_patients| FoldBalance {
            fold,
            n_patients,
            n_event_patients,
            bins: Vec::new(),
        };
        let svg = draw(&[fold(0, 10, 5), fold(1, 5, 0)]).expect("drawn").svg;
        // The longest bar, of 10 patients, has 330 units.
        assert!(svg.contains("M66 50h165v18h-165z") && svg.contains("M231 50h165v18h-165z"), "{svg}");
        assert!(svg.contains("M66 80h0v18h-0z") && svg.contains("M66 80h165v18h-165z"), "{svg}");
        assert!(svg.contains("Fold 0: 5 of 10 with event (50 %). Fold 1: 0 of 5 with event (0 %)."), "{svg}");
        assert!(draw(&[]).is_none());
    }
}
