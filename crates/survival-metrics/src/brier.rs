//! Brier score, negative binomial log-likelihood and their integrals over time.

use crate::censoring::{CensoringDistribution, CensoringRule, CensoringSide};
use crate::error::{Error, Result};
use crate::outcome::{Outcome, check_length};
use crate::predicted_survival::{PredictedSurvival, check_grid};

/// What the weighted losses are divided by.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BrierNorm {
    /// The number of subjects (Graf 1999; scikit-survival).
    #[default]
    N,
    /// The sum of the weights (pycox).
    SumOfWeights,
}

/// How scores are weighted; [`Convention::brier`](crate::Convention::brier) makes one.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BrierConfig {
    /// How G is read at events; after `t` it is always read as `G(t)`.
    pub censoring: CensoringRule,
    /// The divisor.
    pub norm: BrierNorm,
}

/// How a score over time becomes one number.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeIntegral {
    /// Trapezoids, divided by the length of the interval (scikit-survival).
    #[default]
    Trapezoid,
    /// Parabolas through three points (pycox), with Cartwright's correction for an even number of points (SciPy).
    Simpson,
}

/// A score at each of several times.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreOverTime {
    /// The times, ascending.
    pub times: Vec<f64>,
    /// The score at each; lower is better.
    pub scores: Vec<f64>,
}

/// Brier score of predicted survival at `times`, weighted by the inverse probability of censoring.
///
/// ```text
/// BS(t) = 1/n sum of  S_i(t)^2 1(T_i <= t, event) / G(T_i)  +  (1 - S_i(t))^2 1(T_i > t) / G(t)
/// ```
///
/// - `censoring`: G, best of the training sample. Scores lie in [0, 1] but for the weights; 0.25 is that of `S = 1/2`.
/// - O(n) time per entry of `times`.
///
/// Source: Graf, Schmoor, Sauerbrei & Schumacher, Stat. Med. 18 (1999) 2529-2545.
///
/// # Errors
/// [`Error::LengthMismatch`]; [`Error::Empty`], [`Error::NonFinite`], [`Error::OutOfRange`] and [`Error::NotAscending`] for the
/// times; [`Error::CensoringSurvivalZero`] or [`Error::TimeBeyondTraining`] where a weight does not exist; [`Error::TimeBeyondFollowUp`] from the
/// time on at which the last of `outcomes` were censored, as nobody is left to stand for them.
///
/// ```
/// use survival_metrics::{BrierConfig, CensoringDistribution, CensoringTies, CurveLookup, Outcome, PredictedSurvival, brier_score};
///
/// let outcomes = [Outcome::event(1.0)?, Outcome::event(3.0)?];
/// let g = CensoringDistribution::fit(&outcomes, CensoringTies::EventsFirst)?;
/// let curves = PredictedSurvival::new(&[2.0], vec![0.25, 0.5], CurveLookup::Post)?;
/// let brier = brier_score(&outcomes, &curves, &[2.0], &g, BrierConfig::default())?;
/// assert_eq!(brier.scores, [(0.0625 + 0.25) / 2.0]);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn brier_score(
    outcomes: &[Outcome],
    curves: &PredictedSurvival,
    times: &[f64],
    censoring: &CensoringDistribution,
    config: BrierConfig,
) -> Result<ScoreOverTime> {
    over_time(outcomes, curves, times, censoring, config, &|s, died| {
        let miss = if died { s } else { 1.0 - s };
        miss * miss
    })
}

/// Negative binomial log-likelihood of predicted survival at `times`: `-ln(1 - S)` of those who died, `-ln S` of those who did
/// not, weighted as in [`brier_score`]. Probabilities are clamped to `[epsilon, 1 - epsilon]` (pycox: 1e-7).
///
/// # Errors
/// As [`brier_score`]; [`Error::OutOfRange`] unless `0 < epsilon < 1/2`.
pub fn negative_log_likelihood(
    outcomes: &[Outcome],
    curves: &PredictedSurvival,
    times: &[f64],
    censoring: &CensoringDistribution,
    config: BrierConfig,
    epsilon: f64,
) -> Result<ScoreOverTime> {
    if !(epsilon > 0.0 && epsilon < 0.5) {
        return Err(Error::OutOfRange { what: "epsilon", value: epsilon, expected: "between 0 and 1/2" });
    }
    over_time(outcomes, curves, times, censoring, config, &|s, died| {
        let s = s.clamp(epsilon, 1.0 - epsilon);
        if died { -(-s).ln_1p() } else { -s.ln() }
    })
}

