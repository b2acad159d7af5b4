//! What TCGA barcodes say: the patient, and the site that the tissue came from.

/// The patient of a case: the first twelve characters of a TCGA barcode (`TCGA-2F-A9KO`), else the case id itself.
pub fn patient_of(case_id: &str) -> &str {
    let parts: Vec<usize> = case_id.split('-').take(3).map(str::len).collect();
    if case_id.starts_with("TCGA-") && parts == [4, 2, 4] {
        return case_id.get(..12).unwrap_or(case_id);
    }
    case_id
}

/// The tissue source site of a TCGA patient: characters 6 and 7 of the barcode (`2F` of `TCGA-2F-A9KO`). `None` where
/// the id is no barcode.
pub fn site_of(patient_id: &str) -> Option<&str> {
    let parts: Vec<&str> = patient_id.split('-').collect();
    match parts.as_slice() {
        ["TCGA", site, participant, ..] if site.len() == 2 && participant.len() == 4 => Some(site),
        _ => None,
    }
}

/// The ids that a bag's name can start with, longest first: the name itself, then every head that ends before a character
/// that is no letter or digit.
pub(crate) fn heads_of(bag: &str) -> impl Iterator<Item = &str> {
    let ends = bag.char_indices().rev().filter(|(_, character)| !character.is_alphanumeric());
    std::iter::once(bag).chain(ends.filter_map(|(end, _)| bag.get(..end))).filter(|head| !head.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patient_is_the_head_of_a_barcode_or_the_case_itself() {
        assert_eq!(patient_of("TCGA-2F-A9KO"), "TCGA-2F-A9KO");
        assert_eq!(patient_of("TCGA-A6-2683-01Z-00-DX1.0dfc5d0a"), "TCGA-A6-2683");
        assert_eq!(patient_of("TCGA-sim-12"), "TCGA-sim-12");
        assert_eq!(patient_of("case 12"), "case 12");
    }

    #[test]
    fn a_site_is_two_characters_of_a_barcode() {
        assert_eq!(site_of("TCGA-2F-A9KO"), Some("2F"));
        assert_eq!(site_of("TCGA-A6-2683-01Z-00-DX1"), Some("A6"));
        assert_eq!(site_of("TCGA-sim-12"), None);
        assert_eq!(site_of("C3L-00016"), None);
    }

    #[test]
    fn heads_end_before_a_separator() {
        let heads: Vec<&str> = heads_of("C3L-00016_21").collect();
        assert_eq!(heads, ["C3L-00016_21", "C3L-00016", "C3L"]);
    }
}
