//! How well a model that knew a truth would order the outcomes.

use std::fs;
use std::path::Path;

use serde::Serialize;
use survival_metrics::{Outcome, RiskTies, concordance_index};

use super::Error;
use super::features::{CLASS_AMPLITUDE, NOISE_SD, SIGNATURE_DIM, SIGNATURE_SD};
use super::options::{CohortForm, CohortKind, OutcomeSource, SimulateOptions};
use super::outcomes::{CENSORED_SHARE, LOG_HAZARD_PER_Z, WEIBULL_SCALE_MONTHS, WEIBULL_SHAPE};
use super::roster::Roster;
use super::truth::{SlideTruth, Truth, truths};

/// How well a risk score equal to one of the truths orders the outcomes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ceiling {
    /// Column of `truth.csv`; `z` is the latent risk.
    pub truth: &'static str,
    /// The one magnification (`x5`, `x10`, `x20`) that shows it; `None` for the latent risk.
    pub magnification: Option<&'static str>,
    /// C-index over all slides; `None` if no two of them can be compared.
    pub c_index: Option<f64>,
    /// C-index over the validation slides of each fold.
    pub folds: Vec<Option<f64>>,
    /// Mean over the folds that have one.
    pub fold_mean: Option<f64>,
}

impl Ceiling {
    /// `validation`: per fold, the indices of its slides.
    fn of(
        truth: &Truth,
        outcomes: &[Outcome],
        risk: &[f64],
        validation: &[Vec<usize>],
    ) -> Result<Self, Error> {
        let folds = validation
            .iter()
            .map(|validated| {
                let outcomes: Vec<Outcome> = validated.iter().map(|slide| outcomes[*slide]).collect();
                let risk: Vec<f64> = validated.iter().map(|slide| risk[*slide]).collect();
                c_index(truth, &outcomes, &risk)
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let defined: Vec<f64> = folds.iter().copied().flatten().collect();
        let fold_mean = (!defined.is_empty()).then(|| defined.iter().sum::<f64>() / defined.len() as f64);
        Ok(Self {
            truth: truth.column,
            magnification: truth.magnification,
            c_index: c_index(truth, outcomes, risk)?,
            folds,
            fold_mean,
        })
    }
}

/// Writes `truth.json`: the settings, and the C-index of every truth.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn write(
    path: &Path,
    options: &SimulateOptions,
    roster: &Roster,
    slides: &[SlideTruth],
) -> Result<Vec<Ceiling>, Error> {
    let outcomes: Vec<Outcome> =
        roster.slides.iter().map(|slide| roster.patients[slide.patient].outcome).collect();
    let ceilings = truths(options.kind, options.form)
        .iter()
        .enumerate()
        .map(|(column, truth)| {
            let risk: Vec<f64> = slides.iter().map(|slide| slide.values[column]).collect();
            Ceiling::of(truth, &outcomes, &risk, &roster.validation)
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let n_event_slides = outcomes.iter().filter(|outcome| outcome.is_event()).count();
    let has_features = options.form == CohortForm::Bags;
    let summary = Summary {
        kind: options.kind,
        outcomes: if options.outcomes == OutcomeSource::Drawn { "drawn" } else { "table" },
        seed: options.seed,
        scale: options.scale,
        backbone_dim: has_features.then_some(options.backbone_dim),
        n_patients: roster.patients.len(),
        n_slides: slides.len(),
        n_event_slides,
        log_hazard_per_z: LOG_HAZARD_PER_Z,
        drawn_times: (options.outcomes == OutcomeSource::Drawn).then_some(DrawnTimes {
            weibull_shape: WEIBULL_SHAPE,
            weibull_scale_months: WEIBULL_SCALE_MONTHS,
            censored_share: CENSORED_SHARE,
        }),
        features: has_features.then(|| Features {
            class_amplitude: CLASS_AMPLITUDE,
            signature_dim: SIGNATURE_DIM,
            signature_sd: SIGNATURE_SD / (options.backbone_dim as f64).sqrt(),
            noise_sd: NOISE_SD / (options.backbone_dim as f64).sqrt(),
        }),
        floor: 0.5,
        ceilings: &ceilings,
    };
    let mut text = serde_json::to_string_pretty(&summary)
        .map_err(|fault| Error::io("write", path)(std::io::Error::from(fault)))?;
    text.push('\n');
    fs::write(path, text).map_err(Error::io("write", path))?;
    Ok(ceilings)
}

/// `None` where nothing can be compared, as in a fold without events.
fn c_index(truth: &Truth, outcomes: &[Outcome], risk: &[f64]) -> Result<Option<f64>, Error> {
    match concordance_index(outcomes, risk, RiskTies::default()) {
        Ok(concordance) => Ok(Some(concordance.c_index())),
        Err(
            survival_metrics::Error::AllCensored { .. } | survival_metrics::Error::NoComparablePairs { .. },
        ) => Ok(None),
        Err(source) => Err(Error::Ceiling { column: truth.column, source }),
    }
}

#[derive(Serialize)]
struct Summary<'a> {
    kind: CohortKind,
    outcomes: &'static str,
    seed: u64,
    scale: f64,
    /// Absent, as `features`, where slides are drawn and encoded later.
    backbone_dim: Option<usize>,
    n_patients: usize,
    n_slides: usize,
    n_event_slides: usize,
    log_hazard_per_z: f64,
    /// Absent where times come from a table, whose clock is its own.
    drawn_times: Option<DrawnTimes>,
    features: Option<Features>,
    floor: f64,
    ceilings: &'a [Ceiling],
}

#[derive(Serialize)]
struct DrawnTimes {
    weibull_shape: f64,
    weibull_scale_months: f64,
    censored_share: f64,
}

#[derive(Serialize)]
struct Features {
    class_amplitude: f64,
    signature_dim: usize,
    /// Per feature dimension and signature unit.
    signature_sd: f64,
    /// Per feature dimension.
    noise_sd: f64,
}