/// Brier scores without weights for censoring: subjects censored before a time have no loss at it, but count in `n`
/// (torchsurv without weights). Scores that are too low the more are censored; [`brier_score`] corrects for that.
///
/// # Errors
/// As [`brier_score`], the weights aside.
pub fn unweighted_brier_score(
    outcomes: &[Outcome],
    curves: &PredictedSurvival,
    times: &[f64],
) -> Result<ScoreOverTime> {
    check_length("curves", curves.n_subjects(), outcomes.len())?;
    check_grid("times", times)?;
    let score = |&t: &f64| {
        let place = curves.locate(t);
        let loss = |(i, o): (usize, &Outcome)| {
            let s = curves.read(i, place);
            if o.time() > t {
                (1.0 - s) * (1.0 - s)
            } else if o.is_event() {
                s * s
            } else {
                0.0
            }
        };
        outcomes.iter().enumerate().map(loss).sum::<f64>() / outcomes.len() as f64
    };
    Ok(ScoreOverTime { times: times.to_vec(), scores: times.iter().map(score).collect() })
}

impl ScoreOverTime {
    /// The mean of the score over the interval of its times; the score itself for a single time.
    pub fn integrated(&self, rule: TimeIntegral) -> f64 {
        match (self.times.first(), self.times.last(), self.scores.first()) {
            (Some(first), Some(last), Some(_)) if last > first => {
                let area = match rule {
                    TimeIntegral::Trapezoid => trapezoid(&self.times, &self.scores),
                    TimeIntegral::Simpson => simpson(&self.times, &self.scores),
                };
                area / (last - first)
            }
            (_, _, Some(&only)) => only,
            _ => 0.0,
        }
    }

    /// Index of prediction accuracy against a reference without covariates: `1 - score / reference`, at each time.
    ///
    /// 1 is perfect, 0 no better than the reference, below 0 worse. Undefined (`None`) where the reference is 0.
    ///
    /// Source: Kattan & Gerds, Diagn. Progn. Res. 2 (2018) 7.
    pub fn accuracy_against(&self, reference: &Self) -> Vec<Option<f64>> {
        let pairs = self.scores.iter().zip(&reference.scores);
        pairs.map(|(score, of_reference)| (*of_reference > 0.0).then(|| 1.0 - score / of_reference)).collect()
    }
}

fn over_time(
    outcomes: &[Outcome],
    curves: &PredictedSurvival,
    times: &[f64],
    censoring: &CensoringDistribution,
    config: BrierConfig,
    loss: &dyn Fn(f64, bool) -> f64,
) -> Result<ScoreOverTime> {
    check_length("curves", curves.n_subjects(), outcomes.len())?;
    check_grid("times", times)?;
    let last = times.last().copied().unwrap_or(0.0);
    let end = outcomes.iter().map(|o| o.time()).fold(0.0, f64::max);
    let ends_censored = outcomes.iter().any(|o| !o.is_event() && o.time() >= end);
    // Weights of events do not depend on t; only those up to the last time are needed.
    let of_events: Vec<f64> = outcomes
        .iter()
        .map(|o| {
            let needed = o.is_event() && o.time() <= last;
            if needed { Ok(censoring.inverse(o.time(), config.censoring)?.unwrap_or(0.0)) } else { Ok(0.0) }
        })
        .collect::<Result<_>>()?;
    let at = CensoringRule { side: CensoringSide::At, ..config.censoring };
    let mut scores = Vec::with_capacity(times.len());
    for &t in times {
        let place = curves.locate(t);
        // Where all have died by then, the dead stand for all. Where some were censored last, only survivors could.
        let needs_survivors = t < end || ends_censored;
        if ends_censored && t >= end && censoring.inverse(t, at).is_ok() {
            // A weight from elsewhere does not bring back those who could have it.
            return Err(Error::TimeBeyondFollowUp { time: t, last: end });
        }
        let of_survivors = if needs_survivors { censoring.inverse(t, at)?.unwrap_or(0.0) } else { 0.0 };
        let (mut total, mut weights) = (0.0, 0.0);
        for (i, (o, of_event)) in outcomes.iter().zip(&of_events).enumerate() {
            let died = o.time() <= t;
            let weight = if died { *of_event } else { of_survivors };
            if weight > 0.0 {
                total += weight * loss(curves.read(i, place), died);
                weights += weight;
            }
        }
        let divisor = match config.norm {
            BrierNorm::N => outcomes.len() as f64,
            BrierNorm::SumOfWeights => weights,
        };
        if divisor <= 0.0 {
            return Err(Error::CensoringSurvivalZero {
                time: t,
                max_tau: censoring.largest_usable_time(CensoringSide::At),
            });
        }
        scores.push(total / divisor);
    }
    Ok(ScoreOverTime { times: times.to_vec(), scores })
}

