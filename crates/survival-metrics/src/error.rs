//! The crate's error type: what was undefined or malformed, with the value found.

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
    /// The log-rank statistic has variance 0, for example because all subjects fail together.
    #[error(
        "the log-rank statistic has variance 0: at no event time are two groups at risk with a choice of who fails"
    )]
    ZeroVariance,
    /// Not one bootstrap resample had a comparable pair in every fold.
    #[error("none of {replicates} resamples has a comparable pair in every fold")]
    NoUsableResample {
        /// Number of resamples drawn.
        replicates: usize,
    },
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
