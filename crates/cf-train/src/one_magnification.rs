//! A folder of one magnification in place of that of all.

use std::path::Path;

use wsi_bags::{BagStore, ErrorKind, Magnification};

use crate::error::Error;
use crate::shell::shell;

/// How many files are looked at for features.
const N_LOOKED_AT: usize = 16;

/// The fault of a directory of bags where none were found in any layout, and are found once it is taken for the folder of one
/// magnification. Files that hold anything else, such as checkpoints, make no such folder.
pub(crate) fn fault(directory: &Path, error: &wsi_bags::Error, backbone: &str) -> Option<Error> {
    if !matches!(error.kind(), ErrorKind::Layout { .. }) {
        return None;
    }
    let as_one = Magnification::X20;
    let store = BagStore::open_roots(&[(as_one, directory.to_owned())], backbone).ok()?;
    let mut slides = store.slide_ids().iter().take(N_LOOKED_AT);
    slides.any(|slide| store.describe(slide, as_one).is_ok()).then(|| {
        let (kind, root, at) = (error.kind(), directory.display(), named(directory));
        let quoted = shell(&root.to_string());
        let reason = format!(
            "{kind}; it is the folder of one magnification, expected that of all: name the folder of each, in a configuration in \
             [features.roots] in place of features.dir, as in {at} = \"{root}\", and for `cf-train apply` as in --root {at}={quoted}"
        );
        Error::data(directory, reason)
    })
}

/// The magnification that the name of a folder says, such as `x5` or `10x_512px_0px_overlap`; x20 where it says none.
fn named(directory: &Path) -> &'static str {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let says = |at: &Magnification| {
        let mut words = name.split(|c: char| !c.is_alphanumeric());
        words.any(|word| word == at.label() || word == format!("{}x", at.power()))
    };
    Magnification::ALL.into_iter().find(says).unwrap_or(Magnification::X20).label()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_say_their_magnification() {
        for (name, wanted) in
            [("clam/x5", "x5"), ("10x_512px_0px_overlap", "x10"), ("features", "x20"), ("x50", "x20")]
        {
            assert_eq!(named(Path::new(name)), wanted, "{name}");
        }
    }
}
