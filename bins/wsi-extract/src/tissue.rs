//! `wsi-extract tissue`: masks, thumbnails with contours, and contours as GeoJSON.

use std::io::{Cursor, Write};
use std::path::Path;

use cf_cli::{Log, LogFormat, aligned};
use image::{DynamicImage, ImageFormat};
use serde::Serialize;
use wsi_features::{ink_warning, no_tissue};
use wsi_slides::open;
use wsi_slides::tissue::{self, PenMarks, TissueParams};

use crate::args::TissueArguments;
use crate::error::CliError;
use crate::output::{print, print_json, replace};
use crate::slides;

/// Longer side of a thumbnail in pixels.
const THUMBNAIL: u32 = 2000;

#[derive(Serialize)]
struct Row {
    slide: String,
    /// `done` or `failed`.
    status: &'static str,
    fault: Option<String>,
    /// Null, as all that follows, of a slide that failed.
    #[serde(flatten)]
    measured: Measured,
}

#[derive(Serialize, Default)]
struct Measured {
    contours: Option<usize>,
    holes: Option<usize>,
    /// Share of the segmented level that is tissue, before pieces are dropped by size.
    tissue_share: Option<f64>,
    /// Pixels of that level that were taken for ink.
    pen_pixels: Option<usize>,
}

pub(crate) fn run(arguments: &TissueArguments, log: Log) -> Result<(), CliError> {
    let slides = slides::find(&arguments.slides, log)?;
    let params = arguments.segmentation.params(PenMarks::Remove);
    let mut rows = Vec::new();
    for path in slides.entries().iter().map(|entry| entry.path.as_path()) {
        match one(path, &arguments.out, &params, log) {
            Ok(row) => rows.push(row),
            // A disk that is full or an output that cannot be written ends all of it.
            Err(error @ (CliError::Output(..) | CliError::Picture(..))) => return Err(error),
            Err(error) => {
                let row = failed(path, &error);
                say_failed(log, &row.slide, &error);
                rows.push(row);
            }
        }
    }
    if arguments.json {
        print_json(&rows)?;
    } else {
        print(&text(&rows))?;
    }
    CliError::unless_none(rows.iter().filter(|row| row.status == "failed").count())
}

fn one(path: &Path, out: &Path, params: &TissueParams, log: Log) -> Result<Row, CliError> {
    let slide = open(path)?;
    for warning in slide.warnings() {
        log.warn(&format!("{}: {warning}", path.display()));
    }
    let found = tissue::find(slide.as_ref(), params).map_err(|error| error.in_file(path))?;
    let remark = match found.contours.is_empty() {
        true => Some(format!("no tissue was found: {}", no_tissue(&found, params))),
        false => ink_warning(found.ink),
    };
    if let Some(remark) = remark {
        log.warn(&format!("{}: {remark}", path.display()));
    }
    let name = |folder: &str, extension: &str| out.join(folder).join(format!("{}.{extension}", stem(path)));
    let tissue_share = found.share();
    let thumbnail = tissue::thumbnail(slide.as_ref(), THUMBNAIL);
    let mut thumbnail = thumbnail.map_err(|error| error.in_file(path))?;
    tissue::overlay(&mut thumbnail, &found.contours, slide.levels().first().map_or(1, |level| level.width));
    let geojson = tissue::geojson(&found.contours);

    save(&name("masks", "png"), found.mask.into())?;
    save(&name("thumbnails", "png"), thumbnail.into())?;
    write(&name("geojson", "geojson"), &serde_json::to_vec(&geojson).map_err(CliError::Encode)?)?;
    Ok(Row {
        slide: path.display().to_string(),
        status: "done",
        fault: None,
        measured: Measured {
            contours: Some(found.contours.len()),
            holes: Some(found.contours.iter().map(|contour| contour.holes.len()).sum()),
            tissue_share: Some(tissue_share),
            pen_pixels: Some(found.ink.n_pixels),
        },
    })
}

fn save(path: &Path, picture: DynamicImage) -> Result<(), CliError> {
    // Encoded in memory, since the encoder hides what the system says of a file that cannot be written.
    let mut file = Cursor::new(Vec::new());
    let encoded = picture.write_to(&mut file, ImageFormat::Png);
    encoded.map_err(|source| CliError::Picture(path.to_owned(), source))?;
    write(path, file.get_ref())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    replace(path, |beside| {
        std::fs::write(beside, bytes).map_err(|source| CliError::Output(path.to_owned(), source))
    })
}

fn failed(path: &Path, error: &CliError) -> Row {
    let fault = Some(error.to_string());
    let slide = path.display().to_string();
    Row { slide, status: "failed", fault, measured: Measured::default() }
}

/// Says why a slide failed: an error, which a quiet program says, too.
fn say_failed(log: Log, slide: &str, fault: &CliError) {
    match log.format {
        LogFormat::Json => tracing::error!(slide, "{fault}"),
        // Nothing is lost where stderr is closed.
        LogFormat::Text => _ = writeln!(std::io::stderr(), "error: slide {fault}"),
    }
}

/// The file's name without its last extension, as CLAM names results.
fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn text(rows: &[Row]) -> String {
    let none = || "-".to_owned();
    let counted = |n: Option<usize>| n.map_or_else(none, |n| n.to_string());
    let mut table =
        vec![["slide", "status", "contours", "holes", "tissue", "ink pixels"].map(str::to_owned).to_vec()];
    for row in rows {
        table.push(vec![
            row.slide.clone(),
            row.status.to_owned(),
            counted(row.measured.contours),
            counted(row.measured.holes),
            row.measured.tissue_share.map_or_else(none, |share| format!("{:.1}%", 100.0 * share)),
            counted(row.measured.pen_pixels),
        ]);
    }
    aligned(&table)
}
