//! The one error of this crate: which slide, where in it, and what is wrong.

use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};

use wsi_bags::Magnification;

/// A slide that cannot be read, measured or cut as asked.
///
/// Carries the file, where one is known, and an [`ErrorKind`] to match on. The text states found and wanted; hints
/// about options are left to programs.
#[derive(Debug)]
pub struct Error {
    // Boxed so that results stay one pointer wide.
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: Option<PathBuf>,
    kind: ErrorKind,
}

impl Error {
    /// The file at fault, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.inner.path.as_deref()
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.inner.kind
    }

    /// Names the file, unless one is named already.
    #[must_use]
    pub fn in_file(mut self, path: &Path) -> Self {
        self.inner.path.get_or_insert_with(|| path.to_owned());
        self
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self { inner: Box::new(Inner { path: None, kind }) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = self.path() {
            write!(f, "{}: ", path.display())?;
        }
        self.kind().fmt(f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.kind().source()
    }
}

/// A cause from a format library, kept so that the chain of sources can be printed.
pub type BoxedSource = Box<dyn StdError + Send + Sync>;

/// What can be wrong with a slide.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system refused.
    #[error("cannot {action}")]
    Io {
        /// What was tried, such as `open the file`.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The first bytes are not those of a slide.
    #[error("found {found}, expected a slide: SVS, tiled TIFF, PNG or JPEG")]
    FileKind {
        /// What the file is.
        found: String,
    },
    /// A slide, but of a form that this reader does not read.
    #[error("found {found}, which this reader does not read; it reads {wanted}")]
    Unsupported {
        /// The form, such as `Hamamatsu NDPI` or `16-bit samples`.
        found: String,
        /// What it reads instead.
        wanted: &'static str,
    },
    /// The structure of the file contradicts itself.
    #[error("{place}: {fault}")]
    Structure {
        /// Where, such as `directory 2`.
        place: String,
        /// What is wrong there.
        fault: String,
        /// The library's reason, where it is one.
        #[source]
        source: Option<BoxedSource>,
    },
    /// The bytes of a tile end beyond the file.
    #[error(
        "truncated: the tile at ({x}, {y}) of level {level} ends at byte {end}, but the file has {length}"
    )]
    Truncated {
        /// Level of the tile, 0 being the largest.
        level: usize,
        /// Left edge in pixels of that level.
        x: u64,
        /// Top edge in pixels of that level.
        y: u64,
        /// Where its bytes should end.
        end: u64,
        /// Where the file ends.
        length: u64,
    },
    /// A directory, or the header, that ends beyond the file.
    #[error(
        "truncated: the file ends at byte {length}, before the end of {place}, which starts at byte {start}"
    )]
    TruncatedDirectory {
        /// Which, such as `directory 2`.
        place: String,
        /// Its first byte.
        start: u64,
        /// Where the file ends.
        length: u64,
    },
    /// A tile whose bytes do not decode.
    #[error("the tile at ({x}, {y}) of level {level} does not decode: {fault}")]
    Tile {
        /// Level of the tile, 0 being the largest.
        level: usize,
        /// Left edge in pixels of that level.
        x: u64,
        /// Top edge in pixels of that level.
        y: u64,
        /// The decoder's reason.
        fault: String,
    },
    /// More than is taken.
    #[error("{what} is {found}, at most {limit} is taken")]
    Limit {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        found: u64,
        /// How large it may be.
        limit: u64,
    },
    /// Less than is taken.
    #[error("{what} is {found}, at least {least} is taken")]
    TooFew {
        /// What there is too little of.
        what: &'static str,
        /// How much there is.
        found: u64,
        /// How much there must be.
        least: u64,
    },
    /// A level that the slide does not have.
    #[error("there is no level {level}, the slide has {n_levels}")]
    NoLevel {
        /// The level asked for.
        level: usize,
        /// How many there are.
        n_levels: usize,
    },
    /// Neither objective power nor micrometres per pixel are known, or what is known gives no magnification.
    #[error("no resolution: the slide states {stated}")]
    NoResolution {
        /// What it states instead.
        stated: String,
    },
    /// A resolution that no scanner has.
    #[error("{what} is {found}, expected {wanted}")]
    Resolution {
        /// Which number.
        what: &'static str,
        /// Its value.
        found: f64,
        /// The range.
        wanted: &'static str,
    },
    /// A magnification above that of the slide.
    #[error("{magnification} is above the slide's own magnification, {base}x: its pixels would be made up")]
    AboveBase {
        /// What was asked for.
        magnification: Magnification,
        /// What the slide has.
        base: f64,
    },
    /// Patches of a physical size whose pixels would be finer than those of the slide.
    #[error(
        "{magnification} at {wanted_mpp} µm/px is finer than the slide, {mpp} µm/px: its pixels would be made up"
    )]
    FinerThanSlide {
        /// What was asked for.
        magnification: Magnification,
        /// Micrometres per pixel that it has at the size asked for.
        wanted_mpp: f64,
        /// Those of the slide.
        mpp: f64,
    },
    /// Nothing was found to be tissue, or no patch lies on it.
    #[error("no tissue: {reason}")]
    NoTissue {
        /// Which step left nothing.
        reason: String,
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
    /// OpenSlide refused.
    #[cfg(feature = "openslide")]
    #[error("OpenSlide: {fault}")]
    OpenSlide {
        /// Its reason.
        fault: String,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
