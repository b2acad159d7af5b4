//! Everything that is drawn of one slide, into one directory.

use std::fs;
use std::io::Write;
use std::path::Path;

use image::{Rgb, RgbImage};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Map, Value};
use wsi_bags::{Magnification, SlideInfo};
use wsi_slides::SlideReader;

use crate::earlier_render;
use crate::error::{Error, Result};
use crate::figure::figure;
use crate::files::{replace, write_png};
use crate::geojson::{PolygonCount, write_geojson};
use crate::layer::{HeatLayer, Meaning};
use crate::options::RenderOptions;
use crate::overlay_page::overlay_page;
use crate::patch_sheet::patch_sheet;
use crate::scaling::range;
use crate::scores::{write_csv, write_hdf5};
use crate::slide_frame::SlideFrame;
use crate::thumbnail::thumbnail;
use crate::tiff_overlay::write_tiff;

/// What a model predicts for the slide.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// Minus the sum of `survival`, or the log risk that the model ends with; of several models, the mean. Higher is worse.
    pub risk: f64,
    /// Whether the risk is of survival, and no log risk.
    #[serde(skip)]
    pub risk_is_of_survival: bool,
    /// Probability of surviving past each time bin; empty of a model that predicts no survival.
    pub survival: Vec<f64>,
    /// Where the bins begin and end, one more than there are bins; empty where nobody knows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub time_bin_edges_months: Vec<f64>,
}

impl Prediction {
    /// What the numbers of a risk of this kind mean.
    pub(crate) fn risk_range(&self) -> String {
        match (self.risk_is_of_survival, self.survival.len()) {
            // A log risk has no bounds.
            (false, _) => "log risk: higher is worse".to_owned(),
            (true, 0) => "higher is worse".to_owned(),
            (true, n_bins) => format!("from \u{2212}{n_bins} (lowest) to 0 (highest)"),
        }
    }
}

/// The slide that is drawn.
#[derive(Clone)]
pub struct Subject<'a> {
    /// Its name.
    pub slide_id: &'a str,
    /// Its size and resolution.
    pub frame: SlideFrame,
    /// What the features state of it.
    pub info: SlideInfo,
    /// Its pixels, where there is a file.
    pub slide: Option<&'a dyn SlideReader>,
    /// Shown in margins.
    pub prediction: Option<Prediction>,
    /// What the caller could not score, to be listed.
    pub unscored: Vec<LeftOut>,
    /// Where the scores come from, as names and values: kept in `render.json`.
    pub origin: Vec<(String, String)>,
    /// The same in a line below each picture: model, encoder, checkpoint, program.
    pub source: String,
}

impl Subject<'_> {
    /// What maps are of, for files that are passed on alone. Paths of this machine are not part of it.
    fn about(&self) -> Map<String, Value> {
        let mut about = Map::new();
        about.insert("slide".to_owned(), self.slide_id.into());
        if let Some(prediction) = &self.prediction {
            about.insert("risk".to_owned(), prediction.risk.into());
        }
        about.insert("source".to_owned(), self.source.as_str().into());
        about.insert("producer".to_owned(), producer().into());
        about
    }
}

/// This program and its version.
fn producer() -> String {
    format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
}

/// What was written, and what was not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rendered {
    /// File names in the directory, in the order of the layers.
    pub files: Vec<String>,
    /// What could not be made.
    pub left_out: Vec<LeftOut>,
    /// How many polygons each GeoJSON file has.
    pub polygons: Vec<(String, PolygonCount)>,
}

/// Something that was not made, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// What.
    pub what: String,
    /// Why.
    pub reason: String,
}

