//! A configuration with all its faults, in place of the first.

use std::path::Path;

use toml::Table;

use super::sections::cohort_of;
use super::{RunConfig, base_of, toml_reason};
use crate::cohort::CohortConfig;
use crate::config_keys;

/// What there is of a configuration, and all that is wrong with it.
pub(crate) struct Examined {
    /// Without the faulty keys; `None` where too little is left.
    pub(crate) config: Option<RunConfig>,
    /// Whether its section `[model]` is that of the file, rather than the default in place of an unusable one.
    pub(crate) has_model: bool,
    /// Its section `[cohort]`, where that much is usable.
    pub(crate) cohort: Option<CohortConfig>,
    /// In the order of reading.
    pub(crate) faults: Vec<ConfigFault>,
}

/// One fault of a configuration.
pub(crate) struct ConfigFault {
    pub(crate) kind: ConfigFaultKind,
    /// Place, what was found and what was wanted.
    pub(crate) reason: String,
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConfigFaultKind {
    /// The file can't be read.
    Unreadable,
    /// It is not TOML.
    Syntax,
    /// Nothing reads the key.
    UnknownKey,
    /// A required section or key is missing.
    Missing,
    /// A value is of another kind or out of its range.
    Value,
}

impl RunConfig {
    /// As [`RunConfig::read`], going on after every fault that leaves something to go on with.
    pub(crate) fn examine(path: &Path, overrides: &[(String, String)]) -> Examined {
        let mut faults = Vec::new();
        let table = examined_table(path, overrides, &mut faults);
        let (config, has_model) = match table.clone().map(|table| Self::of_table(table, &mut faults)) {
            Some((config, has_model)) => (config, has_model),
            None => (None, false),
        };
        let cohort = match (&config, table) {
            (Some(config), _) => Some(config.cohort.clone()),
            (None, table) => table.and_then(|table| cohort_of(table).ok()),
        };
        let mut examined = Examined { config, has_model, cohort, faults };
        match base_of(path) {
            Ok(base) => {
                examined.config.iter_mut().for_each(|config| config.resolve_paths(&base));
                examined.cohort.iter_mut().for_each(|cohort| cohort.resolve_paths(&base));
            }
            Err(error) => {
                let kind = ConfigFaultKind::Unreadable;
                examined.faults.push(ConfigFault { kind, reason: error.to_string() });
            }
        }
        examined
    }

    /// The configuration of a table of known keys; without a usable model, with the default one in its place and `false`.
    fn of_table(mut table: Table, faults: &mut Vec<ConfigFault>) -> (Option<Self>, bool) {
        let kind = ConfigFaultKind::Value;
        let (config, has_model) = match table.clone().try_into::<Self>() {
            Ok(config) => (Some(config), true),
            Err(error) => {
                faults.push(ConfigFault { kind, reason: toml_reason(&error) });
                let name = toml::Value::String(cf_model::ModelName::ALL[0].as_str().to_owned());
                table.insert("model".to_owned(), Table::from_iter([("name".to_owned(), name)]).into());
                (table.try_into::<Self>().ok(), false)
            }
        };
        let reasons = config.as_ref().map_or_else(Vec::new, Self::value_faults);
        faults.extend(reasons.into_iter().map(|reason| ConfigFault { kind, reason }));
        (config, has_model)
    }
}

/// The table of a configuration without its faulty keys, which are listed.
fn examined_table(
    path: &Path,
    overrides: &[(String, String)],
    faults: &mut Vec<ConfigFault>,
) -> Option<Table> {
    let mut add = |kind: ConfigFaultKind, reason: String| faults.push(ConfigFault { kind, reason });
    let text = std::fs::read_to_string(path)
        .map_err(|error| add(ConfigFaultKind::Unreadable, error.to_string()))
        .ok()?;
    let mut table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| add(ConfigFaultKind::Syntax, toml_reason(&error)))
        .ok()?;
    for (key, value) in overrides {
        if let Err(reason) = config_keys::set(&mut table, key, value) {
            add(ConfigFaultKind::UnknownKey, reason);
        }
    }
    for fault in config_keys::faults(&table, config_keys::Sources { text: &text, overrides }) {
        config_keys::remove(&mut table, &fault.dotted);
        let kind = if fault.is_unknown { ConfigFaultKind::UnknownKey } else { ConfigFaultKind::Value };
        add(kind, fault.reason);
    }
    if let Err(reason) = config_keys::fill_defaults(&mut table) {
        add(ConfigFaultKind::Missing, reason);
        // What is looked at before a run does not depend on the protocol.
        let stands_in = config_keys::set(&mut table, "training.protocol", "sound")
            .and_then(|()| config_keys::fill_defaults(&mut table));
        if let Err(reason) = stands_in {
            add(ConfigFaultKind::Missing, reason);
        }
    }
    Some(table)
}
