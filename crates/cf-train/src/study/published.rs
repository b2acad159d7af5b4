//! The paper's Tables 1 and 2 (Soraki et al., arXiv 2503.02064): names, groups, and C-indices to hold a study against.

use cf_model::ModelName;

/// Columns of both tables; GBMLGG is GB&LGG.
const COHORTS: [&str; 6] = ["BLCA", "BRCA", "COAD", "GBMLGG", "LUAD", "UCEC"];

/// Rows of Table 1, in its order: model, its name there, mean and standard deviation of each cohort in thousandths, ResNet50 features.
const TABLE_1: [(ModelName, &str, [(u16, u16); 6]); 13] = [
    (ModelName::Amil, "AMIL", [(559, 59), (590, 50), (662, 63), (759, 111), (590, 36), (644, 92)]),
    (ModelName::Dsmil, "DSMIL", [(552, 50), (564, 44), (610, 12), (728, 102), (579, 32), (601, 73)]),
    (ModelName::TransMil, "TransMIL", [(574, 64), (594, 45), (656, 57), (772, 93), (594, 59), (664, 44)]),
    (
        ModelName::DeepGraphSurv,
        "DeepGraphSurv",
        [(572, 54), (558, 99), (591, 119), (764, 53), (622, 55), (635, 61)],
    ),
    (ModelName::PatchGcn, "PatchGCN", [(563, 43), (595, 89), (612, 144), (774, 46), (577, 81), (679, 71)]),
    (ModelName::Scmil, "SCMIL", [(566, 54), (590, 34), (677, 70), (763, 94), (584, 50), (668, 71)]),
    (ModelName::ProtoSurv, "ProtoSurv", [(579, 23), (627, 34), (668, 57), (776, 31), (619, 46), (730, 32)]),
    (ModelName::ZoomMil, "ZoomMIL", [(570, 56), (563, 47), (642, 66), (770, 91), (568, 46), (679, 33)]),
    (ModelName::MustMil, "MuSTMIL", [(575, 65), (589, 43), (640, 84), (780, 89), (600, 40), (682, 39)]),
    (ModelName::CsMil, "CSMIL", [(542, 71), (589, 70), (636, 87), (742, 119), (582, 60), (640, 47)]),
    (
        ModelName::CrossfusionWoCp,
        "CrossFusion w/o CP",
        [(627, 14), (631, 76), (669, 69), (787, 81), (627, 38), (710, 61)],
    ),
    (
        ModelName::CrossfusionWoFc,
        "CrossFusion w/o F&C",
        [(562, 58), (629, 52), (631, 52), (782, 74), (609, 53), (672, 50)],
    ),
    (
        ModelName::Crossfusion,
        "CrossFusion",
        [(630, 27), (643, 37), (694, 53), (797, 56), (627, 40), (702, 44)],
    ),
];

/// Rows of Table 2, in its order: encoder, and CrossFusion's C-indices as above.
const TABLE_2: [(&str, [(u16, u16); 6]); 5] = [
    ("ResNet50", [(630, 27), (643, 37), (694, 53), (797, 56), (627, 40), (702, 44)]),
    ("CONCH", [(649, 53), (675, 60), (705, 24), (799, 55), (604, 55), (737, 43)]),
    ("UNI2-h", [(628, 19), (684, 43), (698, 23), (810, 67), (625, 51), (745, 30)]),
    ("QuiltNet", [(614, 50), (650, 17), (712, 43), (812, 32), (640, 64), (727, 28)]),
    ("Prov-GigaPath", [(635, 23), (686, 43), (718, 64), (802, 51), (620, 63), (724, 43)]),
];

/// The three groups of Table 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    SingleScale,
    MultiScale,
    CrossFusion,
}

impl Group {
    pub(super) const ALL: [Self; 3] = [Self::SingleScale, Self::MultiScale, Self::CrossFusion];

    /// The group of a model.
    pub(super) fn of(model: ModelName) -> Self {
        match model {
            ModelName::Crossfusion | ModelName::CrossfusionWoCp | ModelName::CrossfusionWoFc => {
                Self::CrossFusion
            }
            ModelName::ZoomMil | ModelName::MustMil | ModelName::CsMil => Self::MultiScale,
            ModelName::Amil
            | ModelName::Dsmil
            | ModelName::TransMil
            | ModelName::DeepGraphSurv
            | ModelName::PatchGcn
            | ModelName::Scmil
            | ModelName::ProtoSurv => Self::SingleScale,
        }
    }

