//! From nothing to a report through the library: a cohort with a known answer, five folds of CrossFusion, their C-index.
//!
//! ```text
//! cargo run --release -p examples --bin train_tiny_cohort             leaves tiny_cohort/{cohort,run}
//! cargo run --release -p examples --bin train_tiny_cohort -- DIR      leaves DIR/{cohort,run}
//! ```
//!
//! `score_one_slide` goes on from there.

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use candle_core::Device;
use cf_model::kernels::device::DeviceName;
use cf_train::event::Event;
use cf_train::simulate::{CohortKind, SimulateOptions, simulate};
use cf_train::{RunConfig, RunOptions, cross_validate};

#[expect(clippy::print_stdout, reason = "a program that prints its result")]
fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "tiny_cohort".to_owned()));
    let (cohort, run) = (folder.join("cohort"), folder.join("run"));

    // Sixty patients, bags of a few patches: seconds, not a result. The command `cf-train simulate` does the same.
    let options = SimulateOptions {
        n_patients: 60,
        backbone_dim: 16,
        ..SimulateOptions::new(cohort.clone(), CohortKind::Additive)
    };
    let simulated = simulate(&options, &mut |_, _| {})?;
    println!("{} slides, {} of them with an event", simulated.n_slides, simulated.n_event_slides);

    // What a TOML file says, and one change to it as `--set` makes them.
    let fewer_epochs = [("training.max_epochs".to_owned(), "4".to_owned())];
    let config = RunConfig::read(&cohort.join("config.toml"), &fewer_epochs)?;
    let how =
        RunOptions { folds: Vec::new(), resume: false, device_name: DeviceName::Cpu, device: Device::Cpu };
    let summary = cross_validate(&config, &run, &how, &AtomicBool::new(false), &mut |event| {
        if let Event::EpochDone { train_loss, validation_c_index } = event {
            let [loss, c_index] = [train_loss, validation_c_index]
                .map(|number| number.map_or_else(|| "undefined".to_owned(), |number| format!("{number:.3}")));
            println!("training loss {loss}, validation C-index {c_index}");
        }
    })?;

    let ceiling = simulated.ceilings.first().and_then(|truth| truth.fold_mean);
    if let (Some(mean), Some(ceiling)) = (summary.c_index.mean, ceiling) {
        println!("C-index {mean:.3} over five folds; the true risk reaches {ceiling:.3}");
    }
    println!("report: {}", run.join("report.html").display());
    Ok(())
}
