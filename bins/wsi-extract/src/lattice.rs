//! `wsi-extract lattice`: where patches would be cut.

use cf_cli::{Log, aligned};
use serde::Serialize;
use wsi_bags::Magnification;
use wsi_features::{ink_warning, no_patches, no_tissue, resolution_remarks};
use wsi_slides::lattice::{Inclusion, Padding, PatchSides, Patches, clam, nested, slide_wide};
use wsi_slides::tissue::{self, PenMarks, Tissue, TissueParams};
use wsi_slides::{SlideReader, open};

use crate::args::{LatticeArguments, LatticeKind};
use crate::error::CliError;
use crate::output::{print, print_json};

#[derive(Serialize)]
struct Row {
    /// Null where the side was given instead.
    magnification: Option<&'static str>,
    patch_level0: u32,
    coords: Vec<[i64; 2]>,
}

pub(crate) fn run(arguments: &LatticeArguments, log: Log) -> Result<(), CliError> {
    let slide = open(&arguments.slide)?;
    for warning in slide.warnings() {
        log.warn(&warning.to_string());
    }
    let sides = match arguments.patch_level0 {
        Some(_) => None,
        None => Some(sides(arguments, slide.as_ref(), log)?),
    };
    let pen_marks = match arguments.lattice {
        LatticeKind::Clam => PenMarks::Keep,
        LatticeKind::Nested => PenMarks::Remove,
    };
    let params = arguments.segmentation.params(pen_marks);
    let found = tissue::find(slide.as_ref(), &params).map_err(|error| error.in_file(&arguments.slide))?;
    let size = slide.levels().first().map_or([0, 0], |level| [level.width, level.height]);
    let one = |side: u32| match arguments.lattice {
        LatticeKind::Clam => clam(&found.contours, side, Inclusion::AnyOfFour, Padding::Beyond),
        LatticeKind::Nested => slide_wide(&found.contours, size, side),
    };
    let scales: Vec<(Option<Magnification>, Patches)> = match (sides, arguments.lattice) {
        (None, _) => vec![(None, one(arguments.patch_level0.unwrap_or(1)))],
        (Some(sides), LatticeKind::Nested) => nested(&found.contours, size, sides, &arguments.magnifications)
            .into_iter()
            .map(|scale| (Some(scale.magnification), scale.patches))
            .collect(),
        (Some(sides), LatticeKind::Clam) => {
            let mut magnifications = arguments.magnifications.clone();
            magnifications.sort_unstable();
            magnifications.dedup();
            magnifications.into_iter().map(|m| (Some(m), one(sides.at(m)))).collect()
        }
    };
    if let Some(warning) = warning(&found, &params, &scales) {
        log.warn(&warning);
    }
    let rows: Vec<Row> =
        scales.into_iter().map(|(magnification, patches)| row(magnification, patches)).collect();
    if arguments.json { print_json(&rows) } else { print(&text(&rows)) }
}

/// Why there is nothing to cut, or how much of the tissue was taken for ink.
fn warning(
    found: &Tissue,
    params: &TissueParams,
    scales: &[(Option<Magnification>, Patches)],
) -> Option<String> {
    if found.contours.is_empty() {
        return Some(format!("no tissue was found: {}", no_tissue(found, params)));
    }
    // The side tells of which magnification it is.
    match scales.iter().find(|(_, patches)| patches.corners.is_empty()) {
        Some((_, patches)) => Some(no_patches(found, patches)),
        None => ink_warning(found.ink),
    }
}

fn sides(arguments: &LatticeArguments, slide: &dyn SlideReader, log: Log) -> Result<PatchSides, CliError> {
    let resolution = arguments.resolution.resolve(slide).map_err(|error| error.in_file(&arguments.slide))?;
    for remark in resolution_remarks(&resolution, arguments.target_mpp) {
        log.warn(&remark);
    }
    let finest = arguments.magnifications.iter().copied().max().unwrap_or(Magnification::X20);
    let sides = PatchSides::asked(&resolution, arguments.target_mpp, finest);
    sides.map_err(|error| error.in_file(&arguments.slide).into())
}

fn row(magnification: Option<Magnification>, patches: Patches) -> Row {
    let magnification = magnification.map(Magnification::label);
    Row { magnification, patch_level0: patches.side, coords: patches.corners }
}

fn text(rows: &[Row]) -> String {
    let mut table = vec![["magnification", "patch_level0", "patches"].map(str::to_owned).to_vec()];
    for row in rows {
        let magnification = row.magnification.unwrap_or("-").to_owned();
        table.push(vec![magnification, row.patch_level0.to_string(), row.coords.len().to_string()]);
    }
    aligned(&table)
}
