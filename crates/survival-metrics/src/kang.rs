//! Paired comparison of two C-indices as U-statistics, after Kang and colleagues.

use crate::concordance::RiskTies;
use crate::error::{Error, Result};
use crate::outcome::{Outcome, check_length};
use crate::pair_sweep::PairSweep;
use crate::paired_concordance::PairedDifference;
use crate::rank_pool::RankPool;
use crate::risk::Risk;

/// Two C-indices on the same subjects with the variances of U-statistics.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KangComparison {
    /// C-indices of the two risks.
    pub c_index: [f64; 2],
    /// Their variances.
    pub variance: [f64; 2],
    /// Their covariance.
    pub covariance: f64,
    /// The first minus the second, tested.
    pub difference: PairedDifference,
}

/// Compares two C-indices by the method of Kang and colleagues (R `compareC`).
///
/// C is `(1 + t_XY / t_XX) / 2` with the U-statistics `t_XY`, the mean over ordered pairs of (order in time) x (order in risk), and `t_XX`, that
/// of the squared order in time; variances follow by the delta method. O(n log^2 n) time, where compareC takes O(n^2).
///
/// Source: Kang, Chen, Petrick & Gallas, Stat. Med. 34 (2015) 685-703.
///
/// # Errors
/// As [`concordance_index`](crate::concordance_index); [`Error::OutOfRange`] for fewer than 4 subjects, with whom the variance is undefined;
/// [`Error::ZeroVariance`] if the two risks order all comparable pairs alike, or differ in all alike.
///
/// ```
/// use survival_metrics::{Outcome, Risk, RiskTies, compare_concordance_kang};
///
/// let outcomes = [1.0, 2.0, 3.0, 4.0, 5.0].map(|t| Outcome::event(t).expect("finite"));
/// let (first, second) = (Risk::new(&[5.0, 4.0, 3.0, 1.0, 2.0])?, Risk::new(&[1.0, 5.0, 2.0, 4.0, 3.0])?);
/// let test = compare_concordance_kang(&outcomes, &first, &second, RiskTies::Exact)?;
/// assert_eq!(test.c_index, [0.9, 0.4]);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn compare_concordance_kang(
    outcomes: &[Outcome],
    first: &Risk,
    second: &Risk,
    ties: RiskTies,
) -> Result<KangComparison> {
    check_length("first risk", first.values().len(), outcomes.len())?;
    check_length("second risk", second.values().len(), outcomes.len())?;
    let n = outcomes.len() as f64;
    if outcomes.len() < 4 {
        return Err(Error::OutOfRange { what: "number of subjects", value: n, expected: "at least 4" });
    }
    let sweeps =
        [PairSweep::new(outcomes, first.values(), ties)?, PairSweep::new(outcomes, second.values(), ties)?];
    let events: Vec<f64> = outcomes.iter().map(|o| f64::from(u8::from(o.is_event()))).collect();
    let ones = vec![1.0; outcomes.len()];
    let sums = [sweeps[0].pair_sums(&events, &ones), sweeps[1].pair_sums(&events, &ones)];
    // Row sums over ordered pairs of s y (the orders agree or not) and of s^2.
    let rows = [0, 1]
        .map(|k| -> Vec<f64> { sums[k].iter().map(|sum| 2.0 * sum.concordant - sum.comparable).collect() });
    let comparable: Vec<f64> = sums[0].iter().map(|sum| sum.comparable).collect();
    let total = |row: &[f64]| row.iter().sum::<f64>();
    let n_comparable = total(&comparable);
    if n_comparable <= 0.0 {
        let n = outcomes.len();
        let censored = outcomes.iter().all(|o| !o.is_event());
        return Err(if censored { Error::AllCensored { n } } else { Error::NoComparablePairs { n } });
    }
    // Sums over ordered pairs: both orders of a pair give the same product.
    let untied = [0, 1].map(|k| {
        let counts = sweeps[k].counts();
        2.0 * (counts.concordant + counts.discordant) as f64
    });
    let crossed = 2.0 * agreement(&sweeps[0], &sweeps[1]);

    let cov = |p: &[f64], q: &[f64], products: f64| {
        let dot: f64 = p.iter().zip(q).map(|(a, b)| a * b).sum();
        let centre = 2.0 * (2.0 * n - 3.0) / (n * (n - 1.0)) * total(p) * total(q);
        (4.0 * dot - 2.0 * products - centre) / (n * (n - 1.0) * (n - 2.0) * (n - 3.0))
    };
    let n_pairs = n * (n - 1.0);
    let t_xx = n_comparable / n_pairs;
    let t = [total(&rows[0]) / n_pairs, total(&rows[1]) / n_pairs];
    let of_xx = cov(&comparable, &comparable, n_comparable);
    let with_xx = [0, 1].map(|k| cov(&rows[k], &comparable, total(&rows[k])));
    let delta = |a: usize, b: usize, products: f64| {
        let cov_ab = cov(&rows[a], &rows[b], products);
        (cov_ab / t_xx.powi(2) - t[b] * with_xx[a] / t_xx.powi(3) - t[a] * with_xx[b] / t_xx.powi(3)
            + t[a] * t[b] * of_xx / t_xx.powi(4))
            / 4.0
    };
    let variance = [delta(0, 0, untied[0]), delta(1, 1, untied[1])];
    let covariance = delta(0, 1, crossed);
    let c_index = t.map(|t| (1.0 + t / t_xx) / 2.0);
    let of_difference = variance[0] + variance[1] - 2.0 * covariance;
    // The covariances are differences of sums of this size, which cancel where the difference does not vary.
    let squares: f64 = comparable.iter().map(|pairs| pairs * pairs).sum();
    let largest = squares / (n_pairs * (n - 2.0) * (n - 3.0)) / t_xx.powi(2);
    let difference = PairedDifference::new(c_index[0] - c_index[1], of_difference, 1e-14 * largest)?;
    Ok(KangComparison { c_index, variance, covariance, difference })
}

