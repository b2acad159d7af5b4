//! `cf-train apply`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use cf_train::apply::{self, ApplyOptions, ApplySummary, NewSlides};
use cf_train::byte_size::ByteSize;
use wsi_bags::Layout;

use super::cv::stop_at_signals;
use super::device::TrainingDeviceArguments;
use super::number_list;
use super::progress::Progress;
use super::{Failure, print, print_json, threads};

/// Apply the models of a run to slides without outcomes: a risk for each slide and patient.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cf-train apply --run runs/blca --features features/new --out risks/new --at 12,36,60\n\n\
                        The features must be of the run's encoder. The risk of a slide is the mean over the folds' models, that of a \
                        patient the mean over the slides; high is what reaches the mean of the medians in training. Where outcomes are \
                        known, `cf-train test` says how good the risks are."
)]
pub(super) struct Arguments {
    /// Run directory of `cf-train cv`; of its folds, those that are finished count.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Directory of bags.
    #[arg(long, value_name = "DIR")]
    features: PathBuf,
    /// Layout of the directory, such as crossfusion, native, clam or trident; detected when left out.
    #[arg(long, value_name = "NAME")]
    layout: Option<Layout>,
    /// Table with the slides in a column slide_id or FILENAME, and their patients in case_id, PATIENT or patient_id. All bags by default.
    #[arg(long, value_name = "FILE.csv")]
    slides: Option<PathBuf>,
    /// Directory to make.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Folds whose models are applied, such as 0-2,4. All that are finished by default.
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = number_list::range)]
    folds: Vec<RangeInclusive<usize>>,
    /// Months at which survival is predicted, such as 12,36,60: a column each.
    #[arg(long, value_delimiter = ',', value_name = "MONTHS", value_parser = parse_months)]
    at: Vec<f64>,
    /// What a pass may take, such as 16GiB. What the machine offers by default.
    #[arg(long, value_name = "SIZE")]
    memory_budget: Option<ByteSize>,
    #[command(flatten)]
    device: TrainingDeviceArguments,
    /// Threads to compute with. All that the process may use by default; results do not depend on it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

/// A time in months.
pub(super) fn parse_months(text: &str) -> Result<f64, String> {
    let months = text.trim().parse().ok().filter(|months: &f64| months.is_finite() && *months > 0.0);
    months.ok_or_else(|| format!("found `{text}`, expected a number of months above 0"))
}

/// Ids that are named of those that were left out; `summary.json` has all.
const LISTED: usize = 8;

pub(super) fn run(arguments: &Arguments, show_bars: bool) -> Result<(), Failure> {
    threads::apply(arguments.threads).map_err(Failure::Usage)?;
    let slides = NewSlides {
        features: arguments.features.clone(),
        layout: arguments.layout,
        table: arguments.slides.clone(),
    };
    let (device_name, device) = arguments.device.open()?;
    let options = ApplyOptions {
        folds: number_list::numbers(&arguments.folds),
        months: arguments.at.clone(),
        memory_budget: arguments.memory_budget,
        device_name,
        device,
    };
    let stop = Arc::new(AtomicBool::new(false));
    stop_at_signals(&stop, &arguments.out)?;
    let mut progress = Progress::new(show_bars);
    let places = (arguments.run.as_path(), arguments.out.as_path());
    let summary = apply::apply(&slides, places, &options, &stop, &mut |event| progress.observe(event));
    progress.finish();
    let summary = summary?;
    for remark in &summary.remarks {
        tracing::warn!("{remark}");
    }
    if arguments.json {
        return print_json(&summary);
    }
    print_summary(&summary);
    for (what, file) in [("slides", apply::PREDICTIONS), ("patients", apply::PATIENTS)] {
        print(&format!("{what}: {}", arguments.out.join(file).display()));
    }
    Ok(())
}

/// The summary as lines for people.
fn print_summary(summary: &ApplySummary) {
    let run = &summary.run;
    let folds: Vec<String> = run.checkpoints.iter().map(|model| model.fold.to_string()).collect();
    print(&format!("{} ({})", summary.model, summary.backbone));
    print(&format!("trained on {}, protocol {}, folds {}", run.cohort, run.protocol, folds.join(" ")));
    print(&format!("{} slides of {} patients", summary.n_slides, summary.n_patients));
    let left_out = summary.left_out.iter();
    for (reason, ids) in left_out.map(|left_out| (&left_out.reason, &left_out.ids)) {
        print(&format!("left out: {}, {reason}: {}", ids.len(), cf_cli::listed_up_to(LISTED, ids)));
    }
    let groups = [
        ("slides", summary.cut, summary.n_high_slides, summary.n_slides),
        ("patients", summary.patient_cut, summary.n_high_patients, summary.n_patients),
    ];
    for (what, cut, n_high, n) in groups {
        if let (Some(cut), Some(n_high)) = (cut, n_high) {
            print(&format!(
                "{what} cut at the mean of the medians in training, {cut:.4}: {n_high} high, {} low",
                n - n_high
            ));
        }
    }
    for row in &summary.substitutes {
        print(&format!("in place of what bags lack: {}", row.text()));
    }
}
