//! From the results of a study to its report.

use std::path::Path;

use cf_report::{
    CohortEstimates, EpochChoice, MethodEstimate, MissingTask, PairedNumbers, PublishedValue, RunProvenance,
    StudyCell, StudyComparison, StudyReport,
};

use super::file::Reference;
use super::plan::StudyPlan;
use super::results::{Cell, Comparison, ComparisonKind, ComparisonResult, StudyResults};
use super::study_dir::{self, TaskState, state};
use super::tables::{self, backbone_name, cohort_name, method_name};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::run_dir;

/// Everything that the report says.
///
/// # Errors
/// If a file of the study can't be read.
pub(super) fn report(dir: &Path, plan: &StudyPlan, results: &StudyResults) -> Result<StudyReport> {
    let study = dir.join(study_dir::STUDY);
    let study_toml = std::fs::read_to_string(&study).map_err(Error::io("read", &study))?;
    let join = |names: Vec<String>| names.join(", ");
    let seeds: Vec<String> = results.seeds.iter().map(u64::to_string).collect();
    let facts = [
        ("Cohorts", join(results.cohorts.iter().map(|cohort| cohort_name(cohort)).collect())),
        ("Models", results.models.len().to_string()),
        ("Encoders", join(results.backbones.iter().map(|backbone| backbone_name(backbone)).collect())),
        ("Seeds", seeds.join(", ")),
        ("Protocol", results.protocols.join("; ")),
    ];
    let cells = || results.cells.iter().filter(|cell| !cell.folds.is_empty());
    let unfinished = results.unfinished.iter().map(|task| MissingTask {
        id: task.id.clone(),
        state: task.state.clone(),
        reason: task.reason.clone(),
    });
    Ok(StudyReport {
        title: results.name.clone(),
        facts: facts.map(|(word, value)| (word.to_owned(), value)).into(),
        tables: tables::tables(results),
        cohorts: estimates(results),
        undefined: undefined(results),
        comparisons: results.comparisons.iter().map(|comparison| compared(results, comparison)).collect(),
        epoch_choices: cells().filter_map(|cell| epoch_choice(results, cell)).collect(),
        published: cells().filter_map(|cell| beside_the_paper(results, cell)).collect(),
        n_tasks: results.n_tasks,
        unfinished: unfinished.collect(),
        n_seeds: results.seeds.len(),
        reference_is_best: results.reference == Reference::Best,
        environment: environment(dir, plan)?,
        runs: plan.runs.iter().map(|run| provenance(plan, &run.name, &run.protocol)).collect(),
        study_toml,
    })
}

/// A cohort, and the encoder where the study has several.
fn heading(results: &StudyResults, cell: &Cell) -> String {
    let cohort = cohort_name(&cell.cohort);
    if results.backbones.len() > 1 { format!("{cohort}, {}", backbone_name(&cell.backbone)) } else { cohort }
}

fn estimates(results: &StudyResults) -> Vec<CohortEstimates> {
    let mut estimates: Vec<CohortEstimates> = Vec::new();
    for cohort in &results.cohorts {
        for backbone in &results.backbones {
            let of_both = results.cells.iter().filter(|c| c.cohort == *cohort && c.backbone == *backbone);
            let mut cells: Vec<&Cell> = of_both.filter(|cell| cell.patient_c_index.mean.is_some()).collect();
            let Some(first) = cells.first() else { continue };
            let heading = heading(results, first);
            let most = |count: fn(&Cell) -> usize| cells.iter().map(|cell| count(cell)).max().unwrap_or(0);
            let n_patients = most(|cell| cell.n_patients);
            let n_event_patients = most(|cell| cell.n_event_patients);
            let n_validated_twice = most(|cell| cell.n_validated_twice);
            let mean = |cell: &Cell| cell.patient_c_index.mean.unwrap_or(f64::NEG_INFINITY);
            cells.sort_by(|a, b| mean(b).total_cmp(&mean(a)));
            let methods = cells.into_iter().filter_map(|cell| {
                Some(MethodEstimate {
                    label: method_name(&cell.model),
                    mean: cell.patient_c_index.mean?,
                    n_patients: cell.n_patients,
                    ci95: cell.patient_c_index.ci95,
                    is_complete: cell.is_complete,
                })
            });
            estimates.push(CohortEstimates {
                heading,
                n_patients,
                n_event_patients,
                n_validated_twice,
                methods: methods.collect(),
            });
        }
    }
    estimates
}

