//! Results on stdout, remarks and bars on stderr.

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::error::CliError;

/// One field alone may be wide.
const BAR: &str = "{prefix} {wide_bar} {pos}/{len} {msg}";

/// Prints a text.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    cf_cli::print(text).map_err(CliError::Write)
}

/// Prints one line of JSON.
pub(crate) fn print_json<T: Serialize>(value: &T) -> Result<(), CliError> {
    print(&(serde_json::to_string(value).map_err(CliError::Encode)? + "\n"))
}

/// A bar over what is done, hidden unless it is to be shown; it appears when it is told its length.
pub(crate) fn progress(show: bool, what: &'static str) -> ProgressBar {
    if !show {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0).with_prefix(what);
    if let Ok(style) = ProgressStyle::with_template(BAR) {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_alone_takes_the_room_that_is_left() {
        assert!(BAR.contains("{wide_bar}") && BAR.contains("{msg}"));
        assert_eq!(BAR.matches("{wide_").count(), 1, "of two, each is drawn in the place of both");
    }
}
