//! Linear axes: where ticks go, how they are labelled, and the frame of a plot.

use super::svg::{Anchor, Ink, Svg, number};

/// Maps data onto user units, linearly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    domain: (f64, f64),
    range: (f64, f64),
}

impl Scale {
    /// Maps `domain.0` to `range.0` and `domain.1` to `range.1`. A domain without width is widened by 1/2 to both
    /// sides, so that a single value stands in the middle.
    pub(crate) fn new(domain: (f64, f64), range: (f64, f64)) -> Self {
        let (low, high) = domain;
        let domain = if high > low { domain } else { (low - 0.5, low + 0.5) };
        Self { domain, range }
    }

    /// Position of a value.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let share = (value - self.domain.0) / (self.domain.1 - self.domain.0);
        self.range.0 + share * (self.range.1 - self.range.0)
    }

    /// Whether a value is drawn inside the plot.
    pub(crate) fn contains(&self, value: f64) -> bool {
        (self.domain.0..=self.domain.1).contains(&value)
    }
}

/// Tick values, ascending, and the decimals that tell them apart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ticks {
    pub(crate) values: Vec<f64>,
    pub(crate) decimals: usize,
}

impl Ticks {
    /// Multiples of 1, 2 or 5 times a power of ten inside `[low, high]`, about `n` of them.
    pub(crate) fn decimal(low: f64, high: f64, n: usize) -> Self {
        let span = high - low;
        if !(span > 0.0 && span.is_finite()) {
            return Self { values: vec![low], decimals: 2 };
        }
        let raw = span / n.max(1) as f64;
        let power = raw.log10().floor();
        let leading = raw / 10f64.powf(power);
        let nice = [1.0, 2.0, 5.0].into_iter().find(|&m| leading <= m * 1.0001).unwrap_or(10.0);
        let step = nice * 10f64.powf(power);
        let decimals = (-step.log10() - 1e-9).ceil().max(0.0) as usize;
        Self { values: multiples(step, low, high), decimals }
    }

    /// Whole months from 0 to `max`, at most about `n`: steps that years divide into or are made of.
    pub(crate) fn months(max: f64, n: usize) -> Self {
        const STEPS: [f64; 9] = [1.0, 2.0, 3.0, 6.0, 12.0, 24.0, 36.0, 60.0, 120.0];
        let step = STEPS.into_iter().find(|step| max / step <= n as f64);
        match step {
            Some(step) if max >= 2.0 => Self { values: multiples(step, 0.0, max), decimals: 0 },
            _ => Self::decimal(0.0, max, n),
        }
    }

    /// Whole numbers from `low` to `high`, about `n` of them.
    pub(crate) fn whole(low: usize, high: usize, n: usize) -> Self {
        if high <= low {
            return Self { values: vec![low as f64], decimals: 0 };
        }
        let mut ticks = Self::decimal(low as f64, high as f64, n);
        if ticks.decimals > 0 {
            ticks.values = (low..=high).map(|v| v as f64).collect();
            ticks.decimals = 0;
        }
        ticks
    }

    /// The label of a tick.
    pub(crate) fn label(&self, value: f64) -> String {
        crate::number::fixed(value, self.decimals)
    }
}

/// Multiples of `step` in `[low, high]`, with room for rounding at both ends.
fn multiples(step: f64, low: f64, high: f64) -> Vec<f64> {
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    // Multiplying keeps 0.3 closer to 0.3 than adding 0.1 three times would.
    (first..=last).map(|k| k as f64 * step).collect()
}

/// The rectangle that data is drawn in, with its two scales.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plot {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) right: f64,
    pub(crate) bottom: f64,
    pub(crate) x: Scale,
    pub(crate) y: Scale,
}

impl Plot {
    /// A plot over `x` and `y` in the rectangle from (`left`, `top`) to (`right`, `bottom`).
    pub(crate) fn new(
        (left, top, right, bottom): (f64, f64, f64, f64),
        x: (f64, f64),
        y: (f64, f64),
    ) -> Self {
        let (x, y) = (Scale::new(x, (left, right)), Scale::new(y, (bottom, top)));
        Self { left, top, right, bottom, x, y }
    }

