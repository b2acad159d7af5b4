//! `survstat logrank`.

use serde::Serialize;
use survival_metrics::{LogRank, log_rank_test, stratified_log_rank_test};

use crate::args::LogrankArguments;
use crate::error::CliError;
use crate::grouping::Grouping;
use crate::output;
use crate::table::Table;

#[derive(Serialize)]
struct LogrankJson<'a> {
    chi_square: f64,
    df: usize,
    p_value: f64,
    log10_p: f64,
    groups: Vec<GroupJson<'a>>,
}

#[derive(Serialize)]
struct GroupJson<'a> {
    level: &'a str,
    n: u64,
    observed: f64,
    expected: f64,
}

pub(crate) fn run(arguments: &LogrankArguments) -> Result<String, CliError> {
    let table = Table::read(&arguments.outcome.csv)?;
    let outcomes = table.outcomes(&arguments.outcome)?;
    let strata = arguments.strata.as_deref().map(|column| table.labels(column)).transpose()?;
    // The command line requires one of --by and --risk.
    let grouping = Grouping::new(&table, &arguments.groups)?
        .unwrap_or(Grouping { levels: Vec::new(), of_subject: vec![0; outcomes.len()] });
    let test = match &strata {
        None => log_rank_test(&outcomes, &grouping.of_subject),
        Some(strata) => stratified_log_rank_test(&outcomes, &grouping.of_subject, strata),
    };
    let test = test.map_err(|source| {
        let problem = format!("log-rank test of the groups {}: {source}", grouping.levels.join(", "));
        let hint = "check --event and --censored-is; with --strata, groups must mix within strata";
        CliError::in_file(table.path(), problem, hint)
    })?;
    if arguments.json { output::json(&to_json(&test, &grouping)) } else { Ok(describe(&test, &grouping)) }
}

fn to_json<'a>(test: &LogRank<usize>, grouping: &'a Grouping) -> LogrankJson<'a> {
    let groups = test.groups.iter().zip(&grouping.levels).map(|(group, level)| GroupJson {
        level,
        n: group.n,
        observed: group.observed,
        expected: group.expected,
    });
    LogrankJson {
        chi_square: test.chi_square,
        df: test.df,
        p_value: test.p_value,
        log10_p: test.log10_p,
        groups: groups.collect(),
    }
}

fn describe(test: &LogRank<usize>, grouping: &Grouping) -> String {
    let mut rows = vec![["group", "n", "observed", "expected"].map(str::to_owned).to_vec()];
    for (group, level) in test.groups.iter().zip(&grouping.levels) {
        rows.push(vec![
            level.clone(),
            group.n.to_string(),
            group.observed.to_string(),
            format!("{:.2}", group.expected),
        ]);
    }
    format!(
        "{}\nlog-rank chi-square = {:.4}, df = {}, p = {}\n",
        output::aligned(&rows),
        test.chi_square,
        test.df,
        output::p_value(test.p_value, test.log10_p)
    )
}
