//! `wsi-extract tissue`: masks, thumbnails with contours, and contours as GeoJSON.

use std::path::Path;

use cf_cli::{Log, aligned};
use image::{DynamicImage, ImageFormat};
use serde::Serialize;
use wsi_features::SlideList;
use wsi_slides::open;
use wsi_slides::tissue::{self, PenMarks, TissueParams};

use crate::args::TissueArguments;
use crate::error::CliError;
use crate::output::{NO_TISSUE, print, print_json, replace};

/// Longer side of a thumbnail in pixels.
const THUMBNAIL: u32 = 2000;

#[derive(Serialize)]
struct Row {
    slide: String,
    /// `done` or `failed`.
    status: &'static str,
    fault: Option<String>,
    contours: usize,
    holes: usize,
    /// Share of the segmented level that is tissue, before pieces are dropped by size.
    tissue_share: f64,
    /// Pixels of that level that were taken for ink.
    pen_pixels: usize,
}

pub(crate) fn run(arguments: &TissueArguments, log: Log) -> Result<(), CliError> {
    let slides = SlideList::find(&arguments.slides)?;
    let params = arguments.segmentation.params(PenMarks::Remove);
    let mut rows = Vec::new();
    for path in slides.entries().iter().map(|entry| entry.path.as_path()) {
        match one(path, &arguments.out, &params, log) {
            Ok(row) => {
                if row.contours == 0 {
                    log.warn(&format!("{}: {NO_TISSUE}", row.slide));
                }
                rows.push(row);
            }
            // A disk that is full or an output that cannot be written ends all of it.
            Err(error @ (CliError::Output(..) | CliError::Picture(..))) => return Err(error),
            Err(error) => {
                log.remark(&format!("{error}"));
                rows.push(failed(path, &error));
            }
        }
    }
    if arguments.json {
        print_json(&rows)?;
    } else {
        print(&text(&rows))?;
    }
    match rows.iter().filter(|row| row.status == "failed").count() {
        0 => Ok(()),
        n_failed => Err(CliError::Faults(n_failed)),
    }
}

fn one(path: &Path, out: &Path, params: &TissueParams, log: Log) -> Result<Row, CliError> {
    let slide = open(path)?;
    for warning in slide.warnings() {
        log.warn(&format!("{}: {warning}", path.display()));
    }
    let found = tissue::find(slide.as_ref(), params)?;
    let name = |folder: &str, extension: &str| out.join(folder).join(format!("{}.{extension}", stem(path)));
    let n_white = found.mask.iter().filter(|value| **value != 0).count();
    let tissue_share = n_white as f64 / found.mask.len().max(1) as f64;
    let mut thumbnail = tissue::thumbnail(slide.as_ref(), THUMBNAIL)?;
    tissue::overlay(&mut thumbnail, &found.contours, slide.levels().first().map_or(1, |level| level.width));
    let geojson = tissue::geojson(&found.contours);

    save(&name("masks", "png"), found.mask.into())?;
    save(&name("thumbnails", "png"), thumbnail.into())?;
    let path_json = name("geojson", "geojson");
    let text = serde_json::to_string(&geojson).map_err(CliError::Encode)?;
    replace(&path_json, |beside| {
        std::fs::write(beside, text).map_err(|source| CliError::Output(path_json.clone(), source))
    })?;
    Ok(Row {
        slide: path.display().to_string(),
        status: "done",
        fault: None,
        contours: found.contours.len(),
        holes: found.contours.iter().map(|contour| contour.holes.len()).sum(),
        tissue_share,
        pen_pixels: found.n_pen_pixels,
    })
}

fn save(path: &Path, picture: DynamicImage) -> Result<(), CliError> {
    replace(path, |beside| {
        let saved = picture.save_with_format(beside, ImageFormat::Png);
        saved.map_err(|source| CliError::Picture(path.to_owned(), source))
    })
}

fn failed(path: &Path, error: &CliError) -> Row {
    let fault = Some(error.to_string());
    let slide = path.display().to_string();
    Row { slide, status: "failed", fault, contours: 0, holes: 0, tissue_share: 0.0, pen_pixels: 0 }
}

/// The file's name without its last extension, as CLAM names results.
fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn text(rows: &[Row]) -> String {
    let mut table =
        vec![["slide", "status", "contours", "holes", "tissue", "ink pixels"].map(str::to_owned).to_vec()];
    for row in rows {
        table.push(vec![
            row.slide.clone(),
            row.status.to_owned(),
            row.contours.to_string(),
            row.holes.to_string(),
            format!("{:.1}%", 100.0 * row.tissue_share),
            row.pen_pixels.to_string(),
        ]);
    }
    aligned(&table)
}