/// Cohorts with finished folds of which none has patients that can be compared.
fn undefined(results: &StudyResults) -> Vec<String> {
    let lacks_c_index = |cell: &&Cell| !cell.folds.is_empty() && cell.patient_c_index.mean.is_none();
    let mut headings: Vec<String> =
        results.cells.iter().filter(lacks_c_index).map(|cell| heading(results, cell)).collect();
    headings.dedup();
    headings
}

fn compared(results: &StudyResults, comparison: &Comparison) -> StudyComparison {
    let cohort = cohort_name(&comparison.cohort);
    let (heading, name): (String, fn(&str) -> String) = match comparison.of {
        ComparisonKind::Models if results.backbones.len() > 1 => {
            (format!("{cohort}, {}", backbone_name(&comparison.within)), method_name)
        }
        ComparisonKind::Models => (cohort, method_name),
        ComparisonKind::Backbones => {
            (format!("{cohort}, {}", method_name(&comparison.within)), backbone_name)
        }
    };
    StudyComparison {
        heading,
        method: name(&comparison.method),
        reference: name(&comparison.reference),
        result: match &comparison.result {
            ComparisonResult::Undefined(reason) => Err(reason.clone()),
            ComparisonResult::Compared(result) => Ok(PairedNumbers {
                n_patients: result.n_patients,
                mean_difference: result.mean_difference,
                ci95: result.ci95,
                p_value: result.p_value,
                p_holm: result.p_holm,
                p_folds: result.corrected_t.map(|test| test.p_value),
            }),
        },
    }
}

fn epoch_choice(results: &StudyResults, cell: &Cell) -> Option<EpochChoice> {
    let pairs: Option<Vec<(f64, f64)>> =
        cell.folds.iter().map(|fold| fold.best_epoch_c_index.zip(fold.final_epoch_c_index)).collect();
    let pairs = pairs.filter(|pairs| !pairs.is_empty())?;
    let n = pairs.len() as f64;
    Some(EpochChoice {
        heading: heading(results, cell),
        method: method_name(&cell.model),
        best: pairs.iter().map(|pair| pair.0).sum::<f64>() / n,
        last: pairs.iter().map(|pair| pair.1).sum::<f64>() / n,
    })
}

fn beside_the_paper(results: &StudyResults, cell: &Cell) -> Option<PublishedValue> {
    let published = cell.published?;
    let several = results.backbones.len() > 1;
    let method = method_name(&cell.model);
    Some(PublishedValue {
        cohort: cohort_name(&cell.cohort),
        method: if several { format!("{method}, {}", backbone_name(&cell.backbone)) } else { method },
        ours: tables::study_cell(cell).text(),
        paper: StudyCell::of_numbers(published.mean, Some(published.sd)).text(),
        difference: published.difference,
    })
}

/// Versions and machine of the first finished task that tells; a study's tasks may have run on several machines.
fn environment(dir: &Path, plan: &StudyPlan) -> Result<Vec<(String, String)>> {
    for task in &plan.tasks {
        if state(dir, task)? == TaskState::Finished {
            let path = study_dir::finished(dir, task).join(run_dir::ENVIRONMENT);
            // A damaged task says nothing.
            if let Ok(environment) = run_dir::read_json::<Environment>(&path) {
                return Ok(environment.rows().into_iter().filter(|(key, _)| key != "seed").collect());
            }
        }
    }
    Ok(vec![("cf-train".to_owned(), plan.cf_train.clone())])
}

fn provenance(plan: &StudyPlan, name: &str, protocol: &str) -> RunProvenance {
    let tasks = plan.tasks.iter().filter(|task| task.run == name).map(|task| task.id.clone());
    RunProvenance { name: name.to_owned(), protocol: protocol.to_owned(), tasks: tasks.collect() }
}
