//! The directory layouts that a [`BagStore`](crate::BagStore) reads.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// How the bags of a cohort are laid out on disk.
///
/// Where a tool writes one magnification per folder, `x5`, `x10` and `x20` stand for three such folders; those that
/// exist are read. Any other arrangement is opened by [`BagStore::open_roots`](crate::BagStore::open_roots).
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
    /// `<root>/x5|x10|x20/h5_files/<slide>.h5` and `pt_files/<slide>.pt`: CLAM's feature folders.
    Clam,
    /// `<root>/5x|10x|20x_<size>px_<overlap>px_overlap/features_<backbone>/<slide>.h5`: a TRIDENT job.
    Trident,
    /// `<root>/x5|x10|x20/<backbone>[-<hash>]/<slide>.h5`: STAMP's feature folders.
    Stamp,
    /// `<root>/x5|x10|x20/patches/<slide>.h5`: AtlasPatch's, with a dataset `features/<backbone>`.
    Atlaspatch,
    /// `<root>/extracted_mag5x|mag10x|mag20x_..._fp/extracted-<backbone>/feats_h5|feats_pt`: the habit of MMP.
    Mmp,
    /// `<root>/<backbone>/<slide>.safetensors` or `<root>/<backbone>/x5|x10|x20/<slide>.safetensors`, see
    /// [`safetensors`](crate::safetensors).
    Safetensors,
}

impl Layout {
    /// Every layout, in the order in which they are looked for.
    pub const ALL: [Layout; 8] = [
        Self::Crossfusion,
        Self::Native,
        Self::Clam,
        Self::Trident,
        Self::Stamp,
        Self::Atlaspatch,
        Self::Mmp,
        Self::Safetensors,
    ];

    /// The layouts that [`Converter`](crate::Converter) writes.
    pub const WRITABLE: [Layout; 4] = [Self::Native, Self::Clam, Self::Crossfusion, Self::Safetensors];

    /// The name used in configurations and on command lines.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Crossfusion => "crossfusion",
            Self::Native => "native",
            Self::Clam => "clam",
            Self::Trident => "trident",
            Self::Stamp => "stamp",
            Self::Atlaspatch => "atlaspatch",
            Self::Mmp => "mmp",
            Self::Safetensors => "safetensors",
        }
    }

    /// What is looked for below the root.
    pub(crate) fn pattern(self, backbone: &str) -> String {
        let files = match self {
            Self::Crossfusion => format!("{backbone}/x5|x10|x20/pt_files/*.pt"),
            Self::Native => "*.h5".to_owned(),
            Self::Clam => "x5|x10|x20/h5_files/*.h5 or pt_files/*.pt".to_owned(),
            Self::Trident => format!("5x|10x|20x_*px_*px_overlap/features_{backbone}/*.h5"),
            Self::Stamp => format!("x5|x10|x20/{backbone}[-hash]/*.h5"),
            Self::Atlaspatch => "x5|x10|x20/patches/*.h5".to_owned(),
            Self::Mmp => format!("extracted_mag5x|10x|20x_*/extracted-{backbone}/feats_h5 or feats_pt"),
            Self::Safetensors => format!("{backbone}/*.safetensors or {backbone}/x5|x10|x20/*.safetensors"),
        };
        format!("{files} ({self})")
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
        let error = "pathml".parse::<Layout>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown layout `pathml`, expected one of crossfusion, native, clam, trident, stamp, atlaspatch, mmp, \
             safetensors"
        );
    }
}
