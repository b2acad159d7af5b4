//! Observed minus expected events, their variance over strata, and the statistic made of them.

use crate::log_rank::LogRankWeight;
use crate::outcome::Outcome;

/// One subject, in as few bytes as sorting likes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// The bits of the time: times are not negative, so that their order is that of integers, which sort faster.
    time: u64,
    event: bool,
    /// Position of the label among the sorted labels.
    group: u32,
}

impl Row {
    pub(crate) fn new(outcome: Outcome, group: usize) -> Self {
        // Subjects are numbered by usize, but no table has 2^32 groups.
        let group = u32::try_from(group).unwrap_or(u32::MAX);
        Self { time: outcome.time().to_bits(), event: outcome.is_event(), group }
    }
}

/// What the strata add up to.
pub(crate) struct Sums {
    pub(crate) n: Vec<u64>,
    pub(crate) observed: Vec<f64>,
    pub(crate) expected: Vec<f64>,
    pub(crate) variance: Vec<Vec<f64>>,
}

impl Sums {
    pub(crate) fn new(n_groups: usize) -> Self {
        Self {
            n: vec![0; n_groups],
            observed: vec![0.0; n_groups],
            expected: vec![0.0; n_groups],
            variance: vec![vec![0.0; n_groups]; n_groups],
        }
    }

    /// Adds one stratum, whose rows come out sorted by time.
    pub(crate) fn add_stratum(&mut self, rows: &mut [Row], weight: LogRankWeight) {
        rows.sort_unstable_by_key(|row| row.time);
        let n_groups = self.n.len();
        let mut at_risk = vec![0_u64; n_groups];
        for row in &*rows {
            count(&mut at_risk, row.group);
        }
        for (n, stratum_n) in self.n.iter_mut().zip(&at_risk) {
            *n += stratum_n;
        }
        let mut n = rows.len() as u64;
        let (mut survival, mut peto) = (1.0_f64, 1.0);
        // Used again at every time: thousands of small vectors would cost more than the arithmetic.
        let (mut events, mut gone) = (vec![0_u64; n_groups], vec![0_u64; n_groups]);
        for same_time in rows.chunk_by(|a, b| a.time == b.time) {
            events.fill(0);
            gone.fill(0);
            for row in same_time {
                count(&mut gone, row.group);
                if row.event {
                    count(&mut events, row.group);
                }
            }
            let d = events.iter().sum::<u64>();
            if d > 0 {
                let (d_f, n_f) = (d as f64, n as f64);
                peto *= 1.0 - d_f / (n_f + 1.0);
                let w = match weight {
                    LogRankWeight::LogRank => 1.0,
                    LogRankWeight::Gehan => n_f,
                    LogRankWeight::TaroneWare => n_f.sqrt(),
                    LogRankWeight::Peto => peto,
                    LogRankWeight::FlemingHarrington { rho, gamma } => {
                        survival.powf(rho) * (1.0 - survival).powf(gamma)
                    }
                };
                survival *= 1.0 - d_f / n_f;
                self.add_event_time(&at_risk, n, &events, w);
            }
            for (left, gone) in at_risk.iter_mut().zip(&gone) {
                *left -= gone;
            }
            n -= same_time.len() as u64;
        }
    }

    fn add_event_time(&mut self, at_risk: &[u64], n: u64, events: &[u64], w: f64) {
        let n_f = n as f64;
        let d_f = events.iter().sum::<u64>() as f64;
        for ((observed, expected), (&d_g, &n_g)) in
            self.observed.iter_mut().zip(&mut self.expected).zip(events.iter().zip(at_risk))
        {
            *observed += w * d_g as f64;
            *expected += w * d_f * n_g as f64 / n_f;
        }
        if n < 2 {
            return;
        }
        let scale = w * w * d_f * (n_f - d_f) / (n_f - 1.0);
        for (g, (row, &n_g)) in self.variance.iter_mut().zip(at_risk).enumerate() {
            for (h, (cell, &n_h)) in row.iter_mut().zip(at_risk).enumerate() {
                // As n_g (n - n_g) / n^2, the diagonal is exactly 0 where only one group is at risk.
                let share = if g == h { n_g as f64 * (n - n_g) as f64 } else { -(n_g as f64 * n_h as f64) };
                *cell += scale * share / (n_f * n_f);
            }
        }
    }
}

/// One more of a group.
fn count(counts: &mut [u64], group: u32) {
    if let Some(count) = counts.get_mut(group as usize) {
        *count += 1;
    }
}

/// `z' V^- z` and the rank of the covariance matrix `v`, whose rows and `z` each sum to 0.
///
/// `z` lies in the range of `v`, so that every generalised inverse gives the same value. One group follows from
/// the others and is left out: that with the largest variance, which keeps small groups from drowning in its
/// rounding. The others are eliminated largest remaining variance first (Cholesky with pivots); a variance that
/// is gone up to rounding belongs to a group that adds no rank.
pub(crate) fn quadratic_form(z: &[f64], v: &[Vec<f64>]) -> (f64, usize) {
    const GONE: f64 = 1e-10;
    let diagonal: Vec<f64> = v.iter().enumerate().filter_map(|(g, row)| row.get(g).copied()).collect();
    let Some(left_out) = (0..diagonal.len()).max_by(|&a, &b| diagonal[a].total_cmp(&diagonal[b])) else {
        return (0.0, 0);
    };
    let mut z = z.to_vec();
    let mut v = v.to_vec();
    let mut open: Vec<usize> = (0..diagonal.len()).filter(|&g| g != left_out).collect();
    let (mut chi_square, mut rank) = (0.0, 0);
    while let Some(at) = (0..open.len()).max_by(|&a, &b| v[open[a]][open[a]].total_cmp(&v[open[b]][open[b]]))
    {
        let pivot = open.swap_remove(at);
        let variance = v[pivot][pivot];
        if variance <= GONE * diagonal[pivot] {
            continue;
        }
        rank += 1;
        chi_square += z[pivot] * z[pivot] / variance;
        for &g in &open {
            let factor = v[g][pivot] / variance;
            z[g] -= factor * z[pivot];
            for &h in &open {
                let step = factor * v[pivot][h];
                v[g][h] -= step;
            }
        }
    }
    (chi_square, rank)
}
