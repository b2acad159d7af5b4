//! Every bag alone: read whole, as training would.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher};

use cf_model::{ModelConfig, Need};
use wsi_bags::{Bag, BagStore, Error, ErrorKind, FileKind, Magnification};

use super::fault::Fault;
use super::finding::{Finding, Severity, listed, without_path};
use crate::memory::BagSize;
use crate::missing_fact;

/// What is left of a bag once it was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BagFacts {
    /// As the table calls the slide.
    pub(super) slide_id: String,
    /// A hash of its features; of two slides it is the same where one's bag was taken for the other's.
    pub(super) features_hash: u64,
    /// Columns of the features.
    pub(super) dim: usize,
    pub(super) size: BagSize,
    /// The order of the rows; `None` where coordinates do not tell.
    pub(super) row_order: Option<&'static str>,
    /// How its features were made, as far as its files say; each in words.
    pub(super) made: Vec<String>,
}

/// Reads every slide of a store, which lies at `directory`; `progress` hears the number done and their total.
pub(super) fn examine(
    (store, directory): (&BagStore, &str),
    slide_ids: &[String],
    model: &ModelConfig,
    findings: &mut Vec<Finding>,
    progress: &mut dyn FnMut(usize, usize),
) -> Vec<BagFacts> {
    let magnifications = model.magnifications();
    let mut facts = Vec::with_capacity(slide_ids.len());
    // All bags of one tool lack the same, and are mended alike: they are told of together.
    let mut lacking: BTreeMap<(Need, Magnification, Option<String>), Vec<String>> = BTreeMap::new();
    for (done, slide_id) in slide_ids.iter().enumerate() {
        match store.read(slide_id, magnifications) {
            Ok(bag) => {
                match model.check_bag(&bag) {
                    Ok(()) => {}
                    Err(cf_model::Error::MissingFact { need, magnification, .. }) => {
                        let conversion = missing_fact::conversion(store, slide_id, need, magnification);
                        lacking.entry((need, magnification, conversion)).or_default().push(slide_id.clone());
                    }
                    Err(error) => {
                        let (place, found) = (format!("slide {slide_id}"), error.to_string());
                        findings.push(Finding::new(Severity::Error, Fault::MissingPatchFact, place, found));
                    }
                }
                facts.push(facts_of(slide_id, &bag));
            }
            Err(joint) => {
                // Each magnification for itself: a slide may have a fault at every one.
                let alone = magnifications.iter().filter_map(|at| store.read(slide_id, &[*at]).err());
                let mut found: Vec<Finding> = alone.map(|error| of_bag(slide_id, &error)).collect();
                if found.is_empty() {
                    found.push(of_bag(slide_id, &joint));
                }
                findings.extend(found);
            }
        }
        progress(done + 1, slide_ids.len());
    }
    for ((need, magnification, conversion), slides) in lacking {
        let found = format!(
            "{} needs {} of the {magnification} patches, which {} of {} bags lack: {}",
            model.name(),
            need.in_words(),
            slides.len(),
            slide_ids.len(),
            listed(&slides)
        );
        let finding = Finding::new(Severity::Error, Fault::MissingPatchFact, directory, found);
        findings.push(match conversion {
            Some(way_out) => finding.with_way_out(way_out),
            None => finding,
        });
    }
    facts
}

fn facts_of(slide_id: &str, bag: &Bag) -> BagFacts {
    let n_patches = |at: Magnification| bag.get(at).map_or(0, |set| set.n_patches());
    BagFacts {
        slide_id: slide_id.to_owned(),
        features_hash: features_hash(bag),
        dim: bag.feature_dim(),
        size: BagSize {
            x5: n_patches(Magnification::X5),
            x10: n_patches(Magnification::X10),
            x20: n_patches(Magnification::X20),
        },
        row_order: bag.sets().any(|(_, set)| tells_order(set.coords())).then(|| crate::bags::row_order(bag)),
        made: made(bag),
    }
}

