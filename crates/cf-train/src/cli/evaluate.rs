//! `cf-train evaluate` and `cf-train report`.

use std::path::PathBuf;

use cf_train::evaluate::{self, CIndex, Cost, LearnedCutSummary, LogRankSummary, Summary};
use cf_train::{RunConfig, report, run_dir};

use super::{Failure, print, print_json};

/// Compute the metrics of a run again from its predictions.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cf-train evaluate --run runs/blca --json")]
pub(super) struct EvaluateArguments {
    /// Run directory of `cf-train cv`.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

/// Write the report of a run again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cf-train report --run runs/blca\n  cf-train report --run runs/blca --heatmaps heatmaps/blca\n  cf-train report --run /shared/runs/blca --out blca"
)]
pub(super) struct ReportArguments {
    /// Run directory of `cf-train cv`.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Directory that `cf-heatmap render` wrote into: the slides with the highest and the lowest risk are shown.
    #[arg(long, value_name = "DIR")]
    heatmaps: Option<PathBuf>,
    /// Where to write `report.html` and `figures/` [default: the run directory].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn run(arguments: &EvaluateArguments) -> Result<(), Failure> {
    let config_path = run_dir::config_of(&arguments.run)?;
    let config = RunConfig::read(&config_path, &[])?;
    let predictions = evaluate::read_predictions(&arguments.run)?;
    let unfinished = evaluate::unfinished_folds(&arguments.run, &predictions)?;
    if !unfinished.is_empty() {
        let list: Vec<String> = unfinished.iter().map(ToString::to_string).collect();
        tracing::warn!(
            "{} of {} folds of this run are finished: without {}; `cf-train cv --resume` goes on with them",
            predictions.len(),
            predictions.len() + unfinished.len(),
            list.join(", ")
        );
    }
    // What a run cost is not in its predictions; an incomplete run has no record of it yet.
    let recorded = std::fs::read_to_string(arguments.run.join(run_dir::SUMMARY)).ok();
    let recorded: Option<Summary> = recorded.and_then(|text| serde_json::from_str(&text).ok());
    let cost = recorded.map_or(Cost { wall_seconds: 0.0, peak_rss_bytes: 0 }, |summary| Cost {
        wall_seconds: summary.wall_seconds,
        peak_rss_bytes: summary.peak_rss_bytes,
    });
    let summary = evaluate::summarise(&config, &predictions, cost)?;
    if arguments.json {
        return print_json(&summary);
    }
    print_summary(&summary);
    Ok(())
}

pub(super) fn run_report(arguments: &ReportArguments) -> Result<(), Failure> {
    let out = arguments.out.as_deref().unwrap_or(&arguments.run);
    let path = report::write(&arguments.run, out, arguments.heatmaps.as_deref())?;
    print(&path.display().to_string());
    Ok(())
}

/// The summary as a table for people.
pub(super) fn print_summary(summary: &Summary) {
    print(&format!(
        "{} on {} ({}), protocol {}",
        summary.model_label(),
        summary.cohort,
        summary.backbone,
        summary.protocol
    ));
    print(&format!(
        "{} validation slides ({} events) of {} patients ({} events)",
        summary.n_slides, summary.n_events, summary.n_patients, summary.n_event_patients
    ));
    if let Some(validated_twice) = summary.validated_twice() {
        print(&validated_twice);
    }
    print(&format!("{:<22} {:>7} {:>7}  {:<16} per fold", "C-index", "mean", "s.d.", "95 % CI"));
    for (label, c_index) in [
        ("slides", &summary.c_index),
        ("patients", &summary.patient_c_index),
        ("slides, last epoch", &summary.last_epoch_c_index),
    ] {
        print(&row(label, c_index));
    }
    for (label, groups) in
        [("slides", &summary.log_rank_learned_cut), ("patients", &summary.patient_log_rank_learned_cut)]
    {
        if let Some(groups) = groups {
            print(&learned_groups(label, groups));
        }
    }
    let LogRankSummary { chi_square, p_value } = summary.log_rank;
    print(&format!("log-rank of the median split: {}", test(chi_square, p_value)));
    for row in &summary.substitutes {
        print(&format!("in place of what bags lack: {}", row.text()));
    }
}

/// Groups cut at the median of each fold's training part, in a line.
fn learned_groups(label: &str, groups: &LearnedCutSummary) -> String {
    let count = |n: Option<usize>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    format!(
        "{label} cut at each fold's training median: {} at high and {} at low risk, log-rank {}",
        count(groups.n_high),
        count(groups.n_low),
        test(groups.chi_square, groups.p_value)
    )
}

/// A log-rank test, or why there is none.
fn test(chi_square: Option<f64>, p_value: Option<f64>) -> String {
    match (chi_square, p_value) {
        (Some(chi_square), Some(p)) => format!("chi-square {chi_square:.2}, p {p:.2e}"),
        _ => "undefined (one group is empty, or nobody has an event)".to_owned(),
    }
}

fn row(label: &str, c_index: &CIndex) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    let ci =
        c_index.ci95.map_or_else(|| "-".to_owned(), |(lower, upper)| format!("[{lower:.3}, {upper:.3}]"));
    let folds: Vec<String> = c_index.folds.iter().map(|&fold| number(fold)).collect();
    format!("{label:<22} {:>7} {:>7}  {ci:<16} {}", number(c_index.mean), number(c_index.sd), folds.join(" "))
}
