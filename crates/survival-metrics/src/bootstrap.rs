//! Cluster bootstrap of the mean C-index of cross-validation folds.

use std::collections::BTreeSet;

use crate::bca;
use crate::concordance::RiskTies;
use crate::cross_validation::{FoldRisks, fold_c_indices, mean};
use crate::error::{Error, Result};
use crate::outcome::check_length;
use crate::pair_sweep::PairSweep;

/// Which quantiles of the resamples are the ends of an interval.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BootstrapMethod {
    /// Those that leave the same share outside on both sides.
    #[default]
    Percentile,
    /// Shifted for bias and skewness (bias-corrected and accelerated, Efron 1987), which is more accurate near the ends of
    /// the range, at the cost of one more C-index per cluster.
    Bca,
}

/// How a bootstrap is drawn.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BootstrapConfig {
    /// Number of resamples. The ends of a 95% interval need a thousand or more.
    pub replicates: usize,
    /// Seed of the resamples: same seed and data, same interval.
    pub seed: u64,
    /// Coverage of the interval, such as 0.95.
    pub level: f64,
    /// Which risks are tied.
    pub ties: RiskTies,
    /// How the ends are found.
    pub method: BootstrapMethod,
}

impl Default for BootstrapConfig {
    /// 2000 resamples with seed 0, percentiles, 95% coverage and the tie tolerance of the CrossFusion protocol.
    fn default() -> Self {
        let (ties, method) = (RiskTies::default(), BootstrapMethod::default());
        Self { replicates: 2000, seed: 0, level: 0.95, ties, method }
    }
}

/// An estimate with its bootstrap interval.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BootstrapInterval {
    /// The statistic of the data themselves.
    pub estimate: f64,
    /// Lower end of the interval.
    pub lower: f64,
    /// Upper end of the interval.
    pub upper: f64,
    /// Coverage of the interval.
    pub level: f64,
    /// Resamples drawn.
    pub replicates: usize,
    /// Resamples left out of the interval because a fold of theirs had no comparable pair. If they are
    /// more than a few, the interval describes the luckier samples only.
    pub unusable_replicates: usize,
}

/// Bootstrap interval of the mean over folds of the fold's C-index, resampling clusters within each fold.
///
/// For each replicate and fold, as many clusters (patients) as the fold has are drawn with replacement, and every
/// row counts as often as its cluster was drawn; a pair of rows counts the product of the two. Copies of one row
/// never pair with each other. Equal labels are one cluster, in whichever fold: folds that share clusters, directly or through
/// others, are no independent samples, so that their clusters are drawn together, once for all of these folds. By percentiles the interval holds the `(1 -/+ level) / 2` quantiles of the replicate means, by
/// linear interpolation as numpy's `percentile`; [`BootstrapMethod::Bca`] reads other quantiles, its acceleration from leaving
/// out each cluster in turn. The interval covers the sampling of patients, not of training runs.
///
/// Replicate `r` draws from a SplitMix64 generator of its own, whose state is the `r`-th output of a SplitMix64
/// generator seeded with the seed. Clusters are numbered by their sorted labels, so the result depends neither on
/// the order of rows nor on that in which replicates are computed. O(replicates x n log n) time.
///
/// Sources: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; Field & Welsh, J. R. Stat. Soc. B 69
/// (2007) 369-390 (clusters); Steele, Lea & Flood, OOPSLA 2014 (generator).
///
/// # Errors
/// As [`concordance_index`](crate::concordance_index) of any fold; [`Error::Empty`] without folds;
/// [`Error::OutOfRange`] for no replicates or a level outside (0, 1); [`Error::NoUsableResample`];
/// [`Error::DegenerateBootstrap`] and [`Error::NoComparablePairs`] (without one of the clusters) for BCa.
///
/// ```
/// use survival_metrics::{BootstrapConfig, FoldRisks, Outcome, cluster_bootstrap_mean_c_index};
///
/// let outcomes = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(|t| Outcome::event(t).expect("finite"));
/// let fold = FoldRisks { outcomes: &outcomes, risk: &[6.0, 4.0, 5.0, 2.0, 3.0, 1.0], clusters: &[1, 2, 3, 4, 5, 6] };
/// let ci = cluster_bootstrap_mean_c_index(&[fold], BootstrapConfig::default())?;
/// assert_eq!(ci.estimate, 13.0 / 15.0);
/// assert!(0.5 < ci.lower && ci.lower < ci.estimate && ci.upper == 1.0);
/// assert_eq!(ci.unusable_replicates, 0);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn cluster_bootstrap_mean_c_index<C: Ord>(
    folds: &[FoldRisks<'_, C>],
    config: BootstrapConfig,
) -> Result<BootstrapInterval> {
    let of_folds = fold_c_indices(folds, config.ties)?;
    let estimate = mean(&of_folds).ok_or(Error::Empty { what: "folds" })?;
    let means = bootstrap_mean_c_indices(folds, config)?;
    let BootstrapConfig { replicates, level, method, .. } = config;
    let defined: Vec<f64> = means.into_iter().flatten().collect();
    let unusable_replicates = replicates - defined.len();
    let limits = match method {
        BootstrapMethod::Percentile => percentile_interval(defined, level)?,
        BootstrapMethod::Bca => bca_interval(folds, &of_folds, defined, config)?,
    };
    let (lower, upper) = limits.ok_or(Error::NoUsableResample { replicates })?;
    Ok(BootstrapInterval { estimate, lower, upper, level, replicates, unusable_replicates })
}