/// One file to write.
#[derive(Debug, Clone, Copy)]
enum Output<'a> {
    Csv,
    Hdf5,
    Figure,
    Page(&'a HeatLayer),
    Sheet(&'a HeatLayer),
    Tiff(&'a HeatLayer),
    GeoJson(Magnification),
}

impl Output<'_> {
    fn file_name(&self) -> String {
        match self {
            Self::Csv => "scores.csv".to_owned(),
            Self::Hdf5 => "scores.h5".to_owned(),
            Self::Figure => "figure.png".to_owned(),
            Self::Page(layer) => format!("{}.png", layer.file_stem()),
            Self::Sheet(layer) => format!("{}.patches.png", layer.file_stem()),
            Self::Tiff(layer) => format!("{}.tiff", layer.file_stem()),
            Self::GeoJson(magnification) => format!("{magnification}.geojson"),
        }
    }
}

/// Writes scores (`scores.csv`, `scores.h5`), the slide beside its maps (`figure.png`), for each layer an overlay
/// (`x10-source-pt.png`), the patches that score highest (`.patches.png`) and a pyramid (`.tiff`), for each magnification
/// its patches for QuPath (`x10.geojson`), and at last `render.json`, which says what there is. Files that the `render.json` of
/// an earlier call lists are removed before.
///
/// `on_file` hears of each file when it is written: its name, and how many there will be. Memory: the pictures, and the
/// scores.
///
/// # Errors
/// [`Error::NoLayers`], [`Error::SameLayer`], [`Error::Setting`]; those of reading the slide and writing files.
pub fn render(
    subject: &Subject<'_>,
    layers: &[HeatLayer],
    out: &Path,
    options: &RenderOptions,
    on_file: &(dyn Fn(&str, usize) + Sync),
) -> Result<Rendered> {
    check(layers, options)?;
    fs::create_dir_all(out).map_err(|source| Error::io(out, "make the directory", source))?;
    let summary = out.join("render.json");
    let (outputs, left_out) = plan(subject, layers, options);
    let size = subject.frame.picture_size(options.longest_side);
    let shrunk = subject.slide.map(|slide| thumbnail(slide, size)).transpose()?;
    let blank = RgbImage::from_pixel(size[0], size[1], Rgb([255; 3]));
    let picture = shrunk.as_ref().unwrap_or(&blank);
    let about = subject.about();
    // What says that all is there must not stand beside what is being replaced, nor maps of another model beside those of this.
    earlier_render::remove(&summary)?;
    let write = |output: &Output<'_>| {
        let name = output.file_name();
        let path = out.join(&name);
        let mut polygons = None;
        match output {
            Output::Csv => write_csv(&path, subject.slide_id, layers)?,
            Output::Hdf5 => write_hdf5(&path, &subject.info, layers)?,
            Output::Figure => write_png(&path, &figure(subject, layers, shrunk.as_ref(), options)?)?,
            Output::Page(layer) => write_png(&path, &overlay_page(subject, layer, picture, options)?)?,
            Output::Sheet(layer) => {
                if let Some(slide) = subject.slide {
                    write_png(&path, &patch_sheet(subject, layer, slide, options.top_k)?)?;
                }
            }
            Output::Tiff(layer) => {
                let levels = subject.slide.map(SlideReader::levels).unwrap_or_default();
                let sizes: Vec<[u32; 2]> = levels.iter().map(|level| [level.width, level.height]).collect();
                write_tiff(&path, layer, &subject.frame, &sizes, options, &about)?;
            }
            Output::GeoJson(magnification) => {
                let of_scale: Vec<&HeatLayer> =
                    layers.iter().filter(|layer| layer.magnification() == *magnification).collect();
                polygons = Some(write_geojson(&path, &of_scale, options.most_polygons, &about)?);
            }
        }
        on_file(&name, outputs.len() + 1);
        Ok((name, polygons))
    };
    let written: Vec<(String, Option<PolygonCount>)> =
        outputs.par_iter().map(write).collect::<Result<_>>()?;
    let polygons = written.iter().filter_map(|(name, count)| Some((name.clone(), (*count)?))).collect();
    let files = written.into_iter().map(|(name, _)| name).collect();
    let rendered = Rendered { files, left_out, polygons };
    write_summary(&summary, subject, layers, options, &rendered)?;
    on_file("render.json", outputs.len() + 1);
    Ok(rendered)
}

