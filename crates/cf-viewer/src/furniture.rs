//! What stands around maps: text, legends, scale bars, survival curves.
//!
//! It is drawn as SVG and turned into pixels at once, so that one unit is one pixel; maps are then put at whole pixels
//! and are not resampled.

use cf_report::{Anchor, Ink, Svg, predicted_survival, svg_to_png};
use image::RgbImage;

use crate::error::{Error, Result};
use crate::layer::HeatLayer;
use crate::look::Look;
use crate::render::Prediction;
use crate::scale_bar::ScaleBar;
use crate::scaling::{Scaling, farthest, range};
use crate::score_text::{RangeText, ends_text, score_text};

/// Sizes of text.
pub(crate) const HEADING: &str = r#"font-size="22" font-weight="600""#;
pub(crate) const LABEL: &str = r#"font-size="17""#;
pub(crate) const NOTE: &str = r#"font-size="14""#;
/// From one line of notes to the next.
pub(crate) const LINE: f64 = 19.0;
/// Width of a character of a note, about.
pub(crate) const NOTE_CHARACTER: f64 = 7.3;
/// What a legend takes.
pub(crate) const LEGEND_HEIGHT: u32 = 112;

/// A page on which maps are put.
pub(crate) struct Page {
    svg: Svg,
    pictures: Vec<(RgbImage, [u32; 2])>,
}

impl Page {
    pub(crate) fn new(size: [u32; 2], title: &str) -> Self {
        let [width, height] = size.map(f64::from);
        Self { svg: Svg::new("heatmap", width, height, title, title), pictures: Vec::new() }
    }

    /// Text whose baseline starts at a place.
    pub(crate) fn text(&mut self, [x, y]: [f64; 2], ink: Ink, style: &str, text: &str) {
        self.svg.text_with(x, y, Anchor::Start, ink, style, text);
    }

    /// Text whose baseline ends at a place.
    pub(crate) fn text_before(&mut self, [x, y]: [f64; 2], ink: Ink, style: &str, text: &str) {
        self.svg.text_with(x, y, Anchor::End, ink, style, text);
    }

    /// A note around a place.
    fn text_in_the_middle(&mut self, [x, y]: [f64; 2], text: &str) {
        self.svg.text_with(x, y, Anchor::Middle, Ink::Text, NOTE, text);
    }

    /// Muted notes, line by line from a baseline down; returns the baseline of the next.
    pub(crate) fn notes(&mut self, [x, y]: [f64; 2], lines: &[String]) -> f64 {
        let mut next = y;
        for line in lines {
            self.text([x, next], Ink::Muted, NOTE, line);
            next += LINE;
        }
        next
    }

    /// A picture, pixel for pixel.
    pub(crate) fn picture(&mut self, picture: RgbImage, corner: [u32; 2]) {
        self.pictures.push((picture, corner));
    }

