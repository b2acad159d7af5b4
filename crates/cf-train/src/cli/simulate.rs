//! `cf-train simulate`.

use std::path::PathBuf;

use cf_train::simulate::{CohortForm, CohortKind, OutcomeSource, SimulateOptions, simulate};
use clap::ValueEnum;

use super::{Failure, print, progress};

/// Make a simulated cohort with a known answer, ready to run.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  cf-train simulate --out cohort --kind interaction --patients 400\n  \
                        cf-train cv --config cohort/config.toml --out run\n\n  \
                        cf-train simulate --clinical blca.csv --splits splits/blca --scale 0.005 --out blca\n\n  \
                        cf-train simulate --slides --patients 24 --out cohort\n  \
                        wsi-extract render cohort/slides.csv --out cohort\n  \
                        wsi-extract run cohort/slides --out cohort/bags --encoder stain-texture --preset bwh_biopsy\n  \
                        cf-train cv --config cohort/config.toml --out run")]
pub(super) struct Arguments {
    /// Directory to make.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What carries the risk.
    #[arg(long, value_enum, default_value_t = Kind::Additive)]
    kind: Kind,
    /// Patients to draw.
    #[arg(long, default_value_t = 400, value_name = "N", conflicts_with_all = ["clinical", "splits"])]
    patients: usize,
    /// Take slides and outcomes from this table (case_id, slide_id, survival_months, censorship with 1 = censored).
    #[arg(long, value_name = "FILE", requires = "splits")]
    clinical: Option<PathBuf>,
    /// Take the folds from this directory of splits_K.csv.
    #[arg(long, value_name = "DIR", requires = "clinical")]
    splits: Option<PathBuf>,
    /// Plan slides instead of making bags: `wsi-extract render` draws them of slides.csv.
    #[arg(long)]
    slides: bool,
    /// Columns of the features.
    #[arg(long, default_value_t = 64, value_name = "B", conflicts_with = "slides")]
    backbone_dim: usize,
    /// Factor on the paper's mean bag sizes (13,496 / 3,449 / 895 patches at 20x / 10x / 5x).
    #[arg(long, default_value_t = 0.01, value_name = "S")]
    scale: f64,
    /// Seed of every draw.
    #[arg(long, default_value_t = 7, value_name = "N")]
    seed: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Each magnification carries its own share of the risk.
    Additive,
    /// The share of a 20x morphology inside 5x regions of an architecture; neither says anything alone.
    Interaction,
}

pub(super) fn run(arguments: &Arguments, show_bars: bool) -> Result<(), Failure> {
    let outcomes = match (&arguments.clinical, &arguments.splits) {
        (Some(clinical), Some(splits)) => {
            OutcomeSource::Table { clinical: clinical.clone(), splits: splits.clone() }
        }
        _ => OutcomeSource::Drawn,
    };
    let options = SimulateOptions {
        out: arguments.out.clone(),
        kind: match arguments.kind {
            Kind::Additive => CohortKind::Additive,
            Kind::Interaction => CohortKind::Interaction,
        },
        n_patients: arguments.patients,
        outcomes,
        form: if arguments.slides { CohortForm::Slides } else { CohortForm::Bags },
        backbone_dim: arguments.backbone_dim,
        scale: arguments.scale,
        seed: arguments.seed,
    };
    let bar = show_bars.then(|| progress::bar("slides {wide_bar} {pos}/{len} {eta}"));
    let simulated = simulate(&options, &mut |n_done, n_total| {
        if let Some(bar) = &bar {
            bar.set_length(n_total as u64);
            bar.set_position(n_done as u64);
        }
    });
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    let simulated = simulated?;
    print(&format!(
        "{} slides of {} patients, {} slides with an event",
        simulated.n_slides, simulated.n_patients, simulated.n_event_slides
    ));
    for ceiling in &simulated.ceilings {
        if let Some(c_index) = ceiling.c_index {
            print(&format!("C-index of the truth {:<10} {c_index:.3}", ceiling.truth));
        }
    }
    print(&format!("configuration: {}", simulated.out.join("config.toml").display()));
    Ok(())
}
