//! Results on stdout, remarks on stderr, files written beside their name and renamed.

use std::fs;
use std::io::Write;
use std::path::Path;

use cf_cli::LogFormat;
use serde::Serialize;

use crate::error::CliError;

/// Said of a slide without contours.
pub(crate) const NO_TISSUE: &str = "no tissue was found; --preset bwh_biopsy finds smaller pieces";

/// Prints a text.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    cf_cli::print(text).map_err(CliError::Write)
}

/// Prints one line of JSON.
pub(crate) fn print_json<T: Serialize>(value: &T) -> Result<(), CliError> {
    print(&(serde_json::to_string(value).map_err(CliError::Encode)? + "\n"))
}

/// Where that is said which is no result: on stderr, for people or for programs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Log {
    pub(crate) quiet: bool,
    pub(crate) format: LogFormat,
}

impl Log {
    /// Makes ready to say something. Once per process.
    pub(crate) fn start(self) {
        if self.format == LogFormat::Json {
            self.format.start(if self.quiet { "error" } else { "info" });
        }
    }

    /// Says a text. What programs should find in fields is not said by this.
    pub(crate) fn remark(self, text: &str) {
        match self.format {
            LogFormat::Text if self.quiet => (),
            // Nothing is lost where stderr is closed.
            LogFormat::Text => _ = writeln!(std::io::stderr(), "{text}"),
            LogFormat::Json => tracing::info!("{text}"),
        }
    }

    /// Says what a person should look at.
    pub(crate) fn warn(self, text: &str) {
        match self.format {
            LogFormat::Text => self.remark(&format!("warning: {text}")),
            LogFormat::Json => tracing::warn!("{text}"),
        }
    }

    /// Says how the program ends.
    pub(crate) fn error(self, error: &CliError) {
        match self.format {
            LogFormat::Text => _ = writeln!(std::io::stderr(), "error: {error}"),
            LogFormat::Json => tracing::error!(exit_code = error.exit_code(), "{error}"),
        }
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
