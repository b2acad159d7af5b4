//! What to simulate.

use std::path::PathBuf;

use serde::Serialize;

use super::Error;

/// What carries the risk in a simulated cohort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CohortKind {
    /// Each magnification carries a third of the latent risk: the share of its own class among its patches.
    Additive,
    /// The share of 20x morphology A inside 5x regions B minus that outside them; the shares of A and of B
    /// on their own say nothing.
    Interaction,
}

impl CohortKind {
    /// Name on command lines and in file contents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Additive => "additive",
            Self::Interaction => "interaction",
        }
    }
}

/// What is made of each slide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CohortForm {
    /// A bag of simulated features.
    Bags,
    /// A row of `slides.csv`, of which `wsi-extract render` draws the slide.
    Slides,
}

/// Where slide ids, outcomes and folds come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutcomeSource {
    /// Drawn from the latent risk: one slide per patient, 45 % censored, five folds stratified by event.
    Drawn,
    /// Taken as they are from a clinical table and its splits; the latent risk is drawn given the outcome.
    Table {
        /// CSV with at least `case_id, slide_id, survival_months, censorship` (1 = censored).
        clinical: PathBuf,
        /// Directory of `splits_0.csv`, `splits_1.csv` and so on, with columns `train, val` of case ids.
        splits: PathBuf,
    },
}

/// Everything that determines a simulated cohort; equal options give equal bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulateOptions {
    /// Directory to make; it may exist if it is empty.
    pub out: PathBuf,
    /// What carries the risk.
    pub kind: CohortKind,
    /// Patients to draw, at least 10; not used with [`OutcomeSource::Table`].
    pub n_patients: usize,
    /// Where outcomes come from.
    pub outcomes: OutcomeSource,
    /// What is made of each slide.
    pub form: CohortForm,
    /// Width of the features of [`CohortForm::Bags`]: 3 to 65,536 columns (three class directions are orthogonal).
    pub backbone_dim: usize,
    /// Factor on the paper's mean number of 5x patches, 895; above 0, at most 100.
    pub scale: f64,
    /// Seed of every draw.
    pub seed: u64,
}

impl SimulateOptions {
    /// The cohort of the published comparison: 400 patients, width 64, about nine 5x cells per slide, seed 7.
    #[must_use]
    pub fn new(out: PathBuf, kind: CohortKind) -> Self {
        Self {
            out,
            kind,
            n_patients: 400,
            outcomes: OutcomeSource::Drawn,
            form: CohortForm::Bags,
            backbone_dim: 64,
            scale: 0.01,
            seed: 7,
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        if self.outcomes == OutcomeSource::Drawn && self.n_patients < 10 {
            return Err(Error::Option {
                option: "n_patients",
                found: self.n_patients.to_string(),
                expected: "at least 10, so that each of five folds holds two",
            });
        }
        if !(3..=65_536).contains(&self.backbone_dim) {
            return Err(Error::Option {
                option: "backbone_dim",
                found: self.backbone_dim.to_string(),
                expected: "3 to 65536",
            });
        }
        if !(self.scale > 0.0 && self.scale <= 100.0) {
            return Err(Error::Option {
                option: "scale",
                found: self.scale.to_string(),
                expected: "a number above 0, at most 100",
            });
        }
        Ok(())
    }
}
