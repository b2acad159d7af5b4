//! What `cf-train test` and `cf-train apply` have in common: which models of a run are applied, and how they are watched at work.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use cf_train::Error;
use cf_train::ensemble::AppliedRun;
use cf_train::event::Event;

use super::cv::stop_at_signals;
use super::device::TrainingDeviceArguments;
use super::number_list;
use super::progress::Progress;
use super::{Failure, print, threads};

/// The models of a run, and what they are asked for.
#[derive(Debug, clap::Args)]
pub(super) struct EnsembleArguments {
    /// Run directory of `cf-train cv`; of its folds, those that are finished count.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Directory to make.
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Folds whose models are applied, such as 0-2,4. All that are finished by default.
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = number_list::range)]
    folds: Vec<RangeInclusive<usize>>,
    /// Months at which survival is predicted, such as 12,36,60: a column each.
    #[arg(long, value_delimiter = ',', value_name = "MONTHS", value_parser = parse_months)]
    at: Vec<f64>,
    #[command(flatten)]
    pub(super) device: TrainingDeviceArguments,
    /// Threads to compute with. All that the process may use by default; results do not depend on it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Print the summary as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl EnsembleArguments {
    /// Sets how many threads compute.
    pub(super) fn set_threads(&self) -> Result<(), Failure> {
        threads::apply(self.threads).map_err(Failure::Usage)
    }

    pub(super) fn folds(&self) -> Vec<usize> {
        number_list::numbers(&self.folds)
    }

    /// The months of `--at`, each once.
    pub(super) fn months(&self) -> Vec<f64> {
        let mut months: Vec<f64> = Vec::new();
        for month in &self.at {
            if !months.contains(month) {
                months.push(*month);
            }
        }
        months
    }

    /// Does `work` from the run into the directory to make, with a progress bar, until a signal asks to stop.
    pub(super) fn watched<T>(
        &self,
        show_bars: bool,
        work: impl FnOnce((&Path, &Path), &AtomicBool, &mut dyn FnMut(Event)) -> Result<T, Error>,
    ) -> Result<T, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        stop_at_signals(&stop, &self.out)?;
        let mut progress = Progress::new(show_bars);
        let done = work((&self.run, &self.out), &stop, &mut |event| progress.observe(event));
        progress.finish();
        Ok(done?)
    }
}

/// A time in months.
fn parse_months(text: &str) -> Result<f64, String> {
    let months = text.trim().parse().ok().filter(|months: &f64| months.is_finite() && *months > 0.0);
    months.ok_or_else(|| format!("found `{text}`, expected a number of months above 0"))
}

/// How the models were trained, in a line.
pub(super) fn print_run(run: &AppliedRun) {
    let folds: Vec<String> = run.checkpoints.iter().map(|model| model.fold.to_string()).collect();
    print(&format!("trained on {}, protocol {}, folds {}", run.cohort, run.protocol, folds.join(" ")));
}

/// Ids that were left out for a reason, some of them by name; `summary.json` has all.
pub(super) fn print_left_out(reason: &str, ids: &[String]) {
    const LISTED: usize = 8;
    print(&format!("left out: {}, {reason}: {}", ids.len(), cf_cli::listed_up_to(LISTED, ids)));
}
