//! Cox's proportional hazards model with a few covariates: hazard ratios, tests, residuals.

mod moments;
mod newton;
mod pass;
mod residuals;

pub use residuals::ProportionalHazardsTest;

use crate::error::{Error, Result};
use crate::interval::normal_quantile;
use crate::outcome::check_length;
use crate::special_functions::{chi2_ln_sf, chi2_sf, normal_ln_sf, normal_sf};
use crate::survival_data::{Attribute, SurvivalData};
use crate::symmetric::{Cholesky, dot, times_vector};
use crate::wald::wald;
use pass::Pass;
use residuals::sandwich;

/// How events at one time enter the partial likelihood.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CoxTies {
    /// Efron 1977: as if tied events left one after the other, on average (R and lifelines by default).
    #[default]
    Efron,
    /// Breslow 1974: as if nobody had left.
    Breslow,
    /// Cox 1972: the probability of this set of events among all sets of its size. O(n d p^2) for d tied events.
    Exact,
}

/// A fitted Cox model.
///
/// Source: Cox, J. R. Stat. Soc. B 34 (1972) 187-220.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, PartialEq)]
pub struct CoxModel {
    /// Log hazard ratio of each covariate.
    pub coefficients: Vec<f64>,
    /// Their covariance matrix: the inverse of the observed information.
    pub covariance: Vec<Vec<f64>>,
    /// Covariance matrix that allows for clusters and for a model that is wrong (Lin & Wei 1989); `None` with exact ties.
    pub robust_covariance: Option<Vec<Vec<f64>>>,
    /// Log partial likelihood at the coefficients.
    pub log_likelihood: f64,
    /// Log partial likelihood without covariates.
    pub null_log_likelihood: f64,
    /// Likelihood ratio test that all coefficients are 0. It takes subjects for independent, clusters or not, and so does the score
    /// test.
    pub likelihood_ratio_test: CoxTest,
    /// Wald test of the same; by the robust covariance if the sample has clusters and the ties are not exact (R
    /// `coxph(cluster = )`).
    pub wald_test: CoxTest,
    /// Score test of the same; with exact ties and a binary covariate it is the log-rank test.
    pub score_test: CoxTest,
    /// Newton steps taken.
    pub iterations: usize,
    ties: CoxTies,
    means: Vec<f64>,
    #[cfg_attr(feature = "serde", serde(skip))]
    residuals: Option<residuals::Residuals>,
}

/// A chi-squared test.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CoxTest {
    /// The statistic.
    pub chi_square: f64,
    /// Degrees of freedom.
    pub df: usize,
    /// `P(chi-squared >= chi_square)`.
    pub p_value: f64,
    /// Base-10 logarithm of the p-value.
    pub log10_p: f64,
}

impl CoxTest {
    fn new(chi_square: f64, df: usize) -> Self {
        // Rounding can leave a null model a hair above its optimum.
        let chi_square = chi_square.max(0.0);
        let log10_p = chi2_ln_sf(chi_square, df) / std::f64::consts::LN_10;
        Self { chi_square, df, p_value: chi2_sf(chi_square, df), log10_p }
    }
}

/// A hazard ratio with its interval.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HazardRatio {
    /// Log hazard ratio per unit of the covariate.
    pub coefficient: f64,
    /// Standard error of the coefficient.
    pub standard_error: f64,
    /// `exp(coefficient)`: above 1 if more of the covariate means earlier events.
    pub hazard_ratio: f64,
    /// Lower confidence limit of the ratio.
    pub lower: f64,
    /// Upper confidence limit of the ratio.
    pub upper: f64,
    /// The coefficient in standard errors.
    pub z: f64,
    /// Two-sided p-value of a ratio of 1.
    pub p_value: f64,
    /// Base-10 logarithm of the p-value.
    pub log10_p: f64,
}

/// Which covariance matrix an interval uses.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CoxVariance {
    /// The inverse information.
    #[default]
    Model,
    /// The sandwich over subjects, or over the sample's clusters.
    Robust,
}

