//! `cf-train splits`.

use std::path::PathBuf;
use std::str::FromStr;

use cf_train::cohort::{ClinicalTable, CohortConfig, PatientGroups};
use cf_train::splits::{
    self, Grouping, HeldOutPart, HeldOutUse, MakeOptions, PartCounts, SplitsCheck, WrittenForm,
};
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
                            cf-train splits make --config study.toml --group-by column:hospital --out splits\n  \
                            cf-train splits make --clinical clini.csv --preset stamp --set cohort.columns.time=days \
                            --set cohort.columns.time_unit=days --set cohort.columns.event=status --format stamp --out splits\n\n\
                            The same table, options and version give the same files."
    )]
    Make(MakeArguments),
    /// Check folds: patients on both sides, ids that do not join, folds without events, sites or hospitals on both sides.
    #[command(after_help = "Examples:\n  cf-train splits check --config study.toml\n  \
                            cf-train splits check --config study.toml --group-by column:hospital\n  \
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
    /// Who stays on one side of a fold, beside the slides of a patient: those of a TCGA site (characters 6 and 7 of the barcode), or
    /// with one value of a column of the clinical table, such as a hospital or a scanner.
    #[arg(long, value_name = "site|column:NAME")]
    group_by: Option<GroupBy>,
    /// Seed of the order in which patients or groups are dealt.
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
    /// What should be on one side of a fold: TCGA sites, or the values of a column of the clinical table, such as a hospital.
    #[arg(long, value_name = "site|column:NAME", default_value = "site")]
    group_by: GroupBy,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone)]
enum GroupBy {
    Site,
    Column(String),
}

impl FromStr for GroupBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("column:").map(str::trim)) {
            ("site", _) => Ok(Self::Site),
            (_, Some(name)) if !name.is_empty() => Ok(Self::Column(name.to_owned())),
            _ => {
                Err("expected site, or column:NAME with the name of a column of the clinical table"
                    .to_owned())
            }
        }
    }
}

impl GroupBy {
    fn groups(&self, config: &CohortConfig, table: &ClinicalTable) -> Result<PatientGroups, Error> {
        match self {
            Self::Site => Ok(PatientGroups::Sites),
            Self::Column(name) => PatientGroups::of_column(config, table, name),
        }
    }
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
    let (config, held_out) = cohort_config(&arguments.cohort)?;
    if held_out == HeldOutUse::ChooseOnVal {
        tracing::warn!(
            "these folds have train and val, and the configuration says training.inner_validation = \"val\", which needs test besides: \
             with them, set it to a share of the training patients, such as 0.2"
        );
    }
    let table = ClinicalTable::read(&config)?;
    let groups = arguments.group_by.as_ref().map(|by| by.groups(&config, &table)).transpose()?;
    let options = MakeOptions {
        n_folds: usize::from(arguments.folds),
        grouping: groups.clone().map_or(Grouping::Patient, Grouping::Groups),
        seed: arguments.seed,
    };
    let set = splits::make(&table, &options)?;
    let groups = groups.unwrap_or(PatientGroups::Sites);
    let check = splits::check(&table, &set, HeldOutUse::Evaluate(HeldOutPart::Val), &groups)?;
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
    let (mut config, held_out) = cohort_config(&arguments.cohort)?;
    if let Some(splits) = &arguments.splits {
        config.splits.clone_from(splits);
    }
    if config.splits.as_os_str().is_empty() {
        return Err(Failure::Usage("the configuration names no splits; give --splits PATH".to_owned()));
    }
    let held_out = match (held_out, arguments.evaluate) {
        (HeldOutUse::ChooseOnVal, Some(Evaluate::Val)) => {
            let problem = "--evaluate val does not go with training.inner_validation = \"val\" of the configuration, which chooses the \
                           epoch on val and validates test";
            return Err(Failure::Usage(problem.to_owned()));
        }
        (HeldOutUse::ChooseOnVal, Some(Evaluate::Test)) | (_, None) => held_out,
        (HeldOutUse::Evaluate(_), Some(Evaluate::Val)) => HeldOutUse::Evaluate(HeldOutPart::Val),
        (HeldOutUse::Evaluate(_), Some(Evaluate::Test)) => HeldOutUse::Evaluate(HeldOutPart::Test),
    };
    let table = ClinicalTable::read(&config)?;
    let set = splits::read(&config.splits)?;
    let groups = arguments.group_by.groups(&config, &table)?;
    let check = splits::check(&table, &set, held_out, &groups)?;
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

fn cohort_config(arguments: &CohortArguments) -> Result<(CohortConfig, HeldOutUse), Error> {
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
    let (mut config, held_out) = RunConfig::cohort_of_settings(&settings)?;
    config.clinical = clinical;
    Ok((config, held_out))
}

/// The check as a table for people.
fn print_check(check: &SplitsCheck) {
    let choosing =
        check.choosing_part.map_or_else(String::new, |part| format!(", epoch chosen on `{}`", part.as_str()));
    print(&format!("{}, validated part `{}`{choosing}", check.form, check.validated_part.as_str()));
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
    let sites = if check.group_column.is_some() { "shared groups" } else { "shared sites" };
    print(&format!("fold  {part}  {part}  {:>8} {sites:>14} {:>9}", "overlap", "unmatched"));
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
    if let Some(column) = &check.group_column {
        print(&format!("groups are the values of column `{column}`"));
    }
    if let Some(part) = check.choosing_part {
        for fold in &check.folds {
            let (part, PartCounts { n_patients, n_event_patients, .. }) = (part.as_str(), fold.unused);
            print(&format!(
                "fold {}: {n_patients} patients of `{part}`, {n_event_patients} of them with the event, choose the epoch",
                fold.fold
            ));
        }
    }
    for fold in &check.folds {
        if let Some(edges) = &fold.time_bin_edges_months {
            let edges: Vec<String> = edges.iter().map(|&edge| edge_in_words(edge)).collect();
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

/// An edge of a time bin. The first lies a rounding below 0.
fn edge_in_words(months: f64) -> String {
    let text = format!("{months:.2}");
    if text == "-0.00" { "0.00".to_owned() } else { text }
}

fn counts(part: &PartCounts) -> String {
    let slides = part.n_slides.map_or_else(|| "-".to_owned(), |n| n.to_string());
    format!("{:>8}  {slides:>6}  {:>6}", part.n_patients, part.n_event_patients)
}
