//! What the programs share: text on stdout, errors as users read them, words in their tables, logs, completions and man pages.

mod cells;
mod errors;
#[cfg(feature = "log")]
mod log;
mod output;
pub mod pages;

pub use cells::is_missing;
pub use errors::{is_temporary, with_causes};
#[cfg(feature = "log")]
pub use log::LogFormat;
pub use output::{aligned, print};
