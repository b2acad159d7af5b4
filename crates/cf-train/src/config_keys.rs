//! The keys of a configuration file: which exist, what is near a misspelt one, and their defaults.

use toml::{Table, Value};

/// Letters by which a misspelt name is compared with valid ones: more than any of these has.
const COMPARED_LETTERS: usize = 64;

/// The part of split files that can choose the epoch.
const VAL: &str = "val";

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Texts,
    Whole,
    Number,
    /// A number, or the name of the part `val`.
    NumberOrVal,
    Switch,
    Section,
}

impl Kind {
    fn accepts(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_str(),
            Self::Texts => value.as_array().is_some_and(|values| values.iter().all(Value::is_str)),
            Self::Whole => value.as_integer().is_some_and(|whole| whole >= 0),
            // `alpha = 0` is a float to everyone but TOML.
            Self::Number => value.is_float() || value.is_integer(),
            Self::NumberOrVal => Self::Number.accepts(value) || value.as_str() == Some(VAL),
            Self::Switch => value.is_bool(),
            Self::Section => value.is_table(),
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::Text => "a text in quotes",
            Self::Texts => "a list of texts in quotes",
            Self::Whole => "a whole number from 0 to 9223372036854775807",
            Self::Number => "a number",
            Self::NumberOrVal => "a number, or \"val\"",
            Self::Switch => "true or false",
            Self::Section => "a table",
        }
    }
}

/// Every key, by section, with what it holds. Ranges are checked by [`crate::config`] and the models.
const SECTIONS: [(&str, &[(&str, Kind)]); 7] = [
    (
        "cohort",
        &[
            ("name", Kind::Text),
            ("clinical", Kind::Text),
            ("splits", Kind::Text),
            ("preset", Kind::Text),
            ("endpoint", Kind::Text),
            ("slides", Kind::Text),
            ("evaluate", Kind::Text),
            ("missing_outcome", Kind::Text),
            ("columns", Kind::Section),
            ("slide_columns", Kind::Section),
        ],
    ),
    (
        "cohort.columns",
        &[
            ("case_id", Kind::Text),
            ("slide_id", Kind::Text),
            ("time", Kind::Text),
            ("censored_time", Kind::Text),
            ("time_unit", Kind::Text),
            ("event", Kind::Text),
            ("censorship", Kind::Text),
            ("event_values", Kind::Texts),
            ("censored_values", Kind::Texts),
        ],
    ),
    ("cohort.slide_columns", &[("case_id", Kind::Text), ("slide_id", Kind::Text)]),
    (
        "features",
        &[("dir", Kind::Text), ("layout", Kind::Text), ("backbone", Kind::Text), ("roots", Kind::Section)],
    ),
    ("features.roots", &[("x5", Kind::Text), ("x10", Kind::Text), ("x20", Kind::Text)]),
    (
        "model",
        &[
            ("name", Kind::Text),
            ("embed_dim", Kind::Whole),
            ("num_heads", Kind::Whole),
            ("num_layers", Kind::Whole),
            ("mlp_ratio", Kind::Number),
            ("dropout", Kind::Number),
            ("attention_dropout", Kind::Number),
            ("attention_dropout_at_eval", Kind::Switch),
            ("residual", Kind::Text),
            ("single_magnification", Kind::Text),
            ("form", Kind::Text),
            ("instance_loss_weight", Kind::Number),
            ("learned_values", Kind::Switch),
            ("value_dropout", Kind::Number),
            ("edges", Kind::Text),
            ("num_neighbours", Kind::Whole),
            ("reverse_edges", Kind::Switch),
            ("resample", Kind::Number),
            ("max_nodes", Kind::Whole),
            ("metric", Kind::Text),
            ("residual_dropout", Kind::Number),
            ("final_dropout", Kind::Number),
            ("mlp_bias", Kind::Switch),
            ("project_to", Kind::Whole),
            ("tissue_prior", Kind::Text),
            ("auxiliary_losses", Kind::Switch),
            ("augmentation", Kind::Switch),
            ("num_zoomed", Kind::Whole),
            ("sigma", Kind::Number),
            ("num_noise_samples", Kind::Whole),
            ("mask_empty", Kind::Switch),
            ("num_scales", Kind::Whole),
            ("scale_loss_weight", Kind::Number),
            ("sampling", Kind::Text),
            ("num_eval_bags", Kind::Whole),
            ("cross_scale_norm", Kind::Text),
            ("head", Kind::Text),
        ],
    ),
    (
        "training",
        &[
            ("protocol", Kind::Text),
            ("max_epochs", Kind::Whole),
            ("learning_rate", Kind::Number),
            ("weight_decay", Kind::Number),
            ("accumulation", Kind::Whole),
            ("alpha", Kind::Number),
            ("loss", Kind::Text),
            ("precision", Kind::Text),
            ("memory_budget", Kind::Text),
            ("seed", Kind::Whole),
            ("inner_validation", Kind::NumberOrVal),
            ("max_patches", Kind::Whole),
            ("initial_weights", Kind::Text),
        ],
    ),
];

