//! `cf-train test`.

use std::path::PathBuf;

use cf_train::ExternalConfig;
use cf_train::external::{
    self, CutSource, ExternalCIndex, ExternalSummary, Overlap, RiskGroupSummary, TestOptions,
};

use super::cv::parse_override;
use super::ensemble::{EnsembleArguments, print_left_out, print_run};
use super::{Failure, counted, print, print_json};

/// Test the models of a run on another cohort: an external validation.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cf-train test --run runs/blca --config cohorts/hospital-b.toml --out tests/hospital-b\n\n\
                        The configuration has [cohort] (without splits) and [features]; model and training are the run's. Nothing is \
                        fitted on the cohort: the risk of a slide is the mean over the folds' models, that of a patient the mean over \
                        the slides."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    ensemble: EnsembleArguments,
    /// Configuration (TOML) of the cohort to test on; its relative paths start from its own directory.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Change a setting of the cohort, such as features.dir=/data/b. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_override)]
    overrides: Vec<(String, String)>,
    /// Test on patients that were in the run, too; they are listed.
    #[arg(long)]
    allow_overlap: bool,
}

pub(super) fn run(arguments: &Arguments, show_bars: bool) -> Result<(), Failure> {
    let ensemble = &arguments.ensemble;
    ensemble.set_threads()?;
    let config = ExternalConfig::read(&arguments.config, &arguments.overrides)?;
    let (device_name, device) = ensemble.device.open()?;
    let overlap = if arguments.allow_overlap { Overlap::Allowed } else { Overlap::Refused };
    let (folds, months) = (ensemble.folds(), ensemble.months());
    let options = TestOptions { folds, overlap, months, device_name, device };
    let summary = ensemble.watched(show_bars, |places, stop, observe| {
        external::test(&config, places, &options, stop, observe)
    })?;
    for remark in &summary.remarks {
        tracing::warn!("{remark}");
    }
    if ensemble.json {
        return print_json(&summary);
    }
    print_summary(&summary);
    print(&format!("report: {}", ensemble.out.join(cf_train::run_dir::REPORT).display()));
    Ok(())
}

/// The summary as a table for people.
fn print_summary(summary: &ExternalSummary) {
    print(&format!("{} on {} ({})", summary.model_label(), summary.cohort, summary.backbone));
    print_run(&summary.run);
    print(&format!(
        "{} ({}) of {} ({})",
        counted(summary.n_slides, "slide"),
        counted(summary.n_events, "event"),
        counted(summary.n_patients, "patient"),
        counted(summary.n_event_patients, "event")
    ));
    for dropped in summary.left_out().filter(|dropped| dropped.is_counted) {
        print_left_out(&dropped.reason, &dropped.ids);
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
