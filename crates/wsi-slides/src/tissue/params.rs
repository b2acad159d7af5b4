//! What decides about tissue: CLAM's parameters and presets.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// How the mask is cut out of the smoothed saturation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threshold {
    /// Tissue is what is above this value.
    Fixed(u8),
    /// The value is found on each slide (Otsu 1979).
    Otsu,
}

/// Whether ink of pens is taken out before the mask is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PenMarks {
    /// Ink counts as tissue where it is saturated, as in CLAM.
    Keep,
    /// Ink does not count: see [`pen_marks`](crate::tissue::pen_marks).
    Remove,
}

/// Parameters of the segmentation. Areas count in squares of 512 level-0 pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TissueParams {
    /// How the mask is cut.
    pub threshold: Threshold,
    /// Side of the median filter, in pixels of the level that is segmented.
    pub median_side: u32,
    /// Side of the closing, in the same pixels; 0 for none.
    pub closing_side: u32,
    /// Pieces whose area less their holes is not above this are dropped.
    pub min_area: f64,
    /// Holes whose area is not above this are tissue.
    pub min_hole_area: f64,
    /// How many holes of a piece are looked at, the largest first.
    pub max_holes: usize,
    /// Whether ink is taken out.
    pub pen_marks: PenMarks,
}

impl fmt::Display for TissueParams {
    /// The preset where these are one's parameters, and else each of them; and what becomes of ink.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { threshold, median_side, closing_side, min_area, min_hole_area, max_holes, pen_marks } =
            *self;
        let is_preset = |preset: &Preset| Self { pen_marks, ..preset.params() } == *self;
        match Preset::ALL.into_iter().find(is_preset) {
            Some(preset) => write!(f, "preset {}", preset.label())?,
            None => {
                match threshold {
                    Threshold::Fixed(level) => write!(f, "threshold {level}")?,
                    Threshold::Otsu => f.write_str("threshold of Otsu")?,
                }
                write!(
                    f,
                    ", median {median_side}, closing {closing_side}, area above {min_area}, holes above {min_hole_area}, at most {max_holes}"
                )?;
            }
        }
        f.write_str(match pen_marks {
            PenMarks::Keep => ", ink kept",
            PenMarks::Remove => ", ink removed",
        })
    }
}

/// CLAM's parameter sets by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// The defaults of CLAM's script.
    Default,
    /// `tcga.csv`.
    Tcga,
    /// `bwh_biopsy.csv`, for small pieces.
    BwhBiopsy,
    /// `bwh_resection.csv`.
    BwhResection,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 4] = [Self::Default, Self::Tcga, Self::BwhBiopsy, Self::BwhResection];

    /// The name, as CLAM's file bears it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Tcga => "tcga",
            Self::BwhBiopsy => "bwh_biopsy",
            Self::BwhResection => "bwh_resection",
        }
    }

    /// The parameters, pen marks kept.
    #[must_use]
    pub fn params(self) -> TissueParams {
        let (level, median_side, closing_side, min_area, min_hole_area, max_holes) = match self {
            Self::Default => (8, 7, 4, 100.0, 16.0, 8),
            Self::Tcga => (8, 7, 4, 16.0, 4.0, 8),
            Self::BwhBiopsy => (15, 11, 2, 1.0, 1.0, 2),
            Self::BwhResection => (15, 11, 4, 100.0, 16.0, 8),
        };
        let threshold = Threshold::Fixed(level);
        let pen_marks = PenMarks::Keep;
        TissueParams { threshold, median_side, closing_side, min_area, min_hole_area, max_holes, pen_marks }
    }
}

impl FromStr for Preset {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // Both spellings, since CLAM's file names and our other names differ.
        let found = Self::ALL.into_iter().find(|preset| preset.label() == text.replace('-', "_"));
        found.ok_or_else(|| {
            let known = Self::ALL.map(Self::label).to_vec();
            ErrorKind::UnknownName { what: "preset", found: text.to_owned(), known }.into()
        })
    }
}
