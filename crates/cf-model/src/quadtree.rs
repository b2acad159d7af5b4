//! What lies in every 5x patch: four places at 10x, sixteen at 20x, as a strict quadtree wants them.

use std::sync::Arc;

use wsi_bags::Magnification;

use crate::error::{Error, Result};
use crate::needs::Need;
use crate::patches::{Derived, Patches};
use crate::substitutes::Substitute;

/// A place without a patch.
pub(crate) const EMPTY: u32 = u32::MAX;

/// Places at 10x in a 5x patch, and at 20x in each of these.
pub(crate) const N_CHILDREN: usize = 4;

/// For each 5x patch, the index of the patch of `fine` in each of its places, or [`EMPTY`]: row-major `[n, 4]` at 10x, the quarters
/// in the order (row, column) = (0, 0), (1, 0), (0, 1), (1, 1), and `[n, 16]` at 20x, the four of each quarter together.
///
/// A place at 20x is one of the 5x patch, whether or not the quarter around it has a patch at 10x. A patch lies in the place that
/// holds its centre. One whose centre lies outside every 5x patch has no place, and of two in one place the first keeps it.
pub(crate) fn places(patches: &Patches, fine: Magnification, model: &'static str) -> Result<Arc<Vec<u32>>> {
    let coarse = Magnification::X5;
    let (per_side, n_places) = match fine {
        Magnification::X20 => (4, N_CHILDREN * N_CHILDREN),
        Magnification::X5 | Magnification::X10 => (2, N_CHILDREN),
    };
    patches.derived.get(Derived::Places { fine }, || {
        let parents = patches.holders(fine, coarse, model)?;
        let corners = patches.coords(coarse, model)?;
        let side = |magnification| {
            patches.at(magnification).side.map(i64::from).ok_or_else(|| Error::MissingFact {
                slide_id: patches.slide_id.clone(),
                model,
                magnification,
                need: Need::Squares,
            })
        };
        let (coarse_side, fine_side) = (side(coarse)?, side(fine)?);
        let coords = patches.coords(fine, model)?;
        let mut places = vec![EMPTY; corners.len() * n_places];
        let mut n_left_out = 0;
        for ((index, at), &parent) in (0_u32..).zip(coords).zip(&parents) {
            let corner = corners[parent as usize];
            // The centre from the parent's corner, in half pixels, of which a place is `2 * coarse_side / per_side` wide.
            let step = |axis: usize| {
                (per_side * (2 * (at[axis] - corner[axis]) + fine_side)).div_euclid(2 * coarse_side)
            };
            let (column, row) = (step(0), step(1));
            let inside = 0..per_side;
            let slot = (inside.contains(&column) && inside.contains(&row)).then(|| {
                &mut places[parent as usize * n_places + number(row as usize, column as usize, per_side)]
            });
            match slot {
                Some(slot) if *slot == EMPTY => *slot = index,
                _ => n_left_out += 1,
            }
        }
        let n_empty = places.iter().filter(|&&place| place == EMPTY).count();
        patches.derived.note(Substitute::EmptyPlace { fine }, n_empty, places.len());
        patches.derived.note(Substitute::LeftOut { fine }, n_left_out, coords.len());
        Ok(places)
    })
}

/// The number of a place among those of a patch: its quarter first, and down before across at every step.
fn number(row: usize, column: usize, per_side: i64) -> usize {
    match per_side {
        2 => row + 2 * column,
        _ => number(row / 2, column / 2, 2) * N_CHILDREN + number(row % 2, column % 2, 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patches::PatchFacts;
    use crate::substitutes::SubstituteCount;

    fn facts(coords: &[[i64; 2]], side: u32) -> PatchFacts {
        PatchFacts { coords: Some(coords.to_vec()), side: Some(side), ..PatchFacts::default() }
    }

    #[test]
    fn quarters_run_down_before_across_and_strays_have_no_place() {
        let patches = Patches {
            x5: facts(&[[0, 0], [400, 0]], 400),
            // The first lies at the right, then a lower left one; the third lies outside both, the fourth in the second, and the fifth where
            // the fourth is.
            x10: facts(&[[200, 0], [0, 200], [100, 900], [400, 0], [410, 10]], 200),
            ..Patches::default()
        };
        let fine = Magnification::X10;
        let found = places(&patches, fine, "test").unwrap();
        assert_eq!(found[..], [EMPTY, 1, 0, EMPTY, 3, EMPTY, EMPTY, EMPTY]);
        let counted = [
            (Substitute::EmptyPlace { fine }, SubstituteCount { n: 5, of: 8 }),
            (Substitute::LeftOut { fine }, SubstituteCount { n: 2, of: 5 }),
        ];
        assert_eq!(patches.derived.substitutes(), counted.into());
    }

    #[test]
    fn a_place_at_20x_needs_no_patch_at_10x() {
        // One patch in each of the sixteen places but the last, in the order of places.
        let mut corners = Vec::new();
        for quarter in [[0, 0], [0, 200], [200, 0], [200, 200]] {
            corners.extend(
                [[0, 0], [0, 100], [100, 0], [100, 100]].map(|at| [quarter[0] + at[0], quarter[1] + at[1]]),
            );
        }
        let patches =
            Patches { x5: facts(&[[0, 0]], 400), x20: facts(&corners[..15], 100), ..Patches::default() };
        let fine = Magnification::X20;
        let found = places(&patches, fine, "test").unwrap();
        assert_eq!(found[..], [&(0..15).collect::<Vec<_>>()[..], &[EMPTY]].concat());
        let counted = SubstituteCount { n: 1, of: 16 };
        assert_eq!(patches.derived.substitutes()[&Substitute::EmptyPlace { fine }], counted);
    }
}
