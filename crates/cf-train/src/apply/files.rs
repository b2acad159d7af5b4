//! The directory that models applied to slides without outcomes leave.

use std::path::Path;

use survival_metrics::RiskGroup;

use super::summary::{ApplySummary, ScoredList, ScoredRow, ScoredRows};
use crate::config::FeaturesConfig;
use crate::ensemble::Applied;
use crate::environment::Environment;
use crate::error::Result;
use crate::input_hash::{self, InputRecord};
use crate::run_dir;

/// A row per slide.
pub const PREDICTIONS: &str = "predictions.csv";
/// A row per patient.
pub const PATIENTS: &str = "patients.csv";

/// Hashes of what was read.
///
/// # Errors
/// If a file can't be read.
pub(super) fn inputs(
    table: Option<&Path>,
    (features, slides): (&FeaturesConfig, &[String]),
    applied: &Applied,
) -> Result<Vec<InputRecord>> {
    let mut inputs = Vec::new();
    if let Some(table) = table {
        inputs.push(InputRecord::of_file("table of slides", table, table)?);
    }
    let slides = slides.iter().map(String::as_str).collect();
    inputs.push(input_hash::of_features(features, &slides, &applied.bags)?);
    inputs.extend(applied.models.iter().map(|model| model.input.clone()));
    Ok(inputs)
}

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
    let ScoredList { folds, slides, patient_of, patients, n_slides_of } = scored;
    let rows =
        slides.rows.iter().zip(patient_of).map(|(row, patient)| (&row.id, patient, cells(slides, row)));
    run_dir::write_csv_under(
        &dir.join(PREDICTIONS),
        &header(["slide_id", "patient_id"], folds, &summary.at),
        rows,
    )?;
    let rows = patients.rows.iter().zip(n_slides_of).map(|(row, n)| (&row.id, n, cells(patients, row)));
    run_dir::write_csv_under(
        &dir.join(PATIENTS),
        &header(["patient_id", "n_slides"], folds, &summary.at),
        rows,
    )?;
    run_dir::write_json(&dir.join(run_dir::SUMMARY), summary)
}

/// `ids`, whether they were in the run, the risk by each model, the risk, its group, survival.
fn header(ids: [&str; 2], folds: &[usize], months: &[f64]) -> Vec<String> {
    let before = ids.into_iter().chain(["in_run"]).map(str::to_owned);
    let by_model = folds.iter().map(|fold| format!("risk_fold_{fold}"));
    let survival = months.iter().map(|month| format!("survival_{month}_months"));
    before.chain(by_model).chain(["risk", "risk_group"].map(str::to_owned)).chain(survival).collect()
}

fn cells<'a>(of: &ScoredRows, row: &'a ScoredRow) -> (bool, &'a [f64], f64, &'static str, &'a [f64]) {
    let group = match of.group(row) {
        Some(RiskGroup::High) => "high",
        Some(RiskGroup::Low) => "low",
        None => "",
    };
    (row.in_run, &row.by_model, row.risk, group, &row.survival)
}
