//! `survstat compare`.

use serde::Serialize;
use survival_metrics::{
    ConcordanceComparison, Error, PAdjust, PairedDifference, Risk, adjust_log10_p_values, adjust_p_values,
    compare_concordance,
};

use crate::args::CompareArguments;
use crate::error::CliError;
use crate::output;
use crate::sample::{NO_INTERVAL, concordance_config, each_once, pair_hint, risk, sample, standard_error};
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
    /// Null where no subject changes the C-index.
    standard_error: Option<f64>,
}

#[derive(Serialize)]
struct DifferenceJson<'a> {
    first: &'a str,
    second: &'a str,
    difference: f64,
    /// Null, as all that follows, where no subject changes the difference.
    standard_error: Option<f64>,
    lower: Option<f64>,
    upper: Option<f64>,
    z: Option<f64>,
    p_value: Option<f64>,
    log10_p: Option<f64>,
    holm_p: Option<f64>,
    log10_holm_p: Option<f64>,
}

#[derive(Serialize)]
struct EqualityJson {
    chi_square: f64,
    df: usize,
    p_value: f64,
    log10_p: f64,
}

/// A pair of columns; its test is undefined where no subject changes the difference.
struct Pair<'a> {
    first: &'a str,
    second: &'a str,
    difference: f64,
    test: Option<Test>,
}

struct Test {
    of: PairedDifference,
    limits: (f64, f64),
    holm_p: f64,
    log10_holm_p: f64,
}

pub(crate) fn run(arguments: &CompareArguments) -> Result<String, CliError> {
    if arguments.risk.len() < 2 {
        let problem = "a comparison needs two risk columns".to_owned();
        return Err(CliError::Usage { problem, hint: "repeat --risk" });
    }
    each_once("--risk", &arguments.risk)?;
    let table = Table::read(&arguments.outcome.csv, "--csv")?;
    let pairs = &arguments.pairs;
    let data = sample(&table, &arguments.outcome, pairs.strata.as_deref(), pairs.cluster.as_deref())?;
    let risks: Vec<Risk> =
        arguments.risk.iter().map(|column| risk(&table, column)).collect::<Result<_, _>>()?;
    let fault = |source: Error| {
        CliError::in_file(table.path(), format!("comparison: {source}"), pair_hint(&source, pairs))
    };
    let comparison = compare_concordance(&data, &risks, &concordance_config(pairs)).map_err(fault)?;
    let compared = compared(&arguments.risk, &comparison, arguments.level).map_err(fault)?;
    if arguments.json {
        return output::json(&to_json(&arguments.risk, &comparison, &compared));
    }
    Ok(describe(arguments, &comparison, &compared))
}

/// All pairs, those with a test adjusted for their number.
fn compared<'a>(
    names: &'a [String],
    comparison: &ConcordanceComparison,
    level: f64,
) -> Result<Vec<Pair<'a>>, Error> {
    let all: Vec<(&String, f64)> =
        names.iter().zip(comparison.estimates.iter().map(|estimate| estimate.c_index)).collect();
    let mut pairs = Vec::new();
    for (a, (first, c_first)) in all.iter().enumerate() {
        for (b, (second, c_second)) in all.iter().enumerate().skip(a + 1) {
            let test = match comparison.difference(a, b) {
                Ok(of) => {
                    let limits = of.confidence_interval(level)?;
                    Some(Test { of, limits, holm_p: of.p_value, log10_holm_p: of.log10_p })
                }
                Err(Error::ZeroVariance) => None,
                Err(other) => return Err(other),
            };
            pairs.push(Pair { first, second, difference: c_first - c_second, test });
        }
    }
    let tests = || pairs.iter().filter_map(|pair| pair.test.as_ref());
    let holm_p = adjust_p_values(&tests().map(|t| t.of.p_value).collect::<Vec<_>>(), PAdjust::Holm)?;
    let log10_p = adjust_log10_p_values(&tests().map(|t| t.of.log10_p).collect::<Vec<_>>(), PAdjust::Holm)?;
    for (test, adjusted) in
        pairs.iter_mut().filter_map(|pair| pair.test.as_mut()).zip(holm_p.into_iter().zip(log10_p))
    {
        (test.holm_p, test.log10_holm_p) = adjusted;
    }
    Ok(pairs)
}

