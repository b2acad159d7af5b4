//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use survival_metrics::CiType;

/// Survival statistics of a CSV file: C-index, Kaplan-Meier, log-rank.
///
/// The file has a header row and one row per subject, separated by commas. A row with a missing or invalid value is
/// an error that names its line and column. Exit codes: 0 done, 1 unexpected, 2 usage, 3 bad data.
#[derive(Debug, Parser)]
#[command(name = "survstat", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Harrell's C-index of one or more risk columns (higher risk = earlier event).
    #[command(after_help = "Example:\n  \
        survstat cindex --csv predictions.csv --time months --event died --risk risk")]
    Cindex(CindexArguments),
    /// Kaplan-Meier curve with confidence limits, of all subjects or per group.
    #[command(after_help = "Examples:\n  \
        survstat km --csv patients.csv --time months --event died --by stage\n  \
        survstat km --csv patients.csv --time months --event censorship --censored-is 1 --json")]
    Km(KmArguments),
    /// Log-rank test between groups.
    #[command(after_help = "Examples:\n  \
        survstat logrank --csv patients.csv --time months --event died --by arm --strata site\n  \
        survstat logrank --csv predictions.csv --time months --event died --risk risk")]
    Logrank(LogrankArguments),
}

/// Where the outcomes are.
#[derive(Debug, Args)]
pub(crate) struct OutcomeArguments {
    /// CSV file with a header row and one row per subject.
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: PathBuf,
    /// Column with the time of the event or of censoring, in any unit.
    #[arg(long, value_name = "COL")]
    pub(crate) time: String,
    /// Column with 1 for an event and 0 for a censoring.
    #[arg(long, value_name = "COL")]
    pub(crate) event: String,
    /// The value that means "censored" in the column of --event; the other one is the event.
    ///
    /// Required where the column's name starts with `cens`, because such columns come in both meanings.
    #[arg(long, value_name = "0|1", value_parser = clap::value_parser!(u8).range(0..=1))]
    pub(crate) censored_is: Option<u8>,
}

#[derive(Debug, Args)]
pub(crate) struct CindexArguments {
    #[command(flatten)]
    pub(crate) outcome: OutcomeArguments,
    /// Column with the risk, higher = worse. Repeat for several.
    #[arg(long, value_name = "COL", required = true)]
    pub(crate) risk: Vec<String>,
    /// Count only pairs with the same value in this column.
    #[arg(long, value_name = "COL")]
    pub(crate) strata: Option<String>,
    /// Print JSON: an object, or for several risks a list of objects with the key `risk`.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KmArguments {
    #[command(flatten)]
    pub(crate) outcome: OutcomeArguments,
    #[command(flatten)]
    pub(crate) groups: GroupArguments,
    /// Form of the confidence limits.
    #[arg(long, value_name = "TYPE", value_enum, default_value_t = CiForm::LogLog)]
    pub(crate) ci: CiForm,
    /// Coverage of the confidence limits, between 0 and 1.
    #[arg(long, value_name = "X", default_value_t = 0.95, value_parser = parse_level)]
    pub(crate) level: f64,
    /// Print JSON: an object, or with groups a list of objects with the key `level`.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("grouping").required(true).args(["by", "risk"]))]
pub(crate) struct LogrankArguments {
    #[command(flatten)]
    pub(crate) outcome: OutcomeArguments,
    #[command(flatten)]
    pub(crate) groups: GroupArguments,
    /// Compare only subjects with the same value in this column.
    #[arg(long, value_name = "COL")]
    pub(crate) strata: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What the groups are.
#[derive(Debug, Args)]
pub(crate) struct GroupArguments {
    /// Column whose values are the groups.
    #[arg(long, value_name = "COL")]
    pub(crate) by: Option<String>,
    /// Column with the risk (higher = worse): the groups are `high`, from its median up, and `low`.
    #[arg(long, value_name = "COL", conflicts_with = "by")]
    pub(crate) risk: Option<String>,
}

/// Names of the forms of confidence limits.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum CiForm {
    /// On the scale of S (clipped to 0 and 1).
    Plain,
    /// On the scale of ln S; R's default.
    Log,
    /// On the scale of ln(-ln S); lifelines and scikit-survival.
    LogLog,
    /// On the scale of the log odds of S.
    Logit,
    /// On the scale of the arcsine of the root of S.
    Arcsin,
}

impl From<CiForm> for CiType {
    fn from(form: CiForm) -> Self {
        match form {
            CiForm::Plain => Self::Plain,
            CiForm::Log => Self::Log,
            CiForm::LogLog => Self::LogLog,
            CiForm::Logit => Self::Logit,
            CiForm::Arcsin => Self::Arcsin,
        }
    }
}

fn parse_level(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(level) if level > 0.0 && level < 1.0 => Ok(level),
        _ => Err("expected a number between 0 and 1, such as 0.95".to_owned()),
    }
}
