//! Whether coordinates can be level-0 pixels of the slide, and the lattice that they lie on.

use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind};

/// What a file states about the frame of its coordinates. What it does not state is not checked.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Frame {
    /// Width and height of the slide at level 0.
    pub(crate) slide_size: [Option<u64>; 2],
    /// Distance between neighbours in level-0 pixels: the side of a patch less its overlap.
    pub(crate) step: Option<u32>,
}

/// Refuses coordinates that cannot be level-0 pixels: negative ones, corners beyond the slide, and neighbours nearer
/// to each other than patches of the stated size are cut (micrometres, or pixels of another level).
pub(crate) fn check_frame(coords: &[[i64; 2]], frame: Frame) -> Result<(), Error> {
    let refused = |patch_idx: usize, found: [i64; 2], fault: String| {
        Error::from(ErrorKind::Coords { patch_idx, found: found.map(|c| c as f64), fault })
    };
    for (patch_idx, corner) in coords.iter().enumerate() {
        for (axis, size) in frame.slide_size.into_iter().enumerate() {
            let Ok(at) = u64::try_from(corner[axis]) else {
                return Err(refused(patch_idx, *corner, "level-0 pixels are not negative".to_owned()));
            };
            if let Some(size) = size.filter(|size| at >= *size) {
                let axis = ["wide", "high"][axis];
                let fault = format!("the slide is {size} pixels {axis} at level 0");
                return Err(refused(patch_idx, *corner, fault));
            }
        }
    }
    match (frame.step, usual_distance(coords)) {
        (Some(stated), Some((step, patch_idx))) if step < u64::from(stated) => {
            let fault = format!(
                "neighbours are {step} apart, but the file says that patches are cut every {stated} level-0 pixels"
            );
            Err(refused(patch_idx, coords.get(patch_idx).copied().unwrap_or_default(), fault))
        }
        _ => Ok(()),
    }
}

/// The most frequent distance between neighbours in a row or column of a lattice, in the unit of `coords`: the side of a
/// patch less its overlap. The smaller of equally frequent ones; `None` where no two patches share a row or column.
///
/// ```
/// assert_eq!(wsi_bags::lattice_step(&[[0, 0], [512, 0], [1024, 0], [0, 512]]), Some(512));
/// assert_eq!(wsi_bags::lattice_step(&[[0, 0], [7, 9]]), None);
/// ```
#[must_use]
pub fn lattice_step(coords: &[[i64; 2]]) -> Option<u64> {
    usual_distance(coords).map(|(step, _)| step)
}

/// The most frequent distance between neighbours in a row or column, the smaller of equally frequent ones, and a patch
/// that has such a neighbour. `None` where no two patches share a row or column.
///
/// Grids of different tissue pieces are shifted against each other, so single distances may be anything.
pub(crate) fn usual_distance(coords: &[[i64; 2]]) -> Option<(u64, usize)> {
    let mut counts: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
    for (along, across) in [(0, 1), (1, 0)] {
        let mut order: Vec<usize> = (0..coords.len()).collect();
        let key = |idx: &usize| coords.get(*idx).map(|corner| (corner[across], corner[along]));
        order.sort_unstable_by_key(key);
        for pair in order.windows(2) {
            let (Some(a), Some(b)) = (key(&pair[0]), key(&pair[1])) else { continue };
            if a.0 == b.0 && a.1 < b.1 {
                let entry = counts.entry(b.1.abs_diff(a.1)).or_insert((0, pair[1]));
                entry.0 += 1;
            }
        }
    }
    // `max_by_key` keeps the last of equals: reversed, that is the smallest distance.
    counts.into_iter().rev().max_by_key(|(_, (count, _))| *count).map(|(step, (_, idx))| (step, idx))
}

/// Whether there are several patches, and all of them lie at the same place: no lattice of a slide.
pub(crate) fn are_at_one_place(coords: &[[i64; 2]]) -> bool {
    coords.len() > 1 && coords.windows(2).all(|pair| pair[0] == pair[1])
}

/// Whole numbers out of coordinates stored as floats.
pub(crate) fn whole(coords: &[[f64; 2]]) -> Result<Vec<[i64; 2]>, Error> {
    const LARGEST: f64 = (1u64 << 53) as f64;
    let is_whole = |c: &f64| c.fract() == 0.0 && c.abs() <= LARGEST;
    match coords.iter().position(|corner| !corner.iter().all(is_whole)) {
        None => Ok(coords.iter().map(|corner| corner.map(|c| c as i64)).collect()),
        Some(patch_idx) => {
            let found = coords.get(patch_idx).copied().unwrap_or_default();
            let fault = "level-0 pixels are whole numbers".to_owned();
            Err(ErrorKind::Coords { patch_idx, found, fault }.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(coords: &[[i64; 2]], frame: Frame) -> String {
        check_frame(coords, frame).unwrap_err().to_string()
    }

    #[test]
    fn coordinates_outside_the_slide_are_refused() {
        let frame = Frame { slide_size: [Some(1000), Some(500)], step: None };
        assert!(check_frame(&[[0, 0], [999, 499]], frame).is_ok());
        assert_eq!(
            fault(&[[0, 0], [1000, 0]], frame),
            "patch 1 lies at (1000, 0): the slide is 1000 pixels wide at level 0"
        );
        assert_eq!(
            fault(&[[0, 500]], frame),
            "patch 0 lies at (0, 500): the slide is 500 pixels high at level 0"
        );
        assert_eq!(
            fault(&[[0, 0], [0, -1]], Frame::default()),
            "patch 1 lies at (0, -1): level-0 pixels are not negative"
        );
    }

    #[test]
    fn patches_that_lie_closer_than_they_were_cut_are_in_another_unit() {
        let frame = Frame { step: Some(512), ..Frame::default() };
        let lattice = |step: i64| [[0, 0], [step, 0], [2 * step, 0], [0, step]];
        assert!(check_frame(&lattice(512), frame).is_ok());
        assert!(check_frame(&lattice(1024), frame).is_ok(), "gaps are no fault");
        assert_eq!(
            fault(&lattice(128), frame),
            "patch 1 lies at (128, 0): neighbours are 128 apart, but the file says that patches are cut every 512 \
             level-0 pixels"
        );
        assert!(check_frame(&[[0, 0], [7, 9]], frame).is_ok(), "no neighbours, no lattice");
    }

    #[test]
    fn the_step_is_the_usual_distance_not_the_smallest() {
        // Two grids of step 100, shifted by 30 in the same row.
        let coords = [[0, 0], [100, 0], [200, 0], [230, 0], [330, 0], [430, 0]];
        assert_eq!(usual_distance(&coords).map(|(step, _)| step), Some(100));
        assert_eq!(usual_distance(&[[0, 0], [0, 0]]), None, "the same place twice is no distance");
        assert_eq!(usual_distance(&[]), None);
    }

    #[test]
    fn one_patch_lies_somewhere_and_two_at_one_place_do_not() {
        assert!(!are_at_one_place(&[]) && !are_at_one_place(&[[3, 4]]));
        assert!(are_at_one_place(&[[3, 4]; 3]) && !are_at_one_place(&[[3, 4], [3, 4], [3, 5]]));
    }

    #[test]
    fn fractions_are_no_pixels() {
        assert_eq!(whole(&[[512.0, 0.0]]).unwrap(), [[512, 0]]);
        for bad in [0.5, f64::NAN, f64::INFINITY, 1e300] {
            assert!(matches!(
                whole(&[[0.0, bad]]).unwrap_err().kind(),
                ErrorKind::Coords { patch_idx: 0, .. }
            ));
        }
    }
}
