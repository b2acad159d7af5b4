//! Who is in a simulated cohort: patients with latent risk and outcome, their slides, the folds.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use survival_metrics::Outcome;
use wsi_bags::slide_stem;

use super::Error;
use super::latent::Latent;
use super::outcomes::{RiskGivenOutcome, Times, censor};
use super::table::{Row, read_clinical, read_validation_cases};
use crate::seed::stream;

/// Folds of a drawn cohort.
const N_FOLDS: usize = 5;

/// A patient: all slides share the latent risk and the outcome.
#[derive(Debug)]
pub(super) struct Patient {
    pub latent: Latent,
    /// Time in months.
    pub outcome: Outcome,
}

/// A slide, one row of the clinical table.
#[derive(Debug)]
pub(super) struct Slide {
    pub case_id: String,
    /// As in the clinical table, ending in `.svs` where that does.
    pub slide_id: String,
    /// Index into [`Roster::patients`].
    pub patient: usize,
}

impl Slide {
    /// Name of the slide's bag, and of the streams its patches are drawn from.
    pub(super) fn stem(&self) -> &str {
        slide_stem(&self.slide_id)
    }
}

/// The whole cohort.
#[derive(Debug)]
pub(super) struct Roster {
    pub patients: Vec<Patient>,
    pub slides: Vec<Slide>,
    /// Per fold, the indices of the slides that it validates.
    pub validation: Vec<Vec<usize>>,
}

impl Roster {
    /// Draws `n_patients` with one slide each, and five folds stratified by event.
    pub(super) fn drawn(n_patients: usize, seed: u64) -> Self {
        let digits = n_patients.to_string().len().max(4);
        let ids: Vec<String> = (1..=n_patients).map(|number| format!("SIM-{number:0digits$}")).collect();
        let mut latents = Vec::with_capacity(n_patients);
        let mut times = Vec::with_capacity(n_patients);
        for id in &ids {
            let mut rng = stream(seed, &format!("simulate/patient/{id}"));
            let z: f64 = rng.sample(StandardNormal);
            latents.push(Latent::given(z, &mut rng));
            times.push(Times::draw(z, &mut rng));
        }
        let outcomes = censor(&times);
        let validation = stratified_folds(&outcomes, &mut stream(seed, "simulate/folds"));
        let patients =
            latents.into_iter().zip(outcomes).map(|(latent, outcome)| Patient { latent, outcome }).collect();
        let slides = ids
            .into_iter()
            .enumerate()
            .map(|(patient, id)| Slide { slide_id: format!("{id}-01Z-00-DX1.svs"), case_id: id, patient })
            .collect();
        Self { patients, slides, validation }
    }

    /// Takes slides, outcomes and folds from a table, and draws every patient's latent risk given the
    /// outcome.
    ///
    /// # Errors
    /// If a table cannot be used, or the slides of a patient have different outcomes.
    pub(super) fn from_table(clinical: &Path, splits: &Path, seed: u64) -> Result<Self, Error> {
        let rows = read_clinical(clinical)?;
        let (slides, first_rows) = group_by_patient(&rows, clinical)?;
        let outcomes: Vec<Outcome> = first_rows.iter().map(|row| row.outcome).collect();
        let without_events = |found| Error::NoEvents { path: clinical.to_path_buf(), found };
        let given = RiskGivenOutcome::fit(&outcomes).map_err(|_| without_events("no rows"))?;
        if !outcomes.iter().any(|outcome| outcome.is_event()) {
            return Err(without_events("censored slides only"));
        }
        let patients = first_rows
            .iter()
            .map(|row| {
                let mut rng = stream(seed, &format!("simulate/patient/{}", patient_id(&row.case_id)));
                let z = given.draw(row.outcome, &mut rng);
                Patient { latent: Latent::given(z, &mut rng), outcome: row.outcome }
            })
            .collect();
        let mut validation = Vec::new();
        for path in split_files(splits)? {
            let cases: HashSet<String> = read_validation_cases(&path)?.into_iter().collect();
            let validated: Vec<usize> =
                (0..slides.len()).filter(|slide| cases.contains(&slides[*slide].case_id)).collect();
            if validated.is_empty() {
                return Err(Error::UnmatchedSplit { path, clinical: clinical.to_path_buf() });
            }
            validation.push(validated);
        }
        Ok(Self { patients, slides, validation })
    }
}

/// `splits_0.csv`, `splits_1.csv` and so on, up to the first number without a file.
///
/// # Errors
/// If there is no `splits_0.csv`.
pub(super) fn split_files(splits: &Path) -> Result<Vec<PathBuf>, Error> {
    let files: Vec<PathBuf> = (0..)
        .map(|fold| splits.join(format!("splits_{fold}.csv")))
        .take_while(|path| path.is_file())
        .collect();
    if files.is_empty() {
        return Err(Error::NoSplits { path: splits.join("splits_0.csv") });
    }
    Ok(files)
}

/// The first 12 characters of a TCGA barcode, else the case id.
fn patient_id(case_id: &str) -> &str {
    if case_id.starts_with("TCGA-") { case_id.get(..12).unwrap_or(case_id) } else { case_id }
}

/// The slides in the table's order, and the first row of every patient in the order of appearance.
fn group_by_patient<'a>(rows: &'a [Row], path: &Path) -> Result<(Vec<Slide>, Vec<&'a Row>), Error> {
    let mut index: HashMap<&str, usize> = HashMap::new();
    let mut first_rows: Vec<&Row> = Vec::new();
    let mut slides = Vec::with_capacity(rows.len());
    for row in rows {
        let id = patient_id(&row.case_id);
        let patient = *index.entry(id).or_insert(first_rows.len());
        match first_rows.get(patient) {
            None => first_rows.push(row),
            Some(first) if first.outcome != row.outcome => {
                return Err(Error::ConflictingOutcomes {
                    path: path.to_path_buf(),
                    patient: id.to_owned(),
                    first_line: first.line,
                    second_line: row.line,
                });
            }
            Some(_) => {}
        }
        slides.push(Slide { case_id: row.case_id.clone(), slide_id: row.slide_id.clone(), patient });
    }
    Ok((slides, first_rows))
}

/// Deals shuffled patients with events, then shuffled censored ones, to the folds in turn, so that folds
/// differ by at most one in events and in size.
fn stratified_folds(outcomes: &[Outcome], rng: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
    let (mut events, mut censored): (Vec<usize>, Vec<usize>) =
        (0..outcomes.len()).partition(|patient| outcomes[*patient].is_event());
    shuffle(&mut events, rng);
    shuffle(&mut censored, rng);
    let mut folds = vec![Vec::new(); N_FOLDS];
    for (turn, patient) in events.into_iter().chain(censored).enumerate() {
        folds[turn % N_FOLDS].push(patient);
    }
    for fold in &mut folds {
        fold.sort_unstable();
    }
    folds
}

/// Fisher-Yates.
fn shuffle(items: &mut [usize], rng: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, rng.random_range(0..=last));
    }
}
