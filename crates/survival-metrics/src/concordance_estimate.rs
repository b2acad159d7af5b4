//! The C-index with time weights, case weights and strata, and what each subject contributes to it.

use crate::censoring::{CensoringDistribution, CensoringRule};
use crate::concordance::{PairCounts, RiskTies};
use crate::convention::Convention;
use crate::error::{Error, Result};
use crate::interval::{IntervalScale, probability_interval};
use crate::outcome::{Outcome, check_length};
use crate::pair_sweep::PairSweep;
use crate::risk::Risk;
use crate::risk_table::{ProductLimit, RiskTable};
use crate::survival_data::{Attribute, SurvivalData};

/// Weight of the pairs of an event at `t`, where `n` subjects are at risk, S is the Kaplan-Meier survival and G that of censoring.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeWeight {
    /// 1: Harrell's C (R `timewt = "n"`).
    #[default]
    Harrell,
    /// `1 / G^2`: Uno's C, which does not depend on how long subjects happened to be followed (R `"n/G2"`).
    Uno,
    /// `S(t-) / n`: Peto and Wilcoxon's (R `"S"`).
    PetoWilcoxon,
    /// `S(t-) / (G n)`: Schemper's (R `"S/G"`).
    Schemper,
    /// `1 / n`: each event time counts alike (R `"I"`).
    Identity,
}

/// The last event time whose pairs count. Later subjects still take part in pairs, as the later one.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tau {
    /// Events before the time (scikit-survival `tau`).
    Exclusive(f64),
    /// Events up to the time (R `ymax`).
    Inclusive(f64),
}

impl Tau {
    fn admits(self, t: f64) -> bool {
        match self {
            Self::Exclusive(tau) => t < tau,
            Self::Inclusive(tau) => t <= tau,
        }
    }
}

/// How a C-index is computed; [`Convention::concordance`] makes one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConcordanceConfig<'a> {
    /// When risks are tied.
    pub ties: RiskTies,
    /// Weights over time.
    pub time_weight: TimeWeight,
    /// Truncation of event times.
    pub tau: Option<Tau>,
    /// How G is estimated and read.
    pub censoring: CensoringRule,
    /// G of another sample, such as the training set. Without it, G is that of the evaluated sample's stratum.
    pub training: Option<&'a CensoringDistribution>,
}

impl Default for ConcordanceConfig<'_> {
    /// Harrell's C by [`Convention::Default`].
    fn default() -> Self {
        Convention::Default.concordance(TimeWeight::Harrell)
    }
}

/// A C-index with the contribution of each subject.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, PartialEq)]
pub struct ConcordanceEstimate {
    /// The C-index, in [0, 1].
    pub c_index: f64,
    /// Pair counts, case and time weights disregarded, of the event times that count.
    pub counts: PairCounts,
    /// Weighted concordance: pairs in the right order, and half of those with tied risks.
    pub concordant_weight: f64,
    /// Weight of all comparable pairs.
    pub comparable_weight: f64,
    #[cfg_attr(feature = "serde", serde(skip))]
    contributions: Vec<PairSum>,
    #[cfg_attr(feature = "serde", serde(skip))]
    clusters: Option<Vec<u32>>,
}

/// Sums over the pairs of one subject, in both roles.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct PairSum {
    pub(crate) concordant: f64,
    pub(crate) comparable: f64,
}

