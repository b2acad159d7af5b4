//! A library's panic as an error.
//!
//! `rust-hdf5` computes with what a file states before it compares it with anything, and a false number can end in arithmetic
//! that overflows (checked in its release builds too, see the root manifest) or in an index out of range. It holds no state
//! between calls that such an end would leave half changed: files are opened for reading, and given up with the first error.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::error::Result;

use super::backend::{Attribute, Dataset, Members, SourceFile};
use super::{failed, pure};

/// The reader in Rust, whose panics end a call and not the program.
pub(super) struct Guarded(pure::Source);

impl Guarded {
    pub(super) fn open(path: &Path) -> Result<Self> {
        guarded("open the file", || pure::Source::open(path)).map(Self)
    }
}

fn guarded<T>(action: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let account = format!("the file contradicts itself: {}", words_of(panic.as_ref()));
        Err(failed(action, account))
    })
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("the library gave up")
}

impl SourceFile for Guarded {
    fn members(&self, group: &str) -> Result<Option<Members>> {
        guarded("list the members", || self.0.members(group))
    }

    fn dataset(&self, place: &str) -> Result<Option<Dataset>> {
        guarded("read the header of a dataset", || self.0.dataset(place))
    }

    fn floats(&self, place: &str) -> Result<Vec<f32>> {
        guarded("read the values", || self.0.floats(place))
    }

    fn integers(&self, place: &str) -> Result<Vec<i64>> {
        guarded("read the values as integers", || self.0.integers(place))
    }

    fn doubles(&self, place: &str) -> Result<Vec<f64>> {
        guarded("read the values", || self.0.doubles(place))
    }

    fn attribute(&self, place: &str, name: &str) -> Result<Option<Attribute>> {
        guarded("read an attribute", || self.0.attribute(place, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_words() {
        let nothing: [u8; 0] = [];
        let at = nothing.len();
        let error = guarded("read the values", || Ok(nothing[at])).unwrap_err();
        assert_eq!(error.to_string(), "cannot read the values");
        let source = std::error::Error::source(error.kind()).unwrap().to_string();
        assert!(source.contains("index out of bounds"), "{source}");
    }
}
