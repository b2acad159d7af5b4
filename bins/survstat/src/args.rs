//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::choices::{CiForm, Library, PairWeight, TestWeight, TiedEvents};

/// Survival statistics of a CSV file: C-index, Kaplan-Meier, restricted means, log-rank, Brier score, AUC(t), Cox model.
///
/// The file is UTF-8 text with a header row and one row per subject, separated by commas, semicolons or tabs (the header
/// decides); numbers have a decimal point; rows without any content are left out. A row with a missing or invalid value is an error that names its line and column.
/// Exit codes: 0 done, 1 unexpected, 2 usage, 3 bad data (do not retry), 75 temporary, such as a full disk (retry).
#[derive(Debug, Parser)]
#[command(name = "survstat", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Say nothing but errors on stderr.
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
    /// How errors are written to stderr.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) log_format: cf_cli::LogFormat,
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
        survstat km --csv patients.csv --time months --event censorship --censored-is 1 --json\n  \
        survstat km --csv patients.csv --time months --event died --by stage --at 12,36,60\n  \
        survstat km --csv test.csv --time months --event died --risk risk --cut-from train.csv")]
    Km(KmArguments),
    /// Restricted mean survival time up to a horizon, per group, and how the groups differ in it.
    ///
    /// It is the area under the Kaplan-Meier curve: the mean time without the event if follow-up ended at the horizon. It needs no
    /// proportional hazards.
    #[command(after_help = "Examples:\n  \
        survstat rmst --csv patients.csv --time months --event died --by arm --tau 60\n  \
        survstat rmst --csv test.csv --time months --event died --risk risk --cut-from train.csv")]
    Rmst(RmstArguments),
    /// Log-rank test between groups.
    #[command(after_help = "Examples:\n  \
        survstat logrank --csv patients.csv --time months --event died --by arm --strata site\n  \
        survstat logrank --csv predictions.csv --time months --event died --risk risk\n  \
        survstat logrank --csv test.csv --time months --event died --risk risk --cut-from train.csv\n  \
        survstat logrank --csv test.csv --time months --event died --risk risk --cut -2.5")]
    Logrank(LogrankArguments),
    /// Brier score of predicted survival over time, integrated, and against a Kaplan-Meier reference.
    ///
    /// Columns named PREFIX followed by a time hold the predicted probability of surviving it.
    #[command(after_help = "Example:\n  \
        survstat brier --csv test.csv --train train.csv --time days --event died --survival-prefix S@")]
    Brier(BrierArguments),
    /// AUC over time: telling those with an event by a time from those free of it after.
    #[command(after_help = "Example:\n  \
        survstat auc --csv predictions.csv --time months --event died --risk risk --at 12,24,36")]
    Auc(AucArguments),
    /// Cox model: hazard ratios with intervals, tests, and a check of proportional hazards.
    #[command(after_help = "Example:\n  \
        survstat cox --csv patients.csv --time months --event died --covariate age --covariate arm --strata site")]
    Cox(CoxArguments),
    /// Paired comparison of the C-indices of two or more risk columns on the same subjects.
    #[command(after_help = "Example:\n  \
        survstat compare --csv predictions.csv --time months --event died --risk ours --risk theirs")]
    Compare(CompareArguments),
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
    /// Column that tells events from censorings: 1 (or True) for an event and 0 for a censoring, or words such as `dead` and
    /// `alive`, `event` and `censored`, or both as in `1:DECEASED`; one way throughout.
    #[arg(long, value_name = "COL")]
    pub(crate) event: String,
    /// The number that means "censored" in the column of --event; the other one is the event. Words mean what they say.
    ///
    /// Required of numbers, True and False where a word of the column's name starts with `cens`, as in `os_censorship`, or is `alive` or
    /// the like, because such columns come in both meanings.
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
    #[command(flatten)]
    pub(crate) pairs: PairArguments,
    /// Coverage of the confidence interval, between 0 and 1.
    #[arg(long, value_name = "X", default_value_t = 0.95, value_parser = parse_level)]
    pub(crate) level: f64,
    /// Print JSON: an object, or for several risks a list of objects with the key `risk`.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write a forest plot of the risks.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

