//! The log-rank test of subjects that are not independent.

use super::{LogRank, LogRankGroup};
use crate::error::{Error, Result};
use crate::outcome::check_length;
use crate::risk_table::RiskTable;
use crate::special_functions::{chi2_ln_sf, chi2_sf};
use crate::survival_data::{Attribute, SurvivalData, number_labels};
use crate::symmetric::dot;
use crate::wald::{Contrast, wald};

/// Share of all observed and expected events up to which excesses and what clusters do to them are rounding.
const ROUNDING: f64 = 1e-14;

/// Log-rank test whose variance allows for clusters, such as the slides of one patient.
///
/// The score test of a Cox model of the groups with `cluster(patient)`: each subject's part of observed minus expected is
/// summed over its cluster, and the variance is the sum of their squares (or products). Copies of one subject in a cluster
/// add no evidence that way, whereas [`log_rank_test`](super::log_rank_test) takes them for independent. Strata of the sample are kept apart.
/// Without clusters each subject is one. O(n log n + n K).
///
/// Source: Lin & Wei, JASA 84 (1989) 1074-1078.
///
/// # Errors
/// As [`log_rank_test`](super::log_rank_test); [`Error::SingleCluster`]; [`Error::ZeroVariance`] if clusters do not outnumber the
/// degrees of freedom; [`Error::Unsupported`] for case weights and entry times.
///
/// ```
/// use survival_metrics::{Outcome, SurvivalData, clustered_log_rank_test};
///
/// let outcomes = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(|t| Outcome::event(t).expect("finite"));
/// let groups = ["a", "a", "b", "a", "b", "b"];
/// let once = clustered_log_rank_test(&SurvivalData::new(&outcomes)?, &groups)?;
/// // Each patient with two slides: observed and expected double, and so does the standard error.
/// let slides: Vec<_> = outcomes.iter().flat_map(|o| [*o; 2]).collect();
/// let data = SurvivalData::new(&slides)?.with_clusters(&[1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6])?;
/// let twice = clustered_log_rank_test(&data, &groups.map(|g| [g; 2]).concat())?;
/// assert!((twice.chi_square - once.chi_square).abs() < 1e-12);
/// # Ok::<(), survival_metrics::Error>(())
/// ```
pub fn clustered_log_rank_test<G: Ord + Clone>(data: &SurvivalData, groups: &[G]) -> Result<LogRank<G>> {
    data.refuse("the clustered log-rank test", &[Attribute::Weights, Attribute::Entry])?;
    check_length("groups", groups.len(), data.len())?;
    let (group_of, n_groups) = number_labels(groups);
    if n_groups < 2 {
        return Err(Error::SingleGroup);
    }
    data.check_clusters()?;
    let mut levels: Vec<&G> = groups.iter().collect();
    levels.sort();
    levels.dedup();
    let (mut observed, mut expected) = (vec![0.0; n_groups], vec![0.0; n_groups]);
    let mut parts = vec![vec![0.0; n_groups]; data.len()];
    for rows in data.stratum_orders() {
        let group_at = |i: u32| group_of.get(i as usize).map_or(0, |&g| g as usize);
        let mut at_risk = vec![0.0; n_groups];
        rows.iter().for_each(|&i| at_risk[group_at(i)] += 1.0);
        let mut hazard = 0.0;
        let mut hazard_share = vec![0.0; n_groups];
        let mut next = rows.iter().copied().peekable();
        for row in &RiskTable::of_rows(data, rows).rows {
            let share: Vec<f64> = at_risk.iter().map(|n| n / row.at_risk).collect();
            let step = row.events / row.at_risk;
            hazard += step;
            for ((share, hazard_share), expected) in share.iter().zip(&mut hazard_share).zip(&mut expected) {
                *hazard_share += step * share;
                *expected += row.events * share;
            }
            while let Some(i) = next.next_if(|&i| data.outcome(i).time() == row.time) {
                let own = group_at(i);
                let died = f64::from(u8::from(data.outcome(i).is_event()));
                observed[own] += died;
                at_risk[own] -= 1.0;
                for (g, part) in parts[i as usize].iter_mut().enumerate() {
                    let is_own = f64::from(u8::from(g == own));
                    *part = died * (is_own - share[g]) - (is_own * hazard - hazard_share[g]);
                }
            }
        }
    }
    let excess: Vec<f64> = observed.iter().zip(&expected).map(|(o, e)| o - e).collect();
    let sums = cluster_sums(data, &parts, n_groups);
    let is_moved = |at: usize| sums.iter().any(|of_group| of_group.get(at).is_some_and(|x| *x != 0.0));
    let n_clusters = (0..sums.first().map_or(0, Vec::len)).filter(|&at| is_moved(at)).count();
    let variance: Vec<Vec<f64>> = sums.iter().map(|a| sums.iter().map(|b| dot(a, b)).collect()).collect();
    // One group follows from the others: that with the largest variance, beside whose rounding small ones would drown.
    let left_out = (0..n_groups).max_by(|&a, &b| variance[a][a].total_cmp(&variance[b][b]));
    // What is summed up is at most this large, and as exact as numbers of its size are.
    let size = observed.iter().zip(&expected).map(|(o, e)| o + e).sum::<f64>();
    let contrast = |(estimate, influence)| Contrast { estimate, influence, rounding: ROUNDING * size };
    let contrasts = excess.into_iter().zip(sums).enumerate().filter(|(g, _)| Some(*g) != left_out);
    let (chi_square, df) = wald(contrasts.map(|(_, of_group)| contrast(of_group)).collect())?;
    // The excess is the sum of what clusters do: of no more clusters than degrees of freedom, the statistic is their number, whatever they do.
    if df == 0 || n_clusters <= df {
        return Err(Error::ZeroVariance);
    }
    let group = |(g, level): (usize, &G)| LogRankGroup {
        level: level.clone(),
        n: group_of.iter().filter(|&&of| of as usize == g).count() as u64,
        observed: observed[g],
        expected: expected[g],
    };
    Ok(LogRank {
        groups: levels.into_iter().enumerate().map(group).collect(),
        variance,
        chi_square,
        df,
        p_value: chi2_sf(chi_square, df),
        log10_p: chi2_ln_sf(chi_square, df) / std::f64::consts::LN_10,
    })
}

/// For each group the sums of the parts of each cluster.
fn cluster_sums(data: &SurvivalData, parts: &[Vec<f64>], n_groups: usize) -> Vec<Vec<f64>> {
    let (cluster_of, n_clusters) = data.cluster_numbers();
    let mut sums = vec![vec![0.0; n_clusters]; n_groups];
    for (part, &cluster) in parts.iter().zip(cluster_of.iter()) {
        for (sums, x) in sums.iter_mut().zip(part) {
            sums[cluster as usize] += x;
        }
    }
    sums
}
