//! The layout of a run directory. Files are written beside their name and renamed, so none is ever half there.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::process;

/// Resolved configuration.
pub const CONFIG: &str = "config.toml";
/// Versions, device, threads.
pub const ENVIRONMENT: &str = "environment.json";
/// Cohort flow and the slides of every fold.
pub const FOLDS: &str = "folds.json";
/// Metrics over all folds.
pub const SUMMARY: &str = "summary.json";
/// Scores over time and calibration.
pub const OVER_TIME: &str = "over_time.json";
/// The report; written last, so a directory that has one is complete.
pub const REPORT: &str = "report.html";

/// Files of a fold, in `fold_K/`.
pub mod fold_files {
    /// Hashes of what the fold is trained and validated on; written first.
    pub const DATA: &str = "data.json";
    /// A row per epoch.
    pub const HISTORY: &str = "history.csv";
    /// Training slides with outcome and time bin.
    pub const TRAIN: &str = "train.csv";
    /// The slides of every epoch in the order in which they were trained on.
    pub const ORDER: &str = "order.csv";
    /// Validation rows of the selected epoch; written last, so a fold that has them is complete.
    pub const PREDICTIONS: &str = "predictions.csv";
    /// Validation rows of the last epoch.
    pub const PREDICTIONS_LAST: &str = "predictions_last.csv";
    /// Training rows of the selected epoch.
    pub const PREDICTIONS_TRAIN: &str = "predictions_train.csv";
    /// What stood in for what bags lack, where something did.
    pub const SUBSTITUTES: &str = "substitutes.csv";
    /// Weights of the selected epoch.
    pub const BEST: &str = "best.safetensors";
    /// Weights of the last epoch.
    pub const LAST: &str = "last.safetensors";
    /// What `--resume` continues from; removed once the fold is complete.
    pub const STATE: &str = "state";
}

/// The directory of one fold.
pub fn fold_dir(run: &Path, fold: usize) -> PathBuf {
    run.join(format!("fold_{fold}"))
}

/// The configuration of a run.
///
/// # Errors
/// If the directory has none.
pub fn config_of(run: &Path) -> Result<PathBuf> {
    let path = run.join(CONFIG);
    if path.is_file() {
        return Ok(path);
    }
    Err(Error::data(run, "found no config.toml, expected a run of `cf-train cv`"))
}

/// The folds of a run that have a directory, with it, in order.
///
/// # Errors
/// If the run's directory can't be read.
pub(crate) fn folds_in(run: &Path) -> Result<Vec<(usize, PathBuf)>> {
    let mut folds = Vec::new();
    for entry in fs::read_dir(run).map_err(Error::io("read", run))? {
        let path = entry.map_err(Error::io("read", run))?.path();
        let fold = path.file_name().and_then(|name| name.to_str()?.strip_prefix("fold_")?.parse().ok());
        folds.extend(fold.map(|fold| (fold, path)));
    }
    folds.sort_unstable();
    Ok(folds)
}

/// Creates a directory and its parents.
pub(crate) fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::io("create", path))
}

/// How the name of a file ends until it is whole.
const UNFINISHED: &str = ".tmp";

/// What a file is called until it is whole: no other process, and no other call in this one, takes the same name.
fn beside(path: &Path) -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}-{}{UNFINISHED}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
    PathBuf::from(beside)
}

/// The name that an unfinished file will have and the process that writes it; `None` for other files.
pub(crate) fn unfinished(name: &str) -> Option<(&str, u32)> {
    let (whole, writer) = name.strip_suffix(UNFINISHED)?.rsplit_once('.')?;
    let (process, call) = writer.split_once('-')?;
    call.parse::<u64>().ok()?;
    Some((whole, process.parse().ok()?))
}

/// Whether a path is what the file at `of` was called before it was whole.
pub(crate) fn is_beside(path: &Path, of: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let (Some(found), Some(whole)) = (name(path), name(of)) else { return false };
    unfinished(&found).is_some_and(|(of, _)| of == whole)
}

