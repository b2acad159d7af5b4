//! What TCGA barcodes say of the tissue on slides: a cohort of one kind of slides should stay one.

use std::collections::BTreeMap;

use super::fault::Fault;
use super::finding::{Finding, Severity, listed};

/// The kind of tissue by the barcode of a slide (`TCGA-A6-2683-01Z-00-DX1`): sample type `01Z`, slide `DX1`. `None` where the name is no
/// such barcode. (GDC, TCGA barcode: sample types 10 to 14 are normal; DX is a diagnostic slide, TS, MS and BS are frozen sections.)
fn kind_of(slide_id: &str) -> Option<&'static str> {
    let name = slide_id.split('.').next()?;
    let mut parts = name.split('-');
    if parts.next()? != "TCGA" {
        return None;
    }
    let (sample, slide) = (parts.nth(2)?, parts.nth(1)?);
    let sample_type: u8 = sample.get(..2)?.parse().ok()?;
    let letters: String = slide.chars().take_while(char::is_ascii_alphabetic).collect();
    match (sample_type, letters.as_str()) {
        (10..=14, _) => Some("normal tissue"),
        (_, "DX") => Some("diagnostic slides"),
        (_, "TS" | "MS" | "BS") => Some("frozen sections"),
        _ => None,
    }
}

/// Finds slides of another kind of tissue than most.
pub(super) fn examine(slide_ids: &[String], directory: &str) -> Option<Finding> {
    let mut kinds: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for slide_id in slide_ids {
        if let Some(kind) = kind_of(slide_id) {
            kinds.entry(kind).or_default().push(slide_id.clone());
        }
    }
    let (usual, _) = kinds.iter().max_by_key(|(_, ids)| ids.len())?;
    let others: Vec<String> = kinds
        .iter()
        .filter(|(kind, _)| *kind != usual)
        .map(|(kind, ids)| format!("{} of {kind}: {}", ids.len(), listed(ids)))
        .collect();
    if others.is_empty() {
        return None;
    }
    let n_usual = kinds.get(usual).map_or(0, Vec::len);
    let found = format!("{n_usual} of the slides are {usual}, and there are {}", others.join("; "));
    Some(Finding::new(Severity::Warning, Fault::MixedSamples, directory, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn barcodes_tell_diagnostic_frozen_and_normal_slides() {
        assert_eq!(kind_of("TCGA-A6-2683-01Z-00-DX1.0dfc5d0a"), Some("diagnostic slides"));
        assert_eq!(kind_of("TCGA-CR-7395-01A-01-TS1"), Some("frozen sections"));
        assert_eq!(kind_of("TCGA-A6-2683-11A-01-TS1.ab-cd"), Some("normal tissue"));
        assert_eq!(kind_of("TCGA-A6-2683-01Z-00-CD8"), None);
        assert_eq!([kind_of("TCGA-A6-2683"), kind_of("slide-1-01Z-00-DX1")], [None; 2]);
    }

    #[test]
    fn slides_of_another_kind_are_counted_and_named() {
        let ids = ["TCGA-A6-2683-01Z-00-DX1", "TCGA-A6-2684-01Z-00-DX1", "TCGA-A6-2683-11A-01-TS1", "other"];
        let ids = ids.map(str::to_owned);
        let found = examine(&ids, "bags").unwrap().found;
        assert_eq!(
            found,
            "2 of the slides are diagnostic slides, and there are 1 of normal tissue: TCGA-A6-2683-11A-01-TS1"
        );
        assert!(examine(&ids[..2], "bags").is_none());
    }
}
