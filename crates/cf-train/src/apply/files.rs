//! The directory that models applied to slides without outcomes leave.

use std::path::Path;

use survival_metrics::RiskGroup;

use super::summary::{ApplySummary, Scored, ScoredList};
use crate::environment::Environment;
use crate::error::Result;
use crate::run_dir;

/// A row per slide.
pub const PREDICTIONS: &str = "predictions.csv";
/// A row per patient.
pub const PATIENTS: &str = "patients.csv";

/// Writes all files into `dir`.
///
/// # Errors
/// If one can't be written.
pub(super) fn write(
    dir: &Path,
    scored: &ScoredList,
    summary: &ApplySummary,
    environment: &Environment,
) -> Result<()> {
    run_dir::write_json(&dir.join(run_dir::ENVIRONMENT), environment)?;
    let ScoredList { slides, patient_of, patients, n_slides_of } = scored;
    let rows = (0..).zip(slides.ids.iter().zip(patient_of)).map(|(row, ids)| (ids, cells(slides, row)));
    let columns = header(["slide_id", "patient_id"], slides);
    run_dir::write_csv_under(&dir.join(PREDICTIONS), &columns, rows)?;
    let rows = (0..).zip(patients.ids.iter().zip(n_slides_of)).map(|(row, ids)| (ids, cells(patients, row)));
    let columns = header(["patient_id", "n_slides"], patients);
    run_dir::write_csv_under(&dir.join(PATIENTS), &columns, rows)?;
    run_dir::write_json(&dir.join(run_dir::SUMMARY), summary)
}

/// `ids`, whether they were in the run, the risk by each model, the risk, its group, survival.
fn header(ids: [&str; 2], scored: &Scored) -> Vec<String> {
    let before = ids.into_iter().chain(["in_run"]).map(str::to_owned);
    let risks = scored.columns.risk_names().chain(["risk_group".to_owned()]);
    before.chain(risks).chain(scored.columns.survival_names()).collect()
}

/// All of a row but its ids.
fn cells(scored: &Scored, row: usize) -> (Option<bool>, Vec<f64>, &'static str, Vec<f64>) {
    let group = match scored.group(row) {
        Some(RiskGroup::High) => "high",
        Some(RiskGroup::Low) => "low",
        None => "",
    };
    let in_run = scored.in_run.get(row).copied();
    (in_run, scored.columns.risks_of(row), group, scored.columns.survival_of(row))
}
