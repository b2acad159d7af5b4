//! Summaries of the C-indices of cross-validation folds.

use crate::concordance::{Concordance, RiskTies, concordance_index, concordance_index_stratified};
use crate::error::{Error, Result};
use crate::outcome::Outcome;

/// Mean and spread of one value per fold.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, PartialEq)]
pub struct CvSummary {
    folds: Vec<f64>,
    mean: f64,
    population_sd: f64,
}

impl CvSummary {
    /// Summary of the fold values as they are.
    ///
    /// # Errors
    /// [`Error::Empty`] without folds; [`Error::NonFinite`] for a value that is NaN or infinite.
    ///
    /// ```
    /// use survival_metrics::CvSummary;
    ///
    /// let cv = CvSummary::new(&[0.5, 0.75])?;
    /// assert_eq!((cv.mean(), cv.population_sd()), (0.625, 0.125));
    /// # Ok::<(), survival_metrics::Error>(())
    /// ```
    pub fn new(folds: &[f64]) -> Result<Self> {
        if let Some((index, &value)) = folds.iter().enumerate().find(|(_, c)| !c.is_finite()) {
            return Err(Error::NonFinite { what: "folds", index, value });
        }
        let mean = mean(folds).ok_or(Error::Empty { what: "folds" })?;
        let squares = folds.iter().map(|c| (c - mean) * (c - mean)).sum::<f64>();
        Ok(Self { folds: folds.to_vec(), mean, population_sd: (squares / folds.len() as f64).sqrt() })
    }

    /// Summary in the format of the CrossFusion paper's tables: each fold is rounded to three decimals first.
    ///
    /// Rounding is that of the exact value of the f64, as Python's `round` and every `%.3f` do it: 0.4875, which as
    /// an f64 lies below it, becomes 0.487.
    ///
    /// # Errors
    /// As [`CvSummary::new`].
    ///
    /// ```
    /// use survival_metrics::CvSummary;
    ///
    /// let cv = CvSummary::paper_format(&[0.4875, 0.5726])?;
    /// assert_eq!(cv.folds(), [0.487, 0.573]);
    /// assert_eq!(format!("{:.3} ± {:.3}", cv.mean(), cv.population_sd()), "0.530 ± 0.043");
    /// # Ok::<(), survival_metrics::Error>(())
    /// ```
    pub fn paper_format(folds: &[f64]) -> Result<Self> {
        // Decimal output is rounded from the exact value; `(c * 1000).round() / 1000` is not.
        let rounded = |c: &f64| format!("{c:.3}").parse().unwrap_or(*c);
        Self::new(&folds.iter().map(rounded).collect::<Vec<f64>>())
    }

    /// The fold values that were summarised.
    pub fn folds(&self) -> &[f64] {
        &self.folds
    }

    /// Arithmetic mean of the folds.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Standard deviation with divisor `k` (numpy's default, `ddof = 0`), as in the paper's tables.
    pub fn population_sd(&self) -> f64 {
        self.population_sd
    }

    /// Standard deviation with divisor `k - 1` (`ddof = 1`), `None` for a single fold.
    pub fn sample_sd(&self) -> Option<f64> {
        let k = self.folds.len() as f64;
        (self.folds.len() > 1).then(|| self.population_sd * (k / (k - 1.0)).sqrt())
    }
}

/// The validation rows of one fold: outcomes, their risks, and which rows belong together.
#[derive(Debug, Clone, Copy)]
pub struct FoldRisks<'a, C> {
    /// What was observed of each row.
    pub outcomes: &'a [Outcome],
    /// Risk of each row, higher = worse.
    pub risk: &'a [f64],
    /// Cluster of each row: the patient of a slide. Rows of one cluster are resampled together, those of other folds included.
    pub clusters: &'a [C],
}

/// C-index of each fold, in order.
///
/// # Errors
/// As [`concordance_index`] of any fold.
pub fn fold_c_indices<C>(folds: &[FoldRisks<'_, C>], ties: RiskTies) -> Result<Vec<f64>> {
    folds.iter().map(|fold| Ok(concordance_index(fold.outcomes, fold.risk, ties)?.c_index())).collect()
}

/// C-index over the rows of all folds together, pairs across folds included.
///
/// It assumes that the folds' models share a risk scale. Where they do not,
/// [`stratified_c_index`] counts only pairs within folds.
///
/// # Errors
/// As [`concordance_index`] of the joined rows.
pub fn pooled_c_index<C>(folds: &[FoldRisks<'_, C>], ties: RiskTies) -> Result<Concordance> {
    let (outcomes, risk, _) = join(folds);
    concordance_index(&outcomes, &risk, ties)
}

/// C-index over pairs within the same fold: the mean of the folds weighted by their comparable pairs.
///
/// # Errors
/// As [`concordance_index_stratified`] of the joined rows.
///
/// ```
/// use survival_metrics::{FoldRisks, Outcome, RiskTies, pooled_c_index, stratified_c_index};
///
/// let outcomes = [Outcome::event(1.0)?, Outcome::event(2.0)?];
/// let fold = |risk| FoldRisks { outcomes: &outcomes, risk, clusters: &["p", "q"] };
/// // Two models that rank perfectly, each on a scale of its own.
/// let folds = [fold(&[0.2, 0.1]), fold(&[20.0, 10.0])];
/// assert_eq!(stratified_c_index(&folds, RiskTies::default())?.c_index(), 1.0);
/// assert_eq!(pooled_c_index(&folds, RiskTies::default())?.c_index(), 0.75);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn stratified_c_index<C>(folds: &[FoldRisks<'_, C>], ties: RiskTies) -> Result<Concordance> {
    let (outcomes, risk, fold_of_row) = join(folds);
    concordance_index_stratified(&outcomes, &risk, &fold_of_row, ties)
}

fn join<C>(folds: &[FoldRisks<'_, C>]) -> (Vec<Outcome>, Vec<f64>, Vec<usize>) {
    let outcomes = folds.iter().flat_map(|fold| fold.outcomes).copied().collect();
    let risk = folds.iter().flat_map(|fold| fold.risk).copied().collect();
    let fold_of_row = folds.iter().enumerate().flat_map(|(k, fold)| vec![k; fold.outcomes.len()]).collect();
    (outcomes, risk, fold_of_row)
}

/// Arithmetic mean, `None` without values.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fold_has_no_sample_deviation() {
        let one = CvSummary::new(&[0.6]).expect("defined");
        assert_eq!((one.mean(), one.population_sd(), one.sample_sd()), (0.6, 0.0, None));
        let two = CvSummary::new(&[0.5, 0.75]).expect("defined");
        assert!((two.sample_sd().expect("two folds") - 0.125 * 2.0_f64.sqrt()).abs() < 1e-16);
    }

    #[test]
    fn folds_without_a_value_are_refused() {
        assert_eq!(CvSummary::new(&[]), Err(Error::Empty { what: "folds" }));
        let error = CvSummary::paper_format(&[0.5, f64::NAN]).expect_err("NaN");
        assert_eq!(error.to_string(), "`folds` 1 (counted from 0) is NaN, expected a finite number");
    }

    #[test]
    fn joined_folds_must_agree_in_length() {
        let outcomes = [Outcome::event(1.0).expect("valid")];
        let fold = FoldRisks { outcomes: &outcomes, risk: &[0.1, 0.2], clusters: &[0] };
        assert!(matches!(pooled_c_index(&[fold], RiskTies::Exact), Err(Error::LengthMismatch { .. })));
    }
}
