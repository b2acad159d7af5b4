//! Whether a checkpoint of a run was trained on a slide.

use std::fs;
use std::path::Path;

use cf_train::plan::FoldsRecord;
use cf_train::run_dir::{FOLDS, fold_dir};
use wsi_bags::slide_stem;

/// What a slide was to the fold of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Trained on.
    Training,
    /// Held out to choose the epoch.
    InnerValidation,
    /// Held out.
    Validation,
    /// In none of the fold's parts.
    Other,
}

impl Part {
    /// As pictures say it.
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Self::Training => "this slide was trained on",
            Self::InnerValidation => "this slide chose the epoch",
            Self::Validation => "this slide was held out",
            Self::Other => "this slide is in no part of the fold",
        }
    }
}

/// The fold of a checkpoint that lies in a run, and what `slide` is to it; `None` where the checkpoint lies elsewhere, or its run says
/// nothing of its folds.
pub(crate) fn part(checkpoint: &Path, slide: &str) -> Option<(usize, Part)> {
    // A checkpoint that is named from within its folder has no parent's parent by name alone.
    let checkpoint = fs::canonicalize(checkpoint).ok()?;
    let folder = checkpoint.parent()?;
    let run = folder.parent()?;
    let record: FoldsRecord = serde_json::from_slice(&fs::read(run.join(FOLDS)).ok()?).ok()?;
    let fold = record.folds.iter().find(|fold| fold_dir(run, fold.fold) == folder)?;
    let lists = |slides: &[String]| slides.iter().any(|listed| slide_stem(listed) == slide);
    let part = if lists(&fold.train) {
        Part::Training
    } else if lists(&fold.inner_validation) {
        Part::InnerValidation
    } else if lists(&fold.validation) {
        Part::Validation
    } else {
        Part::Other
    };
    Some((fold.fold, part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_fold_says_what_a_slide_was_to_it_and_a_checkpoint_elsewhere_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let fold = |fold: usize, train: &[&str], inner: &[&str], validation: &[&str]| {
            json!({
                "fold": fold, "n_train_slides": 1, "n_train_events": 1, "n_validation_slides": 1,
                "n_validation_patients": 1, "n_validation_events": 1, "time_bin_edges_months": [],
                "train": train, "inner_validation": inner, "validation": validation,
            })
        };
        let folds = json!({
            "flow": [],
            "folds": [fold(0, &["a.svs"], &["b"], &["c"]), fold(1, &["c"], &[], &["a"])],
        });
        fs::write(dir.path().join(FOLDS), folds.to_string()).unwrap();
        let checkpoint = |fold: usize| fold_dir(dir.path(), fold).join("best.safetensors");
        for fold in 0..3 {
            fs::create_dir(fold_dir(dir.path(), fold)).unwrap();
            fs::write(checkpoint(fold), "").unwrap();
        }
        let found = ["a", "b", "c", "d"].map(|slide| part(&checkpoint(0), slide));
        let wanted = [Part::Training, Part::InnerValidation, Part::Validation, Part::Other];
        assert_eq!(found, wanted.map(|part| Some((0, part))));
        assert_eq!(part(&checkpoint(1), "a"), Some((1, Part::Validation)));
        assert_eq!(part(&checkpoint(2), "a"), None, "a fold that the run does not list");
        let elsewhere = dir.path().join("best.safetensors");
        fs::write(&elsewhere, "").unwrap();
        assert_eq!(part(&elsewhere, "a"), None);
    }
}
