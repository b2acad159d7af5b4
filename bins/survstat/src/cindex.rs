//! `survstat cindex`.

use cf_report::{ForestPlot, ForestRow, ForestScale, forest_plot};
use serde::Serialize;
use survival_metrics::{ConcordanceEstimate, IntervalScale, concordance};

use crate::args::CindexArguments;
use crate::error::CliError;
use crate::output;
use crate::sample::{NO_INTERVAL, concordance_config, each_once, pair_hint, risk, sample, standard_error};
use crate::table::Table;

#[derive(Serialize)]
struct CindexJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    risk: Option<&'a str>,
    c_index: f64,
    concordant: u64,
    discordant: u64,
    tied_risk: u64,
    tied_time: u64,
    /// Null, as the limits, where no interval can be had.
    standard_error: Option<f64>,
    lower: Option<f64>,
    upper: Option<f64>,
}

/// The C-index of one column with its interval, where one can be had.
struct Estimate<'a> {
    risk: &'a str,
    c: ConcordanceEstimate,
    limits: Option<(f64, f64)>,
}

pub(crate) fn run(arguments: &CindexArguments) -> Result<String, CliError> {
    each_once("--risk", &arguments.risk)?;
    let table = Table::read(&arguments.outcome.csv, "--csv")?;
    let pairs = &arguments.pairs;
    let data = sample(&table, &arguments.outcome, pairs.strata.as_deref(), pairs.cluster.as_deref())?;
    let config = concordance_config(pairs);
    let mut results: Vec<Estimate<'_>> = Vec::new();
    for column in &arguments.risk {
        let limits = |c: &ConcordanceEstimate| {
            standard_error(c)
                .map(|_| c.confidence_interval(arguments.level, IntervalScale::Logit))
                .transpose()
        };
        let estimate = concordance(&data, &risk(&table, column)?, &config).and_then(|c| Ok((limits(&c)?, c)));
        let (limits, c) = estimate.map_err(|source| {
            let hint = pair_hint(&source, pairs);
            CliError::in_file(table.path(), format!("C-index of `{column}`: {source}"), hint)
        })?;
        results.push(Estimate { risk: column, c, limits });
    }
    output::svg(arguments.svg.as_deref(), || {
        let rows: Vec<ForestRow> = results.iter().map(forest_row).collect();
        let title = "C-index";
        forest_plot(&ForestPlot { title, scale: ForestScale::CIndex, level: arguments.level, rows: &rows })
    })?;
    if arguments.json {
        let is_named = results.len() > 1;
        let all: Vec<CindexJson<'_>> = results.iter().map(|result| to_json(result, is_named)).collect();
        return match all.as_slice() {
            [one] => output::json(one),
            several => output::json(several),
        };
    }
    let n_events = data.n_events();
    Ok(describe(&table, n_events, data.len(), arguments.level, &results))
}

fn forest_row(result: &Estimate<'_>) -> ForestRow {
    ForestRow {
        label: result.risk.to_owned(),
        detail: String::new(),
        estimate: result.c.c_index,
        limits: result.limits,
    }
}

fn to_json<'a>(result: &Estimate<'a>, is_named: bool) -> CindexJson<'a> {
    let counts = result.c.counts;
    CindexJson {
        risk: is_named.then_some(result.risk),
        c_index: result.c.c_index,
        concordant: counts.concordant,
        discordant: counts.discordant,
        tied_risk: counts.tied_risk,
        tied_time: counts.tied_time_event_censored,
        standard_error: standard_error(&result.c),
        lower: result.limits.map(|limits| limits.0),
        upper: result.limits.map(|limits| limits.1),
    }
}

fn describe(table: &Table, n_events: usize, n: usize, level: f64, results: &[Estimate<'_>]) -> String {
    let titles = ["risk", "C-index"].map(str::to_owned).into_iter();
    let limits = output::limit_titles(level);
    let counted = ["concordant", "discordant", "tied risk", "tied time"].map(str::to_owned);
    let mut rows: Vec<Vec<String>> = vec![titles.chain(limits).chain(counted).collect()];
    for result in results {
        let counts = result.c.counts;
        rows.push(vec![
            result.risk.to_owned(),
            format!("{:.4}", result.c.c_index),
            output::limit(result.limits.map(|limits| limits.0)),
            output::limit(result.limits.map(|limits| limits.1)),
            counts.concordant.to_string(),
            counts.discordant.to_string(),
            counts.tied_risk.to_string(),
            counts.tied_time_event_censored.to_string(),
        ]);
    }
    let note = if results.iter().any(|result| result.limits.is_none()) { NO_INTERVAL } else { "" };
    format!(
        "{}: {n} subjects, {n_events} events\n\n{}\n{note}\
         Pairs are comparable if one subject is known to have outlived the event of the other. Tied time counts pairs of\n\
         an event and a censoring at one time, which are comparable. Limits: infinitesimal jackknife, on the log odds.\n",
        table.path().display(),
        output::aligned(&rows)
    )
}
