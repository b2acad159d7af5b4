//! Joins whatever is finished of a study.

use std::path::Path;

use super::cell;
use super::comparison;
use super::file::Reference;
use super::finished::{self, FinishedRun};
use super::plan::StudyPlan;
use super::report;
use super::results::{Cell, Comparison, ComparisonKind, ComparisonResult, StudyResults};
use super::study_dir;
use super::tables;
use crate::error::Result;
use crate::run_dir;

/// Reads every finished task, compares methods, and writes `tables/`, `report.html` and, last, `study.json`.
///
/// # Errors
/// If `dir` holds no study, the system refuses to read a finished task, or a file can't be written.
pub fn collect(dir: &Path) -> Result<StudyResults> {
    let plan = StudyPlan::read(dir)?;
    let results = join(dir, &plan)?;
    let directory = dir.join(study_dir::TABLES);
    run_dir::create_dir(&directory)?;
    for (name, table) in tables::all(&results) {
        let forms = [
            ("txt", table.to_text()),
            ("md", table.to_markdown()),
            ("tex", table.to_latex()),
            ("csv", table.to_csv()),
        ];
        for (extension, text) in forms {
            run_dir::write(&directory.join(format!("{name}.{extension}")), text.as_bytes())?;
        }
    }
    let report = report::report(dir, &plan, &results)?;
    run_dir::write(&dir.join(run_dir::REPORT), cf_report::render_study_html(&report)?.as_bytes())?;
    run_dir::write_json(&dir.join(study_dir::RESULTS), &results)?;
    Ok(results)
}

/// The results of every finished task.
///
/// # Errors
/// As [`collect`], of reading.
fn join(dir: &Path, plan: &StudyPlan) -> Result<StudyResults> {
    let (runs, unfinished) = finished::read(dir, plan)?;
    let of = |cohort: &str, model: &str, backbone: &str| -> Vec<&FinishedRun<'_>> {
        let same = |run: &&FinishedRun<'_>| {
            run.run.cohort == cohort && run.run.model == model && run.run.backbone == backbone
        };
        runs.iter().filter(same).collect()
    };
    let mut cells = Vec::new();
    for cohort in &plan.cohorts {
        for model in &plan.models {
            for backbone in &plan.backbones {
                cells.extend(cell::cell(&of(cohort, &model.label, backbone))?);
            }
        }
    }
    let mut comparisons = Vec::new();
    for pairs in families(plan, &cells) {
        let mut family = Vec::new();
        for (kind, [method, reference]) in pairs {
            let runs = |cell: &Cell| of(&cell.cohort, &cell.model, &cell.backbone);
            let (method_label, reference_label, within) = match kind {
                ComparisonKind::Models => (&method.model, &reference.model, &method.backbone),
                ComparisonKind::Backbones => (&method.backbone, &reference.backbone, &method.model),
            };
            family.push(Comparison {
                of: kind,
                cohort: method.cohort.clone(),
                within: within.clone(),
                method: method_label.clone(),
                reference: reference_label.clone(),
                result: if method.is_complete && reference.is_complete {
                    comparison::compare(&runs(method), &runs(reference))?
                } else {
                    // A test that is repeated while tasks come in finds too much, and adjusts for whoever is there.
                    ComparisonResult::Undefined("not all folds and seeds of both are there".to_owned())
                },
            });
        }
        comparison::adjust(&mut family)?;
        comparisons.extend(family);
    }
    let mut protocols: Vec<String> = plan.runs.iter().map(|run| run.protocol.clone()).collect();
    protocols.sort_unstable();
    protocols.dedup();
    Ok(StudyResults {
        name: plan.name.clone(),
        cf_train: plan.cf_train.clone(),
        protocols,
        cohorts: plan.cohorts.clone(),
        models: plan.models.clone(),
        backbones: plan.backbones.clone(),
        seeds: plan.seeds.clone(),
        reference: plan.reference.clone(),
        n_tasks: plan.tasks.len(),
        n_finished: plan.tasks.len() - unfinished.len(),
        unfinished,
        cells,
        comparisons,
    })
}

/// What is compared, in groups whose p-values are adjusted together: in each cohort and on each encoder the models with the
/// reference, and under each model the encoders with the first.
fn families<'a>(plan: &StudyPlan, cells: &'a [Cell]) -> Vec<Vec<(ComparisonKind, [&'a Cell; 2])>> {
    let mut families = Vec::new();
    for cohort in &plan.cohorts {
        let of_cohort = || cells.iter().filter(move |cell| cell.cohort == *cohort);
        for backbone in &plan.backbones {
            let models: Vec<&Cell> = of_cohort().filter(|cell| cell.backbone == *backbone).collect();
            let reference = match &plan.reference {
                Reference::Model(label) => models.iter().find(|cell| cell.model == *label),
                Reference::Best => best(&models),
            };
            if let Some(&reference) = reference {
                let others = models.iter().filter(|cell| cell.model != reference.model);
                families.push(others.map(|&cell| (ComparisonKind::Models, [cell, reference])).collect());
            }
        }
        for model in &plan.models {
            let backbones: Vec<&Cell> = of_cohort().filter(|cell| cell.model == model.label).collect();
            if let [reference, others @ ..] = backbones.as_slice() {
                let others = others.iter().map(|&cell| (ComparisonKind::Backbones, [cell, *reference]));
                families.push(others.collect());
            }
        }
    }
    families
}

/// The cell with the highest mean, of complete ones where there is one; the first of equals.
fn best<'a, 'b>(cells: &'b [&'a Cell]) -> Option<&'b &'a Cell> {
    let rank = |cell: &&Cell| (cell.is_complete, cell.patient_c_index.mean.unwrap_or(f64::NEG_INFINITY));
    cells.iter().reduce(|best, cell| if rank(cell) > rank(best) { cell } else { best })
}
