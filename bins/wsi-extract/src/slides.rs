//! The slides that a command is given, and what lies beside them.

use std::path::PathBuf;

use cf_cli::Log;
use wsi_features::SlideList;

use crate::error::CliError;

/// The slides at these places. What lies there and is not taken is told of.
pub(crate) fn find(places: &[PathBuf], log: Log) -> Result<SlideList, CliError> {
    let slides = SlideList::find(places)?;
    if !slides.passed_over().is_empty() {
        log.warn(&format!("not looked at: {}", slides.passed_over()));
    }
    Ok(slides)
}
