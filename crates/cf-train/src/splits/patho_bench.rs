//! `k=all.tsv` of Patho-Bench: a row per case or slide, a column `fold_0`, `fold_1`, .. per fold that says `train`, `val`
//! or `test`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cf_cli::RowLengths;

use super::{FoldEntries, Part, SplitForm, SplitSet, check_numbers, fold_number};
use crate::delimited::DelimitedTable;
use crate::error::Result;

const FILE: &str = "k=all.tsv";
/// Columns that can hold the ids; the first that is there does.
const ID_COLUMNS: [&str; 3] = ["case_id", "slide_id", "filename"];

pub(super) fn read(path: &Path) -> Result<Option<SplitSet>> {
    let Some(file) = file_of(path) else { return Ok(None) };
    let table = DelimitedTable::read(&file, RowLengths::Equal)?;
    let lists = |wanted: &str| table.fault(format!("no {wanted}; found {}", table.columns_in_words()));
    let id_column = ID_COLUMNS.iter().find_map(|name| table.column(name));
    let id_column = id_column.ok_or_else(|| lists(&format!("column {}", ID_COLUMNS.join(", "))))?;
    let mut columns: Vec<(usize, usize)> =
        table.header().iter().enumerate().filter_map(|(index, name)| Some((fold_of(name)?, index))).collect();
    columns.sort_unstable();
    if columns.is_empty() {
        return Err(lists("columns fold_0, fold_1, .."));
    }
    let names: Vec<(usize, String)> = columns
        .iter()
        .map(|&(fold, index)| {
            (fold, format!("column {}", table.header().get(index).map_or("", String::as_str)))
        })
        .collect();
    let numbers = names.iter().map(|(fold, name)| (*fold, name.as_str()));
    check_numbers(&file, numbers, |fold| format!("column fold_{fold}"))?;
    let folds = columns.into_iter().map(|(fold, index)| read_fold(&table, fold, index, id_column));
    Ok(Some(SplitSet {
        path: path.to_owned(),
        form: SplitForm::PathoBench,
        folds: folds.collect::<Result<_>>()?,
    }))
}

fn file_of(path: &Path) -> Option<PathBuf> {
    let is_tsv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
    let file = if is_tsv { path.to_owned() } else { path.join(FILE) };
    file.is_file().then_some(file)
}

fn fold_of(column: &str) -> Option<usize> {
    fold_number(column.strip_prefix("fold")?.trim_start_matches('_'))
}

fn read_fold(table: &DelimitedTable, fold: usize, index: usize, id_column: usize) -> Result<FoldEntries> {
    let column = table.header().get(index).map_or("", String::as_str);
    let mut entries = FoldEntries { fold, path: table.path().to_owned(), entries: Vec::new() };
    let mut known = BTreeSet::new();
    for row in table.rows() {
        let part = match row.cell(index).to_ascii_lowercase().as_str() {
            "train" => Part::Train,
            "val" => Part::Val,
            "test" => Part::Test,
            "" => continue,
            _ => {
                return Err(table.fault(format!(
                    "line {}, column `{column}`: found `{}`, expected train, val, test or nothing",
                    row.line,
                    row.cell(index)
                )));
            }
        };
        let id = row.cell(id_column);
        if id.is_empty() {
            return Err(table.fault(format!("line {}: empty id, expected a case or slide", row.line)));
        }
        entries.push_once(
            id,
            part,
            || format!("`{column}` = {} (line {})", part.as_str(), row.line),
            &mut known,
        );
    }
    Ok(entries)
}