/// Area by trapezoids.
pub(crate) fn trapezoid(x: &[f64], y: &[f64]) -> f64 {
    let steps = x.windows(2).zip(y.windows(2));
    steps.map(|(x, y)| (x[1] - x[0]) * (y[0] + y[1]) / 2.0).sum()
}

/// Area by parabolas through three neighbours each, of any spacing (Cartwright 2017 for a last odd interval).
fn simpson(x: &[f64], y: &[f64]) -> f64 {
    if x.len() < 3 {
        return trapezoid(x, y);
    }
    let triple = |x: &[f64], y: &[f64]| {
        let (a, b) = (x[1] - x[0], x[2] - x[1]);
        let h = a + b;
        h / 6.0 * (y[0] * (2.0 - b / a) + y[1] * h * h / (a * b) + y[2] * (2.0 - a / b))
    };
    let triples = x.windows(3).zip(y.windows(3)).step_by(2);
    let mut area: f64 = triples.map(|(x, y)| triple(x, y)).sum();
    if x.len().is_multiple_of(2)
        && let ([x0, x1, x2], [y0, y1, y2]) = (&x[x.len() - 3..], &y[y.len() - 3..])
    {
        let (before, last) = (x1 - x0, x2 - x1);
        area += y2 * (2.0 * last * last + 3.0 * before * last) / (6.0 * (before + last));
        area += y1 * (last * last + 3.0 * before * last) / (6.0 * before);
        area -= y0 * last.powi(3) / (6.0 * before * (before + last));
    }
    area
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::censoring::CensoringTies;

    #[test]
    fn a_time_after_which_nobody_is_left_needs_an_end_by_events() {
        let score = |rows: [(f64, bool); 3], t: f64| {
            let outcomes: Vec<Outcome> = rows
                .iter()
                .map(|&(t, event)| if event { Outcome::event(t) } else { Outcome::censored(t) })
                .collect::<Result<_>>()
                .unwrap();
            let g = CensoringDistribution::fit(&outcomes, CensoringTies::EventsFirst).unwrap();
            let curves = PredictedSurvival::same_for_all(&[t], &[0.5], 3).unwrap();
            brier_score(&outcomes, &curves, &[t], &g, BrierConfig::default()).map(|score| score.scores[0])
        };
        let by_censorings = [(1.0, true), (2.0, false), (3.0, false)];
        for t in [3.0, 9.0] {
            let error = score(by_censorings, t).unwrap_err();
            assert_eq!(error, Error::CensoringSurvivalZero { time: t, max_tau: 3.0_f64.next_down() });
            assert!(error.to_string().ends_with("usable times lie below 3"), "{error}");
        }
        // G(2) is 1/2: one of two who are left is censored there. S = 1/2 makes each loss 1/4.
        assert_eq!(score(by_censorings, 2.0), Ok((0.25 + 0.25 / 0.5) / 3.0));
        // The dead at 3 weigh 2, for the one who was censored at 2 as well.
        let by_events = [(1.0, true), (2.0, false), (3.0, true)];
        for t in [3.0, 9.0] {
            assert_eq!(score(by_events, t), Ok(0.25));
        }
    }

    #[test]
    fn simpson_is_exact_for_parabolas_at_any_spacing() {
        let x = [0.0, 0.5, 2.0, 2.5, 4.0, 7.0];
        for n in 3..=x.len() {
            let y: Vec<f64> = x[..n].iter().map(|x| 3.0 * x * x - x + 1.0).collect();
            let end = x[n - 1];
            let exact = end.powi(3) - end * end / 2.0 + end;
            assert!((simpson(&x[..n], &y) / exact - 1.0).abs() < 1e-14, "{n} points");
        }
    }
}
