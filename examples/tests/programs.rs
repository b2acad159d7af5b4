//! The programs run as their first lines say, and print what they promise.

use std::path::Path;
use std::process::Command;

fn output(program: &str, folder: &Path) -> String {
    let done = Command::new(program).current_dir(folder).output().expect("starts");
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} failed: {error}");
    String::from_utf8(done.stdout).expect("text")
}

#[test]
fn a_slide_of_the_tiny_cohort_gets_its_curve() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let trained = output(env!("CARGO_BIN_EXE_train_tiny_cohort"), folder.path());
    assert_eq!(trained.matches("validation C-index").count(), 5 * 4, "five folds of four epochs: {trained}");
    assert!(folder.path().join("tiny_cohort/run/report.html").is_file());

    let scored = output(env!("CARGO_BIN_EXE_score_one_slide"), folder.path());
    let survival: Vec<f64> = scored
        .lines()
        .filter_map(|line| line.split_once("with probability "))
        .map(|(_, value)| value.parse().expect("a probability"))
        .collect();
    assert_eq!(survival.len(), 4, "{scored}");
    assert!(survival.is_sorted_by(|a, b| a >= b), "survival falls: {scored}");
    let risk = scored.lines().find_map(|line| line.strip_prefix("risk ")).expect("a risk");
    let risk: f64 = risk.split(' ').next().expect("a number").parse().expect("a number");
    assert!((risk + survival.iter().sum::<f64>()).abs() < 0.003, "the risk is minus the sum: {scored}");
}

#[test]
fn remission_of_leukaemia_comes_out_as_published() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let text = output(env!("CARGO_BIN_EXE_kaplan_meier"), folder.path());
    // Freireich et al. 1963: 9 and 21 relapses, medians of 23 and 8 weeks, log-rank chi-square 16.79.
    for expected in ["21 subjects, 9 events", "21 subjects, 21 events", "median 23 ", "median 8 ", "16.79"] {
        assert!(text.contains(expected), "`{expected}` in {text}");
    }
    assert!(folder.path().join("kaplan_meier.svg").is_file());
}
