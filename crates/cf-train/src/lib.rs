//! Training, cross-validation and prediction of survival models on bags of patch features.
//!
//! | step | file |
//! |---|---|
//! | configuration | `config.rs`, `config/`, `config_keys.rs`, `protocol.rs` |
//! | text tables, zipped or not | `table_text.rs`, `delimited.rs` |
//! | clinical table, splits | `cohort.rs` and `cohort/`, `splits/`, `status_suspicion.rs` |
//! | folds, time bins | `slides_with_bags.rs`, `folds.rs`, `time_bins.rs`, `fold_data.rs` |
//! | a run before it starts | `plan.rs`; all faults at once, `doctor/` |
//! | one fold | `trainer.rs`, `fold_claims.rs`, `claim.rs`, `fold_state.rs`, `fold_rows.rs`, `event.rs`, `training_model.rs`, `sampling.rs`, `schedule.rs`, `loss.rs`, `adam.rs`, `bags.rs`, `bag_upload.rs`, `visit.rs`, `checkpoint.rs`, `device_memory.rs`, `resident_bags.rs` |
//! | all folds, metrics, report | `cross_validation.rs`, `evaluate.rs`, `report.rs`, `run_dir.rs`, `environment.rs`, `input_hash.rs` |
//! | what a run takes and may take | `memory.rs`, `duration.rs`, `allotment.rs` |
//! | one slide | `predict.rs`, `predict/`, `held_out.rs` |
//! | the models of a run on other slides | `ensemble.rs`, `ensemble/`; without outcomes `apply.rs`, `apply/`, with them `external.rs`, `external/` |
//! | bags that lack something, or lie elsewhere | `missing_fact.rs`, `one_magnification.rs`, `shell.rs` |
//! | many runs | `study/` |
//! | simulated cohorts | `simulate/` |
//!
//! This is the only crate that knows the clinical table and the layout of a run directory. Every random draw comes from a stream
//! named in [`seed`], so a run is the same whatever the number of threads, and after any interruption.

pub mod adam;
pub mod allotment;
pub mod apply;
mod bag_upload;
pub mod bags;
pub mod byte_size;
pub mod checkpoint;
mod claim;
pub mod cohort;
pub mod config;
mod config_keys;
pub mod cross_validation;
mod data_hashes;
mod delimited;
mod device_memory;
pub mod doctor;
pub mod duration;
mod edge_cache;
pub mod ensemble;
pub mod environment;
mod error;
pub mod evaluate;
pub mod event;
pub mod external;
mod fold_claims;
pub mod fold_data;
mod fold_rows;
pub mod fold_state;
pub mod folds;
pub mod held_out;
pub mod input_hash;
pub mod loss;
pub mod memory;
mod missing_fact;
mod one_magnification;
pub mod plan;
pub mod predict;
mod process;
pub mod protocol;
pub mod report;
mod resampling;
mod resident_bags;
mod run_claim;
pub mod run_dir;
pub mod sampling;
pub mod schedule;
pub mod seed;
mod shell;
pub mod simulate;
mod slides_with_bags;
pub mod splits;
pub mod status_suspicion;
pub mod study;
mod substitutes;
mod table_archive;
mod table_text;
pub mod time_bins;
pub mod trainer;
mod training_model;
pub mod visit;

pub use config::{ExternalConfig, RunConfig};
pub use cross_validation::{RunOptions, cross_validate};
pub use error::{Error, Remedy, Result};