/// Of as many features, evenly spread over those of a magnification: to hash all would take longer than to read them.
const HASHED: usize = 4096;

fn features_hash(bag: &Bag) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (_, set) in bag.sets() {
        let features = set.features().as_slice();
        hasher.write_usize(features.len());
        // Not one column alone, whatever the width.
        let step = (features.len() / HASHED) | 1;
        for value in features.iter().step_by(step) {
            hasher.write_u32(value.to_bits());
        }
    }
    hasher.finish()
}

fn made(bag: &Bag) -> Vec<String> {
    let stated = bag.sets().flat_map(|(_, set)| set.provenance().making_in_words());
    stated.collect::<BTreeSet<String>>().into_iter().collect()
}

/// Whether patches lie in several rows and several columns; on one line every order is the same.
fn tells_order(coords: Option<&[[i64; 2]]>) -> bool {
    let Some([first, rest @ ..]) = coords else { return false };
    rest.iter().any(|at| at[0] != first[0]) && rest.iter().any(|at| at[1] != first[1])
}

/// The finding of a bag that can't be read.
pub(super) fn of_bag(slide_id: &str, error: &Error) -> Finding {
    let fault = match error.kind() {
        ErrorKind::FileKind { found: FileKind::Empty, .. } => Fault::EmptyFile,
        ErrorKind::FileKind { .. }
        | ErrorKind::Pickle { .. }
        | ErrorKind::Global { .. }
        | ErrorKind::Content { .. }
        | ErrorKind::ElementType { .. }
        | ErrorKind::Shape { .. }
        | ErrorKind::MissingDataset { .. }
        | ErrorKind::Attribute { .. } => Fault::WrongFileKind,
        ErrorKind::BeyondFile { .. }
        | ErrorKind::Archive { .. }
        | ErrorKind::Hdf5 { .. }
        | ErrorKind::Safetensors { .. }
        | ErrorKind::Limit { .. }
        | ErrorKind::TensorLayout { .. } => Fault::TruncatedFile,
        ErrorKind::MissingEncoder { .. } => Fault::MissingEncoder,
        ErrorKind::MissingMagnification { .. } => Fault::MissingMagnification,
        ErrorKind::EmptyBag => Fault::ZeroPatches,
        ErrorKind::NonFinite { .. } => Fault::NanFeatures,
        ErrorKind::FeatureDim { .. } | ErrorKind::ZeroWidth => Fault::FeatureWidth,
        ErrorKind::RowCount { .. } | ErrorKind::Parent { .. } => Fault::CoordsRows,
        ErrorKind::Coords { .. } => Fault::CoordsOffSlide,
        ErrorKind::RowOrder { .. } => Fault::RowOrderMixed,
        ErrorKind::Disagreement { .. } => Fault::FilesDisagree,
        _ => Fault::UnreadableFile,
    };
    let mut found = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        found.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    let place = match error.path() {
        Some(path) => {
            found = without_path(&found, path);
            format!("{}, slide {slide_id}", path.display())
        }
        None => format!("slide {slide_id}"),
    };
    let finding = Finding::new(Severity::Error, fault, place, found);
    match error.kind() {
        // The file is whole; what reads it lacks something.
        ErrorKind::Hdf5Feature { .. } => {
            finding.with_way_out("see above: another build, or `h5repack`".to_owned())
        }
        _ => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_broke_off_is_to_be_copied_again() {
        let error = Error::from(ErrorKind::BeyondFile { end: 13232, file_len: 5000 });
        let finding = of_bag("slide-1", &error);
        assert_eq!((finding.fault, finding.place.as_str()), (Fault::TruncatedFile, "slide slide-1"));
        assert_eq!(finding.found, "the file ends at byte 5000, but what it holds lies up to byte 13232");
        assert!(finding.way_out.starts_with("copy the file again"), "{}", finding.way_out);
    }
}