/// The BCa interval of a mean of `of_folds` with these resamples; `None` without any.
fn bca_interval<C: Ord>(
    folds: &[FoldRisks<'_, C>],
    of_folds: &[f64],
    mut resamples: Vec<f64>,
    config: BootstrapConfig,
) -> Result<Option<(f64, f64)>> {
    check_level(config.level)?;
    let Some(estimate) = mean(of_folds).filter(|_| !resamples.is_empty()) else { return Ok(None) };
    let jackknife = Sampler::new(folds, config.ties)?.leave_one_out(of_folds, estimate)?;
    let (from, to) = bca::probabilities(&resamples, estimate, &jackknife, config.level)?;
    resamples.sort_unstable_by(f64::total_cmp);
    Ok(quantile(&resamples, from).zip(quantile(&resamples, to)))
}

fn check_level(level: f64) -> Result<()> {
    if level > 0.0 && level < 1.0 {
        Ok(())
    } else {
        Err(Error::OutOfRange { what: "level", value: level, expected: "a number between 0 and 1" })
    }
}

/// The means over folds of [`cluster_bootstrap_mean_c_index`], one per resample; `None` where a fold of it has no comparable pair.
///
/// Equal seeds and clusters give equal resamples, whatever the risks: differences between two models, resample by resample, are
/// those of a paired bootstrap, and their percentiles an interval of the difference.
///
/// # Errors
/// As [`cluster_bootstrap_mean_c_index`].
pub fn bootstrap_mean_c_indices<C: Ord>(
    folds: &[FoldRisks<'_, C>],
    config: BootstrapConfig,
) -> Result<Vec<Option<f64>>> {
    let BootstrapConfig { replicates, seed, ties, .. } = config;
    if replicates == 0 {
        return Err(Error::OutOfRange { what: "replicates", value: 0.0, expected: "at least 1" });
    }
    let sampler = Sampler::new(folds, ties)?;
    let mut seeds = SplitMix64 { state: seed };
    let seeds: Vec<u64> = (0..replicates).map(|_| seeds.next()).collect();
    let replicate = |&state: &u64| sampler.draw(&mut SplitMix64 { state });
    // Each resample has a generator of its own, so that threads change nothing.
    #[cfg(feature = "rayon")]
    let means = {
        use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
        seeds.par_iter().map(replicate).collect()
    };
    #[cfg(not(feature = "rayon"))]
    let means = seeds.iter().map(replicate).collect();
    Ok(means)
}

/// The `(1 -/+ level) / 2` quantiles of a statistic's resamples, by linear interpolation as numpy's `percentile`; `None` without any.
///
/// # Errors
/// [`Error::OutOfRange`] unless `0 < level < 1`.
///
/// ```
/// use survival_metrics::percentile_interval;
///
/// assert_eq!(percentile_interval(vec![4.0, 1.0, 2.0, 3.0, 5.0], 0.5)?, Some((2.0, 4.0)));
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn percentile_interval(mut resamples: Vec<f64>, level: f64) -> Result<Option<(f64, f64)>> {
    check_level(level)?;
    resamples.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - level) / 2.0;
    Ok(quantile(&resamples, tail).zip(quantile(&resamples, 1.0 - tail)))
}

/// The folds, and which clusters are drawn together.
struct Sampler {
    /// How many clusters each sample has. Samples share none.
    sample_sizes: Vec<usize>,
    folds: Vec<FoldSampler>,
}

/// One fold, sorted once for all resamples.
struct FoldSampler {
    sweep: PairSweep,
    /// The sample that its clusters are part of.
    sample: usize,
    /// Number of each row's cluster within the sample.
    cluster_of_row: Vec<usize>,
}

impl Sampler {
    fn new<C: Ord>(folds: &[FoldRisks<'_, C>], ties: RiskTies) -> Result<Self> {
        for fold in folds {
            check_length("clusters", fold.clusters.len(), fold.outcomes.len())?;
        }
        let samples = samples(folds);
        let of_fold = |fold: &FoldRisks<'_, C>| {
            let is_of = |sample: &Vec<&C>| fold.clusters.iter().all(|c| sample.binary_search(&c).is_ok());
            let sample = samples.iter().position(is_of).unwrap_or(0);
            let labels = samples.get(sample).map(Vec::as_slice).unwrap_or_default();
            let number = |cluster: &C| labels.partition_point(|label| *label < cluster);
            Ok(FoldSampler {
                sweep: PairSweep::new(fold.outcomes, fold.risk, ties)?,
                sample,
                cluster_of_row: fold.clusters.iter().map(number).collect(),
            })
        };
        let folds = folds.iter().map(of_fold).collect::<Result<_>>()?;
        Ok(Self { sample_sizes: samples.iter().map(Vec::len).collect(), folds })
    }

    /// Mean C-index of one resample, `None` where a fold has no comparable pairs.
    fn draw(&self, generator: &mut SplitMix64) -> Option<f64> {
        let samples: Vec<Vec<u64>> = self.sample_sizes.iter().map(|&n| times_drawn(n, generator)).collect();
        let of_fold = |fold: &FoldSampler| {
            let times_drawn = samples.get(fold.sample)?;
            fold.c_index(|cluster| times_drawn.get(cluster).copied().unwrap_or(0))
        };
        mean(&self.folds.iter().map(of_fold).collect::<Option<Vec<f64>>>()?)
    }

    /// For each sample the mean C-index without each of its clusters in turn; `of_folds` are the C-indices with all.
    fn leave_one_out(&self, of_folds: &[f64], estimate: f64) -> Result<Vec<Vec<f64>>> {
        let without = |sample: usize, left_out: usize| -> Result<f64> {
            let mut shift = 0.0;
            for (fold, of_fold) in self.folds.iter().zip(of_folds).filter(|(fold, _)| fold.sample == sample) {
                let n = fold.cluster_of_row.len();
                let c = fold.c_index(|cluster| u64::from(cluster != left_out));
                shift += (c.ok_or(Error::NoComparablePairs { n })? - of_fold) / self.folds.len() as f64;
            }
            Ok(estimate + shift)
        };
        let of_sample =
            |(sample, &n): (usize, &usize)| (0..n).map(|cluster| without(sample, cluster)).collect();
        self.sample_sizes.iter().enumerate().map(of_sample).collect()
    }
}

impl FoldSampler {
    /// C-index with each cluster as often as `times` says, `None` without comparable pairs.
    fn c_index(&self, times: impl Fn(usize) -> u64) -> Option<f64> {
        let of_row = |row: usize| self.cluster_of_row.get(row).map_or(0, |&cluster| times(cluster));
        self.sweep.weighted_counts(of_row).c_index()
    }
}

/// The clusters of each independent sample, sorted: those of a fold, with those of all folds that it shares clusters with.
fn samples<'a, C: Ord>(folds: &[FoldRisks<'a, C>]) -> Vec<Vec<&'a C>> {
    let mut samples: Vec<BTreeSet<&C>> = Vec::new();
    for fold in folds {
        let mut joined: BTreeSet<&C> = fold.clusters.iter().collect();
        // Those that were there share nothing with each other, so that joining one brings no further one in.
        samples.retain(|sample| {
            let is_apart = sample.is_disjoint(&joined);
            if !is_apart {
                joined.extend(sample);
            }
            is_apart
        });
        samples.push(joined);
    }
    samples.into_iter().map(|sample| sample.into_iter().collect()).collect()
}

