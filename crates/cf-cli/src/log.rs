//! Log lines on stderr, for people or for programs.

use std::io::IsTerminal;

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
            .with_target(false);
        match self {
            Self::Text => builder.init(),
            Self::Json => builder.json().init(),
        }
    }
}
