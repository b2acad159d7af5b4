//! The report of an external test.

use std::path::Path;

use cf_report::{ExternalReport, InputHash, PredictionRow};

use super::level::{CutSource, ExternalCIndex};
use super::scored::ScoredSlides;
use super::summary::ExternalSummary;
use crate::config::ExternalConfig;
use crate::environment::Environment;
use crate::error::Result;
use crate::report::write_figures;
use crate::run_dir;

/// Writes the figures into `dir` and, last, the report.
///
/// # Errors
/// If they can't be drawn or written.
pub(super) fn write(
    dir: &Path,
    config: &ExternalConfig,
    (scored, summary, model_paper): (&ScoredSlides, &ExternalSummary, &str),
    environment: &Environment,
) -> Result<()> {
    let report = collect(config, (scored, summary, model_paper), environment)?;
    write_figures(dir, cf_report::external_figures(&report)?)?;
    run_dir::write_json(&dir.join(run_dir::OVER_TIME), &cf_report::external_over_time(&report)?)?;
    run_dir::write(&dir.join(run_dir::REPORT), cf_report::render_external_html(&report)?.as_bytes())
}

fn collect(
    config: &ExternalConfig,
    (scored, summary, model_paper): (&ScoredSlides, &ExternalSummary, &str),
    environment: &Environment,
) -> Result<ExternalReport> {
    let of_slides = scored.slides.iter().zip(&scored.averaged.risk).zip(&scored.curves);
    let rows = of_slides.map(|((slide, &risk), curve)| PredictionRow {
        case_id: slide.case_id.clone(),
        slide_id: slide.slide_id.clone(),
        patient_id: slide.patient_id.clone(),
        fold: 0,
        outcome: slide.outcome,
        risk,
        survival: curve.clone(),
    });
    Ok(ExternalReport {
        title: format!("{} of {}, tested on {}", summary.model_label(), summary.run.cohort, summary.cohort),
        model: summary.model_label(),
        cohort: summary.cohort.clone(),
        trained_on: summary.run.cohort.clone(),
        backbone: summary.backbone.clone(),
        protocol: summary.run.protocol.clone(),
        folds: scored.folds.clone(),
        flow: summary.flow.iter().cloned().map(Into::into).collect(),
        c_index: (&summary.c_index).into(),
        patient_c_index: (&summary.patient_c_index).into(),
        predictions: rows.collect(),
        survival_months: scored.knots.clone(),
        no_survival: scored.no_survival.map(|reason| {
            format!("Nothing is known of survival over time from the run {}: {reason}.", summary.run.dir)
        }),
        train_outcomes: scored.train_outcomes.clone(),
        cut: summary.risk_groups.cut,
        patient_cut: summary.patient_risk_groups.cut,
        cut_from: match summary.risk_groups.cut_from {
            CutSource::Training => cf_report::CutSource::Training,
            CutSource::TestedCohort => cf_report::CutSource::TestedCohort,
        },
        n_patients_of_run: summary.patients_of_run.len(),
        remarks: summary.remarks.clone(),
        environment: environment.rows(),
        inputs: environment.inputs.iter().cloned().map(InputHash::from).collect(),
        run: summary.run.dir.clone(),
        model_paper: model_paper.to_owned(),
        software_version: environment.cf_train.clone(),
        cohort_toml: config.to_toml()?,
    })
}

impl From<&ExternalCIndex> for cf_report::ExternalCIndex {
    fn from(c_index: &ExternalCIndex) -> Self {
        let ExternalCIndex { averaged, ci95, no_ci95, folds, mean, sd } = c_index.clone();
        Self { averaged, ci95, no_ci95, folds, mean, sd }
    }
}
