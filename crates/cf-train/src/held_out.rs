//! Which model of a run held a slide out, what a slide was to a checkpoint, and what its run says of it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use wsi_bags::slide_stem;

use crate::config::{RunConfig, TrainingConfig};
use crate::config_keys::nearest;
use crate::ensemble::TrainedRun;
use crate::error::{Error, Result};
use crate::evaluate::{finished_folds, unfinished_fold};
use crate::plan::{FoldRecord, FoldsRecord};
use crate::protocol::{Protocol, UNSELECTABLE_EPOCHS};
use crate::run_dir::{self, FOLDS, config_of, fold_dir, fold_files};
use crate::study;

/// The models of a run, one for each fold that is finished.
#[derive(Debug)]
pub struct RunModels {
    dir: PathBuf,
    /// What the run was made with.
    pub config: RunConfig,
    record: FoldsRecord,
    finished: Vec<usize>,
}

impl RunModels {
    /// Reads what a run says of itself.
    ///
    /// # Errors
    /// If it is no run of `cf-train cv`, none of its folds is finished, or a file can't be read.
    pub fn open(dir: &Path) -> Result<Self> {
        Ok(Self {
            dir: dir.to_owned(),
            config: RunConfig::read(&config_of(dir)?, &[])?,
            record: run_dir::read_json(&dir.join(FOLDS))?,
            finished: finished_folds(dir)?.into_iter().map(|(fold, _)| fold).collect(),
        })
    }

    /// The finished folds whose validation part has `slide`, with or without its extension: the first, and the others.
    ///
    /// # Errors
    /// If no fold validates it (the error says what it is to each), or none that is finished.
    pub fn folds_holding_out(&self, slide: &str) -> Result<(usize, Vec<usize>)> {
        let holding = self.folds_with(slide, |fold| &fold.validation);
        let mut finished = holding.iter().copied().filter(|fold| self.finished.contains(fold));
        if let Some(fold) = finished.next() {
            return Ok((fold, finished.collect()));
        }
        if let Some(&fold) = holding.first() {
            return Err(unfinished_fold(&self.dir, (fold, "holds the slide out"), &self.finished));
        }
        Err(Error::data(&self.dir.join(FOLDS), self.not_held_out(slide)))
    }

    /// The finished folds, whose models were all trained without `slide`; `None` where a fold of the run has it in one of its parts.
    pub fn strangers_to(&self, slide: &str) -> Option<&[usize]> {
        let slide = slide_stem(slide);
        let is_there =
            self.record.folds.iter().flat_map(FoldRecord::slides).any(|listed| slide_stem(listed) == slide);
        (!is_there).then_some(&self.finished)
    }

    /// Whether another slide of the same patient was in the run, as far as its name tells.
    ///
    /// # Errors
    /// If the run's predictions can't be read.
    pub fn has_patient_of(&self, slide: &str) -> Result<bool> {
        Ok(TrainedRun::read(&self.dir, &[])?.has_seen_name(slide_stem(slide)))
    }

    /// The weights of the epoch that a fold selected.
    ///
    /// # Errors
    /// If the run has no such fold, or it is not finished, or its weights are gone.
    pub fn checkpoint(&self, fold: usize) -> Result<PathBuf> {
        if !self.finished.contains(&fold) {
            return Err(unfinished_fold(&self.dir, (fold, "was asked for"), &self.finished));
        }
        let path = fold_dir(&self.dir, fold).join(fold_files::BEST);
        if path.is_file() {
            return Ok(path);
        }
        Err(Error::data(
            &path,
            format!("is missing, expected the weights of the epoch that fold {fold} selected; put it back"),
        ))
    }

    fn folds_with(&self, slide: &str, part: impl Fn(&FoldRecord) -> &Vec<String>) -> Vec<usize> {
        let folds = self.record.folds.iter().filter(|fold| lists(part(fold), slide_stem(slide)));
        folds.map(|fold| fold.fold).collect()
    }

    /// Why no fold holds a slide out, and what can be done.
    fn not_held_out(&self, slide: &str) -> String {
        let slide = slide_stem(slide);
        let numbers = |folds: &[usize]| cf_cli::listed(folds.iter().map(ToString::to_string));
        let trained = self.folds_with(slide, |fold| &fold.train);
        let chose = self.folds_with(slide, |fold| &fold.inner_validation);
        let mut found = Vec::new();
        if !trained.is_empty() {
            found.push(format!("trained on in fold {}", numbers(&trained)));
        }
        if !chose.is_empty() {
            found.push(format!("chose the epoch in fold {}", numbers(&chose)));
        }
        let n_others = self.record.n_planned_folds.unwrap_or(0).saturating_sub(self.record.folds.len());
        let others = match (n_others, self.dir.join(study::FINISHED).is_file()) {
            (0, _) => String::new(),
            (_, true) => {
                "; this is one fold of a study: name the task of the fold that holds it out".to_owned()
            }
            (n, false) => {
                let folds =
                    if n == 1 { "1 fold of the splits is" } else { &format!("{n} folds of the splits are") };
                format!("; {folds} not in this run, `cf-train cv --resume` trains the rest")
            }
        };
        if found.is_empty() {
            let names = self.record.folds.iter().flat_map(FoldRecord::slides);
            let nearest = nearest(names.map(|name| slide_stem(name).to_owned()), slide);
            return format!(
                "slide {slide} is in no fold of the run{others}; the nearest name is {nearest}; --fold N takes the model of a fold all \
                 the same (finished: {})",
                numbers(&self.finished)
            );
        }
        format!(
            "slide {slide} is held out by no fold of the run: {}{others}; --fold N takes the model of a fold all the same (finished: {})",
            found.join(", "),
            numbers(&self.finished)
        )
    }
}