fn to_json<'a>(
    names: &'a [String],
    comparison: &ConcordanceComparison,
    pairs: &[Pair<'a>],
) -> CompareJson<'a> {
    let risks = names.iter().zip(&comparison.estimates).map(|(risk, estimate)| RiskJson {
        risk,
        c_index: estimate.c_index,
        standard_error: standard_error(estimate),
    });
    let differences = pairs.iter().map(|pair| {
        let test = pair.test.as_ref();
        DifferenceJson {
            first: pair.first,
            second: pair.second,
            difference: pair.difference,
            standard_error: test.map(|t| t.of.standard_error),
            lower: test.map(|t| t.limits.0),
            upper: test.map(|t| t.limits.1),
            z: test.map(|t| t.of.z),
            p_value: test.map(|t| t.of.p_value),
            log10_p: test.map(|t| t.of.log10_p),
            holm_p: test.map(|t| t.holm_p),
            log10_holm_p: test.map(|t| t.log10_holm_p),
        }
    });
    let equality = comparison.equality().ok();
    CompareJson {
        risks: risks.collect(),
        differences: differences.collect(),
        equality: equality.map(|t| EqualityJson {
            chi_square: t.chi_square,
            df: t.df,
            p_value: t.p_value,
            log10_p: t.log10_p,
        }),
    }
}

fn describe(arguments: &CompareArguments, comparison: &ConcordanceComparison, pairs: &[Pair<'_>]) -> String {
    let mut rows = vec![["risk", "C-index", "standard error"].map(str::to_owned).to_vec()];
    for (name, estimate) in arguments.risk.iter().zip(&comparison.estimates) {
        let (c, se) = (estimate.c_index, output::limit(standard_error(estimate)));
        rows.push(vec![name.clone(), format!("{c:.4}"), se]);
    }
    let is_known = |estimate| standard_error(estimate).is_some();
    let of_risks = if comparison.estimates.iter().all(is_known) { "" } else { NO_INTERVAL };
    let titled = |titles: &[&str]| titles.iter().map(|title| (*title).to_owned()).collect::<Vec<_>>();
    let limits = output::limit_titles(arguments.level);
    let (before, after) =
        (titled(&["pair", "difference"]), titled(&["standard error", "z", "p", "p (Holm)"]));
    let mut differences = vec![[before, limits.to_vec(), after].concat()];
    for pair in pairs {
        let mut row = vec![format!("{} - {}", pair.first, pair.second), format!("{:+.4}", pair.difference)];
        row.extend(pair.test.as_ref().map_or_else(
            || ["-"; 6].map(str::to_owned),
            |t| {
                [
                    format!("{:+.4}", t.limits.0),
                    format!("{:+.4}", t.limits.1),
                    format!("{:.4}", t.of.standard_error),
                    format!("{:.2}", t.of.z),
                    output::p_value(t.of.p_value, t.of.log10_p),
                    output::p_value(t.holm_p, t.log10_holm_p),
                ]
            },
        ));
        differences.push(row);
    }
    let note = if pairs.iter().any(|pair| pair.test.is_none()) {
        "-: no subject changes the difference, as with risks that order all pairs alike\n"
    } else {
        ""
    };
    let no_equality = if pairs.iter().all(|pair| pair.test.is_none()) {
        String::new()
    } else {
        "\nall equal: no test, as the C-indices differ in a way that no subject or cluster changes\n"
            .to_owned()
    };
    let equality = comparison.equality().map_or_else(
        |_| no_equality,
        |t| {
            let p = output::p_value(t.p_value, t.log10_p);
            format!("\nall equal: chi-square = {:.4}, df = {}, p = {p}\n", t.chi_square, t.df)
        },
    );
    format!("{}{of_risks}\n{}{note}{equality}", output::aligned(&rows), output::aligned(&differences))
}
