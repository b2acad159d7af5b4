//! What every fuzz target does around the reader that it tries: bounds on memory and time, and a file of the bytes.

mod bounds;
mod scratch;

pub use bounds::bounded;
pub use scratch::{Scratch, scratch};
