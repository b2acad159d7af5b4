//! The doctor: one pass over configuration, tables, folds and bags before hours of computing, all faults in one list.
//!
//! | step | file |
//! |---|---|
//! | the pass | `examination.rs` |
//! | what a fault is called, what is wanted instead, the way out | `fault.rs` |
//! | one fault at one place | `finding.rs` |
//! | configuration | `settings.rs` |
//! | clinical table, event share, sign of the status | `cohort_check.rs` |
//! | folds against the table | `fold_check.rs` |
//! | bags against the table | `bag_join.rs` |
//! | kinds of tissue, where barcodes tell | `sample_types.rs` |
//! | every bag alone | `bag_scan.rs` |
//! | bags against each other | `bag_comparison.rs` |
//! | resolutions of patches, slides and magnifications | `mpp_check.rs` |
//! | weights to start from | `weights_check.rs` |
//! | room on the disk | `disk.rs` |
//! | time of a job | `cluster_limits.rs` |
//!
//! It reads through the readers of a run and changes nothing.

mod bag_comparison;
mod bag_join;
mod bag_scan;
mod cluster_limits;
mod cohort_check;
mod disk;
mod examination;
mod fault;
mod finding;
mod fold_check;
mod mpp_check;
mod sample_types;
mod settings;
mod weights_check;

pub use cluster_limits::{ClusterLimits, TimeForecast, TimeLimit};
pub(crate) use cohort_check::doubts_of_outcomes;
pub use cohort_check::{CohortFacts, SurvivalAtEnd};
pub use disk::DiskForecast;
pub use examination::{Diagnosis, DrawForecast, examine};
pub use fault::Fault;
pub use finding::{Finding, Severity};
