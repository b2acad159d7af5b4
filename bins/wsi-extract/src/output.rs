//! Results on stdout, files written beside their name and renamed.

use std::fs;
use std::path::Path;

use serde::{Serialize, Serializer};
use wsi_bags::Magnification;
use wsi_features::SlideScale;

use crate::error::CliError;

/// Prints a text.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    cf_cli::print(text).map_err(CliError::Write)
}

/// Prints one line of JSON.
pub(crate) fn print_json<T: Serialize>(value: &T) -> Result<(), CliError> {
    print(&(serde_json::to_string(value).map_err(CliError::Encode)? + "\n"))
}

/// Writes values of magnifications as an object, in their order.
pub(crate) fn as_map<T: Serialize, S: Serializer>(
    values: &[(Magnification, T)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(values.iter().map(|(magnification, value)| (magnification.label(), value)))
}

/// Micrometres that a patch spans at each magnification, coarse to fine.
#[derive(Serialize)]
pub(crate) struct Spans(#[serde(serialize_with = "as_map")] Vec<(Magnification, f64)>);

impl Spans {
    /// `None` where micrometres per pixel are not known.
    pub(crate) fn of(scale: &SlideScale) -> Option<Self> {
        let span = |magnification| Some((magnification, scale.span(magnification)?));
        scale.magnifications().map(span).collect::<Option<Vec<_>>>().map(Self)
    }

    pub(crate) fn at(&self, magnification: Magnification) -> Option<f64> {
        self.0.iter().find(|(of, _)| *of == magnification).map(|(_, um)| *um)
    }
}

/// Makes a file beside its name and renames it.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let failed = |source| CliError::Output(path.to_owned(), source);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    // The extension stays the last one: it tells an encoder of pictures the format.
    let unnamed = |error| failed(std::io::Error::new(std::io::ErrorKind::InvalidInput, error));
    let beside =
        wsi_bags::name_beside(path).map_err(unnamed)?.with_extension(path.extension().unwrap_or_default());
    let written = write(&beside).and_then(|()| fs::rename(&beside, path).map_err(failed));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}
