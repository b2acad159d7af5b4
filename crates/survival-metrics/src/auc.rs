//! Cumulative/dynamic AUC over time.

use crate::brier::trapezoid;
use crate::censoring::{CensoringDistribution, CensoringRule, CensoringSide, CensoringTies};
use crate::error::{Error, Result};
use crate::kaplan_meier::KaplanMeier;
use crate::outcome::{Outcome, check_length};
use crate::predicted_survival::check_grid;
use crate::risk::Risk;

/// How AUC(t) is computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AucConfig<'a> {
    /// Neighbours in the order of risk that differ by no more than this are tied, and so are chains of them.
    pub tie_tolerance: f64,
    /// How G is estimated and read at cases.
    pub censoring: CensoringRule,
    /// G of another sample, such as the training set; without it, of the evaluated one.
    pub training: Option<&'a CensoringDistribution>,
}

impl Default for AucConfig<'_> {
    /// Ties within 1e-8 and G of the evaluated sample by [`Convention::Default`](crate::Convention::Default).
    fn default() -> Self {
        Self { tie_tolerance: 1e-8, censoring: CensoringRule::default(), training: None }
    }
}

/// AUC at each of several times.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, PartialEq)]
pub struct AucOverTime {
    /// The times, ascending.
    pub times: Vec<f64>,
    /// AUC at each, in [0, 1].
    pub auc: Vec<f64>,
    /// Standard error of each by the infinitesimal jackknife, the estimation of G included where it is of this sample.
    pub standard_error: Vec<f64>,
    /// Events up to each time.
    pub n_cases: Vec<usize>,
    /// Subjects still followed after each time.
    pub n_controls: Vec<usize>,
    /// Mean over time, weighted by the fall of the Kaplan-Meier curve before each time (scikit-survival). The first time
    /// carries all that falls up to it.
    pub mean: f64,
}

/// AUC of telling those with an event by `t` from those free of it after `t`, at each of `times`.
///
/// ```text
/// AUC(t) = sum over cases i of 1 / G(T_i) * [controls with lower risk + tied ones / 2]  /  (sum of 1 / G(T_i) * number of controls)
/// ```
///
/// - `risk`: higher = worse; the same at all times. For predictions that change with time see [`cumulative_dynamic_auc_of_risks`].
/// - O(n log n + n T) time.
///
/// Sources: Uno et al., JASA 102 (2007) 527-537; Hung & Chiang, Can. J. Stat. 38 (2010) 8-26; mean: Lambert & Chevret,
/// Stat. Methods Med. Res. 25 (2016) 2088-2102.
///
/// # Errors
/// [`Error::LengthMismatch`]; [`Error::Empty`], [`Error::NotAscending`] for the times; [`Error::OutOfRange`] for a negative time
/// or one without a case or without a control; [`Error::CensoringSurvivalZero`] or [`Error::TimeBeyondTraining`] for a case without a weight.
///
/// ```
/// use survival_metrics::{AucConfig, Outcome, Risk, cumulative_dynamic_auc};
///
/// let outcomes = [Outcome::event(1.0)?, Outcome::event(2.0)?, Outcome::censored(3.0)?, Outcome::event(4.0)?];
/// let auc = cumulative_dynamic_auc(&outcomes, &Risk::new(&[0.9, 0.3, 0.4, 0.1])?, &[1.5, 2.5], &AucConfig::default())?;
/// assert_eq!(auc.auc, [1.0, 0.75]);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn cumulative_dynamic_auc(
    outcomes: &[Outcome],
    risk: &Risk,
    times: &[f64],
    config: &AucConfig<'_>,
) -> Result<AucOverTime> {
    check_length("risk", risk.values().len(), outcomes.len())?;
    let ranking = Ranking::new(risk.values(), config.tie_tolerance)?;
    over_time(outcomes, times, config, &|_| Ok(ranking.clone()))
}

