//! What differs between the runs of a study: `[cohorts.NAME]`, `[backbones.NAME]`, `[models.NAME]`, and `{cohort}` in paths.

use std::collections::BTreeMap;

use cf_model::ModelName;
use toml::{Table, Value};

use super::file::Lists;
use crate::config_keys;

/// Bytes of a text after labels were filled in: more than any path has. Labels within labels could fill the memory.
const MAX_FILLED: usize = 16 << 10;

type Outcome<T> = Result<T, String>;

/// What the runs of a study differ in, in the order in which settings are laid over each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Axis {
    Cohorts,
    Backbones,
    Models,
}

impl Axis {
    pub(super) const ALL: [Self; 3] = [Self::Cohorts, Self::Backbones, Self::Models];

    /// Its table and its list.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Cohorts => "cohorts",
            Self::Backbones => "backbones",
            Self::Models => "models",
        }
    }

    /// The section whose keys stand in its tables without the section's name.
    fn section(self) -> &'static str {
        match self {
            Self::Cohorts => "cohort",
            Self::Backbones => "features",
            Self::Models => "model",
        }
    }

    /// The key that the label gives where the table does not.
    fn labelled_key(self) -> &'static str {
        match self {
            Self::Cohorts | Self::Models => "name",
            Self::Backbones => "backbone",
        }
    }

    /// What stands for the label in paths.
    fn placeholder(self) -> &'static str {
        match self {
            Self::Cohorts => "{cohort}",
            Self::Backbones => "{backbone}",
            Self::Models => "{model}",
        }
    }
}

/// The tables of every axis, by name or pattern, each as sections of a run's configuration.
pub(super) type Overrides = BTreeMap<Axis, Vec<(String, Table)>>;

/// Reads `[cohorts.NAME]`, `[backbones.NAME]` and `[models.NAME]`.
///
/// # Errors
/// In words, for a name that is not in the study's lists, an unknown key, or a row that is no model.
pub(super) fn read(table: &Table, text: &str, lists: &Lists) -> Outcome<Overrides> {
    let mut overrides = Overrides::new();
    for axis in Axis::ALL {
        let labels = lists.of(axis);
        let mut tables = Vec::new();
        let none = Table::new();
        let given = match table.get(axis.as_str()) {
            None => &none,
            Some(value) => value.as_table().ok_or_else(|| {
                format!(
                    "`{}` is {value}, expected tables [{}.NAME]; lists go to [study]",
                    axis.as_str(),
                    axis.as_str()
                )
            })?,
        };
        for (name, value) in given {
            let place = format!("[{}.{name}]", axis.as_str());
            let value = value.as_table().ok_or_else(|| format!("{place} is {value}, expected a table"))?;
            if !labels.iter().any(|label| matches(name, label)) {
                let nearest = config_keys::nearest(labels.iter().cloned(), name);
                return Err(format!(
                    "{place} suits none of study.{}; the nearest is `{nearest}`",
                    axis.as_str()
                ));
            }
            let sections = sections_of(value, axis);
            config_keys::check(&sections, config_keys::Sources::file(text))
                .map_err(|reason| format!("{place}: {reason}"))?;
            tables.push((name.clone(), sections));
        }
        // A pattern says what several have in common, so what one of them says comes after.
        tables.sort_by_key(|(name, _)| !name.ends_with('*'));
        overrides.insert(axis, tables);
    }
    for label in lists.of(Axis::Models) {
        let named =
            overrides_of(&overrides, Axis::Models, label).any(|sections| has(sections, "model", "name"));
        if !named && label.parse::<ModelName>().is_err() {
            let nearest = config_keys::nearest(ModelName::ALL.map(|name| name.as_str().to_owned()), label);
            return Err(format!(
                "study.models lists `{label}`, which is no model; the nearest is `{nearest}`, or say which model it is with \
                 `name` in [models.{label}]"
            ));
        }
    }
    Ok(overrides)
}

/// The settings of the run with these labels.
///
/// # Errors
/// In words, for a placeholder that stands for nothing.
pub(super) fn merged(shared: &Table, overrides: &Overrides, labels: [(Axis, &String); 3]) -> Outcome<Table> {
    let mut table = shared.clone();
    for (axis, label) in labels {
        for sections in overrides_of(overrides, axis, label) {
            merge(&mut table, sections);
        }
        let section = table.entry(axis.section()).or_insert_with(|| Value::Table(Table::new()));
        if let Some(section) = section.as_table_mut() {
            section.entry(axis.labelled_key()).or_insert_with(|| Value::String(label.clone()));
        }
    }
    for (_, value) in table.iter_mut() {
        fill_placeholders(value, &labels)?;
    }
    Ok(table)
}

fn overrides_of<'a>(overrides: &'a Overrides, axis: Axis, label: &'a str) -> impl Iterator<Item = &'a Table> {
    let tables = overrides.get(&axis).map_or(&[][..], Vec::as_slice).iter();
    tables.filter(move |(name, _)| matches(name, label)).map(|(_, sections)| sections)
}

