//! What the programs share: text on stdout, errors as users read them, words in their tables, logs, completions and man pages.

mod cells;
mod commas;
mod comments;
mod delimiter;
mod errors;
#[cfg(feature = "log")]
mod log;
mod names;
mod output;
pub mod pages;
mod records;
mod rows;
mod statuses;

pub use cells::is_missing;
pub use commas::{Commas, commas_of};
pub use comments::header_at;
pub use delimiter::delimiter_of;
pub use errors::{is_temporary, with_causes};
#[cfg(feature = "log")]
pub use log::{Log, LogFormat};
pub use names::{listed, listed_up_to};
pub use output::{aligned, print};
pub use records::{Record, RecordFault, Records, RowLengths};
pub use statuses::{StatusReader, is_status_word};
