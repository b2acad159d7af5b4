//! Split files of every form, read, selected and checked against a clinical table.

#![no_main]

use std::cell::OnceCell;

use cf_train::cohort::{ClinicalTable, CohortConfig, ColumnNames, SlideColumnNames};
use cf_train::splits::{self, HeldOutPart};
use fuzz::{Scratch, bounded, scratch};
use libfuzzer_sys::fuzz_target;

/// The folder of each form, and its files.
const FORMS: [(&str, &[&str]); 4] = [
    ("columns", &["columns/splits_0.csv"]),
    ("rows", &["rows/survival_k=0/train.csv", "rows/survival_k=0/test.csv"]),
    ("json", &["json/splits.json"]),
    ("tsv", &["tsv/k=all.tsv"]),
];

const CLINICAL: &str = "case_id,slide_id,survival_months,censorship\n\
    TCGA-2F-A9KO-01,a.svs,24,0\nTCGA-2F-A9KP-01,b.svs,12,0\nTCGA-4Z-AA7M-01,c.svs,3,1\nd,d.svs,7,0\n";

thread_local!(static TABLE: OnceCell<ClinicalTable> = const { OnceCell::new() });

fuzz_target!(|input: &[u8]| {
    let Some((form, bytes)) = input.split_first() else { return };
    let (name, files) = FORMS[usize::from(form % 4)];
    scratch(|folder| {
        for file in files {
            folder.write(file, bytes);
        }
        TABLE.with(|table| {
            let table = table.get_or_init(|| clinical_table(folder));
            bounded(bytes.len() * files.len(), || {
                let Ok(set) = splits::read(&folder.path().join(name)) else { return };
                for part in [HeldOutPart::Val, HeldOutPart::Test] {
                    let _ = set.select(part);
                    let _ = splits::check(table, &set, part);
                }
            });
        });
    });
});

fn clinical_table(folder: &Scratch) -> ClinicalTable {
    let config = CohortConfig {
        name: "study".to_owned(),
        clinical: folder.write("clinical.csv", CLINICAL.as_bytes()),
        splits: folder.path().to_owned(),
        preset: None,
        endpoint: None,
        slides: None,
        evaluate: HeldOutPart::Val,
        missing_outcome: None,
        columns: ColumnNames { censorship: Some("censorship".to_owned()), ..ColumnNames::default() },
        slide_columns: SlideColumnNames::default(),
    };
    ClinicalTable::read(&config).expect("a sound table")
}
