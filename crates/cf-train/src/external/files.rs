//! The directory that an external test writes.

use std::collections::BTreeMap;
use std::path::Path;

use super::cohort::ExternalCohort;
use super::scored::ScoredSlides;
use super::summary::ExternalSummary;
use crate::config::ExternalConfig;
use crate::ensemble::Applied;
use crate::environment::Environment;
use crate::error::Result;
use crate::evaluate::{Risks, StatusName};
use crate::input_hash::{self, InputRecord};
use crate::run_dir;

/// `[cohort]` and `[features]`, with every default filled in.
pub const COHORT: &str = "cohort.toml";
/// A row per slide.
pub const PREDICTIONS: &str = "predictions.csv";
/// A row per patient.
pub const PATIENTS: &str = "patients.csv";

/// Hashes of what a test read.
///
/// # Errors
/// If a file can't be read.
pub(super) fn inputs(
    config: &ExternalConfig,
    cohort: &ExternalCohort,
    applied: &Applied,
) -> Result<Vec<InputRecord>> {
    let mut inputs = vec![input_hash::of_settings(COHORT, &config.to_toml()?)];
    inputs.extend(input_hash::of_tables(&config.cohort)?);
    let slides = cohort.slides.iter().map(|slide| slide.slide_id.as_str()).collect();
    inputs.push(input_hash::of_features(&config.features, &slides, &applied.bags)?);
    inputs.extend(applied.models.iter().map(|model| model.input.clone()));
    Ok(inputs)
}

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

/// `ids`, outcome, the risk by each model, the risk.
fn header(ids: [&str; 2], folds: &[usize]) -> Vec<String> {
    let before = ids.into_iter().chain(["event_time_months", "status"]).map(str::to_owned);
    let by_model = folds.iter().map(|fold| format!("risk_fold_{fold}"));
    before.chain(by_model).chain(["risk".to_owned()]).collect()
}

fn write_slides(path: &Path, scored: &ScoredSlides) -> Result<()> {
    let rows = scored.slides.iter().enumerate().map(|(at, slide)| {
        let (by_model, risk) = row(&scored.by_model, &scored.averaged, at);
        let status = StatusName::from(slide.outcome.status());
        (&slide.case_id, &slide.slide_id, slide.outcome.time(), status, by_model, risk)
    });
    run_dir::write_csv_under(path, &header(["case_id", "slide_id"], &scored.folds), rows)
}

fn write_patients(path: &Path, scored: &ScoredSlides) -> Result<()> {
    let averaged = scored.averaged.of_patients();
    let by_model: Vec<Risks> = scored.by_model.iter().map(Risks::of_patients).collect();
    let mut n_slides: BTreeMap<&str, usize> = BTreeMap::new();
    for slide in &scored.slides {
        *n_slides.entry(&slide.patient_id).or_default() += 1;
    }
    let rows =
        averaged.patients.iter().zip(&averaged.outcomes).enumerate().map(|(at, (patient, outcome))| {
            let (by_model, risk) = row(&by_model, &averaged, at);
            (
                patient,
                n_slides.get(patient.as_str()),
                outcome.time(),
                StatusName::from(outcome.status()),
                by_model,
                risk,
            )
        });
    run_dir::write_csv_under(path, &header(["patient_id", "n_slides"], &scored.folds), rows)
}

/// The risks of one row, by each model and averaged.
fn row(by_model: &[Risks], averaged: &Risks, at: usize) -> (Vec<Option<f64>>, Option<f64>) {
    let of = |risks: &Risks| risks.risk.get(at).copied();
    (by_model.iter().map(of).collect(), of(averaged))
}
