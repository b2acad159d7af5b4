//! What a model used in place of what a bag lacks, and how often.

use std::fmt;

use wsi_bags::Magnification;

/// Something that stood in for what a bag lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Substitute {
    /// The nearest patch of `coarse`, for a patch of `fine` that lies in none.
    NearestParent {
        /// The magnification of the patches.
        fine: Magnification,
        /// The magnification of the parents.
        coarse: Magnification,
    },
    /// Zeros, for a place in a 5x patch that has no patch of `fine`.
    EmptyPlace {
        /// The magnification of the place.
        fine: Magnification,
    },
    /// Nothing, for a patch of `fine` that lies in no place of a 5x patch, or in one that is taken.
    LeftOut {
        /// The magnification of the patch.
        fine: Magnification,
    },
    /// The class "other", for every patch of a slide without tissue classes.
    OneTissueClass,
}

impl fmt::Display for Substitute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NearestParent { fine, coarse } => {
                write!(f, "the nearest {coarse} patch, for {fine} patches that lie in none")
            }
            Self::EmptyPlace { fine } => write!(f, "zeros, for {fine} places in x5 patches without a patch"),
            Self::LeftOut { fine } => {
                write!(f, "nothing, for {fine} patches outside every place in an x5 patch")
            }
            Self::OneTissueClass => f.write_str("the class \"other\", for patches without a tissue class"),
        }
    }
}

/// How many of a slide's patches or places had a substitute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SubstituteCount {
    /// With one.
    pub n: usize,
    /// In all.
    pub of: usize,
}
