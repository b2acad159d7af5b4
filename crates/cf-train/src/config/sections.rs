//! Parts of a configuration, for what needs no whole run: `[cohort]` alone, and the cohort of an external test.

use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::Table;

use super::{FeaturesConfig, InnerValidation, RunConfig, base_of, read_table, toml_reason};
use crate::byte_size::ByteSize;
use crate::cohort::CohortConfig;
use crate::config_keys;
use crate::error::{Error, Result};
use crate::splits::HeldOutUse;

/// The one key of `[training]` that an external test reads: it changes no number.
const MEMORY_BUDGET: &str = "training.memory_budget";

impl RunConfig {
    /// Reads the section `[cohort]` of a configuration alone, and what the held-out parts of its splits are for, with `overrides` as
    /// in [`RunConfig::read`]; `splits` may be left out. Other sections may be incomplete, but not misspelt.
    ///
    /// # Errors
    /// As [`RunConfig::read`], of this section.
    pub fn read_cohort(path: &Path, overrides: &[(String, String)]) -> Result<(CohortConfig, HeldOutUse)> {
        let fault = |reason: String| Error::Config { path: path.to_owned(), reason };
        let table = read_table(path, overrides)?;
        let (mut cohort, held_out) = cohort_and_use(table).map_err(fault)?;
        cohort.resolve_paths(&base_of(path)?);
        Ok((cohort, held_out))
    }

    /// As [`RunConfig::read_cohort`] of settings alone, such as `("cohort.clinical", "blca.csv")`; paths start from the current directory.
    ///
    /// # Errors
    /// As [`RunConfig::read`], of this section.
    pub fn cohort_of_settings(settings: &[(String, String)]) -> Result<(CohortConfig, HeldOutUse)> {
        let fault = |reason: String| Error::Config { path: PathBuf::from("command line"), reason };
        let mut table = Table::new();
        for (key, value) in settings {
            config_keys::set(&mut table, key, value).map_err(fault)?;
        }
        config_keys::check(&table, config_keys::Sources::file("")).map_err(fault)?;
        cohort_and_use(table).map_err(fault)
    }
}

/// The cohort, and what the held-out parts of its splits are for.
fn cohort_and_use(mut table: Table) -> std::result::Result<(CohortConfig, HeldOutUse), String> {
    config_keys::fill_evaluate(&mut table);
    let inner = table.get("training").and_then(|training| training.get("inner_validation")).cloned();
    let inner = inner.map(toml::Value::try_into).transpose();
    let inner: Option<InnerValidation> = inner.map_err(|error: toml::de::Error| toml_reason(&error))?;
    let inner = inner.unwrap_or(InnerValidation::Share(0.0));
    let cohort = cohort_of(table)?;
    inner.fault_with(cohort.evaluate).map_or(Ok(()), Err)?;
    let held_out = inner.held_out_use(cohort.evaluate);
    Ok((cohort, held_out))
}

pub(super) fn cohort_of(mut table: Table) -> std::result::Result<CohortConfig, String> {
    let section = table.get_mut("cohort").and_then(toml::Value::as_table_mut);
    let mut section = std::mem::take(section.ok_or("section [cohort] is missing")?);
    section.entry("splits").or_insert_with(|| toml::Value::String(String::new()));
    let cohort: CohortConfig = section.try_into().map_err(|error: toml::de::Error| toml_reason(&error))?;
    cohort.check()?;
    Ok(cohort)
}

/// The cohort that models trained elsewhere are tested on: its patients and its bags. Model and training are the run's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExternalConfig {
    /// The patients; splits are not read.
    pub cohort: CohortConfig,
    /// The bags.
    pub features: FeaturesConfig,
    /// What a pass may use; by default what the machine offers.
    #[serde(skip)]
    pub memory_budget: Option<ByteSize>,
    /// What the file says and a test does not read, as `cohort.splits` or `[model]`.
    #[serde(skip)]
    pub not_read: Vec<String>,
}

