//! Results on stdout, progress on stderr.

use std::io::{IsTerminal, Write};

use cf_cli::{Log, LogFormat};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::error::CliError;

/// One field alone may be wide.
const BAR: &str = "{wide_bar} {pos}/{len} slides {msg} {eta}";

/// Prints a text.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    cf_cli::print(text).map_err(CliError::Write)
}

/// Prints one line of JSON.
pub(crate) fn print_json<T: Serialize>(value: &T) -> Result<(), CliError> {
    print(&(serde_json::to_string(value).map_err(CliError::Encode)? + "\n"))
}

/// Says why a slide is left out.
pub(crate) fn fault(log: Log, slide: &str, fault: &CliError) {
    match log.format {
        LogFormat::Json => tracing::error!(slide, "{fault}"),
        // Nothing is lost where stderr is closed.
        LogFormat::Text => _ = writeln!(std::io::stderr(), "error: slide {slide}: {fault}"),
    }
}

/// A bar over slides; hidden where nobody would see it.
pub(crate) fn progress(n_slides: usize, log: Log) -> ProgressBar {
    if log.quiet || log.format == LogFormat::Json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(n_slides as u64);
    if let Ok(style) = ProgressStyle::with_template(BAR) {
        bar.set_style(style);
    }
    bar
}

/// A share in per cent.
pub(crate) fn percent(part: usize, whole: usize) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.1}%", 100.0 * part as f64 / whole as f64) }
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