/// How often each of `n` clusters is drawn in `n` draws.
fn times_drawn(n: usize, generator: &mut SplitMix64) -> Vec<u64> {
    let mut times = vec![0_u64; n];
    for _ in 0..n {
        let cluster = generator.below(n as u64) as usize;
        if let Some(count) = times.get_mut(cluster) {
            *count += 1;
        }
    }
    times
}

/// The quantile `p` of ascending values by linear interpolation between order statistics.
fn quantile(sorted: &[f64], p: f64) -> Option<f64> {
    let position = p * (sorted.len().checked_sub(1)? as f64);
    let low = *sorted.get(position.floor() as usize)?;
    let high = *sorted.get(position.ceil() as usize)?;
    Some(low + (high - low) * position.fract())
}

/// SplitMix64 (Steele, Lea & Flood 2014; public-domain reference by Vigna): a counter and a mixing function.
struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform on `0 .. bound`, without bias: products in the incomplete last stretch are drawn again (Lemire 2019).
    fn below(&mut self, bound: u64) -> u64 {
        let reject_below = bound.wrapping_neg() % bound.max(1);
        loop {
            let product = u128::from(self.next()) * u128::from(bound);
            if product as u64 >= reject_below {
                return (product >> 64) as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Outcome;

    #[test]
    fn the_generator_is_splitmix64() {
        // First outputs of the reference implementation for seed 1234567.
        let mut generator = SplitMix64 { state: 1_234_567 };
        let first = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([generator.next(), generator.next(), generator.next()], first);
    }

    #[test]
    fn bounded_draws_are_even() {
        let mut generator = SplitMix64 { state: 7 };
        let mut seen = [0_u32; 5];
        for _ in 0..50_000 {
            seen[generator.below(5) as usize] += 1;
        }
        // Five standard deviations of a count with mean 10000.
        assert!(seen.iter().all(|n| n.abs_diff(10_000) < 450), "{seen:?}");
    }

    #[test]
    fn quantiles_interpolate_as_numpy() {
        let values = [1.0, 2.0, 4.0, 8.0];
        assert_eq!(quantile(&values, 0.5), Some(3.0));
        assert_eq!((quantile(&values, 0.0), quantile(&values, 1.0)), (Some(1.0), Some(8.0)));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn a_fold_with_one_informative_pair_leaves_unusable_resamples() {
        let outcomes = [Outcome::event(1.0).expect("valid"), Outcome::censored(2.0).expect("valid")];
        let fold = FoldRisks { outcomes: &outcomes, risk: &[1.0, 0.0], clusters: &["a", "b"] };
        let config = BootstrapConfig { replicates: 1000, ..BootstrapConfig::default() };
        let ci = cluster_bootstrap_mean_c_index(&[fold], config).expect("some usable");
        assert_eq!((ci.estimate, ci.lower, ci.upper), (1.0, 1.0, 1.0));
        // Half of the resamples draw one of the two twice; five standard deviations around 500.
        assert!(ci.unusable_replicates.abs_diff(500) < 80, "{}", ci.unusable_replicates);
    }

    #[test]
    fn the_interval_depends_on_the_seed_but_not_on_the_order_of_rows() {
        let rows: Vec<(f64, f64, u32)> =
            (0..30).map(|i| (f64::from(i * 7 % 30), f64::from(i * 11 % 17), i as u32 / 2)).collect();
        let interval = |rows: &[(f64, f64, u32)], seed| {
            let outcomes: Vec<Outcome> =
                rows.iter().map(|&(t, ..)| Outcome::event(t).expect("valid")).collect();
            let risk: Vec<f64> = rows.iter().map(|&(_, x, _)| x).collect();
            let clusters: Vec<u32> = rows.iter().map(|&(.., c)| c).collect();
            let fold = FoldRisks { outcomes: &outcomes, risk: &risk, clusters: &clusters };
            let config = BootstrapConfig { replicates: 500, seed, ..BootstrapConfig::default() };
            cluster_bootstrap_mean_c_index(&[fold, fold], config).expect("defined")
        };
        let reversed: Vec<_> = rows.iter().rev().copied().collect();
        let first = interval(&rows, 1);
        assert_eq!(first, interval(&reversed, 1));
        assert_ne!(first, interval(&rows, 2));
        assert!(first.lower < first.estimate && first.estimate < first.upper);
    }

    #[test]
    fn the_spread_is_that_of_the_jackknife() {
        // Both estimate the standard error of C over samples of subjects; at n = 60 they differ by a few percent.
        let outcomes: Vec<Outcome> = (0..60).map(|i| Outcome::event(f64::from(i)).expect("valid")).collect();
        let risk: Vec<f64> = (0..60).map(|i| f64::from(i * 23 % 61)).collect();
        let clusters: Vec<u32> = (0..60).collect();
        let fold = FoldRisks { outcomes: &outcomes, risk: &risk, clusters: &clusters };
        let ci = cluster_bootstrap_mean_c_index(&[fold], BootstrapConfig::default()).expect("defined");
        let sweep = PairSweep::new(&outcomes, &risk, RiskTies::default()).expect("valid");
        let without = |left_out: usize| sweep.weighted_counts(|row| u64::from(row != left_out)).c_index();
        let jackknife: Vec<f64> = (0..60).filter_map(without).collect();
        let centre = mean(&jackknife).expect("sixty values");
        let variance = jackknife.iter().map(|c| (c - centre).powi(2)).sum::<f64>() * 59.0 / 60.0;
        let width = 2.0 * 1.96 * variance.sqrt();
        assert!(((ci.upper - ci.lower) / width - 1.0).abs() < 0.1, "{ci:?}, jackknife width {width}");
    }

    #[test]
    fn nothing_to_resample_is_refused() {
        let none: [FoldRisks<'_, u8>; 0] = [];
        let refused = cluster_bootstrap_mean_c_index(&none, BootstrapConfig::default());
        assert_eq!(refused, Err(Error::Empty { what: "folds" }));
        let config = BootstrapConfig { replicates: 0, ..BootstrapConfig::default() };
        assert!(cluster_bootstrap_mean_c_index(&none, config).is_err());
        let config = BootstrapConfig { level: 1.0, ..BootstrapConfig::default() };
        assert!(cluster_bootstrap_mean_c_index(&none, config).is_err());
    }
}