fn all_keys() -> impl Iterator<Item = String> {
    SECTIONS.iter().flat_map(|(section, keys)| keys.iter().map(move |(key, _)| format!("{section}.{key}")))
}

fn kind_of(dotted: &str) -> Option<Kind> {
    let (section, key) = dotted.rsplit_once('.').unwrap_or(("", dotted));
    if section.is_empty() {
        return SECTIONS.iter().any(|(name, _)| *name == key).then_some(Kind::Section);
    }
    let (_, keys) = SECTIONS.iter().find(|(name, _)| *name == section)?;
    keys.iter().find(|(name, _)| *name == key).map(|(_, kind)| *kind)
}

/// Sets a dotted key. The value is TOML where it parses as such, else text.
pub(crate) fn set(table: &mut Table, dotted: &str, value: &str) -> Result<(), String> {
    if !all_keys().any(|known| known == dotted) {
        return Err(format!("--set {dotted}: {}", unknown(dotted)));
    }
    let parsed = format!("value = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    let value = parsed.unwrap_or_else(|| Value::String(value.to_owned()));
    let mut parts: Vec<&str> = dotted.split('.').collect();
    let last = parts.pop().unwrap_or(dotted);
    let mut target = table;
    for part in parts {
        let entry = target.entry(part).or_insert_with(|| Value::Table(Table::new()));
        target = entry
            .as_table_mut()
            .ok_or_else(|| format!("--set {dotted}: `{part}` is not a table in the file"))?;
    }
    target.insert(last.to_owned(), value);
    Ok(())
}

/// Where a configuration says its keys.
#[derive(Clone, Copy)]
pub(crate) struct Sources<'a> {
    /// Of the file.
    pub(crate) text: &'a str,
    /// Keys and values that were laid over it.
    pub(crate) overrides: &'a [(String, String)],
}

impl<'a> Sources<'a> {
    /// A file alone.
    pub(crate) fn file(text: &'a str) -> Self {
        Self { text, overrides: &[] }
    }

    /// `line 12: `, `--set: ` or nothing.
    fn place_of(self, dotted: &str, key: &str) -> String {
        if self.overrides.iter().any(|(set, _)| set == dotted) {
            return "--set: ".to_owned();
        }
        line_of(self.text, key)
    }
}

/// Refuses keys that nothing reads and values of another kind, naming the line and what would be valid.
pub(crate) fn check(table: &Table, sources: Sources<'_>) -> Result<(), String> {
    let mut found = Vec::new();
    collect_faults(table, "", sources, 1, &mut found);
    found.pop().map_or(Ok(()), |fault| Err(fault.reason))
}

