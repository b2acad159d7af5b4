//! Simulated cohorts whose latent risk is known: bags, tables, folds and the truth behind them.
//!
//! Slides and published encoders cannot be shipped, so the quality of a model is measured where the
//! truth is known. Two kinds of cohort exist ([`CohortKind`]). Every slide is a nested lattice of
//! patches (1 : 4 : 16 at 5x, 10x, 20x) on irregular tissue; features are class prototypes, a signature
//! that all patches of a 5x cell share, and noise; outcomes follow a Weibull proportional-hazards law
//! in a standard normal latent risk, or come from a real clinical table.
//!
//! | module | holds |
//! |---|---|
//! | `latent` | latent risk of a patient, and the class shares that it asks for |
//! | `geometry` | tissue, regions and the three lattices of a slide |
//! | `classes` | which patch belongs to which class |
//! | `features` | class directions, signatures, noise |
//! | `bag` | the native bag of a slide |
//! | `slide_plan` | what is drawn on each slide, where slides are wanted instead of bags (`slides.csv`) |
//! | `outcomes` | drawn event times and censoring; latent risk given a real outcome |
//! | `roster` | slides with their outcomes and folds, drawn or from a table (`table`) |
//! | `truth` | what is known per slide (`truth.csv`) and per patch (`truth/<slide>.csv`) |
//! | `ceilings` | settings, and the C-index of every truth (`truth.json`) |
//! | `cohort_files` | clinical table, splits and `config.toml` |
//!
//! Every draw comes from a stream named by the seed and the slide or patient it is for, so a bag does
//! not depend on the bags made before it, and the same options give the same bytes.

mod bag;
mod ceilings;
mod classes;
mod cohort_files;
mod error;
mod features;
mod geometry;
mod latent;
mod options;
mod outcomes;
mod roster;
mod run;
mod slide_plan;
mod table;
mod truth;

pub use ceilings::Ceiling;
pub use error::Error;
pub use options::{CohortForm, CohortKind, OutcomeSource, SimulateOptions};
pub use run::{Simulated, simulate};
