//! Results on stdout, progress on stderr.

use std::io::{IsTerminal, Write};

use cf_cli::LogFormat;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::error::CliError;

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
        self.format.start(if self.quiet { "error" } else { "warn" });
    }

    /// Says what a person should look at.
    pub(crate) fn warn(self, warning: &str) {
        match self.format {
            LogFormat::Json => tracing::warn!("{warning}"),
            LogFormat::Text if self.quiet => (),
            LogFormat::Text => remark(&format!("warning: {warning}")),
        }
    }

    /// Says why a slide is left out.
    pub(crate) fn fault(self, slide: &str, fault: &CliError) {
        match self.format {
            LogFormat::Json => tracing::error!(slide, "{fault}"),
            LogFormat::Text => remark(&format!("error: slide {slide}: {fault}")),
        }
    }
}

fn remark(text: &str) {
    // Nothing is lost where stderr is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A bar over slides; hidden where nobody would see it.
pub(crate) fn progress(n_slides: usize, log: Log) -> ProgressBar {
    if log.quiet || log.format == LogFormat::Json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(n_slides as u64);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} slides {eta} {wide_msg}") {
        bar.set_style(style);
    }
    bar
}

/// A share in per cent.
pub(crate) fn percent(part: usize, whole: usize) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.1}%", 100.0 * part as f64 / whole as f64) }
}