/// [`cumulative_dynamic_auc`] with a risk of its own at each time, such as `1 - S_i(t)`. O(T n log n) time.
///
/// # Errors
/// As [`cumulative_dynamic_auc`]; [`Error::LengthMismatch`] unless there is one risk per time.
pub fn cumulative_dynamic_auc_of_risks(
    outcomes: &[Outcome],
    risks: &[Risk],
    times: &[f64],
    config: &AucConfig<'_>,
) -> Result<AucOverTime> {
    if risks.len() != times.len() {
        return Err(Error::LengthMismatch { what: "risks", found: risks.len(), expected: times.len() });
    }
    over_time(outcomes, times, config, &|at| {
        let risk = risks.get(at).ok_or(Error::Empty { what: "risks" })?;
        check_length("risk", risk.values().len(), outcomes.len())?;
        Ranking::new(risk.values(), config.tie_tolerance)
    })
}

impl AucOverTime {
    /// Mean of AUC(t) over the interval of the times by trapezoids; the AUC itself for a single time.
    pub fn trapezoid_mean(&self) -> f64 {
        match (self.times.first(), self.times.last()) {
            (Some(first), Some(last)) if last > first => trapezoid(&self.times, &self.auc) / (last - first),
            _ => self.auc.first().copied().unwrap_or(0.0),
        }
    }
}

/// Subjects by ascending risk, with the number of their group of tied ones.
#[derive(Debug, Clone)]
struct Ranking {
    order: Vec<u32>,
    group: Vec<u32>,
}

impl Ranking {
    fn new(risk: &[f64], tolerance: f64) -> Result<Self> {
        if !(tolerance.is_finite() && tolerance >= 0.0) {
            return Err(Error::OutOfRange {
                what: "risk tie tolerance",
                value: tolerance,
                expected: "a finite number of at least 0",
            });
        }
        let mut sorted: Vec<(f64, u32)> = risk.iter().zip(0..).map(|(&x, i)| (x + 0.0, i)).collect();
        sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut group = Vec::with_capacity(sorted.len());
        let (mut current, mut last) = (0, None);
        for &(x, _) in &sorted {
            if last.is_some_and(|last: f64| x != last && (x - last).abs() > tolerance) {
                current += 1;
            }
            last = Some(x);
            group.push(current);
        }
        Ok(Self { order: sorted.into_iter().map(|(_, i)| i).collect(), group })
    }
}

fn over_time(
    outcomes: &[Outcome],
    times: &[f64],
    config: &AucConfig<'_>,
    ranking_at: &dyn Fn(usize) -> Result<Ranking>,
) -> Result<AucOverTime> {
    check_grid("times", times)?;
    let km = KaplanMeier::fit(outcomes)?;
    let own;
    let g = match config.training {
        Some(training) => training,
        None => {
            own = CensoringDistribution::fit(outcomes, config.censoring.ties)?;
            &own
        }
    };
    let last = times.last().copied().unwrap_or(0.0);
    let weights: Vec<f64> = outcomes
        .iter()
        .map(|o| {
            let needed = o.is_event() && o.time() <= last;
            if needed { Ok(g.inverse(o.time(), config.censoring)?.unwrap_or(0.0)) } else { Ok(0.0) }
        })
        .collect::<Result<_>>()?;
    let censorings = config.training.is_none().then(|| CensoringTerms::new(outcomes, config.censoring));
    let mut result = AucOverTime {
        times: times.to_vec(),
        auc: Vec::new(),
        standard_error: Vec::new(),
        n_cases: Vec::new(),
        n_controls: Vec::new(),
        mean: 0.0,
    };
    let (mut before, mut weighted) = (1.0, 0.0);
    for (at, &t) in times.iter().enumerate() {
        let of_time = at_time(outcomes, &weights, &ranking_at(at)?, t)?;
        let mut influence = of_time.influence;
        if let Some(terms) = &censorings {
            terms.add_to(&mut influence, outcomes, &of_time.case_influence);
        }
        result.standard_error.push(influence.iter().map(|x| x * x).sum::<f64>().sqrt());
        result.auc.push(of_time.auc);
        result.n_cases.push(of_time.n_cases);
        result.n_controls.push(of_time.n_controls);
        let survival = km.survival_at(t);
        weighted += of_time.auc * (before - survival);
        before = survival;
    }
    // There is a case, hence a fall.
    result.mean = weighted / (1.0 - before);
    Ok(result)
}