impl ExternalConfig {
    /// Reads `[cohort]` and `[features]` of a configuration, with `overrides` as in [`RunConfig::read`]. What only training reads may
    /// stand there and is listed in [`Self::not_read`].
    ///
    /// # Errors
    /// As [`RunConfig::read`], of these sections; and if an override is of what the run decides.
    pub fn read(path: &Path, overrides: &[(String, String)]) -> Result<Self> {
        let fault = |reason: String| Error::Config { path: path.to_owned(), reason };
        let table = read_table(path, overrides)?;
        let of_the_run = |key: &&String| !key.starts_with("cohort.") && !key.starts_with("features.");
        if let Some(key) =
            overrides.iter().map(|(key, _)| key).filter(of_the_run).find(|key| *key != MEMORY_BUDGET)
        {
            return Err(fault(format!(
                "--set {key}: the run that is tested decides it, expected a key of cohort or features, or {MEMORY_BUDGET}"
            )));
        }
        let not_read = not_read(&table);
        let features = table
            .get("features")
            .cloned()
            .ok_or_else(|| fault("section [features] is missing".to_owned()))?;
        let budget = table.get("training").and_then(|training| training.get("memory_budget")).cloned();
        let unusable = |error: toml::de::Error| fault(toml_reason(&error));
        let features: FeaturesConfig = features.try_into().map_err(unusable)?;
        let memory_budget = budget.map(toml::Value::try_into).transpose().map_err(unusable)?;
        features.check().map_err(fault)?;
        let cohort = cohort_of(table).map_err(fault)?;
        cohort.check_name().map_err(fault)?;
        let mut config = Self { cohort, features, memory_budget, not_read };
        let base = base_of(path)?;
        config.cohort.splits = PathBuf::new();
        config.cohort.resolve_paths(&base);
        config.features.resolve_paths(&base);
        Ok(config)
    }

    /// What was read, as TOML: reading it again gives the same test.
    ///
    /// # Errors
    /// If a path is not UTF-8.
    pub fn to_toml(&self) -> Result<String> {
        let fault = |reason: String| Error::Config { path: PathBuf::from("cohort.toml"), reason };
        let mut table = Table::try_from(self).map_err(|error| fault(error.to_string()))?;
        if let Some(cohort) = table.get_mut("cohort").and_then(toml::Value::as_table_mut) {
            cohort.retain(|key, _| !OF_FOLDS.contains(&key));
        }
        toml::to_string(&table).map_err(|error| fault(error.to_string()))
    }
}

/// Keys of `[cohort]` that are about folds alone.
const OF_FOLDS: [&str; 2] = ["splits", "evaluate"];

fn not_read(table: &Table) -> Vec<String> {
    let section = |name: &str| table.get(name).and_then(toml::Value::as_table);
    let cohort =
        section("cohort").into_iter().flat_map(Table::keys).filter(|key| OF_FOLDS.contains(&key.as_str()));
    let mut found: Vec<String> = cohort.map(|key| format!("cohort.{key}")).collect();
    found.extend(section("model").map(|_| "[model]".to_owned()));
    let training =
        section("training").is_some_and(|training| training.keys().any(|key| key != "memory_budget"));
    found.extend(training.then(|| "[training]".to_owned()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const COHORT: &str = "[cohort]\nname = \"b\"\nclinical = \"c.csv\"\npreset = \"mcat\"\n";
    const FEATURES: &str = "[features]\ndir = \"bags\"\nbackbone = \"conch\"\n";

    fn read(text: &str, overrides: &[(&str, &str)]) -> Result<ExternalConfig> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cohort.toml");
        std::fs::write(&file, text).unwrap();
        let overrides: Vec<(String, String)> =
            overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        ExternalConfig::read(&file, &overrides)
    }

    #[test]
    fn a_cohort_needs_no_splits_and_what_only_training_reads_is_listed() {
        let alone = read(&format!("{COHORT}{FEATURES}"), &[]).unwrap();
        assert_eq!(alone.not_read, Vec::<String>::new());
        let more = "[model]\nname = \"amil\"\n[training]\nseed = 1\nmemory_budget = \"2 GiB\"\n";
        let whole = format!("{COHORT}splits = \"s\"\n{FEATURES}{more}");
        let whole = read(&whole, &[("features.backbone", "uni")]).unwrap();
        assert_eq!(whole.not_read, ["cohort.splits", "[model]", "[training]"]);
        assert_eq!((whole.memory_budget, whole.features.backbone.as_str()), (Some(ByteSize(2 << 30)), "uni"));
        let text = whole.to_toml().unwrap();
        assert!(!text.contains("splits") && !text.contains("evaluate"), "{text}");
        let again = read(&text, &[]).unwrap();
        assert_eq!((again.cohort, again.features), (whole.cohort, whole.features));
    }

    #[test]
    fn what_the_run_decides_is_refused_on_the_command_line() {
        let text = format!("{COHORT}{FEATURES}");
        let error = |text: &str, overrides: &[(&str, &str)]| read(text, overrides).unwrap_err().to_string();
        assert!(
            error(&text, &[("training.seed", "8")]).contains("--set training.seed: the run that is tested")
        );
        assert!(read(&text, &[("training.memory_budget", "1 GiB")]).is_ok());
        assert!(error(COHORT, &[]).contains("section [features] is missing"));
        assert!(error(FEATURES, &[]).contains("section [cohort] is missing"));
        assert!(error(&format!("{COHORT}{FEATURES}layout = \"x\"\n"), &[]).contains("features.layout"));
        assert!(error(&format!("{text}[modle]\n"), &[]).contains("unknown key `modle`"));
        assert!(error(&text, &[("cohort.name", "")]).contains("cohort.name is empty"));
    }
}
