//! The one error of this crate: which file, where in it, and what is wrong.

mod kind;

use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};

pub use kind::ErrorKind;

/// A bag or weight file that cannot be used, or values that do not make a bag.
///
/// Carries the file (none for values built in memory), the place inside it (`x20/features/uni`, a slide id) and
/// an [`ErrorKind`] to match on. The text states found and wanted; hints about what to do are left to programs.
///
/// ```
/// use wsi_bags::{ErrorKind, FeatureMatrix};
///
/// let error = FeatureMatrix::new(vec![0.0, f32::NAN], 1, 2).unwrap_err();
/// assert!(matches!(error.kind(), ErrorKind::NonFinite { row: 0, column: 1 }));
/// assert_eq!(error.to_string(), "the feature in row 0, column 1 is NaN or infinite as a 32-bit float");
/// ```
#[derive(Debug)]
pub struct Error {
    // Boxed so that `Result<(), Error>` stays one pointer wide.
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: Option<PathBuf>,
    place: Option<String>,
    kind: ErrorKind,
}

impl Error {
    /// The file or directory at fault, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.inner.path.as_deref()
    }

    /// The place inside the file or bag, such as `x20/coords`, if there is one.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        self.inner.place.as_deref()
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.inner.kind
    }

    /// Whether the file named is damaged, or of another kind than its name says: no rights, and no waiting, would make it readable.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        let is_of_content = matches!(
            self.kind(),
            ErrorKind::FileKind { .. } | ErrorKind::Hdf5 { .. } | ErrorKind::BeyondFile { .. }
        );
        let mut cause = StdError::source(self);
        while let Some(inner) = cause {
            // What the system refuses may be granted later.
            let refusal = inner.downcast_ref::<std::io::Error>();
            if refusal.is_some_and(|error| error.kind() != std::io::ErrorKind::UnexpectedEof) {
                return false;
            }
            cause = inner.source();
        }
        is_of_content
    }

    /// Names the file, unless one is named already.
    #[cfg(feature = "pt")]
    #[must_use]
    pub(crate) fn in_file(mut self, path: &Path) -> Self {
        self.inner.path.get_or_insert_with(|| path.to_owned());
        self
    }

    /// Names the place, unless one is named already.
    #[must_use]
    pub(crate) fn at_place(mut self, place: impl fmt::Display) -> Self {
        self.inner.place.get_or_insert_with(|| place.to_string());
        self
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self { inner: Box::new(Inner { path: None, place: None, kind }) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = self.path() {
            write!(f, "{}: ", path.display())?;
        }
        if let Some(place) = self.place() {
            write!(f, "{place}: ")?;
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

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
