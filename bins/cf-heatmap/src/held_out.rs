//! Whether a checkpoint of a run was trained on a slide.

use std::fs;
use std::path::Path;

use cf_train::RunConfig;
use cf_train::config::TrainingConfig;
use cf_train::plan::FoldsRecord;
use cf_train::protocol::{Protocol, UNSELECTABLE_EPOCHS};
use cf_train::run_dir::{FOLDS, config_of, fold_dir, fold_files};
use wsi_bags::slide_stem;

/// What a slide was to a checkpoint of a fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Trained on.
    Training,
    /// Held out of training, and the epoch was chosen by it.
    Choosing,
    /// Held out of training; it may have had a say in how long training went on.
    NotTrainedOn,
    /// Held out of all: nothing was fitted or chosen on it.
    HeldOut,
    /// In none of the fold's parts.
    Other,
}

impl Part {
    /// As pictures say it.
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Self::Training => "this slide was trained on",
            Self::Choosing => "this slide was held out of training and chose the epoch",
            Self::NotTrainedOn => "this slide was held out of training",
            Self::HeldOut => "this slide was held out",
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
    let is_best = checkpoint.file_name().is_some_and(|name| name == fold_files::BEST);
    let part = if lists(&fold.train) {
        Part::Training
    } else if lists(&fold.inner_validation) {
        if is_best { Part::Choosing } else { Part::NotTrainedOn }
    } else if lists(&fold.validation) {
        validation(training_of(run).as_ref(), is_best)
    } else {
        Part::Other
    };
    Some((fold.fold, part))
}

/// How a run was trained, where it says so.
fn training_of(run: &Path) -> Option<TrainingConfig> {
    Some(RunConfig::read(&config_of(run).ok()?, &[]).ok()?.training)
}

/// What a slide of the validation fold is to the best checkpoint, or another.
fn validation(training: Option<&TrainingConfig>, is_best: bool) -> Part {
    match training {
        Some(training) if training.protocol == Protocol::Sound => Part::HeldOut,
        // Of a shorter run, the last epoch is the best.
        Some(training) if is_best && training.max_epochs > UNSELECTABLE_EPOCHS => Part::Choosing,
        _ => Part::NotTrainedOn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cf_train::run_dir::CONFIG;
    use serde_json::json;

    fn write_config(run: &Path, training: &str) {
        let text = format!(
            "[cohort]\nname = \"one\"\nclinical = \"c.csv\"\npreset = \"mcat\"\nsplits = \"s\"\n\
             [features]\ndir = \"bags\"\nbackbone = \"conch\"\n[model]\nname = \"amil\"\n[training]\n{training}"
        );
        fs::write(run.join(CONFIG), text).unwrap();
    }

    /// A run with two folds in its record and three on disk.
    fn write_run(run: &Path) {
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
        fs::write(run.join(FOLDS), folds.to_string()).unwrap();
        for fold in 0..3 {
            fs::create_dir(fold_dir(run, fold)).unwrap();
            for name in [fold_files::BEST, fold_files::LAST] {
                fs::write(fold_dir(run, fold).join(name), "").unwrap();
            }
        }
    }

    #[test]
    fn a_fold_says_what_a_slide_was_to_it_and_a_checkpoint_elsewhere_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        write_run(dir.path());
        write_config(dir.path(), "protocol = \"sound\"\ninner_validation = 0.2\n");
        let checkpoint = |fold: usize, name: &str| fold_dir(dir.path(), fold).join(name);
        for (name, inner) in [(fold_files::BEST, Part::Choosing), (fold_files::LAST, Part::NotTrainedOn)] {
            let found = ["a", "b", "c", "d"].map(|slide| part(&checkpoint(0, name), slide));
            let wanted = [Part::Training, inner, Part::HeldOut, Part::Other];
            assert_eq!(found, wanted.map(|part| Some((0, part))), "{name}");
        }
        assert_eq!(part(&checkpoint(1, fold_files::BEST), "a"), Some((1, Part::HeldOut)));
        assert_eq!(part(&checkpoint(2, fold_files::BEST), "a"), None, "a fold that the run does not list");
        let elsewhere = dir.path().join("best.safetensors");
        fs::write(&elsewhere, "").unwrap();
        assert_eq!(part(&elsewhere, "a"), None);
    }

    #[test]
    fn the_validation_fold_chooses_the_best_epoch_of_the_paper_alone() {
        let dir = tempfile::tempdir().unwrap();
        write_run(dir.path());
        let found = |name: &str| part(&fold_dir(dir.path(), 0).join(name), "c").unwrap().1;
        assert_eq!(found(fold_files::BEST), Part::NotTrainedOn, "the run does not say how it was trained");
        write_config(dir.path(), "protocol = \"paper\"\n");
        assert_eq!(found(fold_files::BEST), Part::Choosing);
        assert_eq!(found(fold_files::LAST), Part::NotTrainedOn);
        write_config(dir.path(), "protocol = \"paper\"\nmax_epochs = 5\n");
        assert_eq!(found(fold_files::BEST), Part::NotTrainedOn, "no epoch could be chosen");
    }
}
