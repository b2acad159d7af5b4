//! Tables 1 and 2 of a study, in the paper's form and order.

use std::collections::BTreeSet;

use cf_model::ModelName;
use cf_report::{StudyCell, StudyRow, StudyTable, TableGroup};

use super::published::{self, Group};
use super::results::{Cell, StudyResults};

/// Table 1 of every encoder that several models run on, and Table 2 of every model that runs on several encoders.
#[must_use]
pub fn tables(results: &StudyResults) -> Vec<StudyTable> {
    all(results).into_iter().map(|(_, table)| table).collect()
}

/// Every table with its file's stem: `table1` (models on the first encoder) and `table2` (encoders under the reference or the only
/// model that runs on several), then those of the other encoders and models.
pub(super) fn all(results: &StudyResults) -> Vec<(String, StudyTable)> {
    let mut tables = Vec::new();
    for (index, backbone) in results.backbones.iter().enumerate() {
        let models: Vec<&str> = results.models.iter().map(|model| model.label.as_str()).collect();
        let run = |model: &&str| {
            results.cells.iter().any(|cell| cell.model == **model && cell.backbone == *backbone)
        };
        match models.iter().filter(|model| run(model)).count() {
            _ if index == 0 => tables.push(("table1".to_owned(), table_1(results, backbone))),
            n if n > 1 => {
                tables.push((
                    format!("table1-{}", super::plan::file_name(backbone)),
                    table_1(results, backbone),
                ));
            }
            _ => {}
        }
    }
    for (index, model) in models_of_table_2(results).into_iter().enumerate() {
        let name = if index == 0 {
            "table2".to_owned()
        } else {
            format!("table2-{}", super::plan::file_name(model))
        };
        tables.push((name, table_2(results, model)));
    }
    tables
}

/// The models that run on several encoders, the paper's own first; where none does, that one or the first alone.
fn models_of_table_2(results: &StudyResults) -> Vec<&str> {
    let labels = results.models.iter().map(|model| model.label.as_str());
    let n_backbones = |label: &str| {
        let backbones = results.backbones.iter();
        backbones
            .filter(|&backbone| results.cells.iter().any(|c| c.model == label && c.backbone == *backbone))
            .count()
    };
    let paper = |label: &&str| *label == ModelName::Crossfusion.as_str();
    let mut several: Vec<&str> = labels.clone().filter(|label| n_backbones(label) > 1).collect();
    if several.is_empty() {
        several.extend(labels.clone().find(paper).or_else(|| labels.clone().next()));
    }
    several.sort_by_key(|label| !paper(label));
    several
}

fn table_1(results: &StudyResults, backbone: &str) -> StudyTable {
    let mut groups = Vec::new();
    for group in Group::ALL {
        let in_group = results.models.iter().enumerate().filter_map(|(index, planned)| {
            let model = planned.model.parse::<ModelName>().ok()?;
            (Group::of(model) == group).then_some(((published::rank(model), index), planned.label.as_str()))
        });
        let mut labels: Vec<_> = in_group.collect();
        labels.sort_unstable();
        let rows: Vec<StudyRow> = labels
            .into_iter()
            .filter_map(|(_, model)| {
                row(results, method_name(model), |cell| cell.model == model && cell.backbone == backbone)
            })
            .collect();
        if !rows.is_empty() {
            groups.push(TableGroup { heading: group.heading().to_owned(), rows });
        }
    }
    let caption = format!(
        "C-index of {} on {} features: mean (standard deviation) over {}.",
        if results.models.len() == 1 { "the model" } else { "the models" },
        backbone_name(backbone),
        averaged_over(results)
    );
    let columns = results.cohorts.iter().map(|cohort| cohort_name(cohort)).collect();
    marked(StudyTable { caption, corner: "Method".to_owned(), columns, groups })
}

fn table_2(results: &StudyResults, model: &str) -> StudyTable {
    let rows = results.backbones.iter().filter_map(|backbone| {
        row(results, backbone_name(backbone), |cell| cell.model == model && cell.backbone == *backbone)
    });
    let caption = format!(
        "C-index of {} by encoder: mean (standard deviation) over {}.",
        method_name(model),
        averaged_over(results)
    );
    let columns = results.cohorts.iter().map(|cohort| cohort_name(cohort)).collect();
    let groups = vec![TableGroup { heading: String::new(), rows: rows.collect() }];
    marked(StudyTable { caption, corner: "Encoder".to_owned(), columns, groups }.with_mean_column())
}

/// A row of the cells that are picked, if the plan has one of them.
fn row(results: &StudyResults, label: String, picked: impl Fn(&Cell) -> bool) -> Option<StudyRow> {
    let of_cohort =
        |cohort: &String| results.cells.iter().find(|cell| cell.cohort == *cohort && picked(cell));
    let cells =
        results.cohorts.iter().map(|cohort| of_cohort(cohort).map_or_else(StudyCell::empty, study_cell));
    results.cells.iter().any(&picked).then(|| StudyRow { label, cells: cells.collect() })
}

/// A cell in the paper's form.
pub(super) fn study_cell(cell: &Cell) -> StudyCell {
    let values: Vec<f64> = cell.folds.iter().filter_map(|fold| fold.c_index).collect();
    StudyCell::of_folds(&values, cell.is_complete).scored_on(cell.n_patients)
}

/// The table with its marks, and a sentence where a column has none for want of the same patients.
fn marked(table: StudyTable) -> StudyTable {
    let mut table = table.with_marks();
    let unranked = table.unranked().join(", ");
    if !unranked.is_empty() {
        table
            .caption
            .push_str(&format!(" Not ranked, as rows were scored on different patients: {unranked}."));
    }
    table
}

/// `5 folds`, `3 seeds x 5 folds = 15 values`, or `1 to 5 folds` where some cells have fewer that have a C-index.
fn averaged_over(results: &StudyResults) -> String {
    let n_folds = |cell: &Cell| {
        let with_value = cell.folds.iter().filter(|fold| fold.c_index.is_some());
        with_value.map(|fold| fold.fold).collect::<BTreeSet<usize>>().len()
    };
    let counts = || results.cells.iter().map(n_folds).filter(|n| *n > 0);
    let (Some(fewest), Some(most)) = (counts().min(), counts().max()) else {
        return "folds, of which none is finished".to_owned();
    };
    let (folds, values) = match (fewest, most) {
        (1, 1) => ("1 fold".to_owned(), format!(" = {} values", results.seeds.len())),
        (fewest, most) if fewest == most => {
            (format!("{most} folds"), format!(" = {} values", results.seeds.len() * most))
        }
        (fewest, most) => (format!("{fewest} to {most} folds"), String::new()),
    };
    match results.seeds.len() {
        0 | 1 => format!("{folds}, each rounded to three decimals first"),
        n => format!("{n} seeds \u{d7} {folds}{values}, each rounded to three decimals first"),
    }
}

/// What tables call a model.
pub(super) fn method_name(label: &str) -> String {
    published::model_name(label).unwrap_or(label).to_owned()
}

/// What tables call an encoder.
pub(super) fn backbone_name(label: &str) -> String {
    published::backbone_name(label).unwrap_or(label).to_owned()
}

/// What tables call a cohort.
pub(super) fn cohort_name(label: &str) -> String {
    published::cohort_name(label).unwrap_or(label).to_owned()
}
