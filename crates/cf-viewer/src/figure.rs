//! The slide and its maps side by side, as the paper's Figure 2 has them.

use cf_report::{Ink, bin_ends};
use image::RgbImage;

use crate::error::Result;
use crate::furniture::{HEADING, LABEL, LEGEND_HEIGHT, LINE, NOTE, Page, fitted, risk_text, wrapped};
use crate::layer::{HeatLayer, Meaning};
use crate::look::Look;
use crate::options::RenderOptions;
use crate::overlay::map_alone;
use crate::raster::{PixelGrid, ShadeMap};
use crate::render::Subject;
use crate::scale_bar::ScaleBar;
use crate::score_text::RangeText;

const EDGE: u32 = 24;
const GAP: u32 = 18;
const HEAD: u32 = 52;
/// Room above each panel for its name.
const NAME: u32 = 28;
/// Room below each panel for the range of its scores.
const RANGE: u32 = 46;
/// Room below the panels for scale bar and legends.
const FOOT: u32 = 16 + LEGEND_HEIGHT;
/// The least room left of the legends.
const SCALE: u32 = 340;
const PANELS_IN_A_ROW: usize = 6;
/// The longer side of a panel.
const PANEL: u32 = 480;
const LEGEND: u32 = 300;
/// Room above each legend for its name, where there are two.
const LEGEND_NAME: u32 = 18;

/// A picture with its name and what stands below.
struct Panel {
    name: String,
    range: Option<RangeText>,
    picture: RgbImage,
}

/// Draws `picture`, the slide if there is one, and each layer alone on white.
pub(crate) fn figure(
    subject: &Subject<'_>,
    layers: &[HeatLayer],
    picture: Option<&RgbImage>,
    options: &RenderOptions,
) -> Result<RgbImage> {
    let size = subject.frame.picture_size(PANEL);
    let grid = PixelGrid::over(subject.frame.size, size);
    let mut panels: Vec<Panel> = Vec::with_capacity(layers.len() + 1);
    if let Some(picture) = picture {
        let small = image::imageops::resize(picture, size[0], size[1], image::imageops::FilterType::Triangle);
        panels.push(Panel { name: "Slide".to_owned(), range: None, picture: small });
    }
    for layer in layers.iter().filter(|layer| is_drawn(layer, layers)) {
        let look = options.look(layer.meaning());
        let map = ShadeMap::of_patches(&grid, layer.boxes(), &look.shades(layer));
        panels.push(Panel {
            name: if layer.meaning() == Meaning::Effect { layer.name().to_owned() } else { layer.title() },
            range: Some(RangeText::of(layer)),
            picture: map_alone(&map, size, &look.colours.table()),
        });
    }
    let legends = legends(layers, options);
    let legends_width = legends.len() as u32 * (LEGEND + 2 * GAP);
    // A tall, narrow slide leaves its panels room for their names.
    let column = size[0].max(190);
    let n_columns = panels.len().clamp(1, PANELS_IN_A_ROW) as u32;
    let n_rows = panels.len().div_ceil(PANELS_IN_A_ROW).max(1) as u32;
    let width = (2 * EDGE + n_columns * column + (n_columns - 1) * GAP).max(2 * EDGE + legends_width + SCALE);
    let room = f64::from(width - 2 * EDGE);
    let words = words(subject, layers, room);
    let panel_height = NAME + size[1] + RANGE + GAP;
    let text_height = (words.len() as f64 * LINE).ceil() as u32;
    let height = HEAD + n_rows * panel_height + FOOT + text_height + EDGE;

    let mut page = Page::new([width, height], &format!("{}: where the model looks", subject.slide_id));
    page.text([f64::from(EDGE), 38.0], Ink::Text, HEADING, &fitted(subject.slide_id, room - 560.0, 13.5));
    if let Some(prediction) = &subject.prediction {
        let mut text = risk_text(prediction);
        if !prediction.survival.is_empty() {
            let survival: Vec<String> =
                prediction.survival.iter().map(|value| format!("{:.0} %", value * 100.0)).collect();
            let past = bin_ends(survival.len(), &prediction.time_bin_edges_months);
            text.push_str(&format!("; survival past {past}: {}", survival.join(", ")));
        }
        page.text_before([f64::from(width - EDGE), 38.0], Ink::Muted, LABEL, &text);
    }
    for (at, panel) in (0u32..).zip(panels) {
        let (at_column, at_row) = (at % PANELS_IN_A_ROW as u32, at / PANELS_IN_A_ROW as u32);
        let left = EDGE + at_column * (column + GAP);
        let top = HEAD + at_row * panel_height + NAME;
        let name = fitted(&panel.name, f64::from(column), 9.5);
        page.text([f64::from(left), f64::from(top) - 9.0], Ink::Text, LABEL, &name);
        page.picture(panel.picture, [left, top]);
        page.frame([left, top], size, Ink::Grid);
        let below = [f64::from(left), f64::from(top + size[1]) + 17.0];
        let lines = panel.range.map(|range| [Some(range.range), range.remark.map(str::to_owned)]);
        let lines: Vec<String> = lines.into_iter().flatten().flatten().collect();
        page.notes(below, &lines);
    }
    let foot = HEAD + n_rows * panel_height + 8;
    // Its name, of at most 80 pixels, ends before the legend.
    let most = (f64::from(column) * 0.6).min(f64::from(width - 2 * EDGE - legends_width) - 80.0);
    if let Some(bar) = subject.frame.mpp.and_then(|mpp| ScaleBar::new(mpp * grid.scale[0], most)) {
        page.scale_bar([f64::from(EDGE) + 1.0, f64::from(foot) + 9.0], &bar);
    }
    for (at, (name, look)) in (1u32..).zip(&legends) {
        let left = width - EDGE - at * LEGEND - (at - 1) * 2 * GAP;
        let below = if legends.len() > 1 { LEGEND_NAME } else { 0 };
        if below > 0 {
            page.text([f64::from(left), f64::from(foot) + 11.0], Ink::Text, NOTE, name);
        }
        page.legend([left, foot + below], LEGEND, *look, None);
    }
    if subject.frame.mpp.is_none() {
        let text = "no scale bar: micrometres per pixel are not known";
        page.text([f64::from(EDGE), f64::from(foot) + 14.0], Ink::Muted, NOTE, text);
    }
    page.notes([f64::from(EDGE), f64::from(foot + FOOT)], &words);
    page.finish()
}

