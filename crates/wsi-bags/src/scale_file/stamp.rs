//! STAMP's files: coordinates in micrometres, and what is needed to know them in level-0 pixels.

use crate::coords::lattice_step;
use crate::error::{Error, ErrorKind, Result};
use crate::hdf5::Group;
use crate::patch_set::PatchGeometry;
use crate::patch_source::PatchSource;
use crate::provenance::Provenance;
use crate::slide_info::SlideInfo;

use super::hdf5_table::COORDS;

/// Before STAMP wrote units, a tile of 224 pixels was 256 micrometres wide and coordinates were in those pixels.
const OLD_TILE_UM: f64 = 256.0;
const OLD_TILE_PX: f64 = 224.0;

/// Whether the file has an attribute that only STAMP writes.
pub(super) fn wrote(root: &Group<'_>) -> Result<bool> {
    Ok(root.text("stamp_version")?.is_some()
        || root.text("extractor")?.is_some()
        || root.text("unit")?.is_some()
        || root.positive_number("tile_size_um")?.is_some())
}

/// Fills in coordinates, geometry and provenance.
///
/// Micrometres become level-0 pixels where the resolution of the slide is known, and are left out where it is not:
/// STAMP's files do not state it.
pub(super) fn describe(
    root: &Group<'_>,
    has_coords: bool,
    slide_mpp: Option<f64>,
    source: &mut PatchSource,
) -> Result<()> {
    source.provenance = Provenance {
        tool: Some(Provenance::STAMP.to_owned()),
        tool_version: root.text("stamp_version")?,
        encoder: root.text("extractor")?,
        ..Provenance::default()
    };
    if !has_coords {
        return Ok(());
    }
    let stored: Vec<[f64; 2]> = root.number_rows(COORDS)?;
    if stored.len() != source.n_patches {
        let (expected, found) = (source.n_patches, stored.len());
        return Err(ErrorKind::RowCount { what: COORDS, expected, found }.into());
    }
    let Tile { um_per_unit, side_um, side_px } = tile(root, &stored)?;
    let side_level0 = |mpp: f64| to_whole((side_um? / mpp).round()).and_then(|side| u32::try_from(side).ok());
    source.geometry = PatchGeometry {
        patch_size_level0: slide_mpp.and_then(side_level0),
        mpp: side_um.zip(side_px).map(|(um, px)| um / px),
    };
    source.slide = SlideInfo { mpp: slide_mpp, ..SlideInfo::default() };
    let Some(mpp) = slide_mpp else { return Ok(()) };
    // Tiles lie on multiples of their side, which rarely is a whole number of pixels.
    let level0 = stored.iter().map(|corner| corner.map(|c| c * um_per_unit / mpp));
    let rounded = level0.enumerate().map(|(patch_idx, corner)| match corner.map(f64::round).map(to_whole) {
        [Some(x), Some(y)] => Ok([x, y]),
        _ => {
            let fault = "it is not a position on a slide".to_owned();
            Err(Error::from(ErrorKind::Coords { patch_idx, found: corner, fault }).at_place(COORDS))
        }
    });
    source.coords = Some(rounded.collect::<Result<_>>()?);
    Ok(())
}

/// The unit of the coordinates and the size of a tile.
struct Tile {
    um_per_unit: f64,
    side_um: Option<f64>,
    side_px: Option<f64>,
}

fn tile(root: &Group<'_>, stored: &[[f64; 2]]) -> Result<Tile> {
    const UNIT: &str = "unit";
    let side_px = root.positive_number("tile_size_px")?;
    let side_um = match root.positive_number("tile_size_um")? {
        Some(side) => Some(side),
        None => root.positive_number("tile_size")?,
    };
    match root.text(UNIT)?.as_deref() {
        Some("um") => Ok(Tile { um_per_unit: 1.0, side_um, side_px }),
        Some(other) => Err(root.wrong_attribute(UNIT, format!("{other:?}"), "`um`")),
        None => {
            // Fractions of a pixel are lost here, which does not matter for the distance between tiles.
            let corners: Vec<_> = stored.iter().map(|corner| corner.map(|c| c.round() as i64)).collect();
            match lattice_step(&corners) {
                Some(step) if step as f64 == OLD_TILE_PX => Ok(Tile {
                    um_per_unit: OLD_TILE_UM / OLD_TILE_PX,
                    side_um: Some(OLD_TILE_UM),
                    side_px: Some(OLD_TILE_PX),
                }),
                Some(step) => {
                    let found = format!("absent, and tiles are {step} apart");
                    Err(root.wrong_attribute(UNIT, found, "`um`, or absent with tiles 224 apart"))
                }
                None => {
                    let found = "absent, and no two tiles share a row or column".to_owned();
                    Err(root.wrong_attribute(UNIT, found, "`um`, or absent with tiles 224 apart"))
                }
            }
        }
    }
}

fn to_whole(value: f64) -> Option<i64> {
    const LARGEST: f64 = (1u64 << 40) as f64;
    (value.abs() <= LARGEST).then_some(value as i64)
}
