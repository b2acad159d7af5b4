//! Evaluation of survival models: concordance, Kaplan-Meier, log-rank, with every convention named.
//!
//! ```
//! use survival_metrics::{KaplanMeier, Outcome, RiskTies, concordance_index, log_rank_test, median_split};
//!
//! let outcomes = [
//!     Outcome::event(5.0)?,
//!     Outcome::censored(8.0)?,
//!     Outcome::event(11.0)?,
//!     Outcome::event(20.0)?,
//!     Outcome::censored(31.0)?,
//!     Outcome::event(40.0)?,
//! ];
//! let risk = [-1.5, -2.4, -1.9, -2.1, -3.6, -3.2];
//!
//! let c = concordance_index(&outcomes, &risk, RiskTies::default())?;
//! assert_eq!((c.counts().concordant, c.counts().comparable()), (10, 10));
//!
//! let split = median_split(&risk)?;
//! let test = log_rank_test(&outcomes, &split.groups)?;
//! assert!((test.chi_square - 50.0 / 13.0).abs() < 1e-14);
//! assert_eq!(format!("{:.4}", test.p_value), "0.0499");
//!
//! assert_eq!(KaplanMeier::fit(&outcomes)?.median_survival(), Some(20.0));
//! # Ok::<(), survival_metrics::Error>(())
//! ```
//!
//! # Conventions
//!
//! - **Risk**: higher means worse, an earlier event. A library that takes a predicted survival time instead
//!   (lifelines) wants the negative.
//! - **Status** is an enum; nowhere does a number or a flag stand for censoring.
//! - **Time** is in the caller's unit, finite and at least 0.
//! - **Ties in time**: a subject censored at the time of an event was at risk of it. An event and a censoring at the
//!   same time are comparable, two events are not.
//! - **Ties in risk**: exact, or within an absolute tolerance ([`RiskTies`]).
//! - **Undefined quantities** are a typed [`Error`] or `None`, never NaN.
//! - Results do not depend on the order of subjects.
//!
//! The crate knows no files and no tensors, and has no state.

mod bootstrap;
mod concordance;
mod cross_validation;
mod discrete_survival;
mod error;
mod kaplan_meier;
mod log_rank;
mod log_rank_sums;
mod outcome;
mod pair_sweep;
mod risk_groups;
pub mod special_functions;

pub use bootstrap::{BootstrapConfig, BootstrapInterval, cluster_bootstrap_mean_c_index};
pub use concordance::{Concordance, PairCounts, RiskTies, concordance_index, concordance_index_stratified};
pub use cross_validation::{CvSummary, FoldRisks, fold_c_indices, pooled_c_index, stratified_c_index};
pub use discrete_survival::risk_from_discrete_survival;
pub use error::{Error, Result};
pub use kaplan_meier::{CiType, KaplanMeier};
pub use log_rank::{
    LogRank, LogRankGroup, LogRankWeight, log_rank_test, stratified_log_rank_test, weighted_log_rank_test,
};
pub use outcome::{Outcome, Status};
pub use risk_groups::{MedianSplit, RiskGroup, median_split};
