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

/// `ids`, outcome, the risk by each model, the risk, survival.
fn header(ids: [&str; 2], scored: &ScoredSlides) -> Vec<String> {
    let before = ids.into_iter().chain(["event_time_months", "status"]).map(str::to_owned);
    let by_model = scored.folds.iter().map(|fold| format!("risk_fold_{fold}"));
    let survival = scored.months.iter().map(|month| format!("survival_{month}_months"));
    before.chain(by_model).chain(["risk".to_owned()]).chain(survival).collect()
}

fn write_slides(path: &Path, scored: &ScoredSlides) -> Result<()> {
    let numbers = numbers(scored, Risks::clone);
    let rows = scored.slides.iter().enumerate().map(|(at, slide)| {
        let status = StatusName::from(slide.outcome.status());
        (&slide.case_id, &slide.slide_id, slide.outcome.time(), status, row(&numbers, at))
    });
    run_dir::write_csv_under(path, &header(["case_id", "slide_id"], scored), rows)
}

fn write_patients(path: &Path, scored: &ScoredSlides) -> Result<()> {
    let averaged = scored.averaged.of_patients();
    let numbers = numbers(scored, Risks::of_patients);
    let mut n_slides: BTreeMap<&str, usize> = BTreeMap::new();
    for slide in &scored.slides {
        *n_slides.entry(&slide.patient_id).or_default() += 1;
    }
    let patients = averaged.patients.iter().zip(&averaged.outcomes).enumerate();
    let rows = patients.map(|(at, (patient, outcome))| {
        let status = StatusName::from(outcome.status());
        (patient, n_slides.get(patient.as_str()), outcome.time(), status, row(&numbers, at))
    });
    run_dir::write_csv_under(path, &header(["patient_id", "n_slides"], scored), rows)
}

/// The columns of numbers of slides, or of what `of` makes of them.
fn numbers(scored: &ScoredSlides, of: fn(&Risks) -> Risks) -> Vec<Risks> {
    scored.by_model.iter().chain([&scored.averaged]).chain(&scored.survival).map(of).collect()
}

/// The numbers of one row.
fn row(numbers: &[Risks], at: usize) -> Vec<Option<f64>> {
    numbers.iter().map(|column| column.risk.get(at).copied()).collect()
}