fn check(layers: &[HeatLayer], options: &RenderOptions) -> Result<()> {
    if layers.is_empty() {
        return Err(Error::NoLayers);
    }
    for (idx, layer) in layers.iter().enumerate() {
        if layers.iter().take(idx).any(|other| other.file_stem() == layer.file_stem()) {
            let (module, magnification) = (layer.module().to_owned(), layer.magnification());
            return Err(Error::SameLayer { module, magnification });
        }
    }
    let setting = |what, found: String, wanted| Err(Error::Setting { what, found, wanted });
    if !(0.0..=1.0).contains(&options.opacity) {
        return setting("the opacity", options.opacity.to_string(), "0 to 1");
    }
    if !(100..=10_000).contains(&options.longest_side) {
        let found = options.longest_side.to_string();
        return setting("the longer side of overlays in pixels", found, "100 to 10000");
    }
    if options.top_k > 200 {
        return setting("the number of patches on a sheet", options.top_k.to_string(), "at most 200");
    }
    if options.most_polygons == 0 {
        return setting("the largest number of polygons", "0".to_owned(), "1 or more");
    }
    Ok(())
}

/// Which files there will be, and what not.
fn plan<'a>(
    subject: &Subject<'_>,
    layers: &'a [HeatLayer],
    options: &RenderOptions,
) -> (Vec<Output<'a>>, Vec<LeftOut>) {
    let mut left_out = subject.unscored.clone();
    let mut leave = |what: &str, reason: &str| {
        left_out.push(LeftOut { what: what.to_owned(), reason: reason.to_owned() });
    };
    if subject.slide.is_none() {
        const NO_FILE: &str = "no slide file was given";
        leave("the slide beside and below its maps", NO_FILE);
        if options.top_k > 0 {
            leave("patch sheets", NO_FILE);
        }
    }
    if subject.frame.mpp.is_none() {
        leave("scale bars", "neither slide nor features state micrometres per pixel");
    }
    let mut outputs = vec![Output::Csv, Output::Hdf5, Output::Figure];
    for layer in layers {
        outputs.push(Output::Page(layer));
        if subject.slide.is_some() && options.top_k > 0 {
            outputs.push(Output::Sheet(layer));
        }
        outputs.push(Output::Tiff(layer));
    }
    let has =
        |magnification: &Magnification| layers.iter().any(|layer| layer.magnification() == *magnification);
    outputs.extend(Magnification::ALL.into_iter().filter(has).map(Output::GeoJson));
    (outputs, left_out)
}

#[derive(Serialize)]
struct LayerSummary<'a> {
    module: &'a str,
    magnification: &'static str,
    n_patches: usize,
    patch_size_level0: u32,
    lowest: f32,
    highest: f32,
    /// The first ones, whose scores are those of two tokens added up.
    n_copied: usize,
    /// The scores that are ranked and coloured.
    lowest_per_token: f32,
    highest_per_token: f32,
    meaning: Meaning,
}

fn write_summary(
    path: &Path,
    subject: &Subject<'_>,
    layers: &[HeatLayer],
    options: &RenderOptions,
    rendered: &Rendered,
) -> Result<()> {
    let layers: Vec<LayerSummary<'_>> = layers
        .iter()
        .map(|layer| {
            let [lowest, highest] = range(layer.scores());
            let [lowest_per_token, highest_per_token] = range(layer.per_token());
            LayerSummary {
                module: layer.module(),
                magnification: layer.magnification().label(),
                n_patches: layer.boxes().len(),
                patch_size_level0: layer.boxes().side,
                lowest,
                highest,
                n_copied: layer.n_copied(),
                lowest_per_token,
                highest_per_token,
                meaning: layer.meaning(),
            }
        })
        .collect();
    let origin: Map<String, Value> =
        subject.origin.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let polygons: Map<String, Value> =
        rendered.polygons.iter().map(|(name, count)| (name.clone(), serde_json::json!(count))).collect();
    let summary = serde_json::json!({
        "slide": subject.slide_id,
        "width": subject.frame.size[0],
        "height": subject.frame.size[1],
        "mpp": subject.frame.mpp,
        "prediction": subject.prediction,
        "origin": origin,
        "options": options,
        "layers": layers,
        "files": rendered.files,
        "polygons": polygons,
        "left_out": rendered.left_out,
        "producer": producer(),
    });
    replace(path, |out| {
        writeln!(out, "{summary:#}").map_err(|source| Error::io(path, "write the file", source))
    })
}
