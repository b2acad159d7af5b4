//! Children of every 5x patch: four places at 10x, sixteen at 20x, as a strict quadtree wants them.

use std::sync::Arc;

use wsi_bags::Magnification;

use crate::error::{Error, Result};
use crate::patches::{Derived, Patches};
use crate::substitutes::Substitute;

/// A place without a patch.
pub(crate) const EMPTY: u32 = u32::MAX;

/// Children of one patch.
pub(crate) const N_CHILDREN: usize = 4;

/// For each patch of `coarse`, the index of the patch of `fine` in each of its four quarters, or [`EMPTY`]: row-major
/// `[n, 4]`, quarters in the order (row, column) = (0, 0), (1, 0), (0, 1), (1, 1).
///
/// A patch lies in the quarter of its parent that holds its centre. One whose centre lies outside every coarse patch has no
/// place, and of two in one quarter the first keeps it.
pub(crate) fn children(
    patches: &Patches,
    (coarse, fine): (Magnification, Magnification),
    model: &'static str,
) -> Result<Arc<Vec<u32>>> {
    let parents = patches.parents(fine, coarse, model)?;
    patches.derived.get(Derived::Children { coarse }, || {
        let corners = patches.coords(coarse, model)?;
        let places = patches.coords(fine, model)?;
        let side = |magnification| {
            patches.at(magnification).side.map(i64::from).ok_or_else(|| Error::MissingFact {
                slide_id: patches.slide_id.clone(),
                model,
                magnification,
                what: "a patch size",
            })
        };
        let (coarse_side, fine_side) = (side(coarse)?, side(fine)?);
        let mut children = vec![EMPTY; corners.len() * N_CHILDREN];
        for ((index, place), &parent) in (0_u32..).zip(places).zip(parents.iter()) {
            let corner = corners[parent as usize];
            // The centre from the parent's corner, in half pixels; quarters are one coarse side wide in these.
            let quarter =
                |axis: usize| (2 * (place[axis] - corner[axis]) + fine_side).div_euclid(coarse_side);
            let (column, row) = (quarter(0), quarter(1));
            if !((0..2).contains(&column) && (0..2).contains(&row)) {
                continue;
            }
            let slot = &mut children[parent as usize * N_CHILDREN + (row + 2 * column) as usize];
            if *slot == EMPTY {
                *slot = index;
            }
        }
        let n_empty = children.iter().filter(|&&child| child == EMPTY).count();
        patches.derived.note(Substitute::EmptyQuarter { coarse }, n_empty, children.len());
        Ok(children)
    })
}

/// Grandchildren from two lists of [`children`]: row-major `[n, 16]`, the four of each quarter together.
pub(crate) fn grandchildren(children: &[u32], of_children: &[u32]) -> Vec<u32> {
    let below = children.iter().flat_map(|&child| match child {
        EMPTY => [EMPTY; N_CHILDREN],
        child => std::array::from_fn(|slot| of_children[child as usize * N_CHILDREN + slot]),
    });
    below.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patches::PatchFacts;
    use crate::substitutes::SubstituteCount;

    #[test]
    fn quarters_run_down_before_across_and_strays_have_no_place() {
        let facts = |coords: &[[i64; 2]], side| PatchFacts {
            coords: Some(coords.to_vec()),
            side: Some(side),
            ..PatchFacts::default()
        };
        let patches = Patches {
            x5: facts(&[[0, 0], [400, 0]], 400),
            // The first lies at the right, then a lower left one; the third lies outside both, the fourth in the second.
            x10: facts(&[[200, 0], [0, 200], [100, 900], [400, 0]], 200),
            ..Patches::default()
        };
        let found = children(&patches, (Magnification::X5, Magnification::X10), "test").unwrap();
        assert_eq!(found[..], [EMPTY, 1, 0, EMPTY, 3, EMPTY, EMPTY, EMPTY]);
        let (coarse, fine) = (Magnification::X5, Magnification::X10);
        let counted = [
            (Substitute::NearestParent { fine, coarse }, SubstituteCount { n: 1, of: 4 }),
            (Substitute::EmptyQuarter { coarse }, SubstituteCount { n: 5, of: 8 }),
        ];
        assert_eq!(patches.derived.substitutes(), counted.into());
        let below = grandchildren(&[EMPTY, 1], &[7, 7, 7, 7, 4, EMPTY, 5, 6]);
        assert_eq!(below, [EMPTY, EMPTY, EMPTY, EMPTY, 4, EMPTY, 5, 6]);
    }
}
