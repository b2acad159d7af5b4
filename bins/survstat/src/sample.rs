//! From columns to samples and settings of the library.

use std::path::Path;

use survival_metrics::{
    CensoringDistribution, CensoringTies, ConcordanceConfig, Convention, Outcome, Risk, SurvivalData, Tau,
};

use crate::args::{Library, OutcomeArguments, PairArguments};
use crate::error::CliError;
use crate::table::Table;

/// The way out where all rows are in one cluster.
pub(crate) const SINGLE_CLUSTER: &str =
    "--cluster wants a column with a value of its own per patient; leave it out if rows are independent";

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
pub(crate) fn pair_hint(source: &survival_metrics::Error) -> &'static str {
    match source {
        survival_metrics::Error::SingleCluster => SINGLE_CLUSTER,
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
        Some(path) => Table::read(path)?.outcomes(outcome),
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
