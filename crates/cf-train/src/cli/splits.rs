//! `cf-train splits`.

use std::path::PathBuf;

use cf_train::cohort::{ClinicalTable, CohortConfig};
use cf_train::splits::{self, Grouping, HeldOutPart, MakeOptions, PartCounts, SplitsCheck, WrittenForm};
use cf_train::{Error, RunConfig};
use clap::{Subcommand, ValueEnum};

use super::cv::parse_override;
use super::{Failure, print, print_json};

/// Make folds, or check those that are there, against the clinical table.
#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Make folds: every patient is validated on once, events are shared out evenly.
    #[command(
        after_help = "Examples:\n  cf-train splits make --clinical blca.csv --preset mcat --out splits\n  \
                            cf-train splits make --config study.toml --folds 10 --group-by site --out splits\n  \
                            cf-train splits make --clinical clini.csv --preset stamp --set cohort.columns.time=days \
                            --set cohort.columns.time_unit=days --set cohort.columns.event=status --format stamp --out splits\n\n\
                            The same table, options and version give the same files."
    )]
    Make(MakeArguments),
    /// Check folds: patients on both sides, ids that do not join, folds without events, sites on both sides.
    #[command(after_help = "Examples:\n  cf-train splits check --config study.toml\n  \
                            cf-train splits check --clinical blca.csv --preset mcat --splits splits/blca --json\n\n\
                            Exit code 3 where a run would refuse the folds, 0 where there are warnings or nothing to say.")]
    Check(CheckArguments),
}

/// Which clinical table, and how it is read.
#[derive(Debug, clap::Args)]
struct CohortArguments {
    /// Take the table from this configuration's [cohort].
    #[arg(long, value_name = "FILE", required_unless_present = "clinical", conflicts_with_all = ["clinical", "preset", "endpoint"])]
    config: Option<PathBuf>,
    /// The clinical table.
    #[arg(long, value_name = "FILE")]
    clinical: Option<PathBuf>,
    /// Family of the table: mcat, survpath, mmp, stamp, cbioportal, gdc or patho-bench.
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// What the time is the time to, such as os, dss or pfi.
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
    /// Change a setting, such as cohort.columns.event=died. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_override)]
    overrides: Vec<(String, String)>,
}

/// Make folds.
#[derive(Debug, clap::Args)]
pub(super) struct MakeArguments {
    #[command(flatten)]
    cohort: CohortArguments,
    /// Directory for the files.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Folds to make.
    #[arg(long, default_value_t = 5, value_name = "K", value_parser = clap::value_parser!(u16).range(2..))]
    folds: u16,
    /// Who stays on one side of a fold, beside the slides of a patient.
    #[arg(long, value_enum, value_name = "WHAT")]
    group_by: Option<GroupBy>,
    /// Seed of the order in which patients or sites are dealt.
    #[arg(long, default_value_t = 7, value_name = "N")]
    seed: u64,
    /// Form of the files: splits_K.csv with columns train and val, or the splits.json of STAMP.
    #[arg(long, value_enum, default_value_t = Format::Released)]
    format: Format,
    /// Print what was made as JSON.
    #[arg(long)]
    json: bool,
}

