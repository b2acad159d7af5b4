//! The data sets, their cases, and how numbers are compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use survival_metrics::{Outcome, Risk, Status, SurvivalData};

/// The survival data, or `None` with a printed reason.
pub(crate) fn root() -> Option<PathBuf> {
    let root = std::env::var_os("CF_TEST_DATA").map(|root| Path::new(&root).join("survival"));
    if root.is_none() {
        println!("skipped: CF_TEST_DATA is not set");
    }
    root
}

pub(crate) fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A CSV file by columns.
pub(crate) struct Table {
    columns: BTreeMap<String, Vec<String>>,
}

impl Table {
    pub(crate) fn read(path: &Path) -> Self {
        let mut reader = csv::Reader::from_path(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let names: Vec<String> = reader.headers().expect("header").iter().map(str::to_owned).collect();
        let mut columns: BTreeMap<String, Vec<String>> =
            names.iter().map(|name| (name.clone(), Vec::new())).collect();
        for record in reader.records() {
            for (name, cell) in names.iter().zip(record.expect("row").iter()) {
                columns.get_mut(name).expect("named above").push(cell.to_owned());
            }
        }
        Self { columns }
    }

    pub(crate) fn strings(&self, column: &str) -> &[String] {
        self.columns.get(column).unwrap_or_else(|| panic!("no column {column}"))
    }

    pub(crate) fn numbers(&self, column: &str) -> Vec<f64> {
        self.strings(column).iter().map(|cell| cell.parse().expect("a number")).collect()
    }

    pub(crate) fn outcomes(&self) -> Vec<Outcome> {
        let event = self.numbers("event");
        self.numbers("time").into_iter().zip(event).map(|(time, event)| outcome(time, event)).collect()
    }

    /// Labels of a column; `hi_<method>` is the side of the median of that method's risk.
    pub(crate) fn labels(&self, column: &str) -> Vec<String> {
        match column.strip_prefix("hi_") {
            None => self.strings(column).to_vec(),
            Some(method) => {
                let split = survival_metrics::median_split(&self.numbers(&format!("risk_{method}")));
                let groups = split.expect("two groups").groups;
                let label = |g| {
                    if g == survival_metrics::RiskGroup::High { "1" } else { "0" }
                };
                groups.into_iter().map(|g| label(g).to_owned()).collect()
            }
        }
    }
}

/// A data set with the values expected of it.
pub(crate) struct Dataset {
    pub(crate) table: Table,
    pub(crate) outcomes: Vec<Outcome>,
    file: Value,
}

impl Dataset {
    pub(crate) fn name(&self) -> &str {
        self.file["dataset"].as_str().expect("a name")
    }

    pub(crate) fn cases(&self) -> &[Value] {
        self.file["cases"].as_array().expect("cases")
    }

    /// The rows of a case's group, `all` or `column=label`.
    pub(crate) fn group_rows(&self, case: &Value) -> Vec<usize> {
        let all = 0..self.outcomes.len();
        match case["params"]["group"].as_str().and_then(|group| group.split_once('=')) {
            None => all.collect(),
            Some((column, wanted)) => {
                let labels = self.table.labels(column);
                all.filter(|&row| labels[row] == wanted).collect()
            }
        }
    }

    /// The sample of a case's group, with entry times where the data set has them.
    pub(crate) fn sample(&self, case: &Value) -> SurvivalData {
        let rows = self.group_rows(case);
        let outcomes: Vec<Outcome> = rows.iter().map(|&row| self.outcomes[row]).collect();
        let data = SurvivalData::new(&outcomes).expect("not empty");
        match self.file["columns"]["entry"].as_str() {
            None => data,
            Some(column) => {
                let entry = self.table.numbers(column);
                data.with_entry(&rows.iter().map(|&row| entry[row]).collect::<Vec<_>>()).expect("valid")
            }
        }
    }

    /// The weights that the cases use.
    pub(crate) fn case_weights(&self) -> Vec<f64> {
        (0..self.outcomes.len()).map(|row| (1 + row % 3) as f64).collect()
    }

    /// The risk that a case names.
    pub(crate) fn risk_of(&self, case: &Value, key: &str) -> Risk {
        Risk::new(&self.risk(case["params"][key].as_str().expect("a risk"))).expect("not NaN")
    }

    /// A risk by the name used in the cases: a column with a sign.
    pub(crate) fn risk(&self, name: &str) -> Vec<f64> {
        let column = self.file["risks"][name].as_str().unwrap_or_else(|| panic!("no risk {name}"));
        let sign = if column.starts_with('-') { -1.0 } else { 1.0 };
        self.table.numbers(&column[1..]).into_iter().map(|x| sign * x).collect()
    }
}

/// All data sets with one row per subject and at most one kind of event, or `None` without data.
pub(crate) fn datasets() -> Option<Vec<Dataset>> {
    let root = root()?;
    let names =
        "actg320 blca gbmlgg gbsg2 larynx leukemia luad macs rossi veteran waltons".split_whitespace();
    Some(names.map(|name| dataset(&root, name)).collect())
}

fn dataset(root: &Path, name: &str) -> Dataset {
    let file = json(&root.join(format!("expected/{name}.json")));
    let table = Table::read(&root.join(file["csv"].as_str().expect("the name of a CSV file")));
    Dataset { outcomes: table.outcomes(), table, file }
}

pub(crate) fn outcome(time: f64, event: f64) -> Outcome {
    try_outcome(time, event).expect("a valid time")
}

pub(crate) fn try_outcome(time: f64, event: f64) -> survival_metrics::Result<Outcome> {
    let status = match event {
        1.0 => Status::Event,
        0.0 => Status::Censored,
        other => panic!("event {other}"),
    };
    Outcome::new(time, status)
}

/// A number that JSON may hold as a string (infinite, NaN); `None` for null (R's NA).
pub(crate) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.parse().unwrap_or_else(|_| panic!("{text} is no number"))),
        other => Some(other.as_f64().unwrap_or_else(|| panic!("{other} is no number"))),
    }
}

pub(crate) fn numbers(value: &Value) -> Vec<Option<f64>> {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list")).iter().map(number).collect()
}

/// Fails unless the numbers agree to `relative`, or to 1e-14 near 0.
pub(crate) fn assert_close(what: &str, ours: f64, expected: f64, relative: f64, case: &Value) {
    let agree = ours == expected || (ours - expected).abs() <= relative * expected.abs() + 1e-14;
    assert!(agree, "{what}: {ours:e} instead of {expected:e} in {} {}", case["id"], case["params"]);
}

/// A number that must be there.
pub(crate) fn required(expected: &Value, name: &str) -> f64 {
    number(&expected[name]).unwrap_or_else(|| panic!("no {name}"))
}

pub(crate) fn assert_all_close(what: &str, ours: &[f64], expected: &Value, relative: f64, case: &Value) {
    let expected = numbers(expected);
    assert_eq!(ours.len(), expected.len(), "{what} in {}", case["id"]);
    for (ours, expected) in ours.iter().zip(expected) {
        assert_close(what, *ours, expected.expect("a number"), relative, case);
    }
}
