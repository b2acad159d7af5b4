//! What went wrong, the way out, and the exit code.

use std::fmt;
use std::io;
use std::path::Path;

use cf_cli::{is_temporary, with_causes};
use wsi_bags::{Error, ErrorKind};

/// An error as the user reads it.
#[derive(Debug)]
pub(crate) enum CliError {
    /// A file or directory of bags.
    Bags(Error),
    /// A file, to be written unless it is there, that cannot be read.
    Damaged(Error),
    /// Slides whose fault was told.
    NotConverted(usize),
    /// Slides that were listed with their fault.
    Faults(usize),
    /// Results that cannot be printed.
    Write(io::Error),
    /// Results that cannot be encoded.
    Encode(serde_json::Error),
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bags(error) => {
                f.write_str(&with_causes(error))?;
                match hint(error.kind()) {
                    Some(hint) => write!(f, "\n  hint: {hint}"),
                    None => Ok(()),
                }
            }
            Self::Damaged(error) => {
                write!(
                    f,
                    "{}\n  hint: --overwrite writes the file again, without what else it held",
                    with_causes(error)
                )
            }
            Self::NotConverted(1) => f.write_str("one slide was not converted"),
            Self::NotConverted(n_slides) => write!(f, "{n_slides} slides were not converted"),
            Self::Faults(1) => f.write_str("one slide cannot be used"),
            Self::Faults(n_slides) => write!(f, "{n_slides} slides cannot be used"),
            Self::Write(error) => write!(f, "cannot write the result: {error}"),
            Self::Encode(error) => write!(f, "cannot encode the result as JSON: {error}"),
        }
    }
}

impl CliError {
    /// Whether other slides would meet it, too.
    pub(crate) fn ends_the_run(&self) -> bool {
        self.exit_code() != 3
    }

    /// Whether it is the system's refusal of this directory itself, not of a file in it.
    pub(crate) fn is_of(&self, directory: &Path) -> bool {
        let Self::Bags(error) = self else { return false };
        error.path() == Some(directory) && matches!(error.kind(), ErrorKind::Io { .. })
    }

    /// 1 unexpected, 2 usage, 3 bad data, 75 temporary.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Bags(error) => match error.kind() {
                ErrorKind::UnknownName { .. } | ErrorKind::DuplicateMagnification { .. } => 2,
                _ if is_temporary(error) => 75,
                _ => 3,
            },
            Self::Damaged(_) | Self::NotConverted(_) | Self::Faults(_) => 3,
            Self::Write(error) if is_temporary(error) => 75,
            Self::Write(_) | Self::Encode(_) => 1,
        }
    }
}

fn hint(kind: &ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::Layout { .. } => {
            "--layout names the layout, --root x20=DIR the folder of one magnification"
        }
        ErrorKind::OtherLayout { .. } => "give another directory as --out",
        ErrorKind::AmbiguousLayout { .. } => "add --layout NAME",
        ErrorKind::AmbiguousFolder { .. } => {
            "give --backbone in full, or one --root x5|x10|x20=DIR for each magnification"
        }
        ErrorKind::MissingEncoder { .. } => "give one of those found as --backbone",
        ErrorKind::MissingCoords => {
            "STAMP's coordinates need --slide-mpp X; bags without any can become `crossfusion` or `safetensors`"
        }
        ErrorKind::MissingMagnification { .. } => {
            "a native file takes features of another encoder at the magnifications that it has: convert the encoder with most of \
             them first, or into a directory of its own"
        }
        ErrorKind::Io { action: "make the directory" | "write into the directory", .. } => {
            "give a directory as --out in which this user may write"
        }
        ErrorKind::Parent { .. } => {
            "parents are counted from 0 in the rows of the coarser magnification, -1 for none: write the bag again, or without \
             parents, which are then found from coordinates"
        }
        ErrorKind::BeyondHalf { .. } => "give --dtype f32, or leave it out",
        ErrorKind::Disagreement { what: ErrorKind::SLIDE, .. } => {
            "extract the magnifications of a slide from one scan; delete the files of the other one"
        }
        ErrorKind::Disagreement { .. } => {
            "give the slides of each encoder a directory of their own, also as --out; or delete the odd file and write it again"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_stdout_is_temporary_and_a_closed_one_is_not() {
        let code = |kind: io::ErrorKind| CliError::Write(kind.into()).exit_code();
        assert_eq!([code(io::ErrorKind::StorageFull), code(io::ErrorKind::PermissionDenied)], [75, 1]);
    }
}
