//! What a benchmark leaves in the repository: a file of measurements, from which the page is made.

use std::path::Path;

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::files::write;
use crate::step::Step;
use crate::tidy;

/// A table of `docs/benchmarks.md`.
pub(super) struct Recorded {
    pub(super) title: String,
    /// What was measured, if it is not what lies here.
    pub(super) commit: Option<String>,
    pub(super) command: String,
    pub(super) host: String,
    pub(super) versions: Value,
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
    pub(super) notes: Vec<String>,
}

impl Recorded {
    /// Writes `docs/benchmarks/<file>.json` and the page made from it. `remarks`, which people write there, stay.
    pub(super) fn write(&self, root: &Path, file: &str) -> Result<(), Failure> {
        let path = root.join(format!("docs/benchmarks/{file}.json"));
        let before = if path.is_file() {
            let text = std::fs::read_to_string(&path).map_err(|error| Failure::io("read", &path, &error))?;
            Some(parsed(&path, &text)?)
        } else {
            None
        };
        let commit = match &self.commit {
            Some(commit) => commit.clone(),
            None => commit(root)?,
        };
        let document = self.document(&commit, before);
        write(&path, &format!("{document:#}\n"))?;
        tidy::run(root, tidy::Mode::Write)
    }

    fn document(&self, commit: &str, before: Option<Value>) -> Value {
        let mut document = json!({
            "title": self.title,
            "command": self.command,
            "commit": commit,
            "host": self.host,
            "versions": self.versions,
            "columns": self.columns,
            "rows": self.rows,
            "notes": self.notes,
        });
        if let Some(remarks) = before.and_then(|mut before| before.get_mut("remarks").map(Value::take)) {
            document["remarks"] = remarks;
        }
        document
    }
}

/// What a file of measurements says; one that can't be read may have remarks, and is not written over.
fn parsed(path: &Path, text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::new(format!("{}: {error}; mend or remove it, its remarks would be lost", path.display()))
    })
}

/// The commit that was measured, and whether that was all: what `docs` says changes no measurement.
fn commit(root: &Path) -> Result<String, Failure> {
    let commit = Step::new(root, "git", &["rev-parse", "--short", "HEAD"]).stdout()?;
    let more = Step::new(root, "git", &["status", "--porcelain", "--", ".", ":!docs"]).stdout()?;
    Ok(described(commit.trim(), &more))
}

fn described(commit: &str, more: &str) -> String {
    if more.trim().is_empty() { commit.to_owned() } else { format!("{commit} and uncommitted changes") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_stay_and_all_else_is_new() {
        let recorded = Recorded {
            commit: None,
            title: "Model".to_owned(),
            command: "cargo xtask x".to_owned(),
            host: "two cores".to_owned(),
            versions: json!({}),
            columns: vec!["case".to_owned()],
            rows: vec![vec!["mean".to_owned()]],
            notes: vec!["Medians.".to_owned()],
        };
        let before = json!({"title": "Old", "notes": ["Old."], "remarks": ["The largest bag took a night."]});
        let document = recorded.document("abc", Some(before));
        assert_eq!(document["remarks"], json!(["The largest bag took a night."]));
        assert_eq!((&document["title"], &document["notes"]), (&json!("Model"), &json!(["Medians."])));
        for before in [None, Some(json!({}))] {
            assert!(recorded.document("abc", before).get("remarks").is_none());
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_written_over() {
        let text = parsed(Path::new("model-amd.json"), "<<<<<<< HEAD").unwrap_err().to_string();
        assert!(text.contains("model-amd.json") && text.contains("remarks"), "{text}");
    }

    #[test]
    fn a_commit_that_is_not_all_that_was_measured_says_so() {
        assert_eq!(described("abc", "\n"), "abc");
        assert_eq!(described("abc", " M crates/cf-layers/src/lib.rs\n"), "abc and uncommitted changes");
    }
}