/// What a slide was to a checkpoint of a fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
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
    pub fn in_words(self) -> &'static str {
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
pub fn part(checkpoint: &Path, slide: &str) -> Option<(usize, Part)> {
    let checkpoint = fs::canonicalize(checkpoint).ok()?;
    let (folder, run) = fold_and_run(&checkpoint)?;
    let record: FoldsRecord = serde_json::from_slice(&fs::read(run.join(FOLDS)).ok()?).ok()?;
    let fold = record.folds.iter().find(|fold| fold_dir(run, fold.fold) == folder)?;
    let is_best = checkpoint.file_name().is_some_and(|name| name == fold_files::BEST);
    let slide = slide_stem(slide);
    let part = if lists(&fold.train, slide) {
        Part::Training
    } else if lists(&fold.inner_validation, slide) {
        if is_best { Part::Choosing } else { Part::NotTrainedOn }
    } else if lists(&fold.validation, slide) {
        validation(config_in(run).map(|config| config.training).as_ref(), is_best)
    } else {
        Part::Other
    };
    Some((fold.fold, part))
}

/// Why the model of a checkpoint predicts no survival, as a clause about its run; `None` where it does, or the checkpoint lies in no run.
pub fn no_survival(checkpoint: &Path) -> Option<&'static str> {
    let checkpoint = fs::canonicalize(checkpoint).ok()?;
    config_in(fold_and_run(&checkpoint)?.1)?.no_survival()
}

/// The folders that a checkpoint lies in. One that is named from within its folder has no parent's parent by name alone.
fn fold_and_run(canonical: &Path) -> Option<(&Path, &Path)> {
    let folder = canonical.parent()?;
    Some((folder, folder.parent()?))
}

fn lists(slides: &[String], slide: &str) -> bool {
    slides.iter().any(|listed| slide_stem(listed) == slide)
}

/// What a run was made with, where it says so.
fn config_in(run: &Path) -> Option<RunConfig> {
    RunConfig::read(&config_of(run).ok()?, &[]).ok()
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
    use crate::run_dir::CONFIG;
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

    #[test]
    fn the_fold_that_holds_a_slide_out_is_found_among_those_that_are_finished() {
        let dir = tempfile::tempdir().unwrap();
        write_run(dir.path());
        write_config(dir.path(), "protocol = \"sound\"\n");
        let finish =
            |fold: usize| fs::write(fold_dir(dir.path(), fold).join(fold_files::PREDICTIONS), "").unwrap();
        finish(0);
        let models = || RunModels::open(dir.path()).unwrap();
        let error = |slide: &str| models().folds_holding_out(slide).unwrap_err().to_string();
        assert_eq!(models().folds_holding_out("c.svs").unwrap(), (0, vec![]));
        let unfinished = error("a");
        assert!(
            unfinished.contains("fold 1 holds the slide out, finished are 0; `cf-train cv --resume`"),
            "{unfinished}"
        );
        finish(1);
        assert_eq!(models().folds_holding_out("a").unwrap(), (1, vec![]));
        let chose = error("b");
        assert!(
            chose.contains("slide b is held out by no fold of the run: chose the epoch in fold 0; --fold N"),
            "{chose}"
        );
        assert!(chose.contains("(finished: 0, 1)"), "{chose}");
        let unknown = error("cc");
        assert!(unknown.contains("slide cc is in no fold of the run; the nearest name is c;"), "{unknown}");
        let models = models();
        assert_eq!(models.checkpoint(1).unwrap(), fold_dir(dir.path(), 1).join(fold_files::BEST));
        let missing = models.checkpoint(2).unwrap_err().to_string();
        assert!(missing.contains("fold 2 was asked for, finished are 0, 1"), "{missing}");
        fs::remove_file(fold_dir(dir.path(), 1).join(fold_files::BEST)).unwrap();
        assert!(models.checkpoint(1).unwrap_err().to_string().contains("is missing"));
    }

    #[test]
    fn of_several_folds_that_hold_a_slide_out_the_first_that_is_finished_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        write_run(dir.path());
        write_config(dir.path(), "protocol = \"sound\"\n");
        let record = fs::read_to_string(dir.path().join(FOLDS)).unwrap();
        let mut record: FoldsRecord = serde_json::from_str(&record).unwrap();
        let drawn = |fold: usize| FoldRecord { fold, ..record.folds[0].clone() };
        record.folds = (0..3).map(drawn).collect();
        fs::write(dir.path().join(FOLDS), serde_json::to_string(&record).unwrap()).unwrap();
        for fold in 1..3 {
            fs::write(fold_dir(dir.path(), fold).join(fold_files::PREDICTIONS), "").unwrap();
        }
        assert_eq!(RunModels::open(dir.path()).unwrap().folds_holding_out("c").unwrap(), (1, vec![2]));
    }
}
