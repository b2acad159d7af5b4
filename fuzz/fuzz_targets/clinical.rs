//! Clinical tables of every family, plain and in archives, with and without a table of slides; tables of resolutions.

#![no_main]

use cf_train::cohort::{ClinicalTable, CohortConfig, ColumnNames, MissingOutcome, Preset, SlideColumnNames};
use cf_train::splits::HeldOutPart;
use fuzz::{bounded, scratch};
use libfuzzer_sys::fuzz_target;
use wsi_features::SlideList;

fuzz_target!(|input: &[u8]| {
    let Some((form, bytes)) = input.split_first() else { return };
    scratch(|folder| {
        let path = folder.write("table", bytes);
        bounded(bytes.len(), || {
            if *form == u8::MAX {
                let slides =
                    SlideList::find(std::slice::from_ref(&path)).and_then(|slides| slides.with_table(&path));
                return drop(slides);
            }
            let mut config = CohortConfig {
                name: "study".to_owned(),
                clinical: path.clone(),
                splits: folder.path().join("splits"),
                preset: Preset::ALL.get(usize::from(form % 8)).copied(),
                endpoint: None,
                slides: (form & 32 != 0).then(|| path.clone()),
                evaluate: HeldOutPart::Val,
                missing_outcome: (form & 8 != 0).then_some(MissingOutcome::Skip),
                columns: ColumnNames::default(),
                slide_columns: SlideColumnNames::default(),
            };
            if config.preset.is_none() {
                config.columns.censorship = Some("censorship".to_owned());
            }
            if form & 16 != 0 {
                config.endpoint = config.preset.and_then(|preset| preset.endpoints().last().copied());
            }
            if let Ok(table) = ClinicalTable::read(&config) {
                let _ = table.patient_outcomes();
                let _ = table.into_cohort(&["TCGA-2F-A9KO-01Z-00-DX1".to_owned(), "TCGA-01".to_owned()]);
            }
        });
    });
});