/// A subject in the order of comparability: a pair is comparable if one has an event and the other a lower level.
#[derive(Debug, Clone, Copy)]
struct Point {
    level: u32,
    is_event: bool,
    /// Ranks of the two risks.
    x: u32,
    y: u32,
}

/// Sum over comparable pairs of the product of the orders in both risks: +1 where they agree, -1 where not, 0 for ties.
///
/// Divide and conquer over the levels: pairs within each half, and pairs across by a sweep over the first risk and a
/// Fenwick tree over the second.
fn agreement(first: &PairSweep, second: &PairSweep) -> f64 {
    let mut second_rank = vec![0; second.subjects.len()];
    for subject in &second.subjects {
        if let Some(rank) = second_rank.get_mut(subject.index as usize) {
            *rank = subject.rank;
        }
    }
    // Latest first, censorings before events of the same time, which form one level together.
    let mut points: Vec<Point> = Vec::with_capacity(first.subjects.len());
    let levels = first.subjects.chunk_by(|a, b| a.time == b.time && a.is_event == b.is_event);
    for (level, same) in (0_u32..).zip(levels) {
        points.extend(same.iter().map(|subject| Point {
            level,
            is_event: subject.is_event,
            x: subject.rank,
            y: second_rank.get(subject.index as usize).copied().unwrap_or(0),
        }));
    }
    across(&mut points, first, second) as f64
}

/// Leaves the points sorted by the first risk.
fn across(points: &mut [Point], first: &PairSweep, second: &PairSweep) -> i64 {
    let middle = points.len() / 2;
    let (Some(start), Some(split)) = (points.first(), points.get(middle)) else { return 0 };
    // A level is not divided: the cut goes to the nearest end of the middle one.
    let cut_level = split.level;
    let cut = match points.partition_point(|p| p.level < cut_level) {
        0 => points.partition_point(|p| p.level <= cut_level),
        before => before,
    };
    if cut == points.len() {
        debug_assert_eq!(start.level, cut_level);
        points.sort_unstable_by_key(|p| p.x);
        return 0;
    }
    let (later, earlier) = points.split_at_mut(cut);
    let within = across(later, first, second) + across(earlier, first, second);
    // Ranks of the second risk among the later points only, so that the tree is as small as they are.
    let mut ranks: Vec<u32> = later.iter().map(|p| p.y).collect();
    ranks.sort_unstable();
    ranks.dedup();
    let local = |y: u32| ranks.partition_point(|&rank| rank < y) as u32;
    // Lower and not-higher in the first risk; the sum over later points of the order in the second.
    let mut pools = [RankPool::<i64>::new(ranks.len()), RankPool::<i64>::new(ranks.len())];
    let (mut low_next, mut high_next) = (0, 0);
    let mut all = RankPool::<i64>::new(ranks.len());
    for point in later.iter() {
        all.insert(local(point.y), 1);
    }
    let mut sum = 0;
    for anchor in earlier.iter().filter(|p| p.is_event) {
        let (low, high) = first.tied_with(anchor.x);
        while let Some(point) = later.get(low_next).filter(|p| p.x < low) {
            pools[0].insert(local(point.y), 1);
            low_next += 1;
        }
        while let Some(point) = later.get(high_next).filter(|p| p.x < high) {
            pools[1].insert(local(point.y), 1);
            high_next += 1;
        }
        let (y_low, y_high) = second.tied_with(anchor.y);
        let order =
            |pool: &RankPool<i64>| pool.below(local(y_low)) - (pool.total - pool.below(local(y_high)));
        // Below the anchor in the first risk minus above it.
        sum += order(&pools[0]) - (order(&all) - order(&pools[1]));
    }
    points.sort_unstable_by_key(|p| p.x);
    within + sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_is_that_of_all_pairs() {
        // A linear congruence gives heavy ties in time and in both risks.
        let mut state = 9_u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % below) as f64
        };
        for n in 0..60 {
            let outcomes: Vec<Outcome> = (0..n)
                .map(|_| if draw(2) == 0.0 { Outcome::event(draw(7)) } else { Outcome::censored(draw(7)) })
                .collect::<Result<_>>()
                .unwrap();
            let risks = [0, 1].map(|_| (0..n).map(|_| draw(6)).collect::<Vec<f64>>());
            for tolerance in [0.0, 1.0] {
                let sign = |a: f64, b: f64| if (a - b).abs() <= tolerance { 0.0 } else { (a - b).signum() };
                let mut expected = 0.0;
                for (i, earlier) in outcomes.iter().enumerate().filter(|(_, o)| o.is_event()) {
                    for (j, later) in outcomes.iter().enumerate() {
                        if later.time() > earlier.time()
                            || (later.time() == earlier.time() && !later.is_event())
                        {
                            expected += sign(risks[0][i], risks[0][j]) * sign(risks[1][i], risks[1][j]);
                        }
                    }
                }
                let sweep =
                    |k: usize| PairSweep::new(&outcomes, &risks[k], RiskTies::AbsTol(tolerance)).unwrap();
                assert_eq!(agreement(&sweep(0), &sweep(1)), expected, "n {n}, tolerance {tolerance}");
            }
        }
    }
}
