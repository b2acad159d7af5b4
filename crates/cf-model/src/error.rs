//! What can go wrong between a bag and a survival curve.

use std::path::PathBuf;

use wsi_bags::Magnification;

use crate::needs::Need;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A model asked for a magnification that the bag does not hold.
    #[error("the bag has no {wanted} patches, which this model reads")]
    MissingMagnification {
        /// What the model reads.
        wanted: Magnification,
    },
    /// A model asked for something beside the features that the bag does not say.
    #[error(
        "slide {slide_id}: {model} needs {} of the {magnification} patches, which the bag lacks",
        need.in_words()
    )]
    MissingFact {
        /// The slide.
        slide_id: String,
        /// The model.
        model: &'static str,
        /// Of which patches.
        magnification: Magnification,
        /// What is missing.
        need: Need,
    },
    /// A bag with something that a model cannot use.
    #[error("slide {slide_id}: {reason}")]
    Bag {
        /// The slide.
        slide_id: String,
        /// What was found and what was wanted.
        reason: String,
    },
    /// A slide without a part that holds all patches which a model draws of it.
    #[error("slide {slide_id}: nothing is left of the patches that the model draws")]
    NothingDrawn {
        /// The slide.
        slide_id: String,
    },
    /// Features of another width than the model was built for.
    #[error("{magnification} features have {found} columns, expected {expected}")]
    FeatureDim {
        /// Where.
        magnification: Magnification,
        /// Columns of the bag.
        found: usize,
        /// Columns that the model was built for.
        expected: usize,
    },
    /// A configuration that describes no model.
    #[error("model.{field} is {found}, expected {expected}")]
    Config {
        /// The field.
        field: &'static str,
        /// Its value.
        found: String,
        /// What would be valid.
        expected: &'static str,
    },
    /// A checkpoint that can't be read or is of something else.
    #[error("checkpoint {path}: {reason}", path = path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What was found and what was wanted.
        reason: String,
    },
    /// A `.pt` checkpoint that can't be read, or coordinates that no slide has.
    #[error(transparent)]
    Bags(#[from] wsi_bags::Error),
    /// An error of a tensor operation.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}
