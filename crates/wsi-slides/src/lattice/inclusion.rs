//! Whether a patch lies on tissue: CLAM's tests.

use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};
use crate::tissue::{Contour, Position};

/// Which points of a patch must lie in a contour. On its border counts as in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Inclusion {
    /// Any of four points a quarter side from the centre: CLAM's `four_pt`.
    #[default]
    AnyOfFour,
    /// All of the four: CLAM's `four_pt_hard`.
    AllOfFour,
    /// The centre.
    Centre,
    /// The top left corner: CLAM's `basic`.
    Corner,
}

impl Inclusion {
    /// Every test.
    pub const ALL: [Self; 4] = [Self::AnyOfFour, Self::AllOfFour, Self::Centre, Self::Corner];

    /// The name that CLAM gives it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::AnyOfFour => "four_pt",
            Self::AllOfFour => "four_pt_hard",
            Self::Centre => "center",
            Self::Corner => "basic",
        }
    }

    /// Whether the patch of `side` at `corner` lies on the tissue of one contour.
    ///
    /// The centre must not lie strictly inside a hole, whichever points are tested.
    #[must_use]
    pub fn holds(self, contour: &Contour, corner: [i64; 2], side: u32) -> bool {
        let [x, y] = corner;
        let half = i64::from(side / 2);
        let (centre_x, centre_y) = (x + half, y + half);
        // CLAM halves the truncated half, as a float that is truncated again.
        let offset = half / 2;
        let inside = |x: i64, y: i64| contour.outer.locate([2 * x, 2 * y]) != Position::Outside;
        let four = [(-1, -1), (1, 1), (1, -1), (-1, 1)]
            .map(|(dx, dy)| (centre_x + dx * offset, centre_y + dy * offset));
        let on_tissue = match self {
            Self::AnyOfFour if offset > 0 => four.into_iter().any(|(x, y)| inside(x, y)),
            Self::AllOfFour if offset > 0 => four.into_iter().all(|(x, y)| inside(x, y)),
            Self::AnyOfFour | Self::AllOfFour | Self::Centre => inside(centre_x, centre_y),
            Self::Corner => inside(x, y),
        };
        let exact_centre = [2 * x + i64::from(side), 2 * y + i64::from(side)];
        on_tissue && !contour.holes.iter().any(|hole| hole.locate(exact_centre) == Position::Inside)
    }
}

impl FromStr for Inclusion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|test| test.label() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::label).to_vec();
            ErrorKind::UnknownName { what: "inclusion test", found: text.to_owned(), known }.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tissue::Polygon;

    fn square(left: i32, side: i32) -> Polygon {
        Polygon::new(vec![[left, left], [left, left + side], [left + side, left + side], [left + side, left]])
    }

    #[test]
    fn tests_differ_at_the_edge() {
        let contour = Contour { outer: square(0, 100), holes: vec![] };
        // Its points lie at 56 or 88, and 72 is the centre.
        let at = |test: Inclusion, x| test.holds(&contour, [x, 0], 64);
        assert_eq!(Inclusion::ALL.map(|test| at(test, 40)), [true, true, true, true]);
        assert_eq!(Inclusion::ALL.map(|test| at(test, 60)), [true, false, true, true]);
        assert_eq!(Inclusion::ALL.map(|test| at(test, 70)), [true, false, false, true]);
        assert_eq!(
            Inclusion::ALL.map(|test| at(test, 84)),
            [true, false, false, true],
            "100 is on the border"
        );
        assert_eq!(Inclusion::ALL.map(|test| at(test, 85)), [false, false, false, true]);
    }

    #[test]
    fn a_patch_whose_centre_is_in_a_hole_is_out() {
        let contour = Contour { outer: square(0, 100), holes: vec![square(40, 20)] };
        assert!(!Inclusion::AnyOfFour.holds(&contour, [18, 18], 64));
        assert!(Inclusion::AnyOfFour.holds(&contour, [8, 18], 64), "the centre is on the border of the hole");
    }
}
