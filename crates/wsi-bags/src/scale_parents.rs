//! Parents between two magnifications of a slide, with patch sizes from files or from lattices.

use crate::coords::lattice_step;
use crate::error::Result;
use crate::magnification::Magnification;
use crate::parents::{Parents, Squares, parents};
use crate::patch_source::PatchSource;

/// The parents of the patches of `magnification` among those of the next coarser one.
///
/// A patch size that a file does not state is the usual distance between its patches, which is trusted only if the
/// sizes of the two magnifications then relate as their powers do. `None` if they do not, or without coordinates.
pub(crate) fn scale_parents(
    fine: &PatchSource,
    coarse: &PatchSource,
    magnification: Magnification,
) -> Result<Option<Parents>> {
    let (Some(fine_coords), Some(coarse_coords)) = (&fine.coords, &coarse.coords) else { return Ok(None) };
    let (Some((fine_side, fine_stated)), Some((side, coarse_stated))) =
        (side_of(fine, fine_coords), side_of(coarse, coarse_coords))
    else {
        return Ok(None);
    };
    let ratio = magnification.coarser().and_then(|coarser| magnification.downsample_to(coarser));
    let fits = ratio.and_then(|ratio| fine_side.checked_mul(ratio)) == Some(side);
    if !(fits || fine_stated && coarse_stated) {
        return Ok(None);
    }
    let fine = Squares { coords: fine_coords, side: fine_side };
    parents(fine, Squares { coords: coarse_coords, side }).map(Some)
}

/// The side of the patches in level-0 pixels, and whether the file states it.
fn side_of(source: &PatchSource, coords: &[[i64; 2]]) -> Option<(u32, bool)> {
    match source.geometry.patch_size_level0 {
        Some(side) => Some((side, true)),
        None => lattice_step(coords).and_then(|step| u32::try_from(step).ok()).map(|side| (side, false)),
    }
}
