//! When resamples make an interval.

use survival_metrics::percentile_interval;

/// Share of the resamples up to which those that some fold left without a value may be passed over. They are those with few events,
/// so that the others flatter: of random risks, simulated in cohorts of 20 to 200 patients with one to eight events a fold, no more
/// intervals exclude 0.5 than should up to here, and twice to four times as many where half of the resamples or more are missing.
const MOST_UNUSABLE: f64 = 0.2;

/// The percentile interval of a mean C-index, or of a difference of two, from its resamples (`None` where a fold has no comparable
/// pair); or why resampling says nothing of its certainty.
pub(crate) fn interval(resamples: &[Option<f64>], level: f64) -> Result<(f64, f64), String> {
    let usable: Vec<f64> = resamples.iter().flatten().copied().collect();
    let unusable = 1.0 - usable.len() as f64 / resamples.len().max(1) as f64;
    if unusable > MOST_UNUSABLE {
        return Err(format!(
            "in {:.0} % of the resamples a fold has no pair that can be compared",
            100.0 * unusable
        ));
    }
    match percentile_interval(usable, level) {
        // As where few patients are in perfect order.
        Ok(Some((lower, upper))) if lower < upper => Ok((lower, upper)),
        Ok(_) => Err("every resample has the same value".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_of_all_resamples_but_a_few() {
        let resamples = |n: usize, n_missing: usize| -> Vec<Option<f64>> {
            (0..n).map(|at| (at >= n_missing).then_some(at as f64)).collect()
        };
        assert_eq!(interval(&resamples(101, 0), 0.5), Ok((25.0, 75.0)));
        assert_eq!(interval(&resamples(126, 25), 0.5), Ok((50.0, 100.0)));
        let reason = interval(&resamples(100, 21), 0.5).unwrap_err();
        assert_eq!(reason, "in 21 % of the resamples a fold has no pair that can be compared");
    }

    #[test]
    fn resamples_of_one_value_make_no_interval() {
        assert_eq!(interval(&[Some(1.0); 40], 0.95), Err("every resample has the same value".to_owned()));
    }
}
