//! `STUDY.toml`: which models run on which cohorts and features, with which seeds, and what differs where.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cf_model::ModelName;
use toml::{Table, Value};

use super::overrides::{self, Axis};
use crate::config::{InnerValidation, RunConfig, toml_reason};
use crate::config_keys;
use crate::error::{Error, Result};
use crate::splits::HeldOutPart;

/// The keys of section `[study]`.
const STUDY_KEYS: [&str; 8] =
    ["name", "cohorts", "models", "backbones", "seeds", "folds", "backbone_models", "reference"];

/// The sections of a run's configuration that all runs share. Those of `[model]` would suit one model only.
const SHARED_SECTIONS: [&str; 3] = ["cohort", "features", "training"];

/// More trainings than a cluster is given at once; each run holds a whole configuration in memory.
const MAX_RUNS: usize = 10_000;

/// A study as its file says, every run with its whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct StudyFile {
    /// What reports call the study.
    pub name: String,
    /// Labels of the cohorts: the columns of the tables.
    pub cohorts: Vec<String>,
    /// Labels of the models: the rows of Table 1.
    pub models: Vec<String>,
    /// Labels of the encoders: the rows of Table 2. Table 1 is on the first.
    pub backbones: Vec<String>,
    /// Seeds; each gives a run.
    pub seeds: Vec<u64>,
    /// Whether the study lists them, beside the settings of its runs.
    pub(crate) lists_seeds: bool,
    /// The folds to run; all where empty.
    pub folds: Vec<usize>,
    /// The model that the others are compared with.
    pub reference: Reference,
    /// Every run, by cohort, model, encoder and seed.
    pub runs: Vec<StudyRun>,
}

/// The model that the others are compared with.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reference {
    /// A row of Table 1, by its label.
    Model(String),
    /// In each cohort the model with the highest mean. Chosen by the numbers that are then tested, so p-values are too small.
    Best,
}

/// One cross-validation.
#[derive(Debug, Clone, PartialEq)]
pub struct StudyRun {
    /// Label of its cohort.
    pub cohort: String,
    /// Label of its model.
    pub model: String,
    /// Label of its encoder.
    pub backbone: String,
    /// Its seed.
    pub seed: u64,
    /// All of its settings.
    pub config: RunConfig,
}

impl StudyFile {
    /// Reads a study and makes the configuration of every run.
    ///
    /// # Errors
    /// If the file can't be read, is not TOML, has a key that nothing reads (the error names the nearest valid one), asks for more
    /// than 10,000 runs, or for runs whose settings are faulty: all of these are listed.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let fault = |reason: String| Error::Config { path: path.to_owned(), reason };
        let table: Table = text.parse().map_err(|error: toml::de::Error| fault(toml_reason(&error)))?;
        let lists = Lists::read(&table, &text).map_err(fault)?;
        let shared = shared_sections(&table, &text).map_err(fault)?;
        let axes = overrides::read(&table, &text, &lists).map_err(fault)?;

        // Without the key, the one seed of section [training].
        let seeds: Vec<Option<u64>> = match &lists.seeds {
            Some(seeds) => seeds.iter().copied().map(Some).collect(),
            None => vec![None],
        };
        let mut runs = Vec::new();
        let mut faults = Faults::default();
        for cohort in &lists.cohorts {
            for model in &lists.models {
                for backbone in lists.backbones_of(model) {
                    let labels =
                        [(Axis::Cohorts, cohort), (Axis::Backbones, backbone), (Axis::Models, model)];
                    let merged = overrides::merged(&shared, &axes, labels).map_err(fault)?;
                    for &seed in &seeds {
                        match config_of(merged.clone(), path, seed) {
                            Ok(config) => runs.push(StudyRun {
                                cohort: cohort.clone(),
                                model: model.clone(),
                                backbone: backbone.clone(),
                                seed: config.training.seed,
                                config,
                            }),
                            Err(error) => {
                                faults
                                    .add(&format!("{cohort}, {model}, {backbone}"), &reason_of(error, path));
                            }
                        }
                    }
                }
            }
        }
        faults.into_result(path)?;
        one_part_is_reported(&lists.cohorts, &runs, path)?;
        let mut seeds: Vec<u64> = runs.iter().map(|run| run.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        let lists_seeds = lists.seeds.is_some();
        let Lists { name, cohorts, models, backbones, folds, reference, .. } = lists;
        Ok(Self { name, cohorts, models, backbones, seeds, lists_seeds, folds, reference, runs })
    }
}

