//! How large a patch of a magnification is on the slide.

use wsi_bags::Magnification;

use crate::error::{ErrorKind, Result};
use crate::resolution::Resolution;

/// Side of a patch as encoders see it, in pixels.
pub const PATCH_SIDE: u32 = 256;

/// Sides of the patches of each magnification in level-0 pixels; each coarser one is twice as large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatchSides {
    side20: u32,
}

impl PatchSides {
    /// By nominal magnification: on a slide of base 40 a 20x patch is 512 pixels wide, on one of base 20 it is 256.
    ///
    /// # Errors
    /// [`ErrorKind::AboveBase`] if `finest` is above the slide's own magnification.
    pub fn nominal(resolution: &Resolution, finest: Magnification) -> Result<Self> {
        let base = resolution.base;
        if f64::from(finest.power()) > base {
            return Err(ErrorKind::AboveBase { magnification: finest, base }.into());
        }
        Self::of(f64::from(PATCH_SIDE) * base / 20.0)
    }

    /// By physical size: 20x patches have `target_mpp` micrometres per pixel, coarser ones 2 and 4 times as many.
    ///
    /// # Errors
    /// [`ErrorKind::NoResolution`] if micrometres per pixel are not known, [`ErrorKind::FinerThanSlide`] if `finest` would be
    /// finer than the slide by more than a tenth.
    pub fn physical(resolution: &Resolution, target_mpp: f64, finest: Magnification) -> Result<Self> {
        let Some(mpp) = resolution.mpp else {
            let stated = "no micrometres per pixel, which a physical size needs".to_owned();
            return Err(ErrorKind::NoResolution { stated }.into());
        };
        if !(target_mpp.is_finite() && target_mpp > 0.0) {
            let wanted = "a positive number";
            return Err(ErrorKind::Resolution { what: "the target mpp", found: target_mpp, wanted }.into());
        }
        let finest_mpp = target_mpp * 20.0 / f64::from(finest.power());
        // Scanners that are called 20x differ by as much.
        if finest_mpp < 0.9 * mpp {
            let wanted_mpp = finest_mpp;
            return Err(ErrorKind::FinerThanSlide { magnification: finest, wanted_mpp, mpp }.into());
        }
        Self::of(f64::from(PATCH_SIDE) * target_mpp / mpp)
    }

    /// [`PatchSides::physical`] where micrometres per pixel are asked for, else [`PatchSides::nominal`].
    ///
    /// # Errors
    /// Those of the two.
    pub fn asked(resolution: &Resolution, target_mpp: Option<f64>, finest: Magnification) -> Result<Self> {
        match target_mpp {
            Some(target_mpp) => Self::physical(resolution, target_mpp, finest),
            None => Self::nominal(resolution, finest),
        }
    }

    fn of(side20: f64) -> Result<Self> {
        let rounded = side20.round();
        if (1.0..=65_536.0).contains(&rounded) {
            Ok(Self { side20: rounded as u32 })
        } else {
            let (what, wanted) = ("the side of a 20x patch in level-0 pixels", "1 to 65536");
            Err(ErrorKind::Resolution { what, found: rounded, wanted }.into())
        }
    }

    /// Side of a patch in level-0 pixels.
    #[must_use]
    pub fn at(&self, magnification: Magnification) -> u32 {
        self.side20 * (20 / magnification.power())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolution::Rule;

    fn resolution(base: f64, mpp: Option<f64>) -> Resolution {
        Resolution { base, mpp, rule: Rule::Agreement, warnings: Vec::new() }
    }

    #[test]
    fn slides_of_either_base_give_the_same_field_of_view() {
        let sides = |base: f64| {
            let sides = PatchSides::nominal(&resolution(base, None), Magnification::X20).unwrap();
            Magnification::ALL.map(|magnification| sides.at(magnification))
        };
        assert_eq!(sides(40.0), [2048, 1024, 512]);
        assert_eq!(sides(20.0), [1024, 512, 256]);
    }

    #[test]
    fn a_magnification_above_the_base_is_refused() {
        let error = PatchSides::nominal(&resolution(10.0, None), Magnification::X20).unwrap_err();
        assert!(error.to_string().contains("x20 is above the slide's own magnification, 10x"), "{error}");
        let coarser = PatchSides::nominal(&resolution(10.0, None), Magnification::X10).unwrap();
        assert_eq!(coarser.at(Magnification::X10), 256);
    }

    #[test]
    fn physical_sides_follow_the_micrometres() {
        let of = |mpp| PatchSides::physical(&resolution(40.0, mpp), 0.5, Magnification::X20);
        assert_eq!(of(Some(0.2527)).unwrap().at(Magnification::X20), 507);
        assert!(matches!(of(None).unwrap_err().kind(), ErrorKind::NoResolution { .. }));
        let error = of(Some(1.0)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "x20 at 0.5 µm/px is finer than the slide, 1 µm/px: its pixels would be made up"
        );
    }
}