struct AtTime {
    auc: f64,
    n_cases: usize,
    n_controls: usize,
    /// Influence of each subject with G fixed.
    influence: Vec<f64>,
    /// The part of it as a case: the derivative of AUC by ln of the subject's weight.
    case_influence: Vec<f64>,
}

fn at_time(outcomes: &[Outcome], weights: &[f64], ranking: &Ranking, t: f64) -> Result<AtTime> {
    let is_control = |i: usize| outcomes.get(i).is_some_and(|o| o.time() > t);
    let case_weight = |i: usize| {
        let is_case = outcomes.get(i).is_some_and(|o| o.is_event() && o.time() <= t);
        if is_case { weights.get(i).copied().unwrap_or(0.0) } else { 0.0 }
    };
    let n = outcomes.len();
    let n_controls = (0..n).filter(|&i| is_control(i)).count();
    let n_cases = (0..n).filter(|&i| case_weight(i) > 0.0).count();
    if n_cases == 0 || n_controls == 0 {
        let expected = if n_cases == 0 {
            "a time by which somebody has an event that counts"
        } else {
            "a time after which somebody is still followed"
        };
        return Err(Error::OutOfRange { what: "time", value: t, expected });
    }
    let total_weight: f64 = (0..n).map(case_weight).sum();
    // For each case the controls below it, for each control the weight of the cases above it; ties count half.
    let mut wins = vec![0.0; n];
    let (mut controls_below, mut weight_below, mut numerator) = (0.0, 0.0, 0.0);
    let mut start = 0;
    for group in ranking.group.chunk_by(|a, b| a == b) {
        let members = ranking.order.get(start..start + group.len()).unwrap_or_default();
        start += group.len();
        let mut controls = 0.0;
        let mut weight = 0.0;
        for &i in members {
            controls += f64::from(u8::from(is_control(i as usize)));
            weight += case_weight(i as usize);
        }
        for &i in members {
            if let Some(win) = wins.get_mut(i as usize) {
                *win = if is_control(i as usize) {
                    total_weight - weight_below - weight / 2.0
                } else {
                    controls_below + controls / 2.0
                };
            }
        }
        numerator += weight * (controls_below + controls / 2.0);
        controls_below += controls;
        weight_below += weight;
    }
    let denominator = total_weight * n_controls as f64;
    let auc = numerator / denominator;
    let mut influence = vec![0.0; n];
    let mut case_influence = vec![0.0; n];
    for (i, &win) in wins.iter().enumerate() {
        let weight = case_weight(i);
        if weight > 0.0 {
            case_influence[i] = weight * (win - auc * n_controls as f64) / denominator;
            influence[i] = case_influence[i];
        } else if is_control(i) {
            influence[i] = (win - auc * total_weight) / denominator;
        }
    }
    Ok(AtTime { auc, n_cases, n_controls, influence, case_influence })
}

/// What one more subject does to ln G, at each distinct time of censoring.
///
/// `ln G(T) = sum of ln(1 - c / Y)` over censoring times before `T`; by a subject's weight it has the derivative
/// `1 / (Y - c) - 1 / Y` where the subject is at risk and not censored, and `-1 / Y` where it is.
struct CensoringTerms {
    rule: CensoringRule,
    /// Time, size of the risk set, censorings; ascending.
    rows: Vec<(f64, f64, f64)>,
}

impl CensoringTerms {
    fn new(outcomes: &[Outcome], rule: CensoringRule) -> Self {
        let table = crate::risk_table::RiskTable::of_outcomes(outcomes);
        let rows = table.rows.iter().filter(|row| row.n_censored > 0).map(|row| {
            let at_risk = match rule.ties {
                CensoringTies::EventsFirst => row.at_risk - row.events,
                CensoringTies::Flipped => row.at_risk,
            };
            (row.time, at_risk, row.censored)
        });
        Self { rule, rows: rows.collect() }
    }

