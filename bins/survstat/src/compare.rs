//! `survstat compare`.

use serde::Serialize;
use survival_metrics::{
    ConcordanceComparison, Error, PAdjust, PairedDifference, Risk, adjust_p_values, compare_concordance,
};

use crate::args::CompareArguments;
use crate::error::CliError;
use crate::output;
use crate::sample::{concordance_config, risk, sample};
use crate::table::Table;

#[derive(Serialize)]
struct CompareJson<'a> {
    risks: Vec<RiskJson<'a>>,
    differences: Vec<DifferenceJson<'a>>,
    equality: Option<EqualityJson>,
}

#[derive(Serialize)]
struct RiskJson<'a> {
    risk: &'a str,
    c_index: f64,
    standard_error: f64,
}

#[derive(Serialize)]
struct DifferenceJson<'a> {
    first: &'a str,
    second: &'a str,
    difference: f64,
    standard_error: f64,
    z: f64,
    p_value: f64,
    log10_p: f64,
    holm_p: f64,
}

#[derive(Serialize)]
struct EqualityJson {
    chi_square: f64,
    df: usize,
    p_value: f64,
}

/// A tested pair of columns; `None` where both order all pairs alike.
struct Pair<'a> {
    first: &'a str,
    second: &'a str,
    difference: Option<PairedDifference>,
}

pub(crate) fn run(arguments: &CompareArguments) -> Result<String, CliError> {
    if arguments.risk.len() < 2 {
        let problem = "a comparison needs two risk columns".to_owned();
        return Err(CliError::Usage { problem, hint: "repeat --risk" });
    }
    let table = Table::read(&arguments.outcome.csv)?;
    let pairs = &arguments.pairs;
    let data = sample(&table, &arguments.outcome, pairs.strata.as_deref(), pairs.cluster.as_deref())?;
    let risks: Vec<Risk> =
        arguments.risk.iter().map(|column| risk(&table, column)).collect::<Result<_, _>>()?;
    let fault = |source: Error| {
        let hint = "check --event and --censored-is; a C-index needs subjects that outlived an event";
        CliError::in_file(table.path(), format!("comparison: {source}"), hint)
    };
    let comparison = compare_concordance(&data, &risks, &concordance_config(pairs)).map_err(fault)?;
    let mut tested = Vec::new();
    for (a, first) in arguments.risk.iter().enumerate() {
        for (b, second) in arguments.risk.iter().enumerate().skip(a + 1) {
            let difference = match comparison.difference(a, b) {
                Ok(difference) => Some(difference),
                Err(Error::ZeroVariance) => None,
                Err(other) => return Err(fault(other)),
            };
            tested.push(Pair { first, second, difference });
        }
    }
    let p_values: Vec<f64> = tested.iter().map(|pair| pair.difference.map_or(1.0, |d| d.p_value)).collect();
    let adjusted = adjust_p_values(&p_values, PAdjust::Holm).map_err(fault)?;
    if arguments.json {
        return output::json(&to_json(&arguments.risk, &comparison, &tested, &adjusted));
    }
    Ok(describe(&arguments.risk, &comparison, &tested, &adjusted))
}

fn to_json<'a>(
    names: &'a [String],
    comparison: &ConcordanceComparison,
    tested: &[Pair<'a>],
    adjusted: &[f64],
) -> CompareJson<'a> {
    let risks = names.iter().zip(&comparison.estimates).map(|(risk, estimate)| RiskJson {
        risk,
        c_index: estimate.c_index,
        standard_error: estimate.standard_error(),
    });
    let differences = tested.iter().zip(adjusted).map(|(pair, &holm_p)| {
        let d = pair.difference;
        DifferenceJson {
            first: pair.first,
            second: pair.second,
            difference: d.map_or(0.0, |d| d.difference),
            standard_error: d.map_or(0.0, |d| d.standard_error),
            z: d.map_or(0.0, |d| d.z),
            p_value: d.map_or(1.0, |d| d.p_value),
            log10_p: d.map_or(0.0, |d| d.log10_p),
            holm_p,
        }
    });
    let equality = comparison.equality().ok();
    CompareJson {
        risks: risks.collect(),
        differences: differences.collect(),
        equality: equality.map(|t| EqualityJson { chi_square: t.chi_square, df: t.df, p_value: t.p_value }),
    }
}

fn describe(
    names: &[String],
    comparison: &ConcordanceComparison,
    tested: &[Pair<'_>],
    adjusted: &[f64],
) -> String {
    let mut rows = vec![["risk", "C-index", "standard error"].map(str::to_owned).to_vec()];
    for (name, estimate) in names.iter().zip(&comparison.estimates) {
        let (c, se) = (estimate.c_index, estimate.standard_error());
        rows.push(vec![name.clone(), format!("{c:.4}"), format!("{se:.4}")]);
    }
    let titles = ["pair", "difference", "standard error", "z", "p", "p (Holm)"];
    let mut pairs = vec![titles.map(str::to_owned).to_vec()];
    for (pair, holm) in tested.iter().zip(adjusted) {
        let name = format!("{} - {}", pair.first, pair.second);
        pairs.push(match pair.difference {
            Some(d) => vec![
                name,
                format!("{:+.4}", d.difference),
                format!("{:.4}", d.standard_error),
                format!("{:.2}", d.z),
                output::p_value(d.p_value, d.log10_p),
                output::p_value(*holm, holm.log10()),
            ],
            None => vec![format!("{name}: the same order of all pairs")],
        });
    }
    let equality = comparison.equality().map_or_else(
        |_| String::new(),
        |t| {
            let p = output::p_value(t.p_value, t.log10_p);
            format!("\nall equal: chi-square = {:.4}, df = {}, p = {p}\n", t.chi_square, t.df)
        },
    );
    format!("{}\n{}{equality}", output::aligned(&rows), output::aligned(&pairs))
}
