//! `cf-train apply`.

use std::path::PathBuf;

use cf_train::apply::{self, ApplyOptions, ApplySummary, NewSlides};
use cf_train::byte_size::ByteSize;
use wsi_bags::{Layout, Magnification, named_root};

use super::ensemble::{EnsembleArguments, print_left_out, print_run};
use super::{Failure, counted, print, print_json};

/// Apply the models of a run to slides without outcomes: a risk for each slide and patient.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("source").required(true).args(["features", "root"]),
    after_help = "Example:\n  cf-train apply --run runs/blca --features features/new --out risks/new --at 12,36,60\n\n\
                        The features must be of the run's encoder. The risk of a slide is the mean over the folds' models, that of a \
                        patient the mean over the slides; high is what reaches the mean of the medians in training. Where outcomes are \
                        known, `cf-train test` says how good the risks are."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    ensemble: EnsembleArguments,
    /// Directory of bags.
    #[arg(long, value_name = "DIR")]
    features: Option<PathBuf>,
    /// Directory of one magnification, in the form of any tool, in place of --features. Repeat for the others.
    #[arg(long, value_name = "x5|x10|x20=DIR", value_parser = named_root)]
    root: Vec<(Magnification, PathBuf)>,
    /// Layout of --features, such as crossfusion, native, clam or trident; detected when left out.
    #[arg(long, value_name = "NAME", conflicts_with = "root")]
    layout: Option<Layout>,
    /// Table with the slides in a column slide_id or FILENAME, and their patients in case_id, PATIENT or patient_id. All bags by default.
    #[arg(long, value_name = "FILE.csv")]
    slides: Option<PathBuf>,
    /// What a pass may take, such as 16GiB. What the machine offers by default.
    #[arg(long, value_name = "SIZE")]
    memory_budget: Option<ByteSize>,
}

pub(super) fn run(arguments: &Arguments, show_bars: bool) -> Result<(), Failure> {
    let ensemble = &arguments.ensemble;
    ensemble.set_threads()?;
    let slides = NewSlides {
        features: arguments.features.clone().unwrap_or_default(),
        layout: arguments.layout,
        roots: arguments.root.clone(),
        table: arguments.slides.clone(),
    };
    let (device_name, device) = ensemble.device.open()?;
    let options = ApplyOptions {
        folds: ensemble.folds(),
        months: ensemble.months(),
        memory_budget: arguments.memory_budget,
        device_name,
        device,
    };
    let summary = ensemble
        .watched(show_bars, |places, stop, observe| apply::apply(&slides, places, &options, stop, observe))?;
    for remark in &summary.remarks {
        tracing::warn!("{remark}");
    }
    if ensemble.json {
        return print_json(&summary);
    }
    print_summary(&summary);
    for (what, file) in [("slides", apply::PREDICTIONS), ("patients", apply::PATIENTS)] {
        print(&format!("{what}: {}", ensemble.out.join(file).display()));
    }
    Ok(())
}

/// The summary as lines for people.
fn print_summary(summary: &ApplySummary) {
    print(&format!("{} ({})", summary.model, summary.backbone));
    print_run(&summary.run);
    print(&format!("{} of {}", counted(summary.n_slides, "slide"), counted(summary.n_patients, "patient")));
    if !summary.slides_of_run.is_empty() {
        print(&format!(
            "in the run, or their patients (column in_run): {}",
            counted(summary.slides_of_run.len(), "slide")
        ));
    }
    for left_out in &summary.left_out {
        print_left_out(&left_out.reason, &left_out.ids);
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