/// Removes what processes that were killed left unfinished in a run: in the directories of the folds that `is_ours` says are this
/// process's alone, and besides, but for other folds, what is of processes that are gone from this machine.
///
/// # Errors
/// If a directory can't be read, or a file removed.
pub(crate) fn remove_unfinished(run: &Path, is_ours: impl Fn(usize) -> bool) -> Result<()> {
    let folds = folds_in(run)?;
    let fold_of = |path: &Path| folds.iter().find(|(_, dir)| dir == path).map(|(fold, _)| *fold);
    let mut dirs = vec![(run.to_owned(), false)];
    while let Some((dir, ours)) = dirs.pop() {
        for entry in fs::read_dir(&dir).map_err(Error::io("read", &dir))? {
            let entry = entry.map_err(Error::io("read", &dir))?;
            let path = entry.path();
            if entry.file_type().map_err(Error::io("read", &path))?.is_dir() {
                match fold_of(&path).map(&is_ours) {
                    Some(false) => {}
                    Some(true) => dirs.push((path, true)),
                    None => dirs.push((path, ours)),
                }
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            if unfinished(&name).is_some_and(|(_, process)| ours || process::is_gone(process)) {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
    }
    Ok(())
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Writes `bytes` beside `path`, flushes them to the disk and renames, so that a machine that fails leaves a whole file, too.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = beside(path);
    let whole = |mut file: fs::File| {
        file.write_all(bytes)?;
        file.sync_all()
    };
    let written = fs::File::create(&beside).and_then(whole).map_err(Error::io("write", path));
    let renamed = written.and_then(|()| fs::rename(&beside, path).map_err(Error::io("rename to", path)));
    if renamed.is_err() {
        // The first error is the one to report; a leftover is only untidy.
        let _ = fs::remove_file(&beside);
    }
    renamed
}

/// Writes a value as indented JSON.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write(path, json_text(path, value)?.as_bytes())
}

/// The text that [`write_json`] puts into the file at `path`.
pub(crate) fn json_text(path: &Path, value: &impl Serialize) -> Result<String> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::data(path, format!("cannot be written as JSON: {error}")))?;
    text.push('\n');
    Ok(text)
}

/// Reads a JSON file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    serde_json::from_str(&text).map_err(|error| Error::data(path, error.to_string()))
}

/// Writes rows as CSV; the fields of the row type are the columns.
pub(crate) fn write_csv<T: Serialize>(path: &Path, rows: impl IntoIterator<Item = T>) -> Result<()> {
    write_rows(path, csv::Writer::from_writer(Vec::new()), rows)
}

/// Writes rows as CSV below the names of their columns, for rows whose number of fields is not fixed.
pub(crate) fn write_csv_under<T: Serialize>(
    path: &Path,
    header: &[String],
    rows: impl IntoIterator<Item = T>,
) -> Result<()> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.write_record(header).map_err(not_csv(path))?;
    write_rows(path, writer, rows)
}

fn not_csv(path: &Path) -> impl Fn(csv::Error) -> Error {
    |error| Error::data(path, format!("cannot be written as CSV: {error}"))
}

fn write_rows<T: Serialize>(
    path: &Path,
    mut writer: csv::Writer<Vec<u8>>,
    rows: impl IntoIterator<Item = T>,
) -> Result<()> {
    for row in rows {
        writer.serialize(row).map_err(not_csv(path))?;
    }
    let bytes = writer.into_inner().map_err(|error| Error::data(path, error.to_string()))?;
    write(path, &bytes)
}

/// Makes a directory beside `path`, has it filled, and renames it. Nothing is left where that fails.
///
/// # Errors
/// If `path` holds files already, or as `fill`.
pub(crate) fn write_dir<T>(path: &Path, fill: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    check_vacant(path)?;
    let beside = beside(path);
    let filled = create_dir(&beside).and_then(|()| {
        let filled = fill(&beside)?;
        sync_dir(&beside)?;
        fs::rename(&beside, path).map_err(Error::io("rename to", path))?;
        Ok(filled)
    });
    if filled.is_err() {
        // The first error is the one to report; a leftover is only untidy.
        let _ = fs::remove_dir_all(&beside);
    }
    filled
}

/// The path of a directory that [`write_dir`] can make: where there is one, an empty one, it is the place that a link or `.` stands for.
///
/// # Errors
/// If it holds files, or its parent can't be written to.
pub(crate) fn vacant(path: &Path) -> Result<PathBuf> {
    check_vacant(path)?;
    // Without a slash at its end, behind which what is beside it would lie in it.
    let path = path.canonicalize().unwrap_or_else(|_| path.components().collect());
    let probe = beside(&path);
    create_dir(&probe)?;
    fs::remove_dir(&probe).map_err(Error::io("remove", &probe))?;
    Ok(path)
}

