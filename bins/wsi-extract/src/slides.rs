//! The slides that a command is given, and what lies beside them.

use std::path::PathBuf;

use cf_cli::{Log, listed_up_to};
use wsi_features::SlideList;

use crate::error::CliError;

/// The slides at these places. What lies there and is not taken is told of.
pub(crate) fn find(places: &[PathBuf], log: Log) -> Result<SlideList, CliError> {
    let slides = SlideList::find(places)?;
    if let n @ 1.. = slides.passed_over().len() {
        let names = slides.passed_over().iter().map(|path| path.display().to_string());
        log.warn(&format!(
            "not looked at: {n} folders with slides or slides of other kinds: {}; name such a folder to take its slides",
            listed_up_to(10, names)
        ));
    }
    Ok(slides)
}
