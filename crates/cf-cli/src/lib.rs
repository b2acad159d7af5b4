//! What the programs share, and no library needs: text on stdout, errors as users read them, completions and man pages.

mod errors;
mod output;
pub mod pages;

pub use errors::{is_temporary, with_causes};
pub use output::{aligned, print};
