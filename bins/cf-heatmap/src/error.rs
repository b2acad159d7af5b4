//! What went wrong, the way out, and the exit code.

use std::fmt;
use std::io;

use cf_cli::{is_temporary, with_causes};
use cf_train::Remedy;

/// An error as the user reads it.
#[derive(Debug)]
pub(crate) enum CliError {
    /// A checkpoint, a bag, or the model's pass.
    Train(cf_train::Error),
    /// The bags that a run read.
    BagsOfRun(cf_train::Error),
    /// A map, or a slide that it does not belong to.
    Viewer(cf_viewer::Error),
    /// A slide file.
    Slide(wsi_slides::Error),
    /// A folder of slides.
    Slides(wsi_features::Error),
    /// A device that is not there.
    Device(String),
    /// Arguments that do not go together.
    Usage(&'static str),
    /// Results that cannot be printed.
    Write(io::Error),
    /// Results that cannot be encoded.
    Encode(serde_json::Error),
}

impl From<cf_train::Error> for CliError {
    fn from(error: cf_train::Error) -> Self {
        Self::Train(error)
    }
}

impl From<cf_viewer::Error> for CliError {
    fn from(error: cf_viewer::Error) -> Self {
        Self::Viewer(error)
    }
}

impl From<wsi_features::Error> for CliError {
    fn from(error: wsi_features::Error) -> Self {
        Self::Slides(error)
    }
}

impl From<wsi_slides::Error> for CliError {
    fn from(error: wsi_slides::Error) -> Self {
        Self::Slide(error)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Train(error) => f.write_str(&error.with_causes()),
            Self::BagsOfRun(error) => write!(
                f,
                "{}\n  hint: the run read its bags there; --features DIR says where they are now",
                error.with_causes()
            ),
            Self::Viewer(error) => {
                f.write_str(&with_causes(error))?;
                match hint(error) {
                    Some(hint) => write!(f, "\n  hint: {hint}"),
                    None => Ok(()),
                }
            }
            Self::Slide(error) => {
                f.write_str(&with_causes(error))?;
                match wsi_features::way_out(error.kind()) {
                    Some(hint) => write!(f, "\n  hint: {hint}"),
                    None => Ok(()),
                }
            }
            Self::Slides(error) => f.write_str(&with_causes(error)),
            Self::Device(reason) => f.write_str(reason),
            Self::Usage(reason) => f.write_str(reason),
            Self::Write(error) => write!(f, "cannot write the result: {error}"),
            Self::Encode(error) => write!(f, "cannot encode the result as JSON: {error}"),
        }
    }
}

impl CliError {
    /// 1 unexpected, 2 usage, 3 bad data, 4 too large, 75 temporary.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Train(error) | Self::BagsOfRun(error) => match error.remedy() {
                Remedy::FixInput => 3,
                Remedy::LessMemory => 4,
                Remedy::Retry => 75,
                Remedy::Unknown => 1,
            },
            Self::Viewer(error) if is_temporary(error) => 75,
            Self::Viewer(cf_viewer::Error::Setting { .. } | cf_viewer::Error::Serve { .. })
            | Self::Device(_)
            | Self::Usage(_) => 2,
            Self::Slide(error) if is_temporary(error) => 75,
            Self::Slides(error) if is_temporary(error) => 75,
            Self::Viewer(_) | Self::Slide(_) | Self::Slides(_) => 3,
            Self::Write(error) if is_temporary(error) => 75,
            Self::Write(_) | Self::Encode(_) => 1,
        }
    }
}

fn hint(error: &cf_viewer::Error) -> Option<&'static str> {
    use cf_viewer::Error::{NoCoords, NoPatchSide, SlideMpp};
    Some(match error {
        NoCoords { in_micrometres: true, .. } => {
            "STAMP's coordinates are in micrometres; `wsi-bags convert --slide-mpp X --to native` writes bags with level-0 pixels, X \
             being the micrometres per pixel of the slides at level 0; draw with those (--features)"
        }
        NoCoords { .. } => {
            "`.pt` files have no room for coordinates; the HDF5 files of the same extraction have them"
        }
        NoPatchSide { .. } => {
            "`wsi-bags convert` keeps what is stated; patches that were cut by `wsi-extract` state their size"
        }
        SlideMpp { .. } => "--mpp X states the resolution that the features were cut at",
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
