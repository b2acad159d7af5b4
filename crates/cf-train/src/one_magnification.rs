//! A folder of one magnification in place of that of all.

use std::path::Path;

use wsi_bags::{BagStore, ErrorKind, Magnification};

use crate::error::Error;

/// The fault of `features.dir` where no bags were found in any layout, and are found once it is taken for the folder of one magnification.
pub(crate) fn fault(directory: &Path, error: &wsi_bags::Error, backbone: &str) -> Option<Error> {
    let of_one = || BagStore::open_roots(&[(Magnification::X20, directory.to_owned())], backbone);
    let is_one = matches!(error.kind(), ErrorKind::Layout { .. }) && of_one().is_ok();
    is_one.then(|| {
        let reason = format!(
            "is the folder of one magnification, expected that of all; in place of features.dir, name the folder of each in \
             [features.roots], as in {} = \"{}\"",
            named(directory),
            directory.display()
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
