//! Configurations and studies that were made to take time or memory are refused at once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write;
use std::time::{Duration, Instant};

use cf_train::RunConfig;
use cf_train::study::StudyFile;

/// An unbounded search takes minutes here, a bounded one milliseconds.
const AT_ONCE: Duration = Duration::from_secs(3);

fn refusal<T: std::fmt::Debug>(text: &str, read: impl Fn(&std::path::Path) -> cf_train::Result<T>) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hostile.toml");
    std::fs::write(&path, text).unwrap();
    let start = Instant::now();
    let error = read(&path).unwrap_err();
    assert!(start.elapsed() < AT_ONCE, "took {:?}", start.elapsed());
    error.with_causes()
}

fn config_refusal(text: &str) -> String {
    refusal(text, |path| RunConfig::read(path, &[]))
}

fn study_refusal(text: &str) -> String {
    refusal(text, StudyFile::read)
}

/// `"a0", "a1", ..`
fn names(letter: char, n: usize) -> String {
    (0..n).map(|index| format!("\"{letter}{index}\"")).collect::<Vec<_>>().join(", ")
}

#[test]
fn only_the_first_of_many_unknown_keys_is_looked_up() {
    let text = (0..8000).fold(String::new(), |mut text, index| {
        writeln!(text, "k{index} = 1").unwrap();
        text
    });
    assert!(config_refusal(&text).contains("line 1: unknown key `k0`"));
}

#[test]
fn a_key_of_any_length_is_compared_by_its_beginning() {
    let key = format!("max_epoch{}", "s".repeat(40 << 10));
    let reason = config_refusal(&format!("[training]\n{key} = 1\n"));
    assert!(
        reason.ends_with("the nearest valid one is `training.max_epochs`"),
        "{}",
        &reason[reason.len() - 80..]
    );
}

#[test]
fn a_study_of_too_many_runs_is_refused_before_they_are_made() {
    let seeds = (0..3000).map(|seed| seed.to_string()).collect::<Vec<_>>().join(", ");
    let lists = [names('c', 1000), "\"amil\"".to_owned(), names('b', 1000)];
    let [cohorts, models, backbones] = lists;
    let text = format!(
        "[study]\nname = \"s\"\ncohorts = [{cohorts}]\nmodels = [{models}]\nbackbones = [{backbones}]\nseeds = [{seeds}]\n"
    );
    let reason = study_refusal(&text);
    assert!(reason.contains("asks for 3000000000 runs"), "{reason}");
}

#[test]
fn labels_within_labels_do_not_fill_the_memory() {
    let (cohort, backbone) = ("{backbone}".repeat(1000), "b".repeat(10 << 10));
    let dir = "{cohort}".repeat(1000);
    let text = format!(
        "[study]\nname = \"s\"\ncohorts = [\"{cohort}\"]\nmodels = [\"amil\"]\nbackbones = [\"{backbone}\"]\n\
         [features]\ndir = \"{dir}\"\n"
    );
    let reason = study_refusal(&text);
    assert!(reason.contains("becomes longer than 16384 bytes"), "{reason}");
}