    /// Position of a data point.
    pub(crate) fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (self.x.at(x), self.y.at(y))
    }

    /// Horizontal axis with tick marks, labels and a title below.
    pub(crate) fn draw_x_axis(&self, svg: &mut Svg, ticks: &Ticks, title: &str) {
        let bottom = self.bottom;
        let mut d = format!("M{} {}H{}", number(self.left), number(bottom), number(self.right));
        for &value in &ticks.values {
            let x = self.x.at(value);
            d.push_str(&format!("M{} {}v5", number(x), number(bottom)));
            svg.text(x, bottom + 18.0, Anchor::Middle, Ink::Muted, &ticks.label(value));
        }
        svg.path(&d, Ink::Axis, r#"stroke-width="1""#);
        let middle = (self.left + self.right) / 2.0;
        svg.text(middle, bottom + 37.0, Anchor::Middle, Ink::Text, title);
    }

    /// Vertical axis as faint lines across the plot with labels at the left; the title stands upright beside them.
    pub(crate) fn draw_y_axis(&self, svg: &mut Svg, ticks: &Ticks, title: &str) {
        let mut d = String::new();
        for &value in &ticks.values {
            let y = self.y.at(value);
            d.push_str(&format!("M{} {}H{}", number(self.left), number(y), number(self.right)));
            svg.text(self.left - 8.0, y + 4.0, Anchor::End, Ink::Muted, &ticks.label(value));
        }
        svg.path(&d, Ink::Grid, r#"stroke-width="1""#);
        if !title.is_empty() {
            let (x, y) = (self.left - 46.0, (self.top + self.bottom) / 2.0);
            let turn = format!(r#"transform="rotate(-90 {} {})""#, number(x), number(y));
            svg.text_with(x, y, Anchor::Middle, Ink::Text, &turn, title);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_maps_the_ends_and_turns_y_around() {
        let plot = Plot::new((50.0, 10.0, 250.0, 110.0), (0.0, 100.0), (0.0, 1.0));
        assert_eq!(plot.at((0.0, 0.0)), (50.0, 110.0));
        assert_eq!(plot.at((100.0, 1.0)), (250.0, 10.0));
        assert_eq!(plot.at((25.0, 0.5)), (100.0, 60.0));
    }

    #[test]
    fn a_domain_without_width_puts_its_value_in_the_middle() {
        let scale = Scale::new((3.0, 3.0), (0.0, 10.0));
        assert_eq!(scale.at(3.0), 5.0);
    }

    #[test]
    fn decimal_ticks_are_round_and_inside() {
        let ticks = Ticks::decimal(0.43, 0.81, 4);
        assert_eq!(ticks.decimals, 1);
        let labels: Vec<String> = ticks.values.iter().map(|&v| ticks.label(v)).collect();
        assert_eq!(labels, ["0.5", "0.6", "0.7", "0.8"]);
        assert_eq!(Ticks::decimal(0.0, 1.0, 5).values.len(), 6);
        let thousands = Ticks::decimal(0.0, 4200.0, 5);
        assert_eq!((thousands.values.last().copied(), thousands.decimals), (Some(4000.0), 0));
    }

    #[test]
    fn month_ticks_divide_years() {
        assert_eq!(Ticks::months(165.9, 8).values, [0.0, 24.0, 48.0, 72.0, 96.0, 120.0, 144.0]);
        assert_eq!(Ticks::months(11.0, 8).values, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(Ticks::months(0.8, 4).decimals, 1);
    }

    #[test]
    fn epoch_ticks_are_whole_numbers() {
        assert_eq!(Ticks::whole(1, 1, 5).values, [1.0]);
        assert_eq!(Ticks::whole(0, 3, 6).values, [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(Ticks::whole(1, 100, 5).values, [20.0, 40.0, 60.0, 80.0, 100.0]);
    }
}
