//! Folds to files: the released form and STAMP's.

use std::path::{Path, PathBuf};

use super::stamp::{self, PatientLists, SplitsFile};
use super::{FoldEntries, Part, SplitSet, columns, names_in};
use crate::error::{Error, Result};
use crate::run_dir;

/// The forms that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrittenForm {
    /// `splits_K.csv` with an index and columns `train` and `val`.
    Released,
    /// `splits.json` with `train_patients` and `test_patients`.
    Stamp,
}

/// Writes the training and the validated part of every fold into `dir`, and returns the files.
///
/// # Errors
/// If `dir` holds split files already, or can't be written to; none is left there then.
pub fn write(set: &SplitSet, validated: Part, form: WrittenForm, dir: &Path) -> Result<Vec<PathBuf>> {
    // What a call that was killed left unfinished is nobody's.
    let is_taken = |name: &String| {
        run_dir::unfinished(name).is_none() && (name.starts_with("splits") || name == "k=all.tsv")
    };
    let occupied = names_in(dir)?.into_iter().find(is_taken);
    if let Some(name) = occupied {
        return Err(Error::data(dir, format!("holds {name} already; choose another --out")));
    }
    run_dir::create_dir(dir)?;
    let ids = |fold: &FoldEntries, part: Part| -> Vec<String> {
        fold.entries.iter().filter(|entry| entry.part == part).map(|entry| entry.id.clone()).collect()
    };
    match form {
        WrittenForm::Released => {
            let file = |fold: &FoldEntries| {
                let file = dir.join(columns::file_name(fold.fold));
                let bytes = two_columns(&ids(fold, Part::Train), &ids(fold, validated))
                    .map_err(|error| Error::data(&file, format!("cannot be written as CSV: {error}")))?;
                Ok((file, bytes))
            };
            write_all(set.folds.iter().map(file).collect::<Result<_>>()?)
        }
        WrittenForm::Stamp => {
            let lists = |fold: &FoldEntries| PatientLists {
                train_patients: ids(fold, Part::Train),
                val_patients: Vec::new(),
                test_patients: ids(fold, validated),
            };
            let file = dir.join(stamp::FILE);
            run_dir::write_json(&file, &SplitsFile { splits: set.folds.iter().map(lists).collect() })?;
            Ok(vec![file])
        }
    }
}

/// Writes all of the files or, on an error, none: some of the folds would be taken for all.
fn write_all(files: Vec<(PathBuf, Vec<u8>)>) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for (file, bytes) in files {
        if let Err(error) = run_dir::write(&file, &bytes) {
            for file in written {
                // The first error is the one to report.
                let _ = std::fs::remove_file(file);
            }
            return Err(error);
        }
        written.push(file);
    }
    Ok(written)
}

/// An index without a name, then two columns, the shorter one blank at its end.
fn two_columns(train: &[String], val: &[String]) -> std::result::Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["", "train", "val"])?;
    for row in 0..train.len().max(val.len()) {
        let cell = |ids: &[String]| ids.get(row).cloned().unwrap_or_default();
        writer.write_record([row.to_string(), cell(train), cell(val)])?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_call_left_unfinished_is_no_split_file() {
        let dir = tempfile::tempdir().unwrap();
        let set = SplitSet {
            path: dir.path().to_owned(),
            form: crate::splits::SplitForm::Stamp,
            folds: Vec::new(),
        };
        let write = || write(&set, Part::Val, WrittenForm::Stamp, dir.path());
        std::fs::write(dir.path().join("splits_0.csv.4711-0.tmp"), "half").unwrap();
        assert_eq!(write().unwrap(), [dir.path().join(stamp::FILE)]);
        assert!(write().is_err(), "there are splits now");
    }

    #[test]
    fn folds_that_cannot_all_be_written_are_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let files =
            |names: &[&str]| names.iter().map(|name| (dir.path().join(name), b"x".to_vec())).collect();
        let names = || std::fs::read_dir(dir.path()).unwrap().count();
        assert!(write_all(files(&["splits_0.csv", "splits_1.csv", "nowhere/splits_2.csv"])).is_err());
        assert_eq!(names(), 0);
        assert_eq!(write_all(files(&["splits_0.csv", "splits_1.csv"])).unwrap().len(), 2);
        assert_eq!(names(), 2);
    }
}
