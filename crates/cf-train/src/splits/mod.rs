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
mod full_rows;
mod make;
pub(crate) mod matching;
mod patho_bench;
mod stamp;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use check::{FoldCheck, PartCounts, SplitsCheck, check};
pub use make::{Grouping, MakeOptions, make};
pub use write::{WrittenForm, write};

use crate::error::{Error, Result};

/// What is validated where a split has both a `val` and a `test` part. A split with one held-out part validates that one,
/// whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldOutPart {
    /// The `val` part; `test` is neither trained nor validated on.
    #[default]
    Val,
    /// The `test` part; `val` is neither trained nor validated on.
    Test,
}

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
    /// Ids of the held-out part that is not evaluated.
    pub unused: Vec<String>,
}

/// Reads the splits at `path`: a folder or file of any form, found by what lies there.
///
/// # Errors
/// If nothing lies there (the error lists what was looked for), forms or tasks are mixed, a number is left out, or a file
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
    /// The folds with `evaluate` as the part to validate.
    ///
    /// # Errors
    /// If an id stands twice in a fold, or `evaluate` is `test` and no fold has a test part.
    pub fn select(&self, evaluate: HeldOutPart) -> Result<Vec<Split>> {
        let validated = self.validated_part(evaluate)?;
        self.folds.iter().map(|fold| fold.select(validated)).collect()
    }

    /// The part that is validated: `evaluate` where the splits have both, else the only one.
    ///
    /// # Errors
    /// If `evaluate` is `test` and no fold has a test part.
    pub fn validated_part(&self, evaluate: HeldOutPart) -> Result<Part> {
        let has =
            |part: Part| self.folds.iter().any(|fold| fold.entries.iter().any(|entry| entry.part == part));
        match evaluate {
            HeldOutPart::Val if has(Part::Val) || !has(Part::Test) => Ok(Part::Val),
            HeldOutPart::Test if !has(Part::Test) => Err(Error::data(
                &self.path,
                "found no test part, but evaluate is \"test\"; write evaluate = \"val\" in [cohort]",
            )),
            HeldOutPart::Val | HeldOutPart::Test => Ok(Part::Test),
        }
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

    fn select(&self, validated: Part) -> Result<Split> {
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
            unused: ids(&|part| part != Part::Train && part != validated),
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
