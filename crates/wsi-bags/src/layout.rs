//! The directory layouts that a [`BagStore`](crate::BagStore) reads.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// How the bags of a cohort are laid out on disk.
///
/// ```
/// use wsi_bags::Layout;
///
/// assert_eq!("native".parse::<Layout>()?, Layout::Native);
/// assert_eq!(Layout::Crossfusion.to_string(), "crossfusion");
/// # Ok::<(), wsi_bags::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `<root>/<backbone>/x5|x10|x20/pt_files/<slide>.pt`: one bare tensor per slide and magnification, as the
    /// released CrossFusion code reads.
    Crossfusion,
    /// `<root>/<slide>.h5`: one HDF5 file per slide, see [`native`](crate::native).
    Native,
}

impl Layout {
    /// Every layout, in the order in which they are looked for.
    pub const ALL: [Layout; 2] = [Self::Crossfusion, Self::Native];

    /// The name used in configurations and on command lines.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Crossfusion => "crossfusion",
            Self::Native => "native",
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

impl FromStr for Layout {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|layout| layout.label() == text).ok_or_else(|| {
            ErrorKind::UnknownName {
                what: "layout",
                found: text.to_owned(),
                known: Self::ALL.map(|layout| layout.label().to_owned()).to_vec(),
            }
            .into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_parses_back_and_others_do_not() {
        for layout in Layout::ALL {
            assert_eq!(layout.label().parse::<Layout>().unwrap(), layout);
        }
        let error = "clam".parse::<Layout>().unwrap_err();
        assert_eq!(error.to_string(), "unknown layout `clam`, expected one of crossfusion, native");
    }
}