    /// Adds the influence through G. A case's weight is `1 / G`, so its logarithm falls as ln G rises.
    fn add_to(&self, influence: &mut [f64], outcomes: &[Outcome], case_influence: &[f64]) {
        let mut cases: Vec<(f64, f64)> = outcomes
            .iter()
            .zip(case_influence)
            .filter(|(_, e)| **e != 0.0)
            .map(|(o, &e)| (o.time(), e))
            .collect();
        cases.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        // Sum of the cases whose weight holds the factor of each censoring time, from the last time down.
        let mut later = 0.0;
        let mut sums = vec![0.0; self.rows.len()];
        let mut cases = cases.into_iter().rev().peekable();
        for (&(time, ..), sum) in self.rows.iter().zip(&mut sums).rev() {
            let holds = |case: f64| match self.rule.side {
                CensoringSide::Before => case > time,
                CensoringSide::At => case >= time,
            };
            while let Some((_, e)) = cases.next_if(|&(case, _)| holds(case)) {
                later += e;
            }
            *sum = later;
        }
        let mut passed = Vec::with_capacity(self.rows.len() + 1);
        let mut total = 0.0;
        passed.push(0.0);
        for (&(_, at_risk, censored), &sum) in self.rows.iter().zip(&sums) {
            // Where all at risk are censored, G falls to 0 and nobody later has a weight.
            if at_risk > censored {
                total += sum * (1.0 / (at_risk - censored) - 1.0 / at_risk);
            }
            passed.push(total);
        }
        for (x, o) in influence.iter_mut().zip(outcomes) {
            let n_before = self.rows.partition_point(|&(time, ..)| time < o.time());
            let own = self.rows.get(n_before).filter(|&&(time, ..)| time == o.time());
            let at_risk_here = own.is_some() && (!o.is_event() || self.rule.ties == CensoringTies::Flipped);
            let upto = n_before + usize::from(at_risk_here);
            *x -= passed.get(upto).copied().unwrap_or(0.0);
            if let (false, Some(&(_, at_risk, censored)), Some(&sum)) =
                (o.is_event(), own, sums.get(n_before))
                && at_risk > censored
            {
                *x += sum / (at_risk - censored);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_errors_are_those_of_the_jackknife() {
        // Leaving out one of 300 changes AUC to first order by its influence.
        let mut state = 5_u64;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / f64::from(1 << 24)
        };
        let n = 300;
        let risk: Vec<f64> = (0..n).map(|_| (draw() * 20.0).floor()).collect();
        let outcomes: Vec<Outcome> = risk
            .iter()
            .map(|x| {
                let (death, end) = (-draw().ln() * (30.0 - x), -draw().ln() * 25.0);
                let at = |t: f64| (t * 2.0).floor() / 2.0;
                if death <= end { Outcome::event(at(death)) } else { Outcome::censored(at(end)) }
            })
            .collect::<Result<_>>()
            .unwrap();
        for ties in [CensoringTies::EventsFirst, CensoringTies::Flipped] {
            for side in [CensoringSide::Before, CensoringSide::At] {
                let censoring = CensoringRule { ties, side, ..CensoringRule::default() };
                let config = AucConfig { censoring, ..AucConfig::default() };
                let auc = |skip: Option<usize>| {
                    let kept = (0..n).filter(|&i| Some(i) != skip);
                    let (o, x): (Vec<Outcome>, Vec<f64>) = kept.map(|i| (outcomes[i], risk[i])).unzip();
                    cumulative_dynamic_auc(&o, &Risk::new(&x).unwrap(), &[10.0], &config).unwrap()
                };
                let all = auc(None);
                let loo: Vec<f64> = (0..n).map(|i| auc(Some(i)).auc[0]).collect();
                let mean = loo.iter().sum::<f64>() / n as f64;
                let jackknife = (loo.iter().map(|x| (x - mean).powi(2)).sum::<f64>() * (n as f64 - 1.0)
                    / n as f64)
                    .sqrt();
                let ratio = all.standard_error[0] / jackknife;
                assert!((ratio - 1.0).abs() < 0.01, "{ties:?} {side:?}: {ratio}");
            }
        }
    }
}