    /// A thin frame around a picture of a size at a place.
    pub(crate) fn frame(&mut self, [x, y]: [u32; 2], [width, height]: [u32; 2], ink: Ink) {
        let (left, top) = (f64::from(x) - 0.5, f64::from(y) - 0.5);
        let d = format!("M{left} {top}h{}v{}h-{}z", width + 1, height + 1, width + 1);
        self.svg.path(&d, ink, r#"stroke-width="1""#);
    }

    /// A scale bar from a place to the right, its name behind it.
    pub(crate) fn scale_bar(&mut self, [x, y]: [f64; 2], bar: &ScaleBar) {
        let d = format!("M{x} {}v10M{x} {y}h{p}M{} {}v10", y - 5.0, x + bar.pixels, y - 5.0, p = bar.pixels);
        self.svg.path(&d, Ink::Text, r#"stroke-width="2""#);
        self.text([x + bar.pixels + 10.0, y + 5.5], Ink::Text, NOTE, &bar.label);
    }

    /// The colours of a map from its lowest to its highest score, over `width` pixels, and what the ends mean; below, the range
    /// of the scores of `of`, where one layer alone is meant. Takes [`LEGEND_HEIGHT`].
    pub(crate) fn legend(&mut self, [x, y]: [u32; 2], width: u32, look: Look, of: Option<&HeatLayer>) {
        let colours = look.colours.table();
        let shade = |column: u32| colours[(column * 255 / (width - 1).max(1)).min(255) as usize];
        self.picture(RgbImage::from_fn(width, 18, |column, _| image::Rgb(shade(column))), [x, y]);
        self.frame([x, y], [width, 18], Ink::Axis);
        let (left, right, below) = (f64::from(x), f64::from(x + width), f64::from(y) + 36.0);
        let [low, high] = match (look.scaling, of) {
            (Scaling::Rank, _) => ["0 %".to_owned(), "100 %".to_owned()],
            (Scaling::Raw, Some(layer)) => ends_text(range(layer.per_token())),
            (Scaling::Raw, None) => ["lowest", "highest"].map(str::to_owned),
            (Scaling::Signed, Some(layer)) => {
                let most = farthest(layer.per_token());
                [-most, most].map(score_text)
            }
            (Scaling::Signed, None) => ["\u{2212}".to_owned(), "+".to_owned()],
        };
        self.text([left, below], Ink::Text, NOTE, &low);
        self.text_before([right, below], Ink::Text, NOTE, &high);
        let mut next = below + LINE;
        match look.scaling {
            Scaling::Rank => self.text([left, next], Ink::Muted, NOTE, "share of patches that score lower"),
            Scaling::Raw if of.is_none() => self.text([left, next], Ink::Muted, NOTE, "score of each map"),
            Scaling::Raw => next -= LINE,
            Scaling::Signed => {
                self.text_in_the_middle([f64::midpoint(left, right), below], "0");
                self.text([left, next], Ink::Muted, NOTE, "without it,");
                self.text_before([right, next], Ink::Muted, NOTE, "without it,");
                next += LINE;
                self.text([left, next], Ink::Muted, NOTE, "the risk is higher");
                self.text_before([right, next], Ink::Muted, NOTE, "the risk is lower");
            }
        }
        if let Some(layer) = of {
            self.text([left, next + LINE], Ink::Muted, NOTE, &RangeText::of(layer).line());
        }
    }

    /// Risk and survival curve of the slide, where one is predicted, 360 x 310 pixels.
    pub(crate) fn prediction(&mut self, [x, y]: [u32; 2], prediction: &Prediction) -> Result<()> {
        let (left, top) = (f64::from(x), f64::from(y));
        self.text([left, top + 18.0], Ink::Text, LABEL, &risk_text(prediction));
        self.text([left, top + 38.0], Ink::Muted, NOTE, &prediction.risk_range());
        if prediction.survival.is_empty() {
            return Ok(());
        }
        let curve = predicted_survival(
            "Predicted survival",
            &prediction.survival,
            &prediction.time_bin_edges_months,
        )?;
        self.picture(pixels(&curve.svg)?, [x, y + 50]);
        Ok(())
    }

    /// The page as pixels.
    pub(crate) fn finish(self) -> Result<RgbImage> {
        let mut page = pixels(&self.svg.finish())?;
        for (picture, [x, y]) in self.pictures {
            image::imageops::replace(&mut page, &picture, x.into(), y.into());
        }
        Ok(page)
    }
}

/// Such as `Risk −2.31`.
pub(crate) fn risk_text(prediction: &Prediction) -> String {
    let risk = prediction.risk;
    let sign = if risk < 0.0 { "\u{2212}" } else { "" };
    format!("Risk {sign}{:.2}", risk.abs())
}

/// An SVG document as pixels, one per unit.
fn pixels(svg: &str) -> Result<RgbImage> {
    let png = svg_to_png(svg, 1.0)?;
    let decoded = image::load_from_memory_with_format(&png, image::ImageFormat::Png)
        .map_err(|source| Error::Picture { what: "the text of a page", source })?;
    Ok(decoded.into_rgb8())
}

/// Text that fits `width` pixels at about `per_character` pixels each, its middle left out where it is longer.
pub(crate) fn fitted(text: &str, width: f64, per_character: f64) -> String {
    let most = (width / per_character).max(3.0) as usize;
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= most {
        return text.to_owned();
    }
    let (head, tail) = (most.div_ceil(2), most / 2 - 1);
    let part = |characters: &[char]| characters.iter().collect::<String>();
    format!("{}\u{2026}{}", part(&characters[..head]), part(&characters[characters.len() - tail..]))
}

/// A note in lines of at most `width` pixels; a word that is longer loses its middle.
pub(crate) fn wrapped(text: &str, width: f64) -> Vec<String> {
    let most = (width / NOTE_CHARACTER).max(3.0) as usize;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let word = fitted(word, width, NOTE_CHARACTER);
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= most => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_risks_of_a_survival_curve_have_a_range() {
        let range = |risk_is_of_survival: bool, survival: &[f64]| {
            let survival = survival.to_vec();
            Prediction { risk: -2.4, risk_is_of_survival, survival, time_bin_edges_months: Vec::new() }
                .risk_range()
        };
        let curve = [0.9, 0.7, 0.5, 0.3];
        assert_eq!(range(true, &curve), "from \u{2212}4 (lowest) to 0 (highest)");
        assert_eq!(range(false, &curve), "log risk: higher is worse");
        assert_eq!(range(true, &[]), "higher is worse", "its survival is not told");
    }

    #[test]
    fn long_names_lose_their_middle() {
        assert_eq!(fitted("TCGA-02-0001", 200.0, 10.0), "TCGA-02-0001");
        assert_eq!(fitted("abcdefghijklmnop", 80.0, 10.0), "abcd\u{2026}nop");
    }

    #[test]
    fn notes_are_broken_between_words() {
        let width = 10.0 * NOTE_CHARACTER + 0.5;
        assert_eq!(wrapped("one two three  four", width), ["one two", "three four"]);
        assert_eq!(wrapped("a fold_0/best.safetensors", width), ["a", "fold_\u{2026}sors"]);
        assert!(wrapped(" ", width).is_empty());
    }
}
