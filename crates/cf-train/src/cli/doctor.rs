//! `cf-train doctor`.

use std::path::PathBuf;

use cf_model::kernels::device::DeviceName;
use cf_train::Error;
use cf_train::byte_size::ByteSize;
use cf_train::doctor::{self, ClusterLimits, Diagnosis, Finding, Severity, TimeLimit};
use cf_train::memory::Work;

use super::cv::parse_override;
use super::device::DeviceArgument;
use super::{Failure, counted, print, print_json, progress};

/// Findings of one kind in one column from which on only the first [`FEW`] are printed.
const MANY: usize = 8;
const FEW: usize = 3;

/// Check configuration, tables, folds and bags before a run, and report every fault at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cf-train doctor --config study.toml --out runs/study\n\n\
                  Errors are what a run would stop at or get wrong, warnings what it would go on with, notes are good to \
                  know. Reads every feature once. Exit code 3 where there is an error, 4 where memory is the only one, else 0. The faults are explained in \
                  docs/formats.md.")]
pub(super) struct Arguments {
    /// Configuration (TOML); its relative paths start from its own directory.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Change a setting, such as training.seed=8. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_override)]
    overrides: Vec<(String, String)>,
    /// Where the run would write; its disk is looked at.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    #[command(flatten)]
    device: DeviceArgument,
    /// Memory that a job of a cluster will be given, such as "16 GiB"; by default what is available here, or to this job.
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// Time that a job of a cluster will be given, such as 04:00:00 or 2-00:00:00.
    #[arg(long, value_name = "TIME")]
    time: Option<TimeLimit>,
    /// Processors that it will be given; by default those that may be used here.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    cpus: Option<u16>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, show_bars: bool) -> Result<(), Failure> {
    let bar = show_bars.then(|| progress::bar("bags {wide_bar} {pos}/{len} {eta}"));
    let mut observe = |n_done: usize, n_total: usize| {
        if let Some(bar) = &bar {
            bar.set_length(n_total as u64);
            bar.set_position(n_done as u64);
        }
    };
    let (config, overrides, out) = (&arguments.config, &arguments.overrides, &arguments.out);
    let Arguments { memory, time, cpus, .. } = *arguments;
    let limits = ClusterLimits { memory, time, cpus };
    let device = arguments.device.open()?;
    let diagnosis = doctor::examine(config, overrides, out, &device, limits, &mut observe);
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    if arguments.json {
        print_json(&diagnosis)?;
    } else {
        print_diagnosis(&diagnosis, arguments.device.name);
    }
    if let Some(error) = diagnosis.does_not_fit() {
        return Err(error.into());
    }
    match diagnosis.errors {
        0 => Ok(()),
        n => Err(Error::Config {
            path: arguments.config.clone(),
            reason: format!("the doctor found {}; a run would not be worth its time", counted(n, "error")),
        }
        .into()),
    }
}

fn print_diagnosis(diagnosis: &Diagnosis, device: DeviceName) {
    if let Some(cohort) = &diagnosis.cohort {
        let slides = cohort.n_slides.map_or_else(String::new, |n| format!("{n} slides of "));
        print(&format!(
            "cohort   {slides}{} patients, {} with an event ({:.0} %); median survival {}",
            cohort.n_patients,
            cohort.n_events,
            100.0 * cohort.event_share,
            cohort
                .median_survival_months
                .map_or_else(|| "not reached".to_owned(), |m| format!("{m:.1} months"))
        ));
        print(&format!("status   {}", cohort.status.explanation));
        print(&format!(
            "         Kaplan-Meier curve ends at {:.2} as read; with the sign turned it would end at {:.2}",
            cohort.survival_at_end.as_read, cohort.survival_at_end.if_inverted
        ));
    }
    if let Some(memory) = &diagnosis.memory {
        let work = match memory.work {
            Work::Training if memory.n_patches_seen == memory.n_patches => "the largest bag",
            Work::Training => "a training visit to the bag that takes most",
            Work::Evaluation => "an evaluation of the largest bag",
        };
        print(&format!(
            "memory   {} predicted for {work}, {} ({} + {} + {} patches); {} available on {device}",
            bytes(memory.predicted_peak_bytes),
            memory.slide_id,
            memory.n_patches.x5,
            memory.n_patches.x10,
            memory.n_patches.x20,
            memory.available_bytes.map_or_else(|| "an unknown amount".to_owned(), bytes)
        ));
    }
    if let Some(draws) = &diagnosis.draws {
        print(&format!(
            "patches  {}; {} of {} have more",
            cf_train::visit::rule(draws.max_patches),
            draws.n_drawn,
            counted(draws.n_slides, "slide")
        ));
    }
    if let Some(time) = &diagnosis.time {
        let with =
            time.cpus.map_or_else(|| "a GPU".to_owned(), |cpus| counted(usize::from(cpus), "processor"));
        let limit =
            time.limit_seconds.map_or_else(String::new, |limit| format!(", {} allowed", hours(limit as f64)));
        print(&format!(
            "time     {} predicted for the longest fold, {}, with {with}{limit}",
            hours(time.predicted_seconds),
            time.fold
        ));
    }
    if let Some(disk) = &diagnosis.disk {
        print(&format!(
            "disk     {} needed, {} free at {}",
            bytes(disk.needed_bytes),
            disk.free_bytes.map_or_else(|| "an unknown amount".to_owned(), bytes),
            disk.directory.display()
        ));
    }
    if !diagnosis.findings.is_empty() {
        print(&format!("\n{:<8} {:<22} place", "severity", "fault"));
    }
    for same in diagnosis.findings.chunk_by(|a, b| (a.fault, column_of(a)) == (b.fault, column_of(b))) {
        let n_told = if same.len() > MANY { FEW } else { same.len() };
        let (told, rest) = same.split_at(n_told);
        told.iter().for_each(print_finding);
        if !rest.is_empty() {
            let lines =
                rest.iter().filter_map(|finding| finding.place.split("line ").nth(1)?.split(',').next());
            let n = rest.len();
            print(&format!(
                "         and {n} more of these: lines {} (--json has all)",
                cf_cli::listed(lines)
            ));
        }
    }
    let n_notes = diagnosis.findings.iter().filter(|finding| finding.severity == Severity::Note).count();
    print(&format!(
        "\n{}, {}, {}",
        counted(diagnosis.errors, "error"),
        counted(diagnosis.warnings, "warning"),
        counted(n_notes, "note")
    ));
}

fn print_finding(finding: &Finding) {
    print(&format!("{:<8} {:<22} {}", finding.severity.as_str(), finding.fault.name(), finding.place));
    print(&format!("         found    {}", finding.found));
    print(&format!("         wanted   {}", finding.wanted));
    print(&format!("         way out  {}", finding.way_out));
}

/// The column that a finding is about, where it is about a cell.
fn column_of(finding: &Finding) -> Option<&str> {
    Some(finding.place.split_once(", column ")?.1)
}

fn hours(seconds: f64) -> String {
    if seconds < 5400.0 { format!("{:.1} min", seconds / 60.0) } else { format!("{:.1} h", seconds / 3600.0) }
}

fn bytes(n: u64) -> String {
    let mib = n as f64 / f64::from(1_u32 << 20);
    if mib < 100.0 { format!("{mib:.0} MiB") } else { format!("{:.1} GiB", mib / 1024.0) }
}
