//! From columns to samples and settings of the library.

use std::path::Path;

use survival_metrics::{
    CensoringDistribution, CensoringTies, ConcordanceConfig, Convention, Outcome, Risk, SurvivalData, Tau,
};

use crate::args::{Library, OutcomeArguments, PairArguments};
use crate::error::CliError;
use crate::table::Table;

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