/// Refuses a study whose runs of a cohort report different parts of the splits: a column of its tables is of the same patients.
fn one_part_is_reported(cohorts: &[String], runs: &[StudyRun], path: &Path) -> Result<()> {
    let mut faults = Faults::default();
    for cohort in cohorts {
        let of = |part: HeldOutPart| {
            runs.iter().find(|run| run.cohort == *cohort && run.config.cohort.evaluate == part)
        };
        if let (Some(val), Some(test)) = (of(HeldOutPart::Val), of(HeldOutPart::Test)) {
            let reason = format!(
                "{} reports the part val of the splits, {} the part test{}: a column of the tables is of the same patients; write \
                 evaluate = \"test\" in [cohort] for all",
                val.model,
                test.model,
                match test.config.training.inner_validation {
                    InnerValidation::Val => ", as it chooses its epoch on val",
                    InnerValidation::Share(_) => "",
                }
            );
            faults.add(cohort, &reason);
        }
    }
    faults.into_result(path)
}

fn config_of(mut table: Table, path: &Path, seed: Option<u64>) -> Result<RunConfig> {
    if let Some(seed) = seed.and_then(|seed| i64::try_from(seed).ok())
        && let Some(training) = table.get_mut("training").and_then(Value::as_table_mut)
    {
        training.insert("seed".to_owned(), Value::Integer(seed));
    }
    RunConfig::of_known_keys(table, path)
}

/// The text of an error without the path that it opens with.
pub(super) fn reason_of(error: Error, path: &Path) -> String {
    let text = error.with_causes();
    text.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&text).to_owned()
}

/// Faults of a study's runs; the same fault of several runs is told once.
#[derive(Debug, Default)]
pub(super) struct Faults {
    by_reason: Vec<(String, Vec<String>)>,
}

impl Faults {
    pub(super) fn add(&mut self, place: &str, reason: &str) {
        match self.by_reason.iter_mut().find(|(known, _)| known == reason) {
            Some((_, places)) => {
                if !places.iter().any(|known| known == place) {
                    places.push(place.to_owned());
                }
            }
            None => self.by_reason.push((reason.to_owned(), vec![place.to_owned()])),
        }
    }

    pub(super) fn into_result(self, path: &Path) -> Result<()> {
        if self.by_reason.is_empty() {
            return Ok(());
        }
        let lines = self.by_reason.into_iter().map(|(reason, places)| match places.as_slice() {
            [place] => format!("{place}: {reason}"),
            [place, rest @ ..] => format!("{place} and {} more: {reason}", rest.len()),
            [] => reason,
        });
        let (path, faults) = (PathBuf::from(path), lines.collect());
        Err(Error::Study { path, faults })
    }
}

/// Section `[study]`.
pub(super) struct Lists {
    pub(super) name: String,
    pub(super) cohorts: Vec<String>,
    pub(super) models: Vec<String>,
    pub(super) backbones: Vec<String>,
    seeds: Option<Vec<u64>>,
    folds: Vec<usize>,
    /// The models that run on every encoder; the others run on the first.
    backbone_models: Option<Vec<String>>,
    reference: Reference,
}

impl Lists {
    fn read(table: &Table, text: &str) -> std::result::Result<Self, String> {
        let section = table.get("study").and_then(Value::as_table).ok_or("section [study] is missing")?;
        if let Some(key) = section.keys().find(|key| !STUDY_KEYS.contains(&key.as_str())) {
            let nearest = config_keys::nearest(STUDY_KEYS.map(str::to_owned), key);
            let line = config_keys::line_of(text, key);
            return Err(format!(
                "{line}unknown key `study.{key}`; the nearest valid one is `study.{nearest}`"
            ));
        }
        let name = section.get("name").and_then(Value::as_str);
        let name =
            name.ok_or("study.name is missing or no text, expected what the report shall call the study")?;
        let [cohorts, models, backbones] =
            ["cohorts", "models", "backbones"].map(|key| texts(section, key)).map(|list| {
                list.and_then(|list| list.ok_or_else(|| "is missing, expected a list of names".to_owned()))
            });
        let of = |key: &str, list: std::result::Result<Vec<String>, String>| {
            list.map_err(|reason| format!("study.{key} {reason}"))
        };
        let (cohorts, models, backbones) =
            (of("cohorts", cohorts)?, of("models", models)?, of("backbones", backbones)?);
        let whole = |key: &str| wholes(section, key).map_err(|reason| format!("study.{key} {reason}"));
        let seeds = whole("seeds")?;
        let folds = whole("folds")?.unwrap_or_default().into_iter().map(|fold| fold as usize).collect();
        let lengths = [cohorts.len(), models.len(), backbones.len(), seeds.as_ref().map_or(1, Vec::len)];
        let n_runs = lengths.into_iter().fold(1, usize::saturating_mul);
        if n_runs > MAX_RUNS {
            return Err(format!(
                "asks for {n_runs} runs of every model on every cohort and encoder with every seed, expected {MAX_RUNS} at \
                 most; make several studies of it"
            ));
        }
        let known_model = |key: &str, label: &String| match models.contains(label) {
            true => Ok(()),
            false => {
                let nearest = config_keys::nearest(models.iter().cloned(), label);
                Err(format!("study.{key} names `{label}`, expected one of study.models such as `{nearest}`"))
            }
        };
        let backbone_models =
            of("backbone_models", texts(section, "backbone_models").map(Option::unwrap_or_default))?;
        backbone_models.iter().try_for_each(|label| known_model("backbone_models", label))?;
        let backbone_models = section.contains_key("backbone_models").then_some(backbone_models);
        let reference = match section.get("reference") {
            None => {
                let paper = ModelName::Crossfusion.as_str();
                if models.iter().any(|label| label == paper) {
                    Reference::Model(paper.to_owned())
                } else {
                    Reference::Best
                }
            }
            Some(Value::String(label)) if label == "best" => Reference::Best,
            Some(Value::String(label)) => {
                known_model("reference", label)?;
                Reference::Model(label.clone())
            }
            Some(other) => return Err(format!("study.reference is {other}, expected a model or \"best\"")),
        };
        let name = name.to_owned();
        Ok(Self { name, cohorts, models, backbones, seeds, folds, backbone_models, reference })
    }

