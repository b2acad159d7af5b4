//! The keys of a configuration file: which exist, what is near a misspelt one, and their defaults.

use toml::{Table, Value};

/// Every section with its keys. Values are checked by the types of [`crate::config`].
const SECTIONS: [(&str, &[&str]); 5] = [
    ("cohort", &["name", "clinical", "splits", "columns"]),
    ("cohort.columns", &["case_id", "slide_id", "time", "event", "censorship"]),
    ("features", &["dir", "layout", "backbone"]),
    (
        "model",
        &[
            "name",
            "embed_dim",
            "num_heads",
            "num_layers",
            "mlp_ratio",
            "dropout",
            "attention_dropout",
            "attention_dropout_at_eval",
            "residual",
        ],
    ),
    (
        "training",
        &[
            "protocol",
            "max_epochs",
            "learning_rate",
            "weight_decay",
            "accumulation",
            "alpha",
            "loss",
            "seed",
            "inner_validation",
            "initial_weights",
        ],
    ),
];

fn all_keys() -> impl Iterator<Item = String> {
    SECTIONS.iter().flat_map(|(section, keys)| keys.iter().map(move |key| format!("{section}.{key}")))
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

/// Refuses keys that nothing reads, naming the line and the nearest key that exists.
pub(crate) fn check(table: &Table, text: &str) -> Result<(), String> {
    check_section(table, "", text)
}

fn check_section(table: &Table, prefix: &str, text: &str) -> Result<(), String> {
    for (key, value) in table {
        let dotted = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        let is_section = SECTIONS.iter().any(|(section, _)| *section == dotted);
        match value {
            Value::Table(inner) if is_section => check_section(inner, &dotted, text)?,
            _ if is_section => return Err(format!("`{dotted}` is {}, expected a table", value.type_str())),
            _ if all_keys().any(|known| known == dotted) => {}
            _ => return Err(format!("{}{}", line_of(text, key), unknown(&dotted))),
        }
    }
    Ok(())
}

/// `line 12: ` of the first line that sets `key`, or nothing where that can't be told.
fn line_of(text: &str, key: &str) -> String {
    let sets = |line: &str| {
        let line = line.trim_start().trim_start_matches(['[', '"']);
        line.strip_prefix(key)
            .is_some_and(|rest| rest.trim_start_matches('"').trim_start().starts_with(['=', ']', '.']))
    };
    text.lines().position(sets).map_or_else(String::new, |index| format!("line {}: ", index + 1))
}

fn unknown(dotted: &str) -> String {
    let sections = SECTIONS.iter().map(|(section, _)| (*section).to_owned());
    let nearest = all_keys()
        .chain(sections)
        .max_by(|a, b| strsim::jaro_winkler(a, dotted).total_cmp(&strsim::jaro_winkler(b, dotted)));
    let nearest = nearest.unwrap_or_default();
    format!("unknown key `{dotted}`; the nearest valid one is `{nearest}`")
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
    let defaults: [(&str, Value); 8] = [
        ("max_epochs", Value::Integer(epochs as i64)),
        ("learning_rate", Value::Float(1e-4)),
        ("weight_decay", Value::Float(4e-6)),
        ("accumulation", Value::Integer(32)),
        ("alpha", Value::Float(0.2)),
        ("loss", Value::String("nll".to_owned())),
        ("seed", Value::Integer(7)),
        ("inner_validation", Value::Float(0.0)),
    ];
    for (key, value) in defaults {
        training.entry(key).or_insert(value);
    }
    for (key, value) in training.iter_mut() {
        // `alpha = 0` is a float to everyone but TOML.
        if let ("learning_rate" | "weight_decay" | "alpha" | "inner_validation", Value::Integer(whole)) =
            (key.as_str(), &*value)
        {
            *value = Value::Float(*whole as f64);
        }
    }
    let cohort = section(table, "cohort")?;
    let columns = cohort.entry("columns").or_insert_with(|| Value::Table(Table::new()));
    if let Some(columns) = columns.as_table_mut()
        && !columns.contains_key("event")
    {
        columns.entry("censorship").or_insert_with(|| Value::String("censorship".to_owned()));
    }
    let model = section(table, "model")?;
    for key in ["mlp_ratio", "dropout", "attention_dropout"] {
        if let Some(Value::Integer(whole)) = model.get(key) {
            let float = Value::Float(*whole as f64);
            model.insert(key.to_owned(), float);
        }
    }
    Ok(())
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
        let message = check(&text.parse().unwrap(), text).unwrap_err();
        assert_eq!(
            message,
            "line 3: unknown key `training.max_epoch`; the nearest valid one is `training.max_epochs`"
        );
        let text = "[trainin]\nprotocol = \"paper\"\n";
        let message = check(&text.parse().unwrap(), text).unwrap_err();
        assert!(message.contains("line 1: unknown key `trainin`"), "{message}");
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
