//! `survstat cindex`.

use serde::Serialize;
use survival_metrics::{Concordance, RiskTies, concordance_index, concordance_index_stratified};

use crate::args::CindexArguments;
use crate::error::CliError;
use crate::output;
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
}

pub(crate) fn run(arguments: &CindexArguments) -> Result<String, CliError> {
    let table = Table::read(&arguments.outcome.csv)?;
    let outcomes = table.outcomes(&arguments.outcome)?;
    let strata = arguments.strata.as_deref().map(|column| table.labels(column)).transpose()?;
    let mut results: Vec<(&str, Concordance)> = Vec::new();
    for column in &arguments.risk {
        let risk = table.risk(column)?;
        let result = match &strata {
            None => concordance_index(&outcomes, &risk, RiskTies::default()),
            Some(strata) => concordance_index_stratified(&outcomes, &risk, strata, RiskTies::default()),
        };
        let result = result.map_err(|source| {
            let hint = "check --event and --censored-is; a C-index needs subjects that outlived an event";
            CliError::in_file(table.path(), format!("C-index of `{column}`: {source}"), hint)
        })?;
        results.push((column, result));
    }
    if arguments.json {
        let name = |risk| (results.len() > 1).then_some(risk);
        let all: Vec<CindexJson<'_>> = results.iter().map(|(risk, c)| to_json(name(*risk), c)).collect();
        return match all.as_slice() {
            [one] => output::json(one),
            several => output::json(several),
        };
    }
    Ok(describe(&table, outcomes.iter().filter(|o| o.is_event()).count(), outcomes.len(), &results))
}

fn to_json<'a>(risk: Option<&'a str>, c: &Concordance) -> CindexJson<'a> {
    let counts = c.counts();
    CindexJson {
        risk,
        c_index: c.c_index(),
        concordant: counts.concordant,
        discordant: counts.discordant,
        tied_risk: counts.tied_risk,
        tied_time: counts.tied_time_event_censored,
    }
}

fn describe(table: &Table, n_events: usize, n: usize, results: &[(&str, Concordance)]) -> String {
    let titles = ["risk", "C-index", "concordant", "discordant", "tied risk", "tied time"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for (risk, c) in results {
        let counts = c.counts();
        rows.push(vec![
            (*risk).to_owned(),
            format!("{:.4}", c.c_index()),
            counts.concordant.to_string(),
            counts.discordant.to_string(),
            counts.tied_risk.to_string(),
            counts.tied_time_event_censored.to_string(),
        ]);
    }
    format!(
        "{}: {n} subjects, {n_events} events\n\n{}\n\
         Pairs are comparable if one subject is known to have outlived the event of the other; risks within 1e-8 are\n\
         tied. Tied time counts pairs of an event and a censoring at one time, which are comparable.\n",
        table.path().display(),
        output::aligned(&rows)
    )
}