/// Whether a table's name is a label, or its beginning followed by `*`.
fn matches(name: &str, label: &str) -> bool {
    name.strip_suffix('*').map_or(name == label, |start| label.starts_with(start))
}

fn has(sections: &Table, section: &str, key: &str) -> bool {
    sections.get(section).and_then(Value::as_table).is_some_and(|section| section.contains_key(key))
}

/// A table whose keys are those of the axis' own section, but for the other sections, as sections.
fn sections_of(table: &Table, axis: Axis) -> Table {
    let mut sections = Table::new();
    let mut own = Table::new();
    for (key, value) in table {
        let is_section =
            value.is_table() && ["cohort", "features", "model", "training"].contains(&key.as_str());
        let target = if is_section { &mut sections } else { &mut own };
        target.insert(key.clone(), value.clone());
    }
    let own = Table::from_iter([(axis.section().to_owned(), Value::Table(own))]);
    merge(&mut sections, &own);
    sections
}

/// Lays `over` on `table`, tables within tables.
fn merge(table: &mut Table, over: &Table) {
    for (key, value) in over {
        match (table.get_mut(key), value) {
            (Some(Value::Table(inner)), Value::Table(over)) => merge(inner, over),
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

fn fill_placeholders(value: &mut Value, labels: &[(Axis, &String); 3]) -> Outcome<()> {
    match value {
        Value::String(text) => {
            for (axis, label) in labels {
                let placeholder = axis.placeholder();
                let n_filled = text.matches(placeholder).count();
                let filled = text.len().saturating_add(n_filled.saturating_mul(label.len()));
                if n_filled > 0 && filled > MAX_FILLED {
                    return Err(format!(
                        "a text with {n_filled} times {placeholder} becomes longer than {MAX_FILLED} bytes, expected a name or a path"
                    ));
                }
                *text = text.replace(placeholder, label);
            }
            match text.find('{').zip(text.find('}')) {
                Some((open, close)) if open < close => Err(format!(
                    "`{text}` has a placeholder that stands for nothing; {{cohort}}, {{backbone}} and {{model}} do"
                )),
                _ => Ok(()),
            }
        }
        Value::Table(table) => table.iter_mut().try_for_each(|(_, value)| fill_placeholders(value, labels)),
        Value::Array(items) => items.iter_mut().try_for_each(|value| fill_placeholders(value, labels)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_model_says_comes_after_what_a_pattern_says_of_several() {
        let tables = ["embed_dim = 32\nnum_heads = 4", "embed_dim = 16\ntraining.max_epochs = 3"];
        let [all, one] = tables.map(|text| sections_of(&text.parse().unwrap(), Axis::Models));
        let mut overrides = Overrides::new();
        overrides.insert(
            Axis::Models,
            vec![("crossfusion*".to_owned(), all), ("crossfusion-wo-cp".to_owned(), one)],
        );
        let shared: Table =
            "[training]\nmax_epochs = 9\n[cohort]\nclinical = \"{cohort}/{backbone}.csv\"".parse().unwrap();
        let labels = |model: &str| ["blca", "conch", model].map(str::to_owned);
        let of = |model: &str| {
            let [cohort, backbone, model] = labels(model);
            let labels = [(Axis::Cohorts, &cohort), (Axis::Backbones, &backbone), (Axis::Models, &model)];
            merged(&shared, &overrides, labels).unwrap()
        };
        let wo_cp = of("crossfusion-wo-cp");
        assert_eq!(wo_cp["model"]["embed_dim"].as_integer(), Some(16));
        assert_eq!(wo_cp["model"]["num_heads"].as_integer(), Some(4));
        assert_eq!(wo_cp["model"]["name"].as_str(), Some("crossfusion-wo-cp"));
        assert_eq!(wo_cp["training"]["max_epochs"].as_integer(), Some(3));
        assert_eq!(wo_cp["cohort"]["clinical"].as_str(), Some("blca/conch.csv"));
        assert_eq!(wo_cp["features"]["backbone"].as_str(), Some("conch"));
        let full = of("crossfusion");
        assert_eq!(full["model"]["embed_dim"].as_integer(), Some(32));
        assert_eq!(full["training"]["max_epochs"].as_integer(), Some(9));
    }

    #[test]
    fn a_placeholder_that_stands_for_nothing_is_refused() {
        let shared: Table = "[features]\ndir = \"{encoder}/bags\"".parse().unwrap();
        let label = "x".to_owned();
        let labels = [(Axis::Cohorts, &label), (Axis::Backbones, &label), (Axis::Models, &label)];
        let reason = merged(&shared, &Overrides::new(), labels).unwrap_err();
        assert!(reason.contains("`{encoder}/bags`") && reason.contains("{backbone}"), "{reason}");
    }
}