    /// Its heading.
    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::SingleScale => "Single scale",
            Self::MultiScale => "Multi scale",
            Self::CrossFusion => "CrossFusion and its ablations",
        }
    }
}

/// Where a model stands in Table 1.
pub(super) fn rank(model: ModelName) -> usize {
    TABLE_1.iter().position(|(name, ..)| *name == model).unwrap_or(TABLE_1.len())
}

/// What the paper calls a model, if the label is its name here.
pub(super) fn model_name(label: &str) -> Option<&'static str> {
    let model = label.parse::<ModelName>().ok()?;
    TABLE_1.iter().find(|(name, ..)| *name == model).map(|(_, name, _)| *name)
}

/// What the paper calls an encoder.
pub(super) fn backbone_name(label: &str) -> Option<&'static str> {
    TABLE_2.iter().map(|(name, _)| *name).find(|name| same(name, label))
}

/// What the paper calls a cohort; `tcga-blca` and `BLCA` are the same.
pub(super) fn cohort_name(label: &str) -> Option<&'static str> {
    let name = COHORTS.get(cohort_index(label)?)?;
    Some(if *name == "GBMLGG" { "GB&LGG" } else { name })
}

/// Mean and standard deviation of a cell of Table 1 or 2, by the labels of a study.
pub(super) fn c_index(model: &str, backbone: &str, cohort: &str) -> Option<(f64, f64)> {
    let model = model.parse::<ModelName>().ok()?;
    let (first, _) = TABLE_2.first()?;
    let cells = if same(first, backbone) {
        &TABLE_1.iter().find(|(name, ..)| *name == model)?.2
    } else if model == ModelName::Crossfusion {
        &TABLE_2.iter().find(|(name, _)| same(name, backbone))?.1
    } else {
        return None;
    };
    let (mean, sd) = cells.get(cohort_index(cohort)?)?;
    Some((f64::from(*mean) / 1000.0, f64::from(*sd) / 1000.0))
}

fn cohort_index(label: &str) -> Option<usize> {
    let letters = letters(label);
    let letters = letters.strip_prefix("tcga").unwrap_or(&letters);
    let letters = if letters == "gblgg" { "gbmlgg" } else { letters };
    COHORTS.iter().position(|name| name.eq_ignore_ascii_case(letters))
}

fn same(name: &str, label: &str) -> bool {
    letters(name) == letters(label)
}