/// A key that nothing reads, or with a value of another kind.
pub(crate) struct KeyFault {
    /// The key with its sections, as `training.seed`.
    pub(crate) dotted: String,
    /// Whether nothing reads the key.
    pub(crate) is_unknown: bool,
    /// Line, what was found and what would be valid.
    pub(crate) reason: String,
}

/// Every fault of a configuration's keys, in the order of the table.
pub(crate) fn faults(table: &Table, sources: Sources<'_>) -> Vec<KeyFault> {
    let mut found = Vec::new();
    collect_faults(table, "", sources, usize::MAX, &mut found);
    found
}

/// Adds faults to `found` until it holds `most`.
fn collect_faults(table: &Table, prefix: &str, sources: Sources<'_>, most: usize, found: &mut Vec<KeyFault>) {
    for (key, value) in table {
        if found.len() >= most {
            return;
        }
        let dotted = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match (kind_of(&dotted), value) {
            (None, _) => {
                let reason = format!("{}{}", sources.place_of(&dotted, key), unknown(&dotted));
                found.push(KeyFault { dotted, is_unknown: true, reason });
            }
            (Some(kind), _) if !kind.accepts(value) => {
                let place = sources.place_of(&dotted, key);
                let reason = format!("{place}`{dotted}` is {value}, expected {}", kind.in_words());
                found.push(KeyFault { dotted, is_unknown: false, reason });
            }
            (Some(_), Value::Table(inner)) => collect_faults(inner, &dotted, sources, most, found),
            (Some(_), _) => {}
        }
    }
}

/// Takes a dotted key out.
pub(crate) fn remove(table: &mut Table, dotted: &str) {
    match dotted.split_once('.') {
        None => {
            table.remove(dotted);
        }
        Some((section, rest)) => {
            if let Some(section) = table.get_mut(section).and_then(Value::as_table_mut) {
                remove(section, rest);
            }
        }
    }
}

/// `line 12: ` of the first line that sets `key`, or nothing where that can't be told.
pub(crate) fn line_of(text: &str, key: &str) -> String {
    let sets = |line: &str| {
        let line = line.trim_start().trim_start_matches(['[', '"']);
        line.strip_prefix(key)
            .is_some_and(|rest| rest.trim_start_matches('"').trim_start().starts_with(['=', ']', '.']))
    };
    text.lines().position(sets).map_or_else(String::new, |index| format!("line {}: ", index + 1))
}

fn unknown(dotted: &str) -> String {
    let sections = SECTIONS.iter().map(|(section, _)| (*section).to_owned());
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let of_another_section = all_keys().find(|key| last(key) == last(dotted));
    let nearest = of_another_section.unwrap_or_else(|| nearest(all_keys().chain(sections), dotted));
    format!("unknown key `{dotted}`; the nearest valid one is `{nearest}`")
}

/// The name that looks most like `found`; empty without names.
pub(crate) fn nearest(names: impl IntoIterator<Item = String>, found: &str) -> String {
    let start = |name: &str| name.chars().take(COMPARED_LETTERS).collect::<String>();
    let found = start(found);
    let likeness = |name: &String| strsim::jaro_winkler(&start(name), &found);
    names.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or_default()
}

