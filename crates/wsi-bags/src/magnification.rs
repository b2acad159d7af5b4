//! The three nominal magnifications of the field and the ratios between them.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// A nominal objective power at which patches are cut: 5x, 10x or 20x.
///
/// Ordered from coarse to fine, and spelled `x5`, `x10`, `x20` in files, paths and messages.
///
/// ```
/// use wsi_bags::Magnification;
///
/// let fine: Magnification = "x20".parse()?;
/// assert_eq!(fine.power(), 20);
/// assert_eq!(fine.downsample_to(Magnification::X5), Some(4));
/// assert!(Magnification::X5 < fine);
/// # Ok::<(), wsi_bags::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Magnification {
    /// 5x: about 2 micrometres per pixel.
    X5,
    /// 10x: about 1 micrometre per pixel.
    X10,
    /// 20x: about 0.5 micrometres per pixel.
    X20,
}

impl Magnification {
    /// Every magnification, coarse to fine.
    pub const ALL: [Magnification; 3] = [Self::X5, Self::X10, Self::X20];

    const LABELS: [&'static str; 3] = ["x5", "x10", "x20"];

    /// The name used in paths and HDF5 groups: `x5`, `x10` or `x20`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::X5 => "x5",
            Self::X10 => "x10",
            Self::X20 => "x20",
        }
    }

    /// The objective power: 5, 10 or 20.
    #[must_use]
    pub fn power(self) -> u32 {
        match self {
            Self::X5 => 5,
            Self::X10 => 10,
            Self::X20 => 20,
        }
    }

    /// The next coarser magnification, the one that parent indices point into; `None` for 5x.
    #[must_use]
    pub fn coarser(self) -> Option<Self> {
        match self {
            Self::X5 => None,
            Self::X10 => Some(Self::X5),
            Self::X20 => Some(Self::X10),
        }
    }

    /// The next finer magnification; `None` for 20x.
    #[must_use]
    pub fn finer(self) -> Option<Self> {
        match self {
            Self::X5 => Some(Self::X10),
            Self::X10 => Some(Self::X20),
            Self::X20 => None,
        }
    }

    /// How many times a side shrinks from `self` to `coarser` (20x to 5x: 4); `None` if `coarser` is finer.
    ///
    /// A patch of `coarser` covers this number squared of patches of `self`.
    #[must_use]
    pub fn downsample_to(self, coarser: Self) -> Option<u32> {
        (coarser <= self).then(|| self.power() / coarser.power())
    }
}

impl fmt::Display for Magnification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

impl FromStr for Magnification {
    type Err = Error;

    /// Reads `x20`, `20x` or `20`, in either case of the letter.
    fn from_str(text: &str) -> Result<Self, Error> {
        let digits = text.strip_prefix(['x', 'X']).or_else(|| text.strip_suffix(['x', 'X'])).unwrap_or(text);
        Self::ALL.into_iter().find(|magnification| digits == &magnification.label()[1..]).ok_or_else(|| {
            ErrorKind::UnknownName {
                what: "magnification",
                found: text.to_owned(),
                known: Self::LABELS.map(str::to_owned).to_vec(),
            }
            .into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_parses_back() {
        for magnification in Magnification::ALL {
            assert_eq!(magnification.label().parse::<Magnification>().unwrap(), magnification);
            assert_eq!(
                format!("{}x", magnification.power()).parse::<Magnification>().unwrap(),
                magnification
            );
        }
    }

    #[test]
    fn an_unknown_power_is_refused_with_the_known_ones() {
        for text in ["x40", "", "x", "xx5", "x5x", "5.0", "x05"] {
            let error = text.parse::<Magnification>().unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("unknown magnification `{text}`, expected one of x5, x10, x20")
            );
        }
    }

    #[test]
    fn ratios_are_exact_and_only_go_to_coarser() {
        assert_eq!(Magnification::X20.downsample_to(Magnification::X10), Some(2));
        assert_eq!(Magnification::X10.downsample_to(Magnification::X5), Some(2));
        assert_eq!(Magnification::X5.downsample_to(Magnification::X5), Some(1));
        assert_eq!(Magnification::X5.downsample_to(Magnification::X20), None);
        for magnification in Magnification::ALL {
            assert_eq!(
                magnification.coarser().and_then(Magnification::finer).unwrap_or(magnification),
                magnification
            );
        }
    }
}