/// The C-index of `risk` on a sample.
///
/// ```text
/// C = sum of W(T_i) w_i w_j [ 1(x_i > x_j) + 1(x_i ~ x_j) / 2 ] / sum of W(T_i) w_i w_j     over comparable pairs (i, j), i the earlier
/// ```
///
/// with case weights `w` and time weights `W`. Pairs are compared within strata; clusters enter the standard error. O(n log n) time.
///
/// Sources: Harrell, Lee & Mark, Stat. Med. 15 (1996) 361-387; Uno et al., Stat. Med. 30 (2011) 1105-1117; time weights and
/// standard error: Therneau & Atkinson, vignette `concordance` of R `survival`.
///
/// # Errors
/// [`Error::LengthMismatch`]; [`Error::OutOfRange`] for a bad tolerance; [`Error::AllCensored`]; [`Error::NoComparablePairs`];
/// [`Error::SingleCluster`]; [`Error::CensoringSurvivalZero`] and [`Error::TimeBeyondTraining`] for an event with pairs whose
/// weight does not exist; [`Error::Unsupported`] for entry times.
///
/// ```
/// use survival_metrics::{Convention, Outcome, Risk, SurvivalData, TimeWeight, concordance};
///
/// // At time 4 there is an event and a censoring, so that G(4-) and G(4) differ.
/// let outcomes = [
///     Outcome::event(1.0)?,
///     Outcome::censored(2.0)?,
///     Outcome::event(4.0)?,
///     Outcome::censored(4.0)?,
///     Outcome::event(6.0)?,
///     Outcome::censored(8.0)?,
/// ];
/// let data = SurvivalData::new(&outcomes)?;
/// let risk = Risk::new(&[3.0, 1.0, 2.5, 2.6, 0.5, 1.5])?;
/// let uno = |convention: Convention| concordance(&data, &risk, &convention.concordance(TimeWeight::Uno));
/// assert!((uno(Convention::R)?.c_index - 8.0 / 13.0).abs() < 1e-15);
/// // The value of scikit-survival 0.28.
/// assert!((uno(Convention::ScikitSurvival)?.c_index - 0.631_147_540_983_606_6).abs() < 1e-15);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn concordance(
    data: &SurvivalData,
    risk: &Risk,
    config: &ConcordanceConfig<'_>,
) -> Result<ConcordanceEstimate> {
    data.refuse("a C-index", &[Attribute::Entry])?;
    check_length("risk", risk.values().len(), data.len())?;
    let mut counts = PairCounts::default();
    let mut contributions = vec![PairSum::default(); data.len()];
    let (mut concordant, mut comparable) = (0.0, 0.0);
    for rows in data.stratum_orders() {
        let outcomes: Vec<Outcome> = rows.iter().map(|&i| data.outcome(i)).collect();
        let of_stratum: Vec<f64> =
            rows.iter().filter_map(|&i| risk.values().get(i as usize)).copied().collect();
        let sweep = PairSweep::new(&outcomes, &of_stratum, config.ties)?;
        let admits = |t: f64| config.tau.is_none_or(|tau| tau.admits(t));
        let case_weights: Vec<f64> = rows.iter().map(|&i| data.weight(i as usize)).collect();
        let has_pairs = |time: f64| {
            let last = outcomes.last();
            last.is_some_and(|o| o.time() > time || (o.time() == time && !o.is_event()))
        };
        let table = RiskTable::of_rows(data, rows);
        let anchors = anchor_weights(&outcomes, &table, config, &|t| admits(t) && has_pairs(t))?;
        counts += sweep.counts_of_anchors(&|local| anchors.get(local).is_some_and(|&w| w > 0.0), &admits);
        let sums = sweep.pair_sums(&anchors, &case_weights);
        for (&i, sum) in rows.iter().zip(&sums) {
            // Each pair is in the sums of both of its subjects.
            concordant += sum.concordant / 2.0;
            comparable += sum.comparable / 2.0;
            if let Some(slot) = contributions.get_mut(i as usize) {
                *slot = *sum;
            }
        }
    }
    if comparable <= 0.0 {
        let n = data.len();
        return Err(if data.n_events() == 0 {
            Error::AllCensored { n }
        } else {
            Error::NoComparablePairs { n }
        });
    }
    data.check_clusters()?;
    Ok(ConcordanceEstimate {
        // Sums of numbers that are added and taken away again may end just beyond.
        c_index: (concordant / comparable).clamp(0.0, 1.0),
        counts,
        concordant_weight: concordant,
        comparable_weight: comparable,
        contributions,
        clusters: data.clusters().map(<[u32]>::to_vec),
    })
}

impl ConcordanceEstimate {
    /// Influence of each subject (its case weight times the derivative of C by that weight), summing to 0.
    ///
    /// The weights over time are held fixed. The covariance of two C-indices on one sample is the sum of products.
    pub fn influence(&self) -> Vec<f64> {
        let scaled =
            |sum: &PairSum| (sum.concordant - self.c_index * sum.comparable) / self.comparable_weight;
        self.contributions.iter().map(scaled).collect()
    }

    /// Variance of C by the infinitesimal jackknife; with clusters, influences are summed over each first.
    ///
    /// Source: as [`concordance`]; R's `var`.
    pub fn variance(&self) -> f64 {
        self.cluster_influence().iter().map(|x| x * x).sum()
    }

