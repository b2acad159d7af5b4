//! What went wrong, the way out, and the exit code.

use std::fmt;
use std::io;
use std::path::PathBuf;

use cf_cli::{is_temporary, with_causes};
use wsi_slides::{Error, ErrorKind};

/// An error as the user reads it.
#[derive(Debug)]
pub(crate) enum CliError {
    /// A slide.
    Slide(Error),
    /// A batch of slides.
    Features(wsi_features::Error),
    /// An encoder and its weights.
    Encoder(patch_encoders::Error),
    /// An output file.
    Output(PathBuf, io::Error),
    /// A picture that cannot be encoded.
    Picture(PathBuf, image::ImageError),
    /// A table of slides to draw that cannot be used: line, column, found and wanted.
    Plan(PathBuf, String),
    /// Slides that were listed with their fault.
    Faults(usize),
    /// Signals that cannot be listened for.
    Signals(io::Error),
    /// Results that cannot be printed.
    Write(io::Error),
    /// Results that cannot be encoded.
    Encode(serde_json::Error),
}

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        Self::Slide(error)
    }
}

impl From<wsi_features::Error> for CliError {
    fn from(error: wsi_features::Error) -> Self {
        Self::Features(error)
    }
}

impl From<patch_encoders::Error> for CliError {
    fn from(error: patch_encoders::Error) -> Self {
        Self::Encoder(error)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slide(error) => {
                f.write_str(&with_causes(error))?;
                match hint(error.kind()) {
                    Some(hint) => write!(f, "\n  hint: {hint}"),
                    None => Ok(()),
                }
            }
            Self::Features(error) => f.write_str(&with_causes(error)),
            Self::Encoder(error) => {
                f.write_str(&with_causes(error))?;
                match encoder_hint(error) {
                    Some(hint) => write!(f, "\n  hint: {hint}"),
                    None => Ok(()),
                }
            }
            Self::Output(path, source) => write!(f, "{}: cannot write: {source}", path.display()),
            Self::Picture(path, source) => write!(f, "{}: cannot encode: {source}", path.display()),
            Self::Plan(path, fault) => write!(f, "{}: {fault}", path.display()),
            Self::Faults(1) => f.write_str("one slide failed"),
            Self::Faults(n_slides) => write!(f, "{n_slides} slides failed"),
            Self::Signals(error) => write!(f, "cannot listen for signals: {error}"),
            Self::Write(error) => write!(f, "cannot write the result: {error}"),
            Self::Encode(error) => write!(f, "cannot encode the result as JSON: {error}"),
        }
    }
}

impl CliError {
    /// An error if any slide has a fault.
    pub(crate) fn unless_none(n_faults: usize) -> Result<(), Self> {
        if n_faults == 0 { Ok(()) } else { Err(Self::Faults(n_faults)) }
    }

    /// 1 unexpected, 2 usage, 3 bad data, 75 temporary.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Slide(error) if is_temporary(error) => 75,
            Self::Slide(error) if matches!(error.kind(), ErrorKind::UnknownName { .. }) => 2,
            Self::Output(_, error) if is_temporary(error) => 75,
            Self::Features(error) if error.is_temporary() => 75,
            Self::Encoder(error) if is_temporary(error) => 75,
            Self::Encoder(
                patch_encoders::Error::WeightsNeeded { .. } | patch_encoders::Error::WeightsRefused { .. },
            ) => 2,
            Self::Features(wsi_features::Error::SameName { .. } | wsi_features::Error::NoPlace { .. }) => 2,
            Self::Features(_) | Self::Encoder(_) => 3,
            Self::Slide(_) | Self::Plan(..) | Self::Output(..) | Self::Picture(..) | Self::Faults(_) => 3,
            Self::Write(error) if is_temporary(error) => 75,
            Self::Write(_) | Self::Encode(_) | Self::Signals(_) => 1,
        }
    }
}

fn encoder_hint(error: &patch_encoders::Error) -> Option<&'static str> {
    match error {
        #[cfg(feature = "hub")]
        patch_encoders::Error::Hub { .. } => Some(
            "the file can be downloaded elsewhere and named by --weights FILE; fetching it needs a network, accepted terms on \
             the encoder's page, and a token in HF_TOKEN or of `hf auth login`",
        ),
        patch_encoders::Error::WeightsNeeded { .. } => Some(
            "--weights FILE names it; a build with `--features hub` fetches it with your token of Hugging Face",
        ),
        _ => None,
    }
}

fn hint(kind: &ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::NoResolution { .. } => {
            "--mpp X or --magnification M states the resolution (`run` and `inspect` take a table of many slides as --slides-csv), and --prefer \
             power trusts the power that a slide states; `wsi-extract inspect` shows what it says"
        }
        ErrorKind::Unsupported { wanted, .. } if wanted.contains("openslide") => {
            "build with `--features openslide` (Debian: libopenslide-dev, libclang-dev, pkg-config)"
        }
        other => return wsi_features::way_out(other),
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

    #[test]
    fn an_output_on_a_full_disk_is_temporary_and_named() {
        let error = CliError::Output("out/masks/a.png".into(), io::ErrorKind::StorageFull.into());
        assert_eq!(error.exit_code(), 75);
        assert!(error.to_string().starts_with("out/masks/a.png: cannot write: "), "{error}");
    }
}
