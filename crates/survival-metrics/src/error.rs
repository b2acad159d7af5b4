//! The crate's error type: what was undefined or malformed, with the value found.

use crate::group_hazard_ratio::GroupFault;

/// Why a statistic could not be computed.
///
/// Quantities that are undefined on the input (a C-index without comparable pairs, a log-rank test
/// without variance) are errors of their own and never NaN.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An event or censoring time is NaN, infinite or negative.
    #[error("time is {time}, expected a finite number of at least 0")]
    InvalidTime {
        /// The time found.
        time: f64,
    },
    /// A risk is NaN. Infinite risks are allowed, because their order is defined.
    #[error("risk {index} (counted from 0) is NaN, expected a number")]
    NanRisk {
        /// Position in the slice of risks.
        index: usize,
    },
    /// A value that must be finite is not.
    #[error("`{what}` {index} (counted from 0) is {value}, expected a finite number")]
    NonFinite {
        /// Name of the argument.
        what: &'static str,
        /// Position in the slice.
        index: usize,
        /// The value found.
        value: f64,
    },
    /// Two slices that run in parallel differ in length.
    #[error("`{what}` has {found} values, expected {expected}, one per subject")]
    LengthMismatch {
        /// Name of the argument.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The number of subjects.
        expected: usize,
    },
    /// A statistic of nothing was asked for.
    #[error("`{what}` is empty, expected at least one value")]
    Empty {
        /// Name of the argument.
        what: &'static str,
    },
    /// A number lies outside the range in which the statistic is defined.
    #[error("`{what}` is {value}, expected {expected}")]
    OutOfRange {
        /// Name of the argument.
        what: &'static str,
        /// The value found.
        value: f64,
        /// The valid range in words.
        expected: &'static str,
    },
    /// The sample carries something that the statistic has no definition for.
    #[error("{statistic} does not take {attribute}: leave them out, or use another statistic")]
    Unsupported {
        /// The statistic.
        statistic: &'static str,
        /// What the sample carries.
        attribute: &'static str,
    },
    /// No subject has an event, so no pair can be compared.
    #[error("all {n} subjects are censored, expected at least one event")]
    AllCensored {
        /// Number of subjects.
        n: usize,
    },
    /// There are events, but no subject is known to have outlived one.
    #[error("none of the pairs among {n} subjects is comparable, expected a subject that outlived an event")]
    NoComparablePairs {
        /// Number of subjects.
        n: usize,
    },
    /// A comparison of groups was asked for, and all subjects are in one.
    #[error("all subjects are in one group, expected at least two groups")]
    SingleGroup,
    /// A variance over clusters was asked for, and all subjects are in one.
    #[error("all subjects are in one cluster, expected at least two clusters")]
    SingleCluster,
    /// A split left one side without subjects.
    #[error("the {group} group is empty: no subject is {rule} {threshold}")]
    EmptyGroup {
        /// Name of the empty group.
        group: &'static str,
        /// How a subject enters the group, as in "below".
        rule: &'static str,
        /// The threshold of the split.
        threshold: f64,
    },
    /// A statistic has variance 0, or nothing but rounding, such as that of a log-rank test whose subjects all fail together.
    #[error("the statistic has variance 0, expected one that depends on which subjects are in the sample")]
    ZeroVariance,
    /// Everybody who could still be censored is gone, so that a weight of `1 / G` is infinite.
    #[error(
        "the probability of being uncensored is 0 at time {time}, where a subject needs a weight of its inverse; \
         {}",
        usable(*max_tau)
    )]
    CensoringSurvivalZero {
        /// Time at which a weight was needed.
        time: f64,
        /// The largest time at which weights exist.
        max_tau: f64,
    },
    /// A weight was needed later than anybody was observed in the sample that estimates censoring.
    #[error(
        "time {time} lies beyond the last one of the sample that estimates censoring; {}",
        usable(*max_tau)
    )]
    TimeBeyondTraining {
        /// Time at which a weight was needed.
        time: f64,
        /// The largest time at which weights exist.
        max_tau: f64,
    },
    /// A score is asked for when nobody is followed any more and some were censored last: no survivor can stand for them.
    #[error(
        "nobody is followed beyond {last}, where follow-up ends with a censoring: survivors of time {time} are not known"
    )]
    TimeBeyondFollowUp {
        /// Time of the score.
        time: f64,
        /// Last time of the sample.
        last: f64,
    },
    /// A matrix has another shape than its axes say.
    #[error("`{what}` has {found} values, expected {n_rows} subjects x {n_columns} times")]
    ShapeMismatch {
        /// Name of the argument.
        what: &'static str,
        /// Number of values.
        found: usize,
        /// Number of subjects.
        n_rows: usize,
        /// Number of times.
        n_columns: usize,
    },
    /// Times that must rise do not.
    #[error("`{what}` {index} (counted from 0) is {value}, expected a time after the one before it")]
    NotAscending {
        /// Name of the argument.
        what: &'static str,
        /// Position in the slice.
        index: usize,
        /// The value found.
        value: f64,
    },
    /// A covariate of a Cox model is constant or a combination of others among those who are compared: the subjects of a stratum who are
    /// at risk at one of its events.
    #[error(
        "covariate {index} (counted from 0) is constant or a combination of others among those at risk at the same events, \
         expected one of its own"
    )]
    Collinear {
        /// Position among the covariates.
        index: usize,
    },
    /// The likelihood of a Cox model rises without end: at each event a covariate, alone or with others, is highest in the subject with
    /// the event, or at each lowest.
    #[error(
        "covariate {index} (counted from 0) separates those with events from those at risk with them: its hazard ratio has no finite estimate"
    )]
    Separation {
        /// Position among the covariates.
        index: usize,
    },
    /// Two risk groups whose hazard ratio has no finite estimate.
    #[error("{0}")]
    GroupHazardRatio(GroupFault),
    /// An iteration did not settle.
    #[error("the {what} did not converge in {iterations} iterations")]
    NotConverged {
        /// What was iterated.
        what: &'static str,
        /// Number of iterations.
        iterations: usize,
    },
    /// Not one bootstrap resample had a comparable pair in every fold.
    #[error("none of {replicates} resamples has a comparable pair in every fold")]
    NoUsableResample {
        /// Number of resamples drawn.
        replicates: usize,
    },
    /// A BCa interval that its formula does not define.
    #[error("BCa interval is undefined: {reason}")]
    DegenerateBootstrap {
        /// What is missing.
        reason: &'static str,
    },
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// The largest usable time in words. Just below a time of the sample it has many more digits than that.
fn usable(max_tau: f64) -> String {
    let (largest, above) = (max_tau.to_string(), max_tau.next_up().to_string());
    if above.len() < largest.len() {
        format!("usable times lie below {above}")
    } else {
        format!("the largest usable time is {largest}")
    }
}

#[cfg(test)]
mod tests {
    use super::usable;

    #[test]
    fn a_limit_below_a_time_is_told_by_that_time() {
        assert_eq!(usable(3.0_f64.next_down()), "usable times lie below 3");
        assert_eq!(usable(29.03_f64.next_down()), "usable times lie below 29.03");
        assert_eq!(usable(29.03), "the largest usable time is 29.03");
    }
}