    /// The encoders that a model runs on.
    fn backbones_of(&self, model: &str) -> &[String] {
        let all =
            self.backbone_models.as_ref().is_none_or(|models| models.iter().any(|label| label == model));
        if all { &self.backbones } else { self.backbones.get(..1).unwrap_or_default() }
    }

    /// The labels of an axis.
    pub(super) fn of(&self, axis: Axis) -> &[String] {
        match axis {
            Axis::Cohorts => &self.cohorts,
            Axis::Backbones => &self.backbones,
            Axis::Models => &self.models,
        }
    }
}

/// A list of distinct texts, or nothing without the key.
fn texts(section: &Table, key: &str) -> std::result::Result<Option<Vec<String>>, String> {
    let Some(value) = section.get(key) else { return Ok(None) };
    let items = value.as_array().filter(|items| !items.is_empty());
    let list: Option<Vec<String>> =
        items.and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
    let list = list.ok_or_else(|| format!("is {value}, expected a list of names, at least one"))?;
    match repeated(&list) {
        Some(twice) => Err(format!("lists `{twice}` twice")),
        None => Ok(Some(list)),
    }
}

/// A list of distinct whole numbers of at least 0, or nothing without the key.
fn wholes(section: &Table, key: &str) -> std::result::Result<Option<Vec<u64>>, String> {
    let Some(value) = section.get(key) else { return Ok(None) };
    let items = value.as_array().filter(|items| !items.is_empty());
    let list: Option<Vec<u64>> = items.and_then(|items| {
        items.iter().map(|item| item.as_integer().and_then(|item| u64::try_from(item).ok())).collect()
    });
    let list = list.ok_or_else(|| format!("is {value}, expected a list of whole numbers, at least one"))?;
    match repeated(&list) {
        Some(twice) => Err(format!("lists {twice} twice")),
        None => Ok(Some(list)),
    }
}

/// The first item that stands earlier, too.
fn repeated<T: Ord>(list: &[T]) -> Option<&T> {
    let mut seen = BTreeSet::new();
    list.iter().find(|item| !seen.insert(*item))
}

/// The sections that every run starts from.
fn shared_sections(table: &Table, text: &str) -> std::result::Result<Table, String> {
    let tables = ["study"].into_iter().chain(SHARED_SECTIONS).chain(Axis::ALL.map(Axis::as_str));
    let tables: Vec<&str> = tables.collect();
    if let Some(key) = table.keys().find(|key| !tables.contains(&key.as_str())) {
        let line = config_keys::line_of(text, key);
        if key == "model" {
            return Err(format!(
                "{line}a study has no section [model]: study.models lists the models, [models.NAME] has the settings of one"
            ));
        }
        let nearest = config_keys::nearest(tables.iter().map(|&name| name.to_owned()), key);
        return Err(format!("{line}unknown section `{key}`; the nearest valid one is `{nearest}`"));
    }
    let mut shared = Table::new();
    for section in SHARED_SECTIONS {
        let value = table.get(section).cloned().unwrap_or_else(|| Value::Table(Table::new()));
        shared.insert(section.to_owned(), value);
    }
    config_keys::check(&shared, config_keys::Sources::file(text))?;
    Ok(shared)
}
