//! Slide names with and without their file extension.

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
            if !stem.is_empty()
                && EXTENSIONS
                    .iter()
                    .any(|known| extension.eq_ignore_ascii_case(known)) =>
        {
            stem
        }
        _ => slide_id,
    }
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
}
