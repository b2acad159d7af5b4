//! Where the patches of one magnification lie on the slide.

use wsi_bags::{Bag, Magnification, PatchSet, lattice_step};

use crate::error::{Error, Result};

/// The squares of the patches of one magnification, in level-0 pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchBoxes {
    /// Which patches.
    pub magnification: Magnification,
    /// Side of every patch in level-0 pixels, at least 1.
    pub side: u32,
    /// `[x, y]` of each top left corner, in the bag's order.
    pub corners: Vec<[i64; 2]>,
}

impl PatchBoxes {
    /// The patches of `magnification` of a bag.
    ///
    /// A side that the bag does not state is the usual distance between its patches, which is trusted only if those of
    /// all its magnifications relate as their powers do.
    ///
    /// # Errors
    /// [`Error::Bag`] if the bag lacks the magnification, [`Error::NoCoords`], [`Error::NoPatchSide`].
    pub fn of(bag: &Bag, magnification: Magnification) -> Result<Self> {
        let set = bag.at(magnification)?;
        let no_coords = || Error::NoCoords {
            slide: bag.slide_id().to_owned(),
            magnification,
            in_micrometres: set.provenance().is_of_stamp(),
        };
        let corners = set.coords().ok_or_else(no_coords)?.to_vec();
        let side = match set.geometry().patch_size_level0 {
            Some(side) => side,
            None => side_from_lattices(bag, magnification).map_err(|reason| Error::NoPatchSide {
                slide: bag.slide_id().to_owned(),
                magnification,
                reason,
            })?,
        };
        Ok(Self { magnification, side, corners })
    }

    /// Number of patches.
    #[must_use]
    pub fn len(&self) -> usize {
        self.corners.len()
    }

    /// Whether there is no patch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.corners.is_empty()
    }

    /// The smallest width and height, from the origin of the slide, that hold every patch.
    #[must_use]
    pub fn extent(&self) -> [u64; 2] {
        [0, 1].map(|axis| {
            let last = self.corners.iter().map(|corner| corner[axis]).max().unwrap_or(0);
            u64::try_from(last.saturating_add(i64::from(self.side))).unwrap_or(0)
        })
    }

    /// Refuses a patch that has no pixel of a slide of `size` (width, height). Patches may reach over its edge.
    ///
    /// # Errors
    /// [`Error::OutsideSlide`].
    pub fn check_within(&self, size: [u32; 2]) -> Result<()> {
        let side = i64::from(self.side);
        let is_outside = |corner: &[i64; 2]| {
            (0..2).any(|axis| corner[axis] >= i64::from(size[axis]) || corner[axis].saturating_add(side) <= 0)
        };
        match self.corners.iter().position(is_outside) {
            None => Ok(()),
            Some(patch_idx) => Err(Error::OutsideSlide {
                magnification: self.magnification,
                patch_idx,
                corner: self.corners.get(patch_idx).copied().unwrap_or_default(),
                size,
            }),
        }
    }
}

/// The side of the patches of `magnification` by the distances of neighbours.
fn side_from_lattices(bag: &Bag, magnification: Magnification) -> Result<u32, String> {
    let step = |set: &PatchSet| {
        set.geometry().patch_size_level0.map(u64::from).or_else(|| lattice_step(set.coords()?))
    };
    let mut side = None;
    for (other, set) in bag.sets() {
        let Some(found) = step(set) else {
            if other == magnification {
                return Err("no two patches share a row or a column".to_owned());
            }
            continue;
        };
        // What the side at `magnification` would be by this one.
        let by_other = if other <= magnification {
            other_ratio(other, magnification).and_then(|ratio| (found % ratio == 0).then(|| found / ratio))
        } else {
            other_ratio(magnification, other).and_then(|ratio| found.checked_mul(ratio))
        };
        match (side, by_other) {
            (None, Some(_)) => side = by_other,
            (Some(side), Some(other)) if side == other => {}
            _ => {
                let reason = format!(
                    "the lattices of the magnifications do not fit: {other} patches lie {found} apart"
                );
                return Err(reason);
            }
        }
    }
    side.and_then(|side| u32::try_from(side).ok()).ok_or_else(|| "its lattice does not tell".to_owned())
}

/// How many sides of a patch of `fine` make one of `coarse`.
fn other_ratio(coarse: Magnification, fine: Magnification) -> Option<u64> {
    if coarse == fine { Some(1) } else { fine.downsample_to(coarse).map(u64::from) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Magnification::{X5, X10, X20};
    use wsi_bags::{FeatureMatrix, PatchGeometry};

    fn set(corners: &[[i64; 2]], side: Option<u32>) -> PatchSet {
        let n = corners.len();
        let set = PatchSet::new(FeatureMatrix::new(vec![0.5; n], n, 1).unwrap());
        let geometry = PatchGeometry { patch_size_level0: side, mpp: None };
        set.with_coords(corners.to_vec()).unwrap().with_geometry(geometry).unwrap()
    }

    #[test]
    fn a_side_that_is_not_stated_is_the_step_of_lattices_that_fit() {
        let coarse = set(&[[0, 0], [2048, 0]], None);
        let fine = set(&[[0, 0], [512, 0], [1024, 0]], None);
        let bag = Bag::new("s", [(X5, coarse), (X20, fine)]).unwrap();
        assert_eq!(PatchBoxes::of(&bag, X5).unwrap().side, 2048);
        assert_eq!(PatchBoxes::of(&bag, X20).unwrap().side, 512);
    }

    #[test]
    fn lattices_that_do_not_fit_and_single_patches_have_no_side() {
        let bag =
            Bag::new("s", [(X5, set(&[[0, 0], [1024, 0]], None)), (X20, set(&[[0, 0], [512, 0]], None))]);
        let error = PatchBoxes::of(&bag.unwrap(), X20).unwrap_err();
        assert_eq!(
            error.to_string(),
            "slide s, x20: the size of a patch is not stated, and the lattices of the magnifications do not fit: x20 \
             patches lie 512 apart"
        );
        let bag = Bag::new("s", [(X10, set(&[[7, 9]], None))]).unwrap();
        let error = PatchBoxes::of(&bag, X10).unwrap_err();
        assert!(error.to_string().ends_with("no two patches share a row or a column"), "{error}");
        let bag = Bag::new("s", [(X10, set(&[[7, 9]], Some(1024)))]).unwrap();
        assert_eq!(PatchBoxes::of(&bag, X10).unwrap().extent(), [1031, 1033]);
    }

    #[test]
    fn patches_may_reach_over_the_edge_but_not_lie_outside() {
        let boxes = |corner| PatchBoxes { magnification: X5, side: 100, corners: vec![[0, 0], corner] };
        assert!(boxes([999, 499]).check_within([1000, 500]).is_ok());
        assert!(boxes([-99, 0]).check_within([1000, 500]).is_ok());
        for outside in [[1000, 0], [0, 500], [-100, 0], [0, i64::MIN]] {
            let error = boxes(outside).check_within([1000, 500]).unwrap_err();
            assert!(matches!(error, Error::OutsideSlide { patch_idx: 1, .. }), "{error}");
        }
    }
}
