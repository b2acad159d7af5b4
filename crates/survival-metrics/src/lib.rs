//! Evaluation of survival models: concordance, curves, tests, Brier score, AUC, Cox, with every convention named.
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
//! Short forms take slices: [`concordance_index`], [`KaplanMeier::fit`], [`log_rank_test`]. What needs weights, strata, clusters or
//! entry times takes a [`SurvivalData`], which is checked and sorted once: [`concordance`], [`compare_concordance`],
//! [`KaplanMeier::fit_sample`], [`cox_model`]. Predictions over time are in [`brier_score`], [`cumulative_dynamic_auc`],
//! [`time_dependent_concordance`], [`d_calibration`].
//!
//! # Conventions
//!
//! Where libraries differ, [`Convention`] sets all choices of one of them.
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

mod auc;
mod bca;
mod bootstrap;
mod brier;
mod calibration;
mod censoring;
mod concordance;
mod concordance_estimate;
mod convention;
mod corrected_t;
mod cox;
mod cross_validation;
mod discrete_survival;
mod error;
mod group_hazard_ratio;
mod interval;
mod kang;
mod kaplan_meier;
mod log_rank;
mod log_rank_sums;
mod multiple_testing;
mod nelson_aalen;
mod outcome;
mod pair_sums;
mod pair_sweep;
mod paired_concordance;
mod predicted_survival;
mod rank_pool;
mod restricted_mean;
mod risk;
mod risk_groups;
mod risk_table;
pub mod special_functions;
mod survival_data;
mod survival_difference;
mod symmetric;
mod time_dependent_concordance;
mod wald;

pub use auc::{AucConfig, AucOverTime, cumulative_dynamic_auc, cumulative_dynamic_auc_of_risks};
pub use bootstrap::{
    BootstrapConfig, BootstrapInterval, BootstrapMethod, bootstrap_mean_c_indices,
    cluster_bootstrap_mean_c_index, percentile_interval,
};
pub use brier::{
    BrierConfig, BrierNorm, ScoreOverTime, TimeIntegral, brier_score, negative_log_likelihood,
    unweighted_brier_score,
};
pub use calibration::{CalibrationGroup, DCalibration, calibration_groups, d_calibration};
pub use censoring::{
    CensoringDistribution, CensoringRule, CensoringSide, CensoringTies, ZeroCensoring, largest_valid_tau,
};
pub use concordance::{Concordance, PairCounts, RiskTies, concordance_index, concordance_index_stratified};
pub use concordance_estimate::{ConcordanceConfig, ConcordanceEstimate, Tau, TimeWeight, concordance};
pub use convention::Convention;
pub use corrected_t::{CorrectedTTest, corrected_resampled_t_test};
pub use cox::{CoxModel, CoxTest, CoxTies, CoxVariance, HazardRatio, ProportionalHazardsTest, cox_model};
pub use cross_validation::{CvSummary, FoldRisks, fold_c_indices, pooled_c_index, stratified_c_index};
pub use discrete_survival::risk_from_discrete_survival;
pub use error::{Error, Result};
pub use group_hazard_ratio::{GroupFault, group_hazard_ratio};
pub use interval::{IntervalScale, probability_interval};
pub use kang::{KangComparison, compare_concordance_kang};
pub use kaplan_meier::{CiType, KaplanMeier, QuantileRule, SurvivalQuantile};
pub use log_rank::{
    LogRank, LogRankGroup, LogRankTrend, LogRankWeight, PairwiseLogRank, PetoHazardRatio,
    clustered_log_rank_test, log_rank_test, pairwise_log_rank_tests, stratified_log_rank_test,
    weighted_log_rank_test,
};
pub use multiple_testing::{PAdjust, adjust_log10_p_values, adjust_p_values};
pub use nelson_aalen::{HazardTies, NelsonAalen};
pub use outcome::{Outcome, Status};
pub use paired_concordance::{ConcordanceComparison, EqualityTest, PairedDifference, compare_concordance};
pub use predicted_survival::{CurveLookup, PredictedSurvival};
pub use restricted_mean::{RestrictedMean, RestrictedMeanDifference, restricted_mean};
pub use risk::{Risk, Score};
pub use risk_groups::{MedianSplit, RiskGroup, median_risk, median_split};
pub use survival_data::SurvivalData;
pub use survival_difference::{SurvivalDifference, SurvivalScale, survival_difference_at};
pub use time_dependent_concordance::{CurveTies, time_dependent_concordance};
