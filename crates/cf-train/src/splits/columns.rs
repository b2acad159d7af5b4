//! `splits_0.csv`, `splits_1.csv`, ..: a column per part, of unequal length. The released form has `train` and `val` of
//! case ids, CLAM's `train`, `val` and `test` of slide ids.

use std::path::Path;

use cf_cli::RowLengths;

use super::{FoldEntries, Part, SplitEntry, SplitForm, SplitSet, check_numbers, fold_number, names_in};
use crate::delimited::DelimitedTable;
use crate::error::Result;

pub(super) fn read(path: &Path) -> Result<Option<SplitSet>> {
    let names = names_in(path)?;
    let mut files: Vec<(usize, &str)> =
        names.iter().filter_map(|name| Some((number_of(name)?, name.as_str()))).collect();
    files.sort_unstable();
    if files.is_empty() {
        return Ok(None);
    }
    check_numbers(path, files.iter().copied(), file_name)?;
    let mut form = SplitForm::Released;
    let mut folds = Vec::new();
    for (fold, name) in files {
        let file = path.join(name);
        let (entries, has_test) = read_file(&file)?;
        if has_test {
            form = SplitForm::Clam;
        }
        folds.push(FoldEntries { fold, path: file, entries });
    }
    Ok(Some(SplitSet { path: path.to_owned(), form, folds }))
}

pub(super) fn file_name(fold: usize) -> String {
    format!("splits_{fold}.csv")
}

/// CLAM writes `splits_0_bool.csv` and `splits_0_descriptor.csv` beside `splits_0.csv`; these say the same again.
fn number_of(name: &str) -> Option<usize> {
    fold_number(name.strip_prefix("splits_")?.strip_suffix(".csv")?)
}

fn read_file(path: &Path) -> Result<(Vec<SplitEntry>, bool)> {
    let table = DelimitedTable::read(path, RowLengths::Ragged)?;
    let column = |part: Part| table.column(part.as_str()).map(|index| (part, index));
    let missing = |name: &str| table.fault(format!("no column `{name}`; found {}", table.columns_in_words()));
    let train = column(Part::Train).ok_or_else(|| missing("train"))?;
    let (val, test) = (column(Part::Val), column(Part::Test));
    if val.is_none() && test.is_none() {
        return Err(missing("val"));
    }
    let mut entries = Vec::new();
    for row in table.rows() {
        for (part, index) in [Some(train), val, test].into_iter().flatten() {
            let id = row.cell(index);
            if !id.is_empty() {
                let place = format!("`{}` (line {})", part.as_str(), row.line);
                entries.push(SplitEntry { id: id.to_owned(), part, place });
            }
        }
    }
    Ok((entries, test.is_some()))
}
