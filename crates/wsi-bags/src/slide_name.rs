//! Slide names with and without their file extension, and names that are safe in paths.

#[cfg(feature = "store")]
use crate::error::{ErrorKind, Result};

/// Extensions of whole slide images, as OpenSlide and clinical tables know them.
const EXTENSIONS: [&str; 8] = ["svs", "tif", "tiff", "ndpi", "mrxs", "scn", "bif", "dcm"];

/// Strips the extension of a slide file, if it is a known one, in either case.
///
/// Clinical tables say `X.svs` where feature files are called `X.pt`. Slide names contain dots of their own, so
/// nothing but a known extension is cut.
///
/// ```
/// use wsi_bags::slide_stem;
///
/// assert_eq!(slide_stem("TCGA-2F-A9KO-01Z-00-DX1.195576CF.svs"), "TCGA-2F-A9KO-01Z-00-DX1.195576CF");
/// assert_eq!(slide_stem("TCGA-2F-A9KO-01Z-00-DX1.195576CF"), "TCGA-2F-A9KO-01Z-00-DX1.195576CF");
/// ```
#[must_use]
pub fn slide_stem(slide_id: &str) -> &str {
    match slide_id.rsplit_once('.') {
        Some((stem, extension))
            if !stem.is_empty() && EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)) =>
        {
            stem
        }
        _ => slide_id,
    }
}

/// Refuses a name that would leave its directory or group, or that no file can have.
#[cfg(feature = "store")]
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<()> {
    let bad = name.is_empty()
        || name.starts_with('.')
        || name.contains(['/', '\\'])
        || name.contains(char::is_control);
    if bad { Err(ErrorKind::Name { what, found: name.to_owned() }.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_extensions_are_stripped_once_in_any_case() {
        assert_eq!(slide_stem("a.b.SVS"), "a.b");
        assert_eq!(slide_stem("a.Tiff"), "a");
        assert_eq!(slide_stem("a.svs.svs"), "a.svs");
    }

    #[test]
    fn other_endings_are_part_of_the_name() {
        for name in ["a.b", "a", "", "a.", ".svs", "a.pt", "asvs", "a.svs2"] {
            assert_eq!(slide_stem(name), name);
        }
    }

    #[cfg(feature = "store")]
    #[test]
    fn names_that_leave_their_directory_are_refused() {
        for name in ["", ".", "..", ".hidden", "a/b", "../a", "a\\b", "a\0", "a\n"] {
            assert!(check_name("slide", name).is_err(), "{name:?}");
        }
        assert!(check_name("slide", "TCGA-2F.A9KO (1)").is_ok());
    }
}