/// Whether a layer has a panel. A part of the tissue has one effect, whichever magnification it is drawn on. Parts are made of patches of
/// the coarsest, and a finer one may have no patch in some.
fn is_drawn(layer: &HeatLayer, layers: &[HeatLayer]) -> bool {
    layer.meaning() == Meaning::Attention
        || layers.iter().all(|other| {
            other.module() != layer.module() || other.magnification().power() >= layer.magnification().power()
        })
}

/// The looks that need a legend, from the right, each with what it is of: one where maps of effects look like those of attention.
fn legends(layers: &[HeatLayer], options: &RenderOptions) -> Vec<(&'static str, Look)> {
    let mut legends: Vec<(&str, Look)> = [(Meaning::Effect, "occlusion"), (Meaning::Attention, "attention")]
        .into_iter()
        .filter(|(meaning, _)| layers.iter().any(|layer| layer.meaning() == *meaning))
        .map(|(meaning, name)| (name, options.look(meaning)))
        .collect();
    legends.dedup_by_key(|(_, look)| *look);
    legends
}

/// What each map shows, and what it was made of, in lines of at most `room` pixels.
fn words(subject: &Subject<'_>, layers: &[HeatLayer], room: f64) -> Vec<String> {
    let mut words = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        let is_first = layers.iter().take(at).all(|other| other.module() != layer.module());
        if is_first {
            words.extend(wrapped(&layer.explanation(), room));
        }
    }
    words.extend(wrapped(&subject.source, room));
    words
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wsi_bags::Magnification;

    use super::*;
    use crate::patch_boxes::PatchBoxes;
    use crate::scaling::Scaling;

    #[test]
    fn an_effect_is_drawn_once_and_attention_at_each_magnification() {
        let layer = |magnification, module: &str, meaning| {
            let boxes = PatchBoxes { magnification, side: 256, corners: vec![[0, 0]] };
            HeatLayer::new(module, Arc::new(boxes), vec![1.0]).unwrap().with_meaning(meaning)
        };
        let (x5, x10, x20) = (Magnification::X5, Magnification::X10, Magnification::X20);
        let layers = [
            layer(x5, "occlusion", Meaning::Effect),
            layer(x20, "occlusion", Meaning::Effect),
            layer(x10, "occlusion", Meaning::Effect),
            layer(x5, "gate", Meaning::Attention),
            layer(x10, "gate", Meaning::Attention),
        ];
        assert_eq!(
            [0, 1, 2, 3, 4].map(|at| is_drawn(&layers[at], &layers)),
            [true, false, false, true, true]
        );
    }

    #[test]
    fn maps_that_look_the_same_share_a_legend() {
        let boxes = PatchBoxes { magnification: Magnification::X5, side: 1024, corners: vec![[0, 0]] };
        let attention = HeatLayer::new("fine CAB", Arc::new(boxes), vec![1.0]).unwrap();
        let layers = [attention.clone(), attention.with_meaning(Meaning::Effect)];
        let names = |layers: &[HeatLayer], effect_scaling| {
            let options = RenderOptions { effect_scaling, ..RenderOptions::default() };
            legends(layers, &options).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(&layers, Scaling::Signed), ["occlusion", "attention"]);
        assert_eq!(names(&layers, Scaling::Rank).len(), 1);
        assert_eq!(names(&layers[..1], Scaling::Signed), ["attention"]);
    }
}