/// Fits a Cox model by Newton's method with halved steps.
///
/// - `covariates`: one column per covariate, one value per subject.
///
/// Strata of the sample have baseline hazards of their own; clusters enter the robust covariance and the Wald test. O(n p^2) per step
/// after sorting.
///
/// # Errors
/// [`Error::Empty`] without covariates; [`Error::LengthMismatch`]; [`Error::NonFinite`]; [`Error::AllCensored`]; [`Error::Collinear`];
/// [`Error::Separation`] where the likelihood has no maximum; [`Error::NotConverged`]; [`Error::SingleCluster`]; [`Error::ZeroVariance`] if
/// clusters leave a combination of coefficients without variance, as when there are no more of them than covariates;
/// [`Error::Unsupported`] for case weights and entry times.
///
/// ```
/// use survival_metrics::{CoxTies, CoxVariance, Outcome, SurvivalData, cox_model};
///
/// let outcomes = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(|t| Outcome::event(t).expect("finite"));
/// let high = [1.0, 1.0, 0.0, 1.0, 0.0, 0.0];
/// let model = cox_model(&SurvivalData::new(&outcomes)?, &[&high], CoxTies::Efron)?;
/// let ratio = model.hazard_ratio(0, 0.95, CoxVariance::Model)?;
/// assert!(ratio.hazard_ratio > 1.0 && ratio.lower < 1.0 && ratio.p_value > 0.05);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn cox_model(data: &SurvivalData, covariates: &[&[f64]], ties: CoxTies) -> Result<CoxModel> {
    data.refuse("a Cox model", &[Attribute::Weights, Attribute::Entry])?;
    let covariates = check_covariates(data, covariates)?;
    data.check_clusters()?;
    let pass = Pass::new(data, &covariates, ties);
    let p = covariates.len();
    let null = pass.likelihood(&vec![0.0; p]);
    let null_information = Cholesky::new(&null.information).map_err(|index| Error::Collinear { index })?;
    let score_test = dot(&null.score, &null_information.solve(&null.score));
    let fit = newton::maximise(&pass, &null)?;
    let at_end = &fit.state;
    let information = Cholesky::new(&at_end.information).map_err(|index| Error::Collinear { index })?;
    let scaled_covariance = information.inverse();
    let residuals = (ties != CoxTies::Exact).then(|| pass.residuals(data, &fit.beta));
    let influences = residuals.as_ref().map(|r| r.influences(data, &fit.beta, &scaled_covariance));
    let robust = influences.as_deref().map(sandwich);
    let wald = match influences.filter(|_| data.clusters().is_some()) {
        Some(influences) => match wald(influences)? {
            (statistic, rank) if rank == p => statistic,
            _ => return Err(Error::ZeroVariance),
        },
        None => dot(&fit.beta, &times_vector(&at_end.information, &fit.beta)),
    };
    // Back from standardised covariates.
    let unscale = |matrix: Vec<Vec<f64>>| -> Vec<Vec<f64>> {
        let of_row =
            |(row, a): (Vec<f64>, &f64)| row.iter().zip(&pass.scales).map(|(v, b)| v / (a * b)).collect();
        matrix.into_iter().zip(&pass.scales).map(of_row).collect()
    };
    Ok(CoxModel {
        coefficients: fit.beta.iter().zip(&pass.scales).map(|(b, s)| b / s).collect(),
        covariance: unscale(scaled_covariance),
        robust_covariance: robust.map(unscale),
        log_likelihood: at_end.log_likelihood,
        null_log_likelihood: null.log_likelihood,
        likelihood_ratio_test: CoxTest::new(2.0 * (at_end.log_likelihood - null.log_likelihood), p),
        wald_test: CoxTest::new(wald, p),
        score_test: CoxTest::new(score_test, p),
        iterations: fit.iterations,
        ties,
        means: pass.means.clone(),
        residuals,
    })
}

