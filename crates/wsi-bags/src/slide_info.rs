//! What is known of the slide that patches were cut from.

use crate::error::{ErrorKind, Result};

/// What is known of the slide that a bag was cut from.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SlideInfo {
    /// Width in level-0 pixels.
    pub width: Option<u64>,
    /// Height in level-0 pixels.
    pub height: Option<u64>,
    /// Micrometres per pixel at level 0.
    pub mpp: Option<f64>,
}

impl SlideInfo {
    /// Micrometres per pixel of one slide by two tools, which round, differ by less than this share.
    pub const MPP_TOLERANCE: f64 = 0.01;

    /// What is known here, and where it is not, what `other` knows.
    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            width: self.width.or(other.width),
            height: self.height.or(other.height),
            mpp: self.mpp.or(other.mpp),
        }
    }

    /// Refuses numbers that no slide has.
    pub(crate) fn check(&self) -> Result<()> {
        let zero = |size: Option<u64>| if size == Some(0) { Some(0.0) } else { None };
        let bad_mpp = self.mpp.filter(|mpp| !(mpp.is_finite() && *mpp > 0.0));
        for (what, bad) in [("width", zero(self.width)), ("height", zero(self.height)), ("mpp", bad_mpp)] {
            if let Some(found) = bad {
                return Err(ErrorKind::Geometry { what, found }.into());
            }
        }
        Ok(())
    }
}
