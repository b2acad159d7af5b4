//! `wsi-extract run --dry-run`: what would be done with each slide.

use cf_cli::{Log, aligned};
use patch_encoders::Encoder;
use serde::Serialize;
use wsi_features::{BatchOptions, Preview, Prospect, SlideList, preview};

use crate::batch::{tell, warn_of_spans};
use crate::error::CliError;
use crate::output::{Spans, print, print_json};

#[derive(Serialize)]
struct Row<'a> {
    slide: &'a str,
    /// `new`, `joins`, `present` or `failed`.
    status: &'static str,
    reason: Option<&'a str>,
    /// Patches at 5x, 10x and 20x that would be encoded; of a slide that is present, those that its bag has.
    patches: Option<[usize; 3]>,
    /// Pieces of tissue; null, as the share, where it is not looked for or not found.
    tissue_pieces: Option<usize>,
    tissue_share: Option<f64>,
    magnification: Option<f64>,
    rule: Option<&'static str>,
    mpp: Option<f64>,
    /// Micrometres that a patch spans.
    patch_um: Option<Spans>,
    warnings: &'a [String],
}

pub(crate) fn run(
    slides: &SlideList,
    encoder: &Encoder,
    options: &BatchOptions,
    json: bool,
    log: Log,
) -> Result<(), CliError> {
    let previews = preview(slides, encoder, options, &|event| tell(log, &event))?;
    if json {
        print_json(&previews.iter().map(row).collect::<Vec<_>>())?;
    } else {
        print(&text(&previews))?;
    }
    log.remark(&counts(&previews));
    let (failed, with_bags): (Vec<_>, Vec<_>) =
        previews.iter().partition(|found| matches!(found.prospect, Prospect::Failed(_)));
    let scales = with_bags.iter().filter_map(|found| Some((found.slide.as_str(), found.scale.as_ref()?)));
    warn_of_spans(log, scales);
    CliError::unless_none(failed.len())
}

fn row(found: &Preview) -> Row<'_> {
    let resolution = found.resolution.as_ref();
    Row {
        slide: &found.slide,
        status: found.prospect.label(),
        reason: reason(found),
        patches: found.n_patches,
        tissue_pieces: found.tissue.map(|(n_pieces, _)| n_pieces),
        tissue_share: found.tissue.map(|(_, share)| share),
        magnification: resolution.map(|resolution| resolution.base),
        rule: resolution.map(|resolution| resolution.rule.label()),
        mpp: resolution.and_then(|resolution| resolution.mpp),
        patch_um: found.scale.as_ref().and_then(Spans::of),
        warnings: &found.warnings,
    }
}

fn reason(found: &Preview) -> Option<&str> {
    match &found.prospect {
        Prospect::Failed(reason) => Some(reason),
        Prospect::New | Prospect::Joins | Prospect::Present => None,
    }
}

fn text(previews: &[Preview]) -> String {
    let header = [
        "slide",
        "status",
        "x5",
        "x10",
        "x20",
        "pieces",
        "tissue",
        "magnification",
        "µm/px",
        "rule",
        "reason",
    ];
    let mut table = vec![header.map(str::to_owned).to_vec()];
    let none = || "-".to_owned();
    for found in previews {
        let mut cells = vec![found.slide.clone(), found.prospect.label().to_owned()];
        cells.extend(
            found.n_patches.map_or([(); 3].map(|()| none()), |patches| patches.map(|n| n.to_string())),
        );
        cells.push(found.tissue.map_or_else(none, |(n_pieces, _)| n_pieces.to_string()));
        cells.push(found.tissue.map_or_else(none, |(_, share)| format!("{:.1}%", 100.0 * share)));
        let resolution = found.resolution.as_ref();
        cells.push(resolution.map_or_else(none, |resolution| format!("{}x", resolution.base)));
        cells.push(
            resolution.and_then(|resolution| resolution.mpp).map_or_else(none, |mpp| format!("{mpp:.4}")),
        );
        cells.push(resolution.map_or_else(none, |resolution| resolution.rule.label().to_owned()));
        cells.extend(reason(found).map(str::to_owned));
        table.push(cells);
    }
    aligned(&table)
}

/// How many slides of each kind, and how many patches would be encoded.
fn counts(previews: &[Preview]) -> String {
    let n_of = |label: &str| previews.iter().filter(|found| found.prospect.label() == label).count();
    let kinds = ["new", "joins", "present", "failed"].map(|label| (label, n_of(label)));
    let kinds = kinds.iter().filter(|(_, n)| *n > 0).map(|(label, n)| format!("{n} {label}"));
    let to_encode = previews.iter().filter(|found| matches!(found.prospect, Prospect::New | Prospect::Joins));
    let n_patches: usize = to_encode.filter_map(|found| found.n_patches).flatten().sum();
    let kinds = kinds.collect::<Vec<_>>().join(", ");
    format!("{} slides: {kinds}; {n_patches} patches to encode; nothing was written", previews.len())
}
