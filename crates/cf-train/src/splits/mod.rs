//! Split files: every form that users have, read into one; made, checked and written.
//!
//! | form | file |
//! |---|---|
//! | `splits_0.csv` .. with columns `train`, `val` of case ids (released), or `train`, `val`, `test` of slide ids (CLAM) | `splits/columns.rs` |
//! | `<task>_k=0/{train,val,test}.csv` .. with full rows (MMP) | `splits/full_rows.rs` |
//! | `splits.json` (STAMP) | `splits/stamp.rs` |
//! | `k=all.tsv`, a column per fold (Patho-Bench) | `splits/patho_bench.rs` |

mod assignment;
mod check;
mod columns;
mod faults;
mod full_rows;
mod held_out;
mod make;
pub(crate) mod matching;
mod patho_bench;
mod stamp;
pub(crate) mod validated_parts;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use check::{FoldCheck, PartCounts, SplitsCheck, check};
pub use held_out::{HeldOutPart, HeldOutUse};
pub use make::{Grouping, MakeOptions, make};
pub use write::{WrittenForm, write};

use crate::error::{Error, Result};

/// A part of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Trained on.
    Train,
    /// Held out as `val`.
    Val,
    /// Held out as `test`.
    Test,
}

impl Part {
    /// As split files spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }
}

/// A form of split files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitForm {
    /// `splits_K.csv` with columns `train` and `val`.
    Released,
    /// `splits_K.csv` with columns `train`, `val` and `test`.
    Clam,
    /// `<task>_k=K/{train,val,test}.csv`.
    Mmp,
    /// `splits.json`.
    Stamp,
    /// `k=all.tsv`.
    PathoBench,
}

impl fmt::Display for SplitForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Released => "splits_K.csv (train, val)",
            Self::Clam => "splits_K.csv (train, val, test)",
            Self::Mmp => "<task>_k=K/{train,val,test}.csv",
            Self::Stamp => "splits.json",
            Self::PathoBench => "k=all.tsv",
        })
    }
}

/// The splits of a study as their files say, nothing refused yet.
#[derive(Debug, Clone, PartialEq)]
pub struct SplitSet {
    /// What was asked for.
    pub path: PathBuf,
    /// What lay there.
    pub form: SplitForm,
    /// The folds, in order.
    pub folds: Vec<FoldEntries>,
}

/// One fold as its file says.
#[derive(Debug, Clone, PartialEq)]
pub struct FoldEntries {
    /// Its number.
    pub fold: usize,
    /// The file or folder.
    pub path: PathBuf,
    /// Its ids, in the order of the file.
    pub entries: Vec<SplitEntry>,
}

/// An id of a split file: a case, a slide or a patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitEntry {
    /// As the file has it.
    pub id: String,
    /// Where it belongs.
    pub part: Part,
    /// Where it stands, as errors say it: `` `train` (line 2) ``.
    pub place: String,
}

/// A fold of ids, ready to be joined: no id stands twice.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// Its number.
    pub fold: usize,
    /// The file or folder.
    pub path: PathBuf,
    /// Ids to train on.
    pub train: Vec<String>,
    /// Ids to validate on.
    pub validation: Vec<String>,
    /// Ids to choose the epoch on, where the split files say them.
    pub choosing: Vec<String>,
    /// Ids of the held-out part that is for nothing.
    pub unused: Vec<String>,
    /// The part that is validated.
    pub validated_part: Part,
}

/// What an error says of splits where there is neither folder nor file.
pub(crate) const NOTHING_THERE: &str = "there is no such directory or file";

/// Reads the splits at `path`: a folder or file of any form, found by what lies there.
///
/// # Errors
/// If there is nothing at `path`, or nothing that is looked for (the error lists it), forms or tasks are mixed, a number is left out, or a file
/// is unreadable or lacks a column.
pub fn read(path: &Path) -> Result<SplitSet> {
    let found: Vec<SplitSet> =
        [columns::read(path)?, full_rows::read(path)?, stamp::read(path)?, patho_bench::read(path)?]
            .into_iter()
            .flatten()
            .collect();
    let forms: Vec<String> = found.iter().map(|set| set.form.to_string()).collect();
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(set), None) => Ok(set),
        (Some(_), Some(_)) => {
            let forms = forms.join(" and ");
            Err(Error::data(
                path,
                format!("holds {forms}, expected splits of one form; name one of them as `splits`"),
            ))
        }
        // The folders of full rows are called after a path at which nothing need lie.
        (None, _) if !path.exists() => Err(Error::data(path, NOTHING_THERE)),
        (None, _) => Err(Error::data(
            path,
            "found no splits_0.csv, no <task>_k=0/train.csv, no splits.json and no k=all.tsv, expected splits of one \
             of these forms",
        )),
    }
}