    /// Standard error of C: the root of [`variance`](Self::variance).
    pub fn standard_error(&self) -> f64 {
        self.variance().sqrt()
    }

    /// Influence of each cluster, or of each subject without clusters.
    pub(crate) fn cluster_influence(&self) -> Vec<f64> {
        self.by_cluster(self.influence())
    }

    /// The largest variance that the pairs of each cluster allow, the same for all risks of a sample: what rounding is
    /// measured by where variances are gone.
    pub(crate) fn variance_bound(&self) -> f64 {
        let shares = self.contributions.iter().map(|sum| sum.comparable / self.comparable_weight);
        self.by_cluster(shares.collect()).iter().map(|x| x * x).sum()
    }

    fn by_cluster(&self, of_subjects: Vec<f64>) -> Vec<f64> {
        let Some(clusters) = &self.clusters else { return of_subjects };
        let n_clusters = clusters.iter().max().map_or(0, |&c| c as usize + 1);
        let mut sums = vec![0.0; n_clusters];
        for (&cluster, x) in clusters.iter().zip(of_subjects) {
            if let Some(sum) = sums.get_mut(cluster as usize) {
                *sum += x;
            }
        }
        sums
    }

    /// Normal confidence interval of C, as (lower, upper) within [0, 1].
    ///
    /// # Errors
    /// [`Error::OutOfRange`] unless `0 < level < 1`.
    pub fn confidence_interval(&self, level: f64, scale: IntervalScale) -> Result<(f64, f64)> {
        probability_interval(self.c_index, self.standard_error(), level, scale)
    }

    /// C without each subject in turn, the weights over time held fixed; `None` where no comparable pair is left. O(n).
    pub fn leave_one_out(&self) -> Vec<Option<f64>> {
        let without = |sum: &PairSum| {
            let comparable = self.comparable_weight - sum.comparable;
            // Below rounding of the sums, nothing is left.
            (comparable > self.comparable_weight * 1e-12)
                .then(|| (self.concordant_weight - sum.concordant) / comparable)
        };
        self.contributions.iter().map(without).collect()
    }

    /// Jackknife standard error: `sqrt((n - 1) / n * sum of (C without i - their mean)^2)`.
    ///
    /// # Errors
    /// [`Error::NoComparablePairs`] if C is undefined without one of the subjects.
    pub fn jackknife_standard_error(&self) -> Result<f64> {
        let n = self.contributions.len();
        let values: Option<Vec<f64>> = self.leave_one_out().into_iter().collect();
        let values = values.ok_or(Error::NoComparablePairs { n: n - 1 })?;
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|c| (c - mean) * (c - mean)).sum();
        Ok((squares * (n as f64 - 1.0) / n as f64).sqrt())
    }
}

/// Time weight of each subject as the earlier one of its pairs; 0 where it has none.
fn anchor_weights(
    outcomes: &[Outcome],
    table: &RiskTable,
    config: &ConcordanceConfig<'_>,
    counts: &dyn Fn(f64) -> bool,
) -> Result<Vec<f64>> {
    let own;
    let g = match config.training {
        Some(training) => training,
        None => {
            own = CensoringDistribution::of_table(table, config.censoring.ties);
            &own
        }
    };
    let mut product = ProductLimit::new();
    // By time: of the outcomes, which are sorted, and of the table.
    let mut weights = Vec::with_capacity(outcomes.len());
    let mut outcomes = outcomes.iter().peekable();
    let mut before = 1.0;
    for row in &table.rows {
        // Events of weight 0 are no pairs, and may be all that is at risk.
        let used = row.events > 0.0 && counts(row.time);
        let weight = match config.time_weight {
            _ if !used => 0.0,
            TimeWeight::Harrell => 1.0,
            TimeWeight::Uno => {
                g.inverse(row.time, config.censoring)?.map_or(0.0, |inverse| inverse * inverse)
            }
            TimeWeight::PetoWilcoxon => before / row.at_risk,
            TimeWeight::Schemper => {
                g.inverse(row.time, config.censoring)?.map_or(0.0, |inverse| before * inverse / row.at_risk)
            }
            TimeWeight::Identity => 1.0 / row.at_risk,
        };
        before = product.step(row.at_risk, row.events);
        while let Some(outcome) = outcomes.next_if(|o| o.time() == row.time) {
            weights.push(if outcome.is_event() { weight } else { 0.0 });
        }
    }
    Ok(weights)
}