fn letters(label: &str) -> String {
    label.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cf_report::{Mark, StudyCell, StudyRow, StudyTable, TableGroup};

    use super::*;

    type Numbers = BTreeMap<(String, String), (f64, Option<f64>)>;

    /// The numbers of one table, by row and cohort; `None` and the reason printed where there is no file.
    #[expect(clippy::print_stdout, reason = "a test that skips says why")]
    fn numbers(table: &str, row_column: usize) -> Option<Numbers> {
        let Some(data) = std::env::var_os("CF_TEST_DATA") else {
            println!("skipped: CF_TEST_DATA is not set");
            return None;
        };
        let path = std::path::Path::new(&data).join("tcga/published_tables.csv");
        let text = std::fs::read_to_string(path).unwrap();
        let rows = text.lines().map(|line| line.split(',').collect::<Vec<_>>()).filter(|row| row[0] == table);
        let numbers = rows.map(|row| {
            let key = (row[row_column].to_owned(), row[4].to_owned());
            (key, (row[5].parse().unwrap(), row[6].parse().ok()))
        });
        Some(numbers.collect())
    }

    /// A table of these numbers in one group.
    fn table(numbers: &Numbers, rows: &[&str]) -> StudyTable {
        let row = |label: &&str| StudyRow {
            label: (*label).to_owned(),
            cells: COHORTS
                .iter()
                .map(|cohort| {
                    let (mean, sd) = numbers[&((*label).to_owned(), (*cohort).to_owned())];
                    StudyCell::of_numbers(mean, sd)
                })
                .collect(),
        };
        let groups = vec![TableGroup { heading: String::new(), rows: rows.iter().map(row).collect() }];
        let columns = COHORTS.map(str::to_owned).to_vec();
        StudyTable { caption: String::new(), corner: "Method".to_owned(), columns, groups }
    }

    fn marked<'a>(table: &'a StudyTable, column: &str, mark: Mark) -> Vec<&'a str> {
        let index = table.columns.iter().position(|name| name == column).unwrap();
        let rows = table.groups.iter().flat_map(|group| &group.rows);
        rows.filter(|row| row.cells[index].mark == mark).map(|row| row.label.as_str()).collect()
    }

    #[test]
    fn table_1_is_the_paper_s_and_its_marks_follow_from_its_numbers() {
        let Some(numbers) = numbers("1", 2) else { return };
        assert_eq!(numbers.len(), TABLE_1.len() * COHORTS.len());
        for (model, name, _) in TABLE_1 {
            for cohort in COHORTS {
                let (mean, sd) = numbers[&(name.to_owned(), cohort.to_owned())];
                assert_eq!(
                    c_index(model.as_str(), "resnet50", cohort),
                    Some((mean, sd.unwrap())),
                    "{name} {cohort}"
                );
            }
        }
        let table = table(&numbers, &TABLE_1.map(|(_, name, _)| name)).with_marks();
        let full = "CrossFusion";
        let expected: [(&str, &[&str], &[&str]); 6] = [
            ("BLCA", &[full], &["CrossFusion w/o CP"]),
            ("BRCA", &[full], &["CrossFusion w/o CP"]),
            ("COAD", &[full], &["SCMIL"]),
            ("GBMLGG", &[full], &["CrossFusion w/o CP"]),
            ("LUAD", &["CrossFusion w/o CP", full], &["DeepGraphSurv"]),
            ("UCEC", &["ProtoSurv"], &["CrossFusion w/o CP"]),
        ];
        for (cohort, best, second) in expected {
            assert_eq!(marked(&table, cohort, Mark::Best), best, "{cohort}");
            assert_eq!(marked(&table, cohort, Mark::Second), second, "{cohort}");
        }
    }

    #[test]
    fn table_2_is_the_paper_s_with_its_column_of_means() {
        let Some(numbers) = numbers("2", 3) else { return };
        let rows = TABLE_2.map(|(name, _)| name);
        assert_eq!(numbers.len(), rows.len() * (COHORTS.len() + 1));
        let table = table(&numbers, &rows).with_mean_column().with_marks();
        for (name, row) in rows.iter().zip(&table.groups[0].rows) {
            for cohort in COHORTS {
                let (mean, sd) = numbers[&((*name).to_owned(), cohort.to_owned())];
                assert_eq!(
                    c_index("crossfusion", name, cohort),
                    Some((mean, sd.unwrap())),
                    "{name} {cohort}"
                );
            }
            let (mean, _) = numbers[&((*name).to_owned(), "Mean".to_owned())];
            assert_eq!(row.cells[COHORTS.len()].text(), format!("{mean:.3}"), "{name}");
        }
        assert_eq!(marked(&table, "Mean", Mark::Best), ["UNI2-h", "Prov-GigaPath"]);
        assert_eq!(marked(&table, "LUAD", Mark::Best), ["QuiltNet"]);
        assert_eq!(marked(&table, "LUAD", Mark::Second), ["ResNet50"]);
    }

    #[test]
    fn labels_find_the_paper_s_names() {
        assert_eq!(cohort_name("tcga_gbmlgg"), Some("GB&LGG"));
        assert_eq!(cohort_name("GB&LGG"), Some("GB&LGG"));
        assert_eq!(cohort_name("additive"), None);
        assert_eq!(backbone_name("uni2-h"), Some("UNI2-h"));
        // CLAM's truncated ResNet50 is another encoder.
        assert_eq!(backbone_name("resnet50-clam"), None);
        assert_eq!(model_name("crossfusion-wo-fc"), Some("CrossFusion w/o F&C"));
        assert_eq!(c_index("amil", "conch", "blca"), None);
        assert_eq!(c_index("crossfusion", "conch", "blca"), Some((0.649, 0.053)));
    }
}
