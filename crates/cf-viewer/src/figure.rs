//! The slide and its maps side by side, as the paper's Figure 2 has them.

use cf_report::Ink;
use image::RgbImage;

use crate::error::Result;
use crate::furniture::{HEADING, LABEL, NOTE, Page, fitted, risk_text};
use crate::layer::HeatLayer;
use crate::overlay::map_alone;
use crate::raster::{PixelGrid, ShadeMap};
use crate::render::{RenderOptions, Subject};
use crate::scale_bar::ScaleBar;
use crate::scaling::range;

const EDGE: u32 = 24;
const GAP: u32 = 18;
const HEAD: u32 = 52;
/// Room above each panel for its name.
const NAME: u32 = 28;
/// Room below the panels for scale bar and legend.
const FOOT: u32 = 96;
const PANELS_IN_A_ROW: usize = 5;
/// The longer side of a panel.
const PANEL: u32 = 480;
const LEGEND: u32 = 300;

/// Draws `picture`, the slide if there is one, and each layer alone on white.
pub(crate) fn figure(
    subject: &Subject<'_>,
    layers: &[HeatLayer],
    picture: Option<&RgbImage>,
    options: &RenderOptions,
) -> Result<RgbImage> {
    let size = subject.frame.picture_size(PANEL);
    let grid = PixelGrid::over(subject.frame.size, size);
    let colours = options.colours.table();
    let mut panels: Vec<(String, RgbImage)> = Vec::with_capacity(layers.len() + 1);
    if let Some(picture) = picture {
        let small = image::imageops::resize(picture, size[0], size[1], image::imageops::FilterType::Triangle);
        panels.push(("Slide".to_owned(), small));
    }
    for layer in layers {
        let map = ShadeMap::of_patches(&grid, layer.boxes(), &options.scaling.shades(layer.scores()));
        let [low, high] = range(layer.scores());
        let equal = if low == high { " (all equal)" } else { "" };
        panels.push((format!("{}{equal}", layer.title()), map_alone(&map, size, &colours)));
    }
    // A tall, narrow slide leaves its panels room for their names.
    let column = size[0].max(190);
    let n_columns = panels.len().clamp(1, PANELS_IN_A_ROW) as u32;
    let n_rows = panels.len().div_ceil(PANELS_IN_A_ROW).max(1) as u32;
    let width = (2 * EDGE + n_columns * column + (n_columns - 1) * GAP).max(2 * EDGE + LEGEND + 340);
    let height = HEAD + n_rows * (NAME + size[1] + GAP) + FOOT;

    let mut page = Page::new([width, height], &format!("{}: where the model looks", subject.slide_id));
    let room = f64::from(width - 2 * EDGE);
    page.text([f64::from(EDGE), 38.0], Ink::Text, HEADING, &fitted(subject.slide_id, room - 560.0, 13.5));
    if let Some(prediction) = &subject.prediction {
        let survival: Vec<String> =
            prediction.survival.iter().map(|value| format!("{:.0} %", value * 100.0)).collect();
        let text = format!(
            "{}; survival past time bins 1 to {}: {}",
            risk_text(prediction),
            survival.len(),
            survival.join(", ")
        );
        page.text_before([f64::from(width - EDGE), 38.0], Ink::Muted, LABEL, &text);
    }
    for (at, (name, panel)) in (0u32..).zip(panels) {
        let (at_column, at_row) = (at % PANELS_IN_A_ROW as u32, at / PANELS_IN_A_ROW as u32);
        let left = EDGE + at_column * (column + GAP);
        let top = HEAD + at_row * (NAME + size[1] + GAP) + NAME;
        let name = fitted(&name, f64::from(column), 9.5);
        page.text([f64::from(left), f64::from(top) - 9.0], Ink::Text, LABEL, &name);
        page.picture(panel, [left, top]);
        page.frame([left, top], size, Ink::Grid);
    }
    let foot = height - FOOT + 8;
    // Its name, of at most 80 pixels, ends before the legend.
    let most = (f64::from(column) * 0.6).min(f64::from(width - 2 * EDGE - LEGEND - 80));
    if let Some(bar) = subject.frame.mpp.and_then(|mpp| ScaleBar::new(mpp * grid.scale[0], most)) {
        page.scale_bar([f64::from(EDGE) + 1.0, f64::from(foot) + 9.0], &bar);
    }
    let legend = [width - EDGE - LEGEND, foot];
    let only = match layers {
        [layer] => Some(range(layer.scores())),
        _ => None,
    };
    page.legend(legend, LEGEND, &colours, options.scaling, only);
    if subject.frame.mpp.is_none() {
        let text = "no scale bar: micrometres per pixel are not known";
        page.text([f64::from(EDGE), f64::from(foot) + 14.0], Ink::Muted, NOTE, text);
    }
    page.finish()
}
