//! One slide-wide lattice in which each coarse patch holds its finer ones.

use std::collections::BTreeSet;

use wsi_bags::Magnification;

use crate::lattice::inclusion::Inclusion;
use crate::lattice::patch_side::PatchSides;
use crate::lattice::{NestedPatches, Patches};
use crate::tissue::Contour;

/// Lays 5x cells from the slide's origin, 2 by 2 cells of 10x in each and 4 by 4 of 20x, and keeps what is on tissue.
///
/// A patch of the finest of `magnifications` is kept if CLAM's `four_pt` test holds for any contour; a coarser one if
/// any of its children is. Patches run row by row, coarse magnifications first. Patches at the right and lower edge may
/// reach beyond the slide.
#[must_use]
pub fn nested(
    contours: &[Contour],
    size: [u32; 2],
    sides: PatchSides,
    magnifications: &[Magnification],
) -> Vec<NestedPatches> {
    let mut wanted = magnifications.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    let Some(finest) = wanted.last().copied() else { return Vec::new() };
    let cells = kept_cells(contours, size, sides.at(finest));
    let mut found = Vec::new();
    for magnification in wanted.iter().rev() {
        let shrink = i64::from(finest.power() / magnification.power());
        let kept: BTreeSet<[i64; 2]> =
            cells.iter().map(|cell| cell.map(|at| at.div_euclid(shrink))).collect();
        found.push((*magnification, kept));
    }
    found.reverse();
    let mut out: Vec<NestedPatches> = Vec::new();
    let mut coarser: Option<(Magnification, Vec<[i64; 2]>)> = None;
    for (magnification, kept) in found {
        let kept: Vec<[i64; 2]> = kept.into_iter().collect();
        let side = sides.at(magnification);
        let corners = kept.iter().map(|[row, column]| [column, row].map(|at| at * i64::from(side))).collect();
        let parents = coarser.as_ref().filter(|(coarser, _)| magnification.coarser() == Some(*coarser)).map(
            |(coarser, cells)| parents(&kept, cells, i64::from(magnification.power() / coarser.power())),
        );
        out.push(NestedPatches { magnification, patches: Patches { side, corners }, parents });
        coarser = Some((magnification, kept));
    }
    out
}

/// Lays one lattice of patches of `side` level-0 pixels from the slide's origin and keeps what is on tissue, row by row.
#[must_use]
pub fn slide_wide(contours: &[Contour], size: [u32; 2], side: u32) -> Patches {
    let cells = kept_cells(contours, size, side);
    let corner = |[row, column]: [i64; 2]| [column, row].map(|at| at * i64::from(side));
    Patches { side, corners: cells.into_iter().map(corner).collect() }
}

/// Rows and columns of the cells on tissue; the order of the set is row by row.
fn kept_cells(contours: &[Contour], size: [u32; 2], side: u32) -> BTreeSet<[i64; 2]> {
    let mut cells = BTreeSet::new();
    let step = i64::from(side.max(1));
    for contour in contours {
        let [left, top, width, height] = contour.outer.bounding_box().map(i64::from);
        let range = |start: i64, length: i64, size: u32| {
            // A patch whose points lie within may start up to one cell before.
            (start / step - 1).max(0)..=(start + length - 1).min(i64::from(size) - 1).div_euclid(step)
        };
        for row in range(top, height, size[1]) {
            for column in range(left, width, size[0]) {
                let cell = [row, column];
                let corner = [column * step, row * step];
                if !cells.contains(&cell) && Inclusion::AnyOfFour.holds(contour, corner, side) {
                    cells.insert(cell);
                }
            }
        }
    }
    cells
}

/// The index of the coarse cell that holds each fine one. Every fine cell has one, since coarse cells come from them.
fn parents(fine: &[[i64; 2]], coarse: &[[i64; 2]], ratio: i64) -> Vec<u32> {
    let holder = |cell: &[i64; 2]| coarse.binary_search(&cell.map(|at| at.div_euclid(ratio)));
    fine.iter().map(|cell| holder(cell).map_or(u32::MAX, |idx| idx as u32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolution::{Resolution, Rule};
    use crate::tissue::Polygon;
    use wsi_bags::{Squares, parents as parents_by_place};

    fn sides() -> PatchSides {
        let resolution = Resolution { base: 20.0, mpp: None, rule: Rule::PowerOnly, warnings: Vec::new() };
        PatchSides::nominal(&resolution, Magnification::X20).unwrap()
    }

    fn triangle() -> Contour {
        let outer = Polygon::new(vec![[300, 200], [4000, 900], [900, 3500]]);
        Contour {
            outer,
            holes: vec![Polygon::new(vec![[1200, 1000], [1200, 1800], [2000, 1800], [2000, 1000]])],
        }
    }

    #[test]
    fn cells_are_kept_by_the_rule_over_the_whole_slide() {
        let contours = [triangle()];
        let found = nested(&contours, [4500, 4000], sides(), &Magnification::ALL);
        let fine = &found[2].patches;
        let expected: Vec<[i64; 2]> = (0..16)
            .flat_map(|row| (0..18).map(move |column| [column * 256, row * 256]))
            .filter(|corner| Inclusion::AnyOfFour.holds(&contours[0], *corner, 256))
            .collect();
        assert!(expected.len() > 40);
        assert_eq!(fine.corners, expected);
    }

    #[test]
    fn parents_are_those_that_coordinates_tell() {
        let found = nested(&[triangle()], [4500, 4000], sides(), &Magnification::ALL);
        assert_eq!(found[0].parents, None);
        for pair in found.windows(2) {
            let squares = |set: &NestedPatches| (set.patches.corners.clone(), set.patches.side);
            let ((coarse, coarse_side), (fine, fine_side)) = (squares(&pair[0]), squares(&pair[1]));
            assert_eq!(coarse_side, 2 * fine_side);
            let by_place = parents_by_place(
                Squares { coords: &fine, side: fine_side },
                Squares { coords: &coarse, side: coarse_side },
            )
            .unwrap();
            assert_eq!(by_place.n_fallbacks, 0);
            assert_eq!(pair[1].parents.as_ref(), Some(&by_place.index));
        }
    }

    #[test]
    fn magnifications_that_skip_one_have_no_parents() {
        let found = nested(&[triangle()], [4500, 4000], sides(), &[Magnification::X20, Magnification::X5]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].parents, None);
        assert!(
            nested(&[], [100, 100], sides(), &Magnification::ALL)
                .iter()
                .all(|s| s.patches.corners.is_empty())
        );
    }
}
