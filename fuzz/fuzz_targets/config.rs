//! Configurations of runs and of studies.

#![no_main]

use cf_train::RunConfig;
use cf_train::study::StudyFile;
use fuzz::{bounded, scratch};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((form, bytes)) = input.split_first() else { return };
    scratch(|folder| {
        let path = folder.write("config.toml", bytes);
        bounded(bytes.len(), || {
            if form % 2 == 1 {
                return drop(StudyFile::read(&path));
            }
            let _ = RunConfig::read_cohort(&path, &[]);
            if let Ok(config) = RunConfig::read(&path, &[]) {
                let text = config.to_toml().expect("a configuration that was read can be written");
                let again = RunConfig::read(&folder.write("again.toml", text.as_bytes()), &[]);
                assert_eq!(again.expect("and read again"), config);
            }
        });
    });
});