/// Check folds.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    cohort: CohortArguments,
    /// Folder or file of splits, of any form; the configuration's by default.
    #[arg(long, value_name = "PATH", required_unless_present = "config")]
    splits: Option<PathBuf>,
    /// Part that is validated where splits have both; the configuration's, or val, by default.
    #[arg(long, value_enum, value_name = "PART")]
    evaluate: Option<Evaluate>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum GroupBy {
    /// The TCGA tissue source site: characters 6 and 7 of the barcode.
    Site,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Released,
    Stamp,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Evaluate {
    Val,
    Test,
}

pub(super) fn run(action: &Action) -> Result<(), Failure> {
    match action {
        Action::Make(arguments) => run_make(arguments),
        Action::Check(arguments) => run_check(arguments),
    }
}

fn run_make(arguments: &MakeArguments) -> Result<(), Failure> {
    let table = ClinicalTable::read(&cohort_config(&arguments.cohort)?)?;
    let options = MakeOptions {
        n_folds: usize::from(arguments.folds),
        grouping: match arguments.group_by {
            None => Grouping::Patient,
            Some(GroupBy::Site) => Grouping::Site,
        },
        seed: arguments.seed,
    };
    let set = splits::make(&table, &options)?;
    let check = splits::check(&table, &set, HeldOutPart::Val)?;
    let form = match arguments.format {
        Format::Released => WrittenForm::Released,
        Format::Stamp => WrittenForm::Stamp,
    };
    let files = splits::write(&set, check.validated_part, form, &arguments.out)?;
    if arguments.json {
        return print_json(&check);
    }
    print_check(&check);
    for file in files {
        print(&file.display().to_string());
    }
    Ok(())
}

fn run_check(arguments: &CheckArguments) -> Result<(), Failure> {
    let mut config = cohort_config(&arguments.cohort)?;
    if let Some(splits) = &arguments.splits {
        config.splits.clone_from(splits);
    }
    if config.splits.as_os_str().is_empty() {
        return Err(Failure::Usage("the configuration names no splits; give --splits PATH".to_owned()));
    }
    let evaluate = match arguments.evaluate {
        None => config.evaluate,
        Some(Evaluate::Val) => HeldOutPart::Val,
        Some(Evaluate::Test) => HeldOutPart::Test,
    };
    let table = ClinicalTable::read(&config)?;
    let set = splits::read(&config.splits)?;
    let check = splits::check(&table, &set, evaluate)?;
    if arguments.json {
        print_json(&check)?;
    } else {
        print_check(&check);
    }
    match check.errors.as_slice() {
        [] => Ok(()),
        [error] => Err(Error::Data { path: config.splits, reason: error.clone() }.into()),
        [first, rest @ ..] => Err(Error::Data {
            path: config.splits,
            reason: format!("{first}; and {} more faults", rest.len()),
        }
        .into()),
    }
}

fn cohort_config(arguments: &CohortArguments) -> Result<CohortConfig, Error> {
    if let Some(config) = &arguments.config {
        return RunConfig::read_cohort(config, &arguments.overrides);
    }
    let clinical = arguments.clinical.clone().unwrap_or_default();
    let mut settings = vec![("cohort.name".to_owned(), "cohort".to_owned())];
    let given = [("cohort.preset", &arguments.preset), ("cohort.endpoint", &arguments.endpoint)];
    for (key, value) in given {
        settings.extend(value.iter().map(|value| (key.to_owned(), value.clone())));
    }
    // A path is no TOML value, whatever it looks like.
    settings.push(("cohort.clinical".to_owned(), "table".to_owned()));
    settings.extend(arguments.overrides.iter().cloned());
    let mut config = RunConfig::cohort_of_settings(&settings)?;
    config.clinical = clinical;
    Ok(config)
}

/// The check as a table for people.
fn print_check(check: &SplitsCheck) {
    print(&format!("{}, validated part `{}`", check.form, check.validated_part.as_str()));
    print(&format!(
        "{:>4}  {:^24}  {:^24}  {:>8} {:>14} {:>9}",
        "",
        "train",
        check.validated_part.as_str(),
        "",
        "",
        ""
    ));
    let part = "patients  slides  events";
    print(&format!("fold  {part}  {part}  {:>8} {:>14} {:>9}", "overlap", "shared sites", "unmatched"));
    for fold in &check.folds {
        let sites = match fold.n_validation_sites {
            Some(n) => format!("{} of {n}", fold.shared_sites.len()),
            None => "-".to_owned(),
        };
        print(&format!(
            "{:>4}  {}  {}  {:>8} {sites:>14} {:>9}",
            fold.fold,
            counts(&fold.train),
            counts(&fold.validation),
            fold.shared_patients.len(),
            fold.n_ids_without_row
        ));
    }
    for fold in &check.folds {
        if let Some(edges) = &fold.time_bin_edges_months {
            let edges: Vec<String> = edges.iter().map(|edge| format!("{edge:.2}")).collect();
            print(&format!(
                "fold {}: time bins of the training part, months: {}",
                fold.fold,
                edges.join(" ")
            ));
        }
    }
    for (what, lines) in [("error", &check.errors), ("warning", &check.warnings)] {
        for line in lines {
            print(&format!("{what}: {line}"));
        }
    }
}

fn counts(part: &PartCounts) -> String {
    let slides = part.n_slides.map_or_else(|| "-".to_owned(), |n| n.to_string());
    format!("{:>8}  {slides:>6}  {:>6}", part.n_patients, part.n_event_patients)
}
