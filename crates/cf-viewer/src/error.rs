//! The one error of this crate.

use std::path::{Path, PathBuf};

use wsi_bags::Magnification;

/// Scores that cannot be drawn, or a slide that they do not belong to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Patches whose places are not known.
    #[error(
        "slide {slide}, {magnification}: the features have no coordinates in level-0 pixels, without which nothing can be drawn"
    )]
    NoCoords {
        /// The slide.
        slide: String,
        /// Which patches.
        magnification: Magnification,
        /// Whether their file has coordinates in micrometres: STAMP's.
        in_micrometres: bool,
    },
    /// Patches whose size is neither stated nor to be told from their lattice.
    #[error("slide {slide}, {magnification}: the size of a patch is not stated, and {reason}")]
    NoPatchSide {
        /// The slide.
        slide: String,
        /// Which patches.
        magnification: Magnification,
        /// Why the lattice does not tell.
        reason: String,
    },
    /// A patch that has no pixel of the slide.
    #[error(
        "{magnification}: patch {patch_idx} lies at ({}, {}), outside the slide of {} x {} level-0 pixels",
        corner[0], corner[1], size[0], size[1]
    )]
    OutsideSlide {
        /// Which patches.
        magnification: Magnification,
        /// Row of the bag.
        patch_idx: usize,
        /// Its top left corner in level-0 pixels.
        corner: [i64; 2],
        /// Width and height of the slide in level-0 pixels.
        size: [u32; 2],
    },
    /// Another slide's file: its size differs.
    #[error(
        "{} has {} x {} level-0 pixels, the features were cut from a slide of {} x {}: it is another file",
        path.display(), found[0], found[1], wanted[0], wanted[1]
    )]
    SlideSize {
        /// The slide file.
        path: PathBuf,
        /// Its width and height.
        found: [u64; 2],
        /// Those that the features state.
        wanted: [u64; 2],
    },
    /// Another slide's file, or one of the two states a wrong resolution.
    #[error(
        "{} has {found} micrometres per level-0 pixel, the features were cut at {wanted}: it is another file, or its \
         resolution was corrected when features were extracted", path.display()
    )]
    SlideMpp {
        /// The slide file.
        path: PathBuf,
        /// Its micrometres per pixel.
        found: f64,
        /// Those that the features state.
        wanted: f64,
    },
    /// Scores that do not belong to these patches.
    #[error("{module} has {found} scores for {wanted} {magnification} patches")]
    ScoreCount {
        /// What was scored.
        module: String,
        /// Which patches.
        magnification: Magnification,
        /// How many scores.
        found: usize,
        /// How many patches.
        wanted: usize,
    },
    /// A score that is no number.
    #[error("{module}: the score of {magnification} patch {patch_idx} is {found}, expected a finite number")]
    Score {
        /// What was scored.
        module: String,
        /// Which patches.
        magnification: Magnification,
        /// Row of the bag.
        patch_idx: usize,
        /// The score.
        found: f32,
    },
    /// Two layers of one module and magnification.
    #[error("two layers are called {module} at {magnification}")]
    SameLayer {
        /// The name.
        module: String,
        /// Which patches.
        magnification: Magnification,
    },
    /// Nothing to draw.
    #[error("there is no layer to draw")]
    NoLayers,
    /// A number that cannot be used.
    #[error("{what} is {found}, expected {wanted}")]
    Setting {
        /// Which number.
        what: &'static str,
        /// Its value.
        found: String,
        /// The range.
        wanted: &'static str,
    },
    /// A name that nothing bears.
    #[error("unknown {what} `{found}`, expected one of {}", known.join(", "))]
    UnknownName {
        /// What kind of name.
        what: &'static str,
        /// The name.
        found: String,
        /// All that there are.
        known: Vec<&'static str>,
    },
    /// The operating system refused.
    #[error("{}: cannot {action}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, such as `write the file`.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The web viewer cannot start or go on.
    #[error("the viewer cannot {action}, port {port}; --port names another, 0 takes a free one")]
    Serve {
        /// The port.
        port: u16,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A picture that cannot be encoded or decoded.
    #[error("{what} cannot be made")]
    Picture {
        /// Which picture.
        what: &'static str,
        /// Why.
        source: image::ImageError,
    },
    /// A slide.
    #[error(transparent)]
    Slide(#[from] wsi_slides::Error),
    /// A bag.
    #[error(transparent)]
    Bag(#[from] wsi_bags::Error),
    /// A figure.
    #[error(transparent)]
    Figure(#[from] cf_report::Error),
}

impl Error {
    pub(crate) fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, source }
    }
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
