//! One grid per contour, exactly as CLAM lays it.

use crate::lattice::Patches;
use crate::lattice::inclusion::Inclusion;
use crate::tissue::Contour;

/// Whether patches may reach beyond the slide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Padding {
    /// They may, to the right and below: CLAM's default.
    #[default]
    Beyond,
    /// They may not, on a slide of this width and height at level 0.
    Within([u32; 2]),
}

/// Lays a grid of patches of `side` level-0 pixels over the bounding box of each contour and keeps those on tissue.
///
/// The order is CLAM's: contour by contour, then by x, then by y. Patches of different contours may overlap.
#[must_use]
pub fn clam(contours: &[Contour], side: u32, inclusion: Inclusion, padding: Padding) -> Patches {
    let mut corners = Vec::new();
    let step = i64::from(side);
    for contour in contours {
        let [left, top, width, height] = contour.outer.bounding_box().map(i64::from);
        let mut end = [left + width, top + height];
        if let Padding::Within(size) = padding {
            for (end, size) in end.iter_mut().zip(size) {
                *end = (*end).min(i64::from(size) - step + 1);
            }
        }
        let mut x = left;
        while x < end[0] && step > 0 {
            let mut y = top;
            while y < end[1] {
                if inclusion.holds(contour, [x, y], side) {
                    corners.push([x, y]);
                }
                y += step;
            }
            x += step;
        }
    }
    Patches { side, corners }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tissue::Polygon;

    #[test]
    fn x_is_the_slow_axis_and_grids_start_at_each_contour() {
        let square = |left: i32, top: i32, side: i32| Contour {
            outer: Polygon::new(vec![
                [left, top],
                [left, top + side],
                [left + side, top + side],
                [left + side, top],
            ]),
            holes: vec![],
        };
        let contours = [square(100, 10, 19), square(0, 3, 9)];
        let found = clam(&contours, 10, Inclusion::AnyOfFour, Padding::Beyond);
        assert_eq!(found.corners, [[100, 10], [100, 20], [110, 10], [110, 20], [0, 3]]);
        let within = clam(&contours, 10, Inclusion::AnyOfFour, Padding::Within([120, 25]));
        assert_eq!(within.corners, [[100, 10], [110, 10], [0, 3]]);
    }
}