/// Which pairs a C-index counts, and how much.
#[derive(Debug, Args)]
pub(crate) struct PairArguments {
    /// Count only pairs with the same value in this column.
    #[arg(long, value_name = "COL")]
    pub(crate) strata: Option<String>,
    /// Column of subjects that belong together, such as the patient of a slide; enters the standard error.
    #[arg(long, value_name = "COL")]
    pub(crate) cluster: Option<String>,
    /// Whose conventions to follow.
    #[arg(long, value_name = "NAME", value_enum, default_value_t = Library::Default)]
    pub(crate) convention: Library,
    /// Weight of a pair by the time of its event.
    #[arg(long, value_name = "WEIGHT", value_enum, default_value_t = PairWeight::Harrell)]
    pub(crate) time_weight: PairWeight,
    /// Count only events up to this time (before it, with --convention scikit-survival).
    #[arg(long, value_name = "T", value_parser = parse_tau)]
    pub(crate) tau: Option<f64>,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    #[command(flatten)]
    pub(crate) outcome: OutcomeArguments,
    /// Column with a risk, higher = worse; at least two.
    #[arg(long, value_name = "COL", required = true)]
    pub(crate) risk: Vec<String>,
    #[command(flatten)]
    pub(crate) pairs: PairArguments,
    /// Confidence level of the differences.
    #[arg(long, value_name = "X", default_value_t = 0.95, value_parser = parse_level)]
    pub(crate) level: f64,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BrierArguments {
    #[command(flatten)]
    pub(crate) outcome: OutcomeArguments,
    /// Beginning of the names of the columns with predicted survival; the rest of a name is its time.
    #[arg(long, value_name = "TEXT", default_value = "S@")]
    pub(crate) survival_prefix: String,
    /// End of these names, after the time, such as _months of the tables of `cf-train test --at`.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) survival_suffix: String,
    /// CSV file of the training sample with the same time and event columns; it gives the weights of censoring and the
    /// reference curve. Without it the file itself does.
    #[arg(long, value_name = "FILE")]
    pub(crate) train: Option<PathBuf>,
    /// Whose conventions to follow.
    #[arg(long, value_name = "NAME", value_enum, default_value_t = Library::Default)]
    pub(crate) convention: Library,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the scores over time as a figure.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct AucArguments {
    #[command(flatten)]
    pub(crate) outcome: OutcomeArguments,
    /// Column with the risk, higher = worse.
    #[arg(long, value_name = "COL")]
    pub(crate) risk: String,
    /// Times, separated by commas; without them, the deciles of the event times that a subject outlives.
    #[arg(long, value_name = "T,..", value_delimiter = ',', value_parser = parse_time)]
    pub(crate) at: Vec<f64>,
    /// CSV file of the training sample with the same time and event columns, for the weights of censoring.
    #[arg(long, value_name = "FILE")]
    pub(crate) train: Option<PathBuf>,
    /// Whose conventions to follow.
    #[arg(long, value_name = "NAME", value_enum, default_value_t = Library::Default)]
    pub(crate) convention: Library,
    /// Coverage of the confidence limits, between 0 and 1.
    #[arg(long, value_name = "X", default_value_t = 0.95, value_parser = parse_level)]
    pub(crate) level: f64,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write AUC(t) as a figure.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CoxArguments {
    #[command(flatten)]
    pub(crate) outcome: OutcomeArguments,
    /// Column of numbers. Repeat for several; they are fitted together.
    #[arg(long, value_name = "COL", required_unless_present = "factor")]
    pub(crate) covariate: Vec<String>,
    /// Column of labels, such as stages: a hazard ratio of each level against the reference, the first one unless it is named. Repeat for several.
    #[arg(long, value_name = "COL[=REFERENCE]")]
    pub(crate) factor: Vec<String>,
    /// Column with a baseline hazard of its own per value.
    #[arg(long, value_name = "COL")]
    pub(crate) strata: Option<String>,
    /// Column of subjects that belong together; standard errors and the Wald test allow for it.
    #[arg(long, value_name = "COL")]
    pub(crate) cluster: Option<String>,
    /// How tied events enter the likelihood.
    #[arg(long, value_name = "TIES", value_enum, default_value_t = TiedEvents::Efron)]
    pub(crate) ties: TiedEvents,
    /// Coverage of the confidence limits, between 0 and 1.
    #[arg(long, value_name = "X", default_value_t = 0.95, value_parser = parse_level)]
    pub(crate) level: f64,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write a forest plot of the hazard ratios.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct KmArguments {
    #[command(flatten)]
    pub(crate) outcome: OutcomeArguments,
    #[command(flatten)]
    pub(crate) groups: GroupArguments,
    /// Whose conventions to follow: form of the limits, and the median where the curve lies on 1/2.
    #[arg(long, value_name = "NAME", value_enum, default_value_t = Library::Default)]
    pub(crate) convention: Library,
    /// Show survival at these times, separated by commas, in place of the whole curve; JSON has both.
    #[arg(long, value_name = "T,..", value_delimiter = ',', value_parser = parse_follow_up)]
    pub(crate) at: Vec<f64>,
    /// Form of the confidence limits, if not that of --convention.
    #[arg(long, value_name = "TYPE", value_enum)]
    pub(crate) ci: Option<CiForm>,
    /// Coverage of the confidence limits, between 0 and 1.
    #[arg(long, value_name = "X", default_value_t = 0.95, value_parser = parse_level)]
    pub(crate) level: f64,
    /// Print JSON: an object, or with groups a list of objects with the key `level`.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the curves with numbers at risk as a figure.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RmstArguments {
    #[command(flatten)]
    pub(crate) outcome: OutcomeArguments,
    #[command(flatten)]
    pub(crate) groups: GroupArguments,
    /// The horizon, in the unit of --time [default: the earliest of the groups' last times].
    #[arg(long, value_name = "T", value_parser = parse_tau)]
    pub(crate) tau: Option<f64>,
    /// Coverage of the confidence limits, between 0 and 1.
    #[arg(long, value_name = "X", default_value_t = 0.95, value_parser = parse_level)]
    pub(crate) level: f64,
    /// Print JSON.
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
    /// Column of subjects that belong together, such as the patient of a slide: the test allows for it.
    #[arg(long, value_name = "COL", conflicts_with = "weight")]
    pub(crate) cluster: Option<String>,
    /// Weight of each event time.
    #[arg(long, value_name = "WEIGHT", value_enum, default_value_t = TestWeight::Logrank)]
    pub(crate) weight: TestWeight,
    /// Test each pair of groups as well, with p-values by Holm.
    #[arg(long, conflicts_with_all = ["strata", "cluster"])]
    pub(crate) pairwise: bool,
    /// Whose conventions to follow. The test is the same in all of them.
    #[arg(long, value_name = "NAME", value_enum, default_value_t = Library::Default)]
    pub(crate) convention: Library,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the curves of the groups with numbers at risk as a figure.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

/// What the groups are.
#[derive(Debug, Args)]
pub(crate) struct GroupArguments {
    /// Column whose values are the groups.
    #[arg(long, value_name = "COL")]
    pub(crate) by: Option<String>,
    /// Column with the risk (higher = worse): the groups are `high`, from a cut up, and `low`. The cut is the median of the column,
    /// unless --cut or --cut-from gives another.
    #[arg(long, value_name = "COL", conflicts_with = "by")]
    pub(crate) risk: Option<String>,
    /// Cut the column of --risk at this number.
    #[arg(
        long,
        value_name = "X",
        requires = "risk",
        conflicts_with = "by",
        allow_hyphen_values = true,
        value_parser = parse_cut
    )]
    pub(crate) cut: Option<f64>,
    /// Cut the column of --risk at the median of the column of that name in this CSV file, such as the patients that a model was
    /// trained on: then nobody who is compared had a part in the cut.
    #[arg(long, value_name = "FILE", requires = "risk", conflicts_with_all = ["by", "cut"])]
    pub(crate) cut_from: Option<PathBuf>,
}

fn parse_cut(text: &str) -> Result<f64, String> {
    let cut = text.parse::<f64>().ok().filter(|cut| cut.is_finite());
    cut.ok_or_else(|| "expected a finite number, such as -2.5".to_owned())
}

fn parse_level(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(level) if level > 0.0 && level < 1.0 => Ok(level),
        _ => Err("expected a number between 0 and 1, such as 0.95".to_owned()),
    }
}

fn parse_tau(text: &str) -> Result<f64, String> {
    let tau = text.parse::<f64>().ok().filter(|tau| tau.is_finite() && *tau > 0.0);
    tau.ok_or_else(|| "expected a finite number above 0 in the unit of --time".to_owned())
}

/// A time of a list that is not before all follow-up.
fn parse_follow_up(text: &str) -> Result<f64, String> {
    parse_time(text).ok().filter(|time| *time >= 0.0).ok_or_else(|| {
        "expected times of at least 0 in the unit of --time, separated by commas, such as 12,36,60".to_owned()
    })
}

/// A time of a list, which may have spaces after its commas.
fn parse_time(text: &str) -> Result<f64, String> {
    let time = text.trim().parse::<f64>().ok().filter(|time| time.is_finite());
    time.ok_or_else(|| "expected numbers separated by commas, such as 12,24,36".to_owned())
}
