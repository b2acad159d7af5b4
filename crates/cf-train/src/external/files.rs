//! The directory that an external test writes.

use std::collections::BTreeMap;
use std::path::Path;

use survival_metrics::Outcome;

use super::scored::ScoredSlides;
use super::summary::ExternalSummary;
use crate::config::ExternalConfig;
use crate::ensemble::Columns;
use crate::environment::Environment;
use crate::error::Result;
use crate::evaluate::StatusName;
use crate::run_dir;

/// `[cohort]` and `[features]`, with every default filled in.
pub const COHORT: &str = "cohort.toml";
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
    config: &ExternalConfig,
    scored: &ScoredSlides,
    summary: &ExternalSummary,
    environment: &Environment,
) -> Result<()> {
    run_dir::write(&dir.join(COHORT), config.to_toml()?.as_bytes())?;
    run_dir::write_json(&dir.join(run_dir::ENVIRONMENT), environment)?;
    write_slides(&dir.join(PREDICTIONS), scored)?;
    write_patients(&dir.join(PATIENTS), scored)?;
    run_dir::write_json(&dir.join(run_dir::SUMMARY), summary)
}

/// `ids`, outcome, the risk by each model, the risk, survival.
fn header(ids: [&str; 2], columns: &Columns) -> Vec<String> {
    let before = ids.into_iter().chain(["event_time_months", "status"]).map(str::to_owned);
    before.chain(columns.risk_names()).chain(columns.survival_names()).collect()
}

fn write_slides(path: &Path, scored: &ScoredSlides) -> Result<()> {
    let columns = &scored.columns;
    let rows = scored
        .slides
        .iter()
        .enumerate()
        .map(|(row, slide)| (&slide.case_id, &slide.slide_id, cells(&slide.outcome, columns, row)));
    run_dir::write_csv_under(path, &header(["case_id", "slide_id"], columns), rows)
}

fn write_patients(path: &Path, scored: &ScoredSlides) -> Result<()> {
    let averaged = scored.averaged.of_patients();
    let columns = &scored.columns.of_patients(&scored.averaged.patients);
    let mut n_slides: BTreeMap<&str, usize> = BTreeMap::new();
    for slide in &scored.slides {
        *n_slides.entry(&slide.patient_id).or_default() += 1;
    }
    let patients = averaged.patients.iter().zip(&averaged.outcomes).enumerate();
    let rows = patients.map(|(row, (patient, outcome))| {
        (patient, n_slides.get(patient.as_str()), cells(outcome, columns, row))
    });
    run_dir::write_csv_under(path, &header(["patient_id", "n_slides"], columns), rows)
}

/// All of a row but its ids.
fn cells(outcome: &Outcome, columns: &Columns, row: usize) -> (f64, StatusName, Vec<f64>, Vec<f64>) {
    let status = StatusName::from(outcome.status());
    (outcome.time(), status, columns.risks_of(row), columns.survival_of(row))
}
