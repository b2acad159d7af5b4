//! A folder with the magnification of its files, as command lines give it.

use std::path::PathBuf;

use crate::error::{ErrorKind, Result};
use crate::magnification::Magnification;

/// Reads `x20=DIR`, for [`BagStore::open_roots`](crate::BagStore::open_roots).
///
/// ```
/// use wsi_bags::{Magnification, named_root};
///
/// let (magnification, directory) = named_root("x5=clam/x5")?;
/// assert_eq!((magnification, directory.to_str()), (Magnification::X5, Some("clam/x5")));
/// # Ok::<(), wsi_bags::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::UnknownName`] without `=`, or with another magnification before it.
pub fn named_root(text: &str) -> Result<(Magnification, PathBuf)> {
    let (magnification, directory) = text.split_once('=').ok_or_else(|| ErrorKind::UnknownName {
        what: "root",
        found: text.to_owned(),
        known: Magnification::ALL.map(|at| format!("{at}=DIR")).to_vec(),
    })?;
    Ok((magnification.parse()?, directory.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_has_a_magnification_and_may_have_an_equals_sign_in_its_path() {
        assert_eq!(named_root("10x=a=b").unwrap(), (Magnification::X10, PathBuf::from("a=b")));
        let text = named_root("features").unwrap_err().to_string();
        assert!(text.contains("unknown root `features`") && text.contains("x20=DIR"), "{text}");
        assert!(named_root("x40=a").unwrap_err().to_string().contains("x40"));
    }
}
