//! `<task>_k=0/train.csv`, `val.csv`, `test.csv`: the rows of the clinical table again, part by part (MMP, PANTHER).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cf_cli::RowLengths;

use super::{FoldEntries, Part, SplitForm, SplitSet, check_numbers, fold_number, names_in};
use crate::delimited::DelimitedTable;
use crate::error::{Error, Result};

pub(super) fn read(path: &Path) -> Result<Option<SplitSet>> {
    let Some(folders) = folders(path)? else { return Ok(None) };
    let folds = folders.into_iter().map(|(fold, folder)| read_folder(fold, folder)).collect::<Result<_>>()?;
    Ok(Some(SplitSet { path: path.to_owned(), form: SplitForm::Mmp, folds }))
}

/// The folders of a task by fold: those in `path`; those beside `path` that it is the task of; or `path` itself.
pub(super) fn folders(path: &Path) -> Result<Option<Vec<(usize, PathBuf)>>> {
    let own_name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if path.join("train.csv").is_file() {
        let fold = number_of(own_name).map_or(0, |(_, fold)| fold);
        return Ok(Some(vec![(fold, path.to_owned())]));
    }
    let (home, wanted_task) = match path.is_dir() {
        true => (path, None),
        false => (path.parent().unwrap_or(path), Some(own_name)),
    };
    let mut found = Vec::new();
    for name in names_in(home)? {
        if let Some((task, fold)) = number_of(&name)
            && wanted_task.is_none_or(|wanted| wanted == task)
            && home.join(&name).join("train.csv").is_file()
        {
            found.push((fold, task.to_owned(), home.join(&name)));
        }
    }
    if found.is_empty() {
        return Ok(None);
    }
    let tasks: BTreeSet<&str> = found.iter().map(|(_, task, _)| task.as_str()).collect();
    if tasks.len() > 1 {
        let tasks: Vec<&str> = tasks.into_iter().collect();
        let example = home.join(tasks.first().copied().unwrap_or_default());
        return Err(Error::data(
            path,
            format!(
                "holds splits of several tasks: {}; name one, such as {}",
                tasks.join(", "),
                example.display()
            ),
        ));
    }
    found.sort_by_key(|(fold, _, _)| *fold);
    let task = found.first().map_or("", |(_, task, _)| task).to_owned();
    let name_of = |folder: &PathBuf| folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let names: Vec<(usize, String)> =
        found.iter().map(|(fold, _, folder)| (*fold, name_of(folder))).collect();
    let numbers = names.iter().map(|(fold, name)| (*fold, name.as_str()));
    check_numbers(path, numbers, |fold| format!("{task}_k={fold}"))?;
    Ok(Some(found.into_iter().map(|(fold, _, folder)| (fold, folder)).collect()))
}

/// Task and fold of `<task>_k=<fold>` or `k=<fold>`.
fn number_of(name: &str) -> Option<(&str, usize)> {
    let (task, number) = name.rsplit_once("k=")?;
    let task = task.strip_suffix('_').or(task.is_empty().then_some(task))?;
    Some((task, fold_number(number)?))
}

/// The files of one fold that are there.
pub(super) fn part_files(folder: &Path) -> Vec<(Part, PathBuf)> {
    let files = [Part::Train, Part::Val, Part::Test]
        .map(|part| (part, folder.join(format!("{}.csv", part.as_str()))));
    files.into_iter().filter(|(_, file)| file.is_file()).collect()
}

fn read_folder(fold: usize, folder: PathBuf) -> Result<FoldEntries> {
    let files = part_files(&folder);
    if files.iter().all(|(part, _)| *part == Part::Train) {
        return Err(Error::data(&folder, "found train.csv alone, expected val.csv or test.csv beside it"));
    }
    let mut entries = FoldEntries { fold, path: folder, entries: Vec::new() };
    let mut known = BTreeSet::new();
    for (part, file) in files {
        let table = DelimitedTable::read(&file, RowLengths::Equal)?;
        let index = table
            .column("case_id")
            .ok_or_else(|| table.fault(format!("no column `case_id`; found {}", table.columns_in_words())))?;
        for row in table.rows() {
            let id = row.cell(index);
            if id.is_empty() {
                return Err(
                    table.fault(format!("line {}, column `case_id`: empty, expected an id", row.line))
                );
            }
            entries.push_once(id, part, || format!("{}.csv (line {})", part.as_str(), row.line), &mut known);
        }
    }
    Ok(entries)
}
