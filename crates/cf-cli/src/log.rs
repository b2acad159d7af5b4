//! Log lines on stderr, for people or for programs.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

use clap::ValueEnum;

/// How log lines are written to stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line: `timestamp`, `level`, and `fields` with the `message` and what it is about.
    Json,
}

impl LogFormat {
    /// Writes what is said through `tracing` from now on, from `level` up; the variable `RUST_LOG` takes its place where it is
    /// set. Once per process.
    pub fn start(self, level: &str) {
        let filter = tracing_subscriber::EnvFilter::try_from_default_env()
            .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .with_target(false)
            // Of a full disk or a closed pipe it would tell stderr, which is what can't be written, and panic.
            .log_internal_errors(false);
        match self {
            Self::Text => builder.init(),
            Self::Json => builder.json().init(),
        }
    }

    /// Says why the program ends with this code: as a line `error: ..`, or as a line of the log that has `exit_code`.
    pub fn say_error(self, error: &dyn Display, exit_code: u8) {
        match self {
            // Nowhere is left to report that stderr is closed.
            Self::Text => _ = writeln!(std::io::stderr(), "error: {error}"),
            Self::Json => tracing::error!(exit_code, "{error}"),
        }
    }
}

/// Where a program says what is no result: on stderr, for people or for programs.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    /// Says nothing but errors.
    pub quiet: bool,
    /// For whom.
    pub format: LogFormat,
}

impl Log {
    /// Says a text. What programs should find in fields is not said by this.
    pub fn remark(self, text: &str) {
        match self.format {
            LogFormat::Text if self.quiet => (),
            // Nothing is lost where stderr is closed.
            LogFormat::Text => _ = writeln!(std::io::stderr(), "{text}"),
            LogFormat::Json => tracing::info!("{text}"),
        }
    }

    /// Says what a person should look at.
    pub fn warn(self, text: &str) {
        match self.format {
            LogFormat::Text => self.remark(&format!("warning: {text}")),
            LogFormat::Json => tracing::warn!("{text}"),
        }
    }
}
