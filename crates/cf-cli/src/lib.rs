//! What the programs share, and no library needs: text on stdout, errors as users read them, logs, completions and man pages.

mod errors;
#[cfg(feature = "log")]
mod log;
mod output;
pub mod pages;

pub use errors::{is_temporary, with_causes};
#[cfg(feature = "log")]
pub use log::LogFormat;
pub use output::{aligned, print};
