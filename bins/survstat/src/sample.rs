//! From columns to samples and settings of the library.

use std::path::Path;

use survival_metrics::{
    CensoringDistribution, CensoringTies, ConcordanceConfig, ConcordanceEstimate, Convention, Outcome, Risk,
    SurvivalData, Tau,
};

use crate::args::{OutcomeArguments, PairArguments};
use crate::choices::Library;
use crate::error::CliError;
use crate::table::Table;

/// The way out where all rows are in one cluster.
pub(crate) const SINGLE_CLUSTER: &str =
    "--cluster wants a column with a value of its own per patient; leave it out if rows are independent";

/// The way out where nobody has an event.
pub(crate) const NO_EVENTS: &str = "check --event and --censored-is";

/// Below the standard error of any estimate that a subject changes, which is about 1 / n or more, and above rounding.
const NO_STANDARD_ERROR: f64 = 1e-9;

/// Refuses a column that an option names twice: it would be compared with itself.
pub(crate) fn each_once(option: &str, columns: &[String]) -> Result<(), CliError> {
    let before = |at: usize, column: &String| columns.iter().take(at).any(|other| other == column);
    match columns.iter().enumerate().find(|(at, column)| before(*at, column)) {
        None => Ok(()),
        Some((_, column)) => {
            let problem = format!("{option} names the column `{column}` twice");
            Err(CliError::Usage { problem, hint: "name each column once" })
        }
    }
}

/// A standard error of a C-index or an AUC, if it says anything: it is 0 where all pairs are in order, or all in reverse, and
/// where no subject changes the estimate, and no interval can be had then.
pub(crate) fn known_error(estimate: f64, standard_error: f64) -> Option<f64> {
    Some(standard_error).filter(|se| *se > NO_STANDARD_ERROR && estimate > 0.0 && estimate < 1.0)
}

/// [`known_error`] of a C-index.
pub(crate) fn standard_error(c: &ConcordanceEstimate) -> Option<f64> {
    known_error(c.c_index, c.standard_error())
}

/// What a dash in place of [`standard_error`] means.
pub(crate) const NO_INTERVAL: &str =
    "-: no subject changes the estimate, as where all pairs are in order: no interval can be had\n";

/// The outcomes of a file with strata and clusters.
pub(crate) fn sample(
    table: &Table,
    outcome: &OutcomeArguments,
    strata: Option<&str>,
    cluster: Option<&str>,
) -> Result<SurvivalData, CliError> {
    let fault = |source: survival_metrics::Error| {
        CliError::in_file(table.path(), source.to_string(), "check the columns of --time and --event")
    };
    let mut data = SurvivalData::new(&table.outcomes(outcome)?).map_err(fault)?;
    if let Some(column) = strata {
        data = data.with_strata(&table.labels(column)?).map_err(fault)?;
    }
    if let Some(column) = cluster {
        data = data.with_clusters(&table.labels(column)?).map_err(fault)?;
    }
    Ok(data)
}

/// A column as risks.
pub(crate) fn risk(table: &Table, column: &str) -> Result<Risk, CliError> {
    Risk::new(&table.risk(column)?)
        .map_err(|source| CliError::in_file(table.path(), source.to_string(), "a risk is a number"))
}

/// The way out of a C-index that is undefined.
pub(crate) fn pair_hint(source: &survival_metrics::Error, pairs: &PairArguments) -> &'static str {
    use survival_metrics::Error;
    match source {
        Error::SingleCluster => SINGLE_CLUSTER,
        Error::CensoringSurvivalZero { .. } | Error::TimeBeyondTraining { .. } => {
            "leave events without a weight out with --tau, or take a --time-weight without inverse weights of censoring"
        }
        Error::NoComparablePairs { .. } if pairs.tau.is_some() => {
            "raise --tau, which leaves out all events that a subject outlived"
        }
        _ => "check --event and --censored-is; a C-index needs subjects that outlived an event",
    }
}

/// Settings of a C-index.
pub(crate) fn concordance_config(pairs: &PairArguments) -> ConcordanceConfig<'static> {
    let convention: Convention = pairs.convention.into();
    let tau = pairs.tau.map(|tau| match pairs.convention {
        Library::ScikitSurvival => Tau::Exclusive(tau),
        _ => Tau::Inclusive(tau),
    });
    ConcordanceConfig { tau, ..convention.concordance(pairs.time_weight.into()) }
}

/// The outcomes that weights and references are taken from: those of `train`, or the evaluated ones.
pub(crate) fn training(
    train: Option<&Path>,
    outcome: &OutcomeArguments,
    evaluated: &[Outcome],
) -> Result<Vec<Outcome>, CliError> {
    match train {
        None => Ok(evaluated.to_vec()),
        Some(path) => Table::read(path, "--train")?.outcomes(outcome),
    }
}

/// The distribution of censoring of a sample from `table`.
pub(crate) fn censoring(
    table: &Table,
    outcomes: &[Outcome],
    ties: CensoringTies,
) -> Result<CensoringDistribution, CliError> {
    CensoringDistribution::fit(outcomes, ties)
        .map_err(|source| CliError::in_file(table.path(), source.to_string(), "check --train"))
}
