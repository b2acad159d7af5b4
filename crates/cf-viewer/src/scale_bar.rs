//! How long a scale bar is.

/// A length to draw beside a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct ScaleBar {
    /// Its length in pixels of the picture.
    pub pixels: f64,
    /// What it is called, such as `2 mm` or `50 µm`.
    pub label: String,
}

impl ScaleBar {
    /// The longest of 1, 2 or 5 times a power of ten micrometres that takes at most `most` pixels.
    ///
    /// - `micrometres_per_pixel`: of the picture, positive. `None` unless it is.
    #[must_use]
    pub fn new(micrometres_per_pixel: f64, most: f64) -> Option<Self> {
        let longest = micrometres_per_pixel * most;
        if !(longest.is_finite() && longest > 0.0) {
            return None;
        }
        let power = 10f64.powf(longest.log10().floor());
        let leading = [5.0, 2.0].into_iter().find(|leading| leading * power <= longest).unwrap_or(1.0);
        let micrometres = leading * power;
        let label = if micrometres >= 1000.0 {
            format!("{} mm", (micrometres / 1000.0).round())
        } else if micrometres >= 100.0 {
            format!("{} mm", micrometres / 1000.0)
        } else {
            format!("{micrometres} µm")
        };
        Some(Self { pixels: micrometres / micrometres_per_pixel, label })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_round_and_fit() {
        let bar = |mpp: f64, most: f64| ScaleBar::new(mpp, most).map(|bar| (bar.label, bar.pixels)).unwrap();
        assert_eq!(bar(10.0, 300.0), ("2 mm".to_owned(), 200.0));
        assert_eq!(bar(1.0, 130.0), ("0.1 mm".to_owned(), 100.0));
        assert_eq!(bar(0.5, 199.0), ("50 µm".to_owned(), 100.0));
        assert_eq!(bar(50.0, 200.0), ("10 mm".to_owned(), 200.0));
        assert_eq!(ScaleBar::new(0.0, 200.0), None);
        assert_eq!(ScaleBar::new(f64::NAN, 200.0), None);
    }
}
