//! The native bag of a simulated slide.

use std::path::Path;

use wsi_bags::{Bag, FeatureMatrix, Magnification, PatchGeometry, PatchSet, SlideInfo};

use super::Error;
use super::cohort_files::ENCODER;
use super::features::SlideFeatures;
use super::geometry::{BASE_MPP, Lattice, Level, SIDE_X20_PX};

/// Writes `<bags>/<stem>.h5`; `width` is the number of feature columns.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn write(
    bags: &Path,
    stem: &str,
    lattice: &Lattice,
    features: SlideFeatures,
    width: usize,
) -> Result<(), Error> {
    let of_slide = |source| Error::Bag { slide: stem.to_owned(), source };
    let levels = [
        (Magnification::X5, &lattice.x5, features.x5),
        (Magnification::X10, &lattice.x10, features.x10),
        (Magnification::X20, &lattice.x20, features.x20),
    ];
    let sets = levels
        .into_iter()
        .map(|(magnification, level, values)| {
            Ok((magnification, patch_set(magnification, level, values, width)?))
        })
        .collect::<Result<Vec<_>, wsi_bags::Error>>()
        .map_err(of_slide)?;
    let bag = Bag::new(stem, sets).map_err(of_slide)?;
    let side = lattice.slide_px.unsigned_abs();
    let info = SlideInfo { width: Some(side), height: Some(side), mpp: Some(BASE_MPP) };
    wsi_bags::native::write(&bags.join(format!("{stem}.h5")), &bag, ENCODER, &info).map_err(of_slide)
}

fn patch_set(
    magnification: Magnification,
    level: &Level,
    values: Vec<f32>,
    width: usize,
) -> Result<PatchSet, wsi_bags::Error> {
    // Level 0 is at 20x, so a coarser patch is as many times larger as it is downsampled.
    let downsample = 20 / magnification.power();
    let geometry = PatchGeometry {
        patch_size_level0: Some(SIDE_X20_PX as u32 * downsample),
        mpp: Some(BASE_MPP * f64::from(downsample)),
    };
    let set = PatchSet::new(FeatureMatrix::new(values, level.n_patches(), width)?)
        .with_coords(level.coords.clone())?
        .with_geometry(geometry)?;
    if level.parent.is_empty() {
        return Ok(set);
    }
    // At most 16 patches in each of a few million cells: far below the range of u32.
    set.with_parents(level.parent.iter().map(|parent| Some(*parent as u32)).collect())
}
