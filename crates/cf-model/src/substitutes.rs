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
    /// Zeros, for a quarter of a patch of `coarse` that has no patch at the next finer magnification.
    EmptyQuarter {
        /// The magnification of the parents.
        coarse: Magnification,
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
            Self::EmptyQuarter { coarse } => {
                write!(f, "zeros, for quarters of {coarse} patches that have no finer patch")
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
