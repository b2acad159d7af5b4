//! `cf-train test`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use cf_train::ExternalConfig;
use cf_train::external::{
    self, CutSource, ExternalCIndex, ExternalSummary, Overlap, RiskGroupSummary, TestOptions,
};

use super::apply::parse_months;
use super::cv::{parse_override, stop_at_signals};
use super::device::TrainingDeviceArguments;
use super::number_list;
use super::progress::Progress;
use super::{Failure, print, print_json, threads};

/// Test the models of a run on another cohort: an external validation.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cf-train test --run runs/blca --config cohorts/hospital-b.toml --out tests/hospital-b\n\n\
                        The configuration has [cohort] (without splits) and [features]; model and training are the run's. Nothing is \
                        fitted on the cohort: the risk of a slide is the mean over the folds' models, that of a patient the mean over \
                        the slides."
)]
pub(super) struct Arguments {
    /// Run directory of `cf-train cv`; of its folds, those that are finished count.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Configuration (TOML) of the cohort to test on; its relative paths start from its own directory.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Change a setting of the cohort, such as features.dir=/data/b. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_override)]
    overrides: Vec<(String, String)>,
    /// Directory to make.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Folds whose models are tested, such as 0-2,4. All that are finished by default.
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = number_list::range)]
    folds: Vec<RangeInclusive<usize>>,
    /// Months at which survival is predicted, such as 12,36,60: a column each.
    #[arg(long, value_delimiter = ',', value_name = "MONTHS", value_parser = parse_months)]
    at: Vec<f64>,
    /// Test on patients that were in the run, too; they are listed.
    #[arg(long)]
    allow_overlap: bool,
    #[command(flatten)]
    device: TrainingDeviceArguments,
    /// Threads to compute with. All that the process may use by default; results do not depend on it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, show_bars: bool) -> Result<(), Failure> {
    threads::apply(arguments.threads).map_err(Failure::Usage)?;
    let config = ExternalConfig::read(&arguments.config, &arguments.overrides)?;
    let (device_name, device) = arguments.device.open()?;
    let overlap = if arguments.allow_overlap { Overlap::Allowed } else { Overlap::Refused };
    let (folds, months) = (number_list::numbers(&arguments.folds), arguments.at.clone());
    let options = TestOptions { folds, overlap, months, device_name, device };
    let stop = Arc::new(AtomicBool::new(false));
    stop_at_signals(&stop, &arguments.out)?;
    let mut progress = Progress::new(show_bars);
    let places = (arguments.run.as_path(), arguments.out.as_path());
    let summary = external::test(&config, places, &options, &stop, &mut |event| progress.observe(event));
    progress.finish();
    let summary = summary?;
    for remark in &summary.remarks {
        tracing::warn!("{remark}");
    }
    if arguments.json {
        return print_json(&summary);
    }
    print_summary(&summary);
    print(&format!("report: {}", arguments.out.join(cf_train::run_dir::REPORT).display()));
    Ok(())
}

/// The summary as a table for people.
fn print_summary(summary: &ExternalSummary) {
    let run = &summary.run;
    let folds: Vec<String> = run.checkpoints.iter().map(|model| model.fold.to_string()).collect();
    print(&format!("{} on {} ({})", summary.model_label(), summary.cohort, summary.backbone));
    print(&format!("trained on {}, protocol {}, folds {}", run.cohort, run.protocol, folds.join(" ")));
    print(&format!(
        "{} slides ({} events) of {} patients ({} events)",
        summary.n_slides, summary.n_events, summary.n_patients, summary.n_event_patients
    ));
    for dropped in summary.left_out().filter(|dropped| dropped.is_counted) {
        let ids = cf_cli::listed_up_to(LISTED, &dropped.ids);
        print(&format!("left out: {}, {}: {ids}", dropped.ids.len(), dropped.reason));
    }
    print(&format!(
        "{:<9} {:>8}  {:<16} {:>7} {:>7}  per model",
        "C-index", "averaged", "95 % CI", "mean", "s.d."
    ));
    print(&c_index_row("slides", &summary.c_index));
    print(&c_index_row("patients", &summary.patient_c_index));
    print(&groups_row("slides", &summary.risk_groups));
    print(&groups_row("patients", &summary.patient_risk_groups));
    for row in &summary.substitutes {
        print(&format!("in place of what bags lack: {}", row.text()));
    }
}

/// Ids that are named of those that were left out; `summary.json` has all.
const LISTED: usize = 8;

fn c_index_row(label: &str, c_index: &ExternalCIndex) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    let ci =
        c_index.ci95.map_or_else(|| "-".to_owned(), |(lower, upper)| format!("[{lower:.3}, {upper:.3}]"));
    let folds: Vec<String> = c_index.folds.iter().map(|&fold| number(fold)).collect();
    format!(
        "{label:<9} {:>8}  {ci:<16} {:>7} {:>7}  {}",
        number(c_index.averaged),
        number(c_index.mean),
        number(c_index.sd),
        folds.join(" ")
    )
}

fn groups_row(label: &str, groups: &RiskGroupSummary) -> String {
    let cut = match groups.cut_from {
        CutSource::Training => "the mean of the medians in training",
        CutSource::TestedCohort => "the median of this cohort",
    };
    let test = match (groups.log_rank.chi_square, groups.log_rank.p_value, &groups.no_log_rank) {
        (Some(chi_square), Some(p), _) => format!("log-rank chi-square {chi_square:.2}, p {p:.2e}"),
        (_, _, reason) => format!("no log-rank test ({})", reason.as_deref().unwrap_or("undefined")),
    };
    let ratio = match (&groups.hazard_ratio, &groups.no_hazard_ratio) {
        (Some(ratio), _) => {
            format!("hazard ratio {:.2} [{:.2}, {:.2}]", ratio.value, ratio.ci95.0, ratio.ci95.1)
        }
        (None, reason) => format!("no hazard ratio ({})", reason.as_deref().unwrap_or("undefined")),
    };
    format!(
        "{label} cut at {cut}, {:.4}: {} high, {} low; {test}; {ratio}",
        groups.cut, groups.high.n, groups.low.n
    )
}