impl CoxModel {
    /// Wald test that the coefficients at these positions are all 0, such as those of the levels of one factor.
    ///
    /// # Errors
    /// [`Error::Empty`] without positions; [`Error::OutOfRange`] for one without a covariate; [`Error::Collinear`] for one that is given twice;
    /// [`Error::Unsupported`] for the robust variance with exact ties.
    pub fn joint_wald_test(&self, positions: &[usize], variance: CoxVariance) -> Result<CoxTest> {
        if positions.is_empty() {
            return Err(Error::Empty { what: "positions" });
        }
        let matrix = self.covariance_of(variance)?;
        let missing = |at: usize| Error::OutOfRange {
            what: "covariate",
            value: at as f64,
            expected: "the position of a covariate of the model",
        };
        let beta: Vec<f64> = positions
            .iter()
            .map(|&at| self.coefficients.get(at).copied().ok_or_else(|| missing(at)))
            .collect::<Result<_>>()?;
        let block: Vec<Vec<f64>> = positions
            .iter()
            .map(|&row| positions.iter().map(|&column| matrix[row][column]).collect())
            .collect();
        let block = Cholesky::new(&block).map_err(|index| Error::Collinear { index })?;
        Ok(CoxTest::new(dot(&beta, &block.solve(&beta)), positions.len()))
    }

    fn covariance_of(&self, variance: CoxVariance) -> Result<&Vec<Vec<f64>>> {
        match variance {
            CoxVariance::Model => Ok(&self.covariance),
            CoxVariance::Robust => self
                .robust_covariance
                .as_ref()
                .ok_or(Error::Unsupported { statistic: "the robust variance", attribute: "exact ties" }),
        }
    }

    /// The hazard ratio per unit of a covariate, by its position.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a position without a covariate or a level outside (0, 1); [`Error::Unsupported`] for the
    /// robust variance with exact ties.
    pub fn hazard_ratio(&self, covariate: usize, level: f64, variance: CoxVariance) -> Result<HazardRatio> {
        let quantile = normal_quantile(level)?;
        let missing = Error::OutOfRange {
            what: "covariate",
            value: covariate as f64,
            expected: "the position of a covariate of the model",
        };
        let matrix = self.covariance_of(variance)?;
        let cell = matrix.get(covariate).and_then(|row| row.get(covariate));
        let (Some(&coefficient), Some(&variance)) = (self.coefficients.get(covariate), cell) else {
            return Err(missing);
        };
        let standard_error = variance.sqrt();
        let z = coefficient / standard_error;
        let ln_p = (normal_ln_sf(z.abs()) + std::f64::consts::LN_2).min(0.0);
        Ok(HazardRatio {
            coefficient,
            standard_error,
            hazard_ratio: coefficient.exp(),
            lower: (coefficient - quantile * standard_error).exp(),
            upper: (coefficient + quantile * standard_error).exp(),
            z,
            p_value: (2.0 * normal_sf(z.abs())).min(1.0),
            log10_p: ln_p / std::f64::consts::LN_10,
        })
    }

    /// How ties were handled.
    pub fn ties(&self) -> CoxTies {
        self.ties
    }

    /// Means of the covariates, at which [`baseline_hazard`](Self::baseline_hazard) is.
    pub fn means(&self) -> &[f64] {
        &self.means
    }

    /// Cumulative hazard of a subject with mean covariates at each distinct event time of the first stratum, as (time,
    /// hazard); `None` with exact ties.
    pub fn baseline_hazard(&self) -> Option<&[(f64, f64)]> {
        self.residuals.as_ref().map(|r| r.baseline.as_slice())
    }

    /// Martingale residuals (observed minus expected events) in the caller's order; `None` with exact ties.
    pub fn martingale_residuals(&self) -> Option<&[f64]> {
        self.residuals.as_ref().map(|r| r.martingale.as_slice())
    }
}

fn check_covariates(data: &SurvivalData, covariates: &[&[f64]]) -> Result<Vec<Vec<f64>>> {
    if covariates.is_empty() {
        return Err(Error::Empty { what: "covariates" });
    }
    if data.n_events() == 0 {
        return Err(Error::AllCensored { n: data.len() });
    }
    for column in covariates {
        check_length("covariate", column.len(), data.len())?;
        if let Some((index, &value)) = column.iter().enumerate().find(|(_, x)| !x.is_finite()) {
            return Err(Error::NonFinite { what: "covariate", index, value });
        }
    }
    for (index, column) in covariates.iter().enumerate() {
        if column.iter().all(|x| Some(x) == column.first()) {
            return Err(Error::Collinear { index });
        }
    }
    Ok(covariates.iter().map(|column| column.to_vec()).collect())
}