/// Refuses a directory that holds files.
///
/// # Errors
/// If it does, or is a file.
fn check_vacant(path: &Path) -> Result<()> {
    let occupied = match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => path.symlink_metadata().is_ok(),
    };
    if occupied {
        Err(Error::data(path, "is there already and not an empty directory; choose another --out"))
    } else {
        Ok(())
    }
}

/// Reads the rows of a CSV file.
pub(crate) fn read_csv<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let file = fs::File::open(path).map_err(Error::io("read", path))?;
    let rows: std::result::Result<Vec<T>, csv::Error> =
        csv::Reader::from_reader(file).deserialize().collect();
    rows.map_err(|error| Error::data(path, csv_reason(&error)))
}

/// What is wrong with a CSV file, its line first.
fn csv_reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!("line {line}: {len} cells, expected {expected_len} as in the header")
        }
        csv::ErrorKind::Utf8 { pos, err } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!("line {line}, column {}: not UTF-8", err.field() + 1)
        }
        _ => error.to_string(),
    }
}

/// Flushes the names in a directory to the disk: files that were renamed to there are then found there, whatever happens. Nothing
/// where the file system can't do that.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    let flushed = fs::File::open(dir).and_then(|dir| dir.sync_all());
    unless_unsupported(flushed).map_err(Error::io("flush", dir))
}

/// FUSE, CIFS and NFS servers say in several ways that they flush files only.
fn unless_unsupported(flushed: std::io::Result<()>) -> std::io::Result<()> {
    use std::io::ErrorKind::{InvalidInput, Unsupported};
    let bad_descriptor = rustix::io::Errno::BADF.raw_os_error();
    match flushed {
        Err(error)
            if matches!(error.kind(), InvalidInput | Unsupported)
                || error.raw_os_error() == Some(bad_descriptor) =>
        {
            Ok(())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_of_one_file_do_not_disturb_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table1.txt");
        let texts = ["a".repeat(1 << 16), "b".repeat(1 << 17)];
        std::thread::scope(|scope| {
            for text in &texts {
                scope.spawn(|| (0..30).for_each(|_| write(&path, text.as_bytes()).unwrap()));
            }
        });
        let left = fs::read_to_string(&path).unwrap();
        assert!(texts.contains(&left), "{} bytes", left.len());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_killed_processes_left_unfinished_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let (gone, living) = (child.id(), std::process::id());
        let half = |name: String| {
            let path = run.join(name);
            create_dir(path.parent().unwrap()).unwrap();
            fs::write(&path, "half").unwrap();
            path
        };
        // A fold that is ours has no other writer, whoever has the number of that process now.
        let left = [
            half(format!("config.toml.{gone}-0.tmp")),
            half(format!("figures/curve.svg.{gone}-3.tmp")),
            half(format!("fold_0/train.csv.{living}-1.tmp")),
            half(format!("fold_0/state/position.json.{gone}-12.tmp")),
        ];
        let kept = [
            half(format!("folds.json.{living}-0.tmp")),
            half(format!("fold_1/state/position.json.{gone}-0.tmp")),
            half("fold_0/notes.tmp".to_owned()),
            half("mine.4711.tmp".to_owned()),
            half("fold_0/history.csv".to_owned()),
        ];
        remove_unfinished(run, |fold| fold == 0).unwrap();
        assert!(left.iter().all(|path| !path.exists()), "{left:?}");
        assert!(kept.iter().all(|path| path.is_file()), "{kept:?}");
    }

    #[test]
    fn an_unfinished_file_is_known_by_the_name_that_it_will_have() {
        let path = Path::new("run/config.toml");
        let unfinished = beside(path);
        assert!(unfinished != beside(path) && is_beside(&unfinished, path));
        assert!(!is_beside(path, path) && !is_beside(&unfinished, Path::new("run/other.toml")));
        assert!(!is_beside(Path::new("run/config.toml.old.tmp"), path));
    }

    #[test]
    fn file_systems_that_flush_no_directory_are_used_all_the_same() {
        let refused = |error: std::io::Error| unless_unsupported(Err(error)).is_err();
        let bad_descriptor = rustix::io::Errno::BADF.raw_os_error();
        assert!(!refused(std::io::Error::from_raw_os_error(bad_descriptor)));
        assert!(!refused(std::io::ErrorKind::InvalidInput.into()));
        assert!(!refused(std::io::ErrorKind::Unsupported.into()));
        assert!(refused(std::io::ErrorKind::StorageFull.into()) && unless_unsupported(Ok(())).is_ok());
    }
}