/// The files of a folder of splits with full rows (MMP), or nothing where `path` is none.
pub(crate) fn full_row_files(path: &Path) -> Result<Option<Vec<PathBuf>>> {
    let Some(folders) = full_rows::folders(path)? else { return Ok(None) };
    Ok(Some(
        folders.iter().flat_map(|(_, folder)| full_rows::part_files(folder)).map(|(_, file)| file).collect(),
    ))
}

impl SplitSet {
    /// The folds, with each part for what `held_out` says.
    ///
    /// # Errors
    /// If an id stands twice in a fold, or as [`SplitSet::validated_part`].
    pub fn select(&self, held_out: HeldOutUse) -> Result<Vec<Split>> {
        let validated = self.validated_part(held_out)?;
        self.folds.iter().map(|fold| fold.select(validated, held_out.choosing_part())).collect()
    }
}

impl FoldEntries {
    /// Ids that stand twice, with the entries of either place.
    pub fn repeats(&self) -> Vec<(&SplitEntry, &SplitEntry)> {
        let mut first: BTreeMap<&str, &SplitEntry> = BTreeMap::new();
        let mut repeats = Vec::new();
        for entry in &self.entries {
            match first.get(entry.id.as_str()) {
                Some(earlier) => repeats.push((*earlier, entry)),
                None => {
                    first.insert(&entry.id, entry);
                }
            }
        }
        repeats
    }

    fn select(&self, validated: Part, choosing: Option<Part>) -> Result<Split> {
        if let Some((first, second)) = self.repeats().first() {
            let reason = format!("case {} stands in {} and in {}", first.id, first.place, second.place);
            return Err(Error::data(&self.path, reason));
        }
        let ids = |keep: &dyn Fn(Part) -> bool| {
            self.entries.iter().filter(|entry| keep(entry.part)).map(|entry| entry.id.clone()).collect()
        };
        Ok(Split {
            fold: self.fold,
            path: self.path.clone(),
            train: ids(&|part| part == Part::Train),
            validation: ids(&|part| part == validated),
            choosing: ids(&|part| Some(part) == choosing),
            unused: ids(&|part| part != Part::Train && part != validated && Some(part) != choosing),
            validated_part: validated,
        })
    }

    /// Adds an id; a row per slide names a case as often as it has slides, which is no repetition within a part.
    fn push_once(
        &mut self,
        id: &str,
        part: Part,
        place: impl FnOnce() -> String,
        known: &mut BTreeSet<(String, Part)>,
    ) {
        if known.insert((id.to_owned(), part)) {
            self.entries.push(SplitEntry { id: id.to_owned(), part, place: place() });
        }
    }
}

/// The number of a fold as names write it: digits alone.
fn fold_number(digits: &str) -> Option<usize> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Refuses sorted fold numbers, each with the name that has it, that do not run from 0 without a gap: a file left behind would be
/// lost without a word. `name` is what a fold is called.
fn check_numbers<'a>(
    path: &Path,
    numbers: impl Iterator<Item = (usize, &'a str)>,
    name: impl Fn(usize) -> String,
) -> Result<()> {
    let mut before: Option<(usize, &str)> = None;
    for (expected, (number, found)) in numbers.enumerate() {
        let fault = match before {
            Some((last, other)) if last == number => {
                format!(
                    "{other} and {found} are both of fold {number}, expected one; remove or rename the other"
                )
            }
            _ if number != expected => {
                let missing = name(expected);
                format!("found {found} but no {missing}, expected numbers from 0 without a gap")
            }
            _ => {
                before = Some((number, found));
                continue;
            }
        };
        return Err(Error::data(path, fault));
    }
    Ok(())
}

/// The entries of a folder by name, sorted; none where it is no folder.
fn names_in(folder: &Path) -> Result<Vec<String>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let entry = entry.map_err(Error::io("list", folder))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}
