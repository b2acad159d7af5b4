//! What is told of a slide's resolution.

use std::fmt;

use crate::lattice::PATCH_SIDE;
use crate::resolution::{PLAUSIBLE_MPP, finest_of, nominal_mpp};

/// Something about the stated resolution that a person should look at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ResolutionWarning {
    /// Objective power and micrometres per pixel point to different magnifications.
    Disagreement {
        /// The stated power.
        power: f64,
        /// The stated micrometres per pixel.
        mpp: f64,
        /// The magnification that these micrometres per pixel stand for.
        mpp_magnification: f64,
    },
    /// A power was preferred to micrometres per pixel that are less than 5x.
    BelowLowest {
        /// The stated power.
        power: f64,
        /// The stated micrometres per pixel.
        mpp: f64,
    },
    /// The user gave a magnification, and the slide's micrometres per pixel, which do not stand for it, were left out of account.
    GivenOverMpp {
        /// The given magnification.
        magnification: f64,
        /// The stated micrometres per pixel.
        mpp: f64,
        /// The magnification that these micrometres per pixel stand for; `None` for less than 5x.
        mpp_magnification: Option<f64>,
    },
    /// The user gave a magnification and micrometres per pixel that are not near those of it.
    GivenContradict {
        /// The given magnification.
        magnification: f64,
        /// The given micrometres per pixel.
        mpp: f64,
    },
    /// Micrometres per pixel that no scanner has were left out of account.
    ImplausibleMpp {
        /// The stated value.
        mpp: f64,
    },
    /// Pixels are not square.
    Anisotropic {
        /// Micrometres per pixel along x and y.
        mpp: [f64; 2],
    },
    /// Micrometres per pixel are not near the nominal ones of the magnification, so that patches cut by magnification span other sizes
    /// than those of other slides.
    OffNominal {
        /// The magnification of level 0.
        magnification: f64,
        /// Micrometres per level-0 pixel.
        mpp: f64,
    },
}

impl fmt::Display for ResolutionWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disagreement { power, mpp, mpp_magnification } => write!(
                f,
                "the slide states objective power {power}, but {mpp} micrometres per pixel stand for \
                 {mpp_magnification}x"
            ),
            Self::BelowLowest { power, mpp } => write!(
                f,
                "the slide states objective power {power}, but {mpp} micrometres per pixel are less than 5x"
            ),
            Self::GivenOverMpp { magnification, mpp, mpp_magnification } => {
                let found = mpp_magnification.map_or("less than 5x".to_owned(), |found| format!("{found}x"));
                write!(
                    f,
                    "magnification {magnification} was given, but the slide's {mpp} micrometres per pixel stand for {found} \
                     and were left out of account"
                )
            }
            Self::GivenContradict { magnification, mpp } => write!(
                f,
                "magnification {magnification} and {mpp} micrometres per pixel were given, but they stand for different \
                 magnifications; sides of patches follow the magnification"
            ),
            Self::ImplausibleMpp { mpp } => {
                let [least, most] = PLAUSIBLE_MPP;
                write!(
                    f,
                    "{mpp} micrometres per pixel are not within {least} to {most} and were left out of account"
                )
            }
            Self::Anisotropic { mpp: [x, y] } => {
                write!(f, "pixels are not square: {x} by {y} micrometres; x is used")
            }
            Self::OffNominal { magnification, mpp } => {
                let nominal = nominal_mpp(*magnification);
                let finest = finest_of(*magnification).power();
                let span = |mpp: f64| f64::from(PATCH_SIDE) * mpp * magnification / f64::from(finest);
                let rounded = |mpp: f64| (mpp * 1e4).round() / 1e4;
                write!(
                    f,
                    "{} micrometres per pixel are taken for {magnification}x, which nominally has {}: patches at {finest}x \
                     span {:.0} µm instead of {:.0}",
                    rounded(*mpp),
                    rounded(nominal),
                    span(*mpp),
                    span(nominal)
                )
            }
        }
    }
}