/// Fills in what the file leaves out and what is the same for everybody, or is fixed by the protocol.
pub(crate) fn fill_defaults(table: &mut Table) -> Result<(), String> {
    let training = section(table, "training")?;
    let epochs = match training.get("protocol").and_then(Value::as_str) {
        Some("paper") => crate::protocol::Protocol::Paper.default_epochs(),
        Some("sound") => crate::protocol::Protocol::Sound.default_epochs(),
        Some(other) => {
            return Err(format!("training.protocol is `{other}`, expected `paper` or `sound`"));
        }
        None => {
            return Err(
                "training.protocol is missing: say `paper` (selects the epoch on the validation fold, as \
                 Table 1 does) or `sound` (selects nothing on it)"
                    .to_owned(),
            );
        }
    };
    let defaults: [(&str, Value); 9] = [
        ("max_epochs", Value::Integer(epochs as i64)),
        ("learning_rate", Value::Float(1e-4)),
        ("weight_decay", Value::Float(4e-6)),
        ("accumulation", Value::Integer(32)),
        ("alpha", Value::Float(0.2)),
        ("loss", Value::String("nll".to_owned())),
        ("precision", Value::String("f32".to_owned())),
        ("seed", Value::Integer(7)),
        ("inner_validation", Value::Float(0.0)),
    ];
    for (key, value) in defaults {
        training.entry(key).or_insert(value);
    }
    for (name, keys) in SECTIONS {
        let Some(section) = table.get_mut(name).and_then(Value::as_table_mut) else { continue };
        for (key, _) in keys.iter().filter(|(_, kind)| matches!(kind, Kind::Number | Kind::NumberOrVal)) {
            if let Some(value) = section.get_mut(*key)
                && let Some(whole) = value.as_integer()
            {
                *value = Value::Float(whole as f64);
            }
        }
    }
    for required in ["cohort", "model", "features"] {
        section(table, required)?;
    }
    fill_evaluate(table);
    Ok(())
}

/// Has `test` validated where `val` chooses the epoch and nothing else is said.
pub(crate) fn fill_evaluate(table: &mut Table) {
    let inner = table.get("training").and_then(|training| training.get("inner_validation"));
    if inner.and_then(Value::as_str) == Some(VAL)
        && let Some(cohort) = table.get_mut("cohort").and_then(Value::as_table_mut)
    {
        cohort.entry("evaluate").or_insert_with(|| Value::String("test".to_owned()));
    }
}

fn section<'a>(table: &'a mut Table, name: &str) -> Result<&'a mut Table, String> {
    table.get_mut(name).and_then(Value::as_table_mut).ok_or_else(|| format!("section [{name}] is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_named_with_its_line_and_its_neighbour() {
        let text = "[training]\nprotocol = \"paper\"\nmax_epoch = 3\n";
        let faults = |text: &str| check(&text.parse().unwrap(), Sources::file(text)).unwrap_err();
        let message = faults(text);
        assert_eq!(
            message,
            "line 3: unknown key `training.max_epoch`; the nearest valid one is `training.max_epochs`"
        );
        let message = faults("[trainin]\nprotocol = \"paper\"\n");
        assert!(message.contains("line 1: unknown key `trainin`"), "{message}");
    }

    #[test]
    fn a_value_of_the_command_line_is_no_line_of_the_file() {
        let text = "[training]\nseed = 7\n";
        let overrides = [("training.seed".to_owned(), "99999999999999999999".to_owned())];
        let mut table: Table = text.parse().unwrap();
        set(&mut table, "training.seed", &overrides[0].1).unwrap();
        let message = check(&table, Sources { text, overrides: &overrides }).unwrap_err();
        let expected = "--set: `training.seed` is \"99999999999999999999\", expected a whole number from 0 to 9223372036854775807";
        assert_eq!(message, expected);
    }

    #[test]
    fn a_key_without_its_section_is_found_in_it() {
        assert!(unknown("seed").ends_with("`training.seed`"), "{}", unknown("seed"));
        assert!(unknown("model.accumulation").ends_with("`training.accumulation`"));
    }

    #[test]
    fn overrides_take_toml_values_and_bare_text() {
        let mut table = Table::new();
        set(&mut table, "training.seed", "8").unwrap();
        set(&mut table, "training.protocol", "sound").unwrap();
        set(&mut table, "cohort.columns.time", "os_months").unwrap();
        assert_eq!(table["training"]["seed"].as_integer(), Some(8));
        assert_eq!(table["training"]["protocol"].as_str(), Some("sound"));
        assert_eq!(table["cohort"]["columns"]["time"].as_str(), Some("os_months"));
        assert!(set(&mut table, "training.seeed", "8").unwrap_err().contains("`training.seed`"));
    }
}
