//! Scores in words: numbers, their range, and whether there is anything to tell apart.

use crate::layer::{HeatLayer, Meaning};
use crate::scaling::range;

/// Attention whose highest score is less than this many times its lowest is nearly the same everywhere.
const NEARLY_EQUAL: f64 = 1.1;
/// Digits that a 32-bit float has for certain, and one more.
const MOST_DIGITS: i32 = 7;
const USUAL_DIGITS: i32 = 4;

/// Four significant digits, since attention is spread thinly.
pub(crate) fn score_text(score: f32) -> String {
    with_digits(score, USUAL_DIGITS)
}

fn with_digits(score: f32, n_digits: i32) -> String {
    let size = score.abs();
    let text = if size == 0.0 {
        "0".to_owned()
    } else if (1e-3..1e4).contains(&size) {
        let decimals = (n_digits - 1 - size.log10().floor() as i32).max(0) as usize;
        format!("{size:.decimals$}")
    } else {
        format!("{size:.0$e}", (n_digits - 1) as usize)
    };
    if score < 0.0 { format!("\u{2212}{text}") } else { text }
}

/// The lowest and the highest score, with as many digits as tell them apart by tens.
pub(crate) fn ends_text([low, high]: [f32; 2]) -> [String; 2] {
    let (low64, high64) = (f64::from(low), f64::from(high));
    let larger = low64.abs().max(high64.abs());
    let digits = if high64 > low64 {
        ((larger / (high64 - low64)).log10().ceil() as i32 + 1).min(MOST_DIGITS)
    } else {
        0
    };
    [low, high].map(|score| with_digits(score, digits.max(USUAL_DIGITS)))
}

/// What there is to say of the range of a layer's scores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RangeText {
    /// Such as `0.1428 to 0.3917`.
    pub(crate) range: String,
    /// Where there is nothing, or next to nothing, to tell apart.
    pub(crate) remark: Option<&'static str>,
}

impl RangeText {
    pub(crate) fn of(layer: &HeatLayer) -> Self {
        let ends = range(layer.per_token());
        let [low, high] = ends;
        let [low_text, high_text] = ends_text(ends);
        if low == high {
            return Self { range: low_text, remark: Some("equal everywhere") };
        }
        // An effect has no zero to be a multiple of.
        let is_flat = layer.meaning() == Meaning::Attention
            && low > 0.0
            && f64::from(high) < NEARLY_EQUAL * f64::from(low);
        let range = format!("{low_text} to {high_text}");
        Self { range, remark: is_flat.then_some("nearly equal everywhere") }
    }

    /// Both in a line, such as `nearly equal everywhere: 0.14284 to 0.14288`.
    pub(crate) fn line(&self) -> String {
        match self.remark {
            Some(remark) => format!("{remark}: {}", self.range),
            None => format!("scores {}", self.range),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PatchBoxes;
    use std::sync::Arc;
    use wsi_bags::Magnification;

    fn line(scores: &[f32], meaning: Meaning) -> String {
        let corners = (0..scores.len()).map(|at| [at as i64, 0]).collect();
        let boxes = PatchBoxes { magnification: Magnification::X5, side: 1, corners };
        let layer = HeatLayer::new("a", Arc::new(boxes), scores.to_vec()).unwrap();
        RangeText::of(&layer.with_meaning(meaning)).line()
    }

    #[test]
    fn numbers_have_four_digits() {
        let texts = [0.0, 0.012_345, -3.0, 123.4, 1e-6, 9999.0].map(score_text);
        assert_eq!(texts, ["0", "0.01235", "\u{2212}3.000", "123.4", "1.000e-6", "9999"]);
    }

    #[test]
    fn a_range_has_the_digits_that_tell_its_ends_apart_and_says_where_it_is_none() {
        use Meaning::{Attention, Effect};
        assert_eq!(
            line(&[0.142_84, 0.142_86, 0.142_88], Attention),
            "nearly equal everywhere: 0.14284 to 0.14288"
        );
        assert_eq!(line(&[0.25, 0.5], Attention), "scores 0.2500 to 0.5000");
        assert_eq!(line(&[1.0, 1.1], Attention), "scores 1.000 to 1.100");
        assert_eq!(line(&[0.5; 3], Attention), "equal everywhere: 0.5000");
        assert_eq!(line(&[-1.06e-4, -6.9e-6], Effect), "scores \u{2212}1.060e-4 to \u{2212}6.900e-6");
        assert_eq!(line(&[1.0, 1.01], Effect), "scores 1.000 to 1.010", "of an effect, it is what it is");
        // Class tokens of approximated attention may be negative.
        assert_eq!(line(&[-0.1, 0.2], Attention), "scores \u{2212}0.1000 to 0.2000");
        assert_eq!(line(&[1.0, 1.000_000_1], Attention), "nearly equal everywhere: 1.000000 to 1.000000");
    }
}
