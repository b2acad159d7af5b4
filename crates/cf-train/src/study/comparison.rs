//! Two methods on the same patients: the difference of their C-indices, its interval and its tests.

use std::collections::{BTreeMap, BTreeSet};

use survival_metrics::{
    BootstrapConfig, ConcordanceConfig, Outcome, PAdjust, Risk, SurvivalData, adjust_p_values,
    compare_concordance, corrected_resampled_t_test,
};

use super::cell::resamples_over_seeds;
use super::finished::FinishedRun;
use super::results::{Comparison, ComparisonResult, CorrectedT, PairedResult};
use crate::error::Result;
use crate::evaluate::Risks;
use crate::resampling;

/// What one method gave, for one seed: patients with outcome and risk, by fold.
type OfSeed = BTreeMap<usize, BTreeMap<String, (Outcome, f64)>>;

/// Compares two methods over the seeds, folds and patients that both have.
///
/// The test is of patients' C-indices over all pairs within folds, averaged over seeds. Folds are strata, since the models of
/// different folds share no scale; its standard error is the infinitesimal jackknife over patients.
///
/// # Errors
/// If a prediction is not usable.
pub(super) fn compare(
    method: &[&FinishedRun<'_>],
    reference: &[&FinishedRun<'_>],
) -> Result<ComparisonResult> {
    let undefined = |reason: &str| Ok(ComparisonResult::Undefined(reason.to_owned()));
    let mut pairs: Vec<[OfSeed; 2]> = Vec::new();
    let mut test_to_train = Vec::new();
    for run in method {
        let other = reference.iter().find(|other| other.run.seed == run.run.seed);
        let Some(other) = other.filter(|other| !other.folds.is_empty() && !run.folds.is_empty()) else {
            continue;
        };
        pairs.push([of_seed(run)?, of_seed(other)?]);
        test_to_train.extend(run.folds.iter().map(|fold| fold.test_to_train));
    }
    let share_folds = pairs.iter().all(|[one, other]| one.keys().any(|fold| other.contains_key(fold)));
    keep_shared(&mut pairs);
    let Some([first, _]) = pairs.first() else { return undefined("no seed is finished for both") };
    let folds: Vec<usize> = first.keys().copied().collect();
    match (folds.is_empty(), share_folds) {
        (false, _) => {}
        (true, true) => return undefined("no patient is validated by both in the same fold"),
        (true, false) => return undefined("no fold is finished for both"),
    }
    let (mut outcomes, mut strata, mut patients) = (Vec::new(), Vec::new(), Vec::new());
    for (fold, of_fold) in first {
        for (patient, (outcome, _)) in of_fold {
            outcomes.push(*outcome);
            strata.push(*fold);
            patients.push(patient.as_str());
        }
    }
    let risks: Vec<Risk> = pairs
        .iter()
        .flatten()
        .map(|of_seed| {
            Risk::new(&of_seed.values().flat_map(|f| f.values().map(|v| v.1)).collect::<Vec<f64>>())
        })
        .collect::<survival_metrics::Result<_>>()?;
    let n_seeds = pairs.len();
    let share = 1.0 / n_seeds as f64;
    let weights: Vec<f64> = (0..n_seeds).flat_map(|_| [share, -share]).collect();
    let tested = SurvivalData::new(&outcomes)
        .and_then(|data| data.with_strata(&strata)?.with_clusters(&patients))
        .and_then(|data| compare_concordance(&data, &risks, &ConcordanceConfig::default()))
        .and_then(|all| all.contrast(&weights));
    let tested = match tested {
        Ok(tested) => tested,
        Err(error) => return undefined(&untested(&error)),
    };

    let by_fold = fold_differences(&pairs, &folds)?;
    if by_fold.is_empty() {
        return undefined("no fold has a pair of patients that can be compared");
    }
    let ratio = test_to_train.iter().sum::<f64>() / test_to_train.len().max(1) as f64;
    let corrected_t = corrected_resampled_t_test(&by_fold, ratio).ok();
    let seed = method.first().map_or(0, |run| run.run.seed);
    Ok(ComparisonResult::Compared(PairedResult {
        n_patients: patients.iter().collect::<BTreeSet<_>>().len(),
        n_seeds,
        n_folds: folds.len(),
        mean_difference: by_fold.iter().sum::<f64>() / by_fold.len() as f64,
        ci95: interval(&pairs, BootstrapConfig { seed, ..BootstrapConfig::default() })?,
        difference: tested.difference,
        standard_error: tested.standard_error,
        p_value: tested.p_value,
        p_holm: tested.p_value,
        corrected_t: corrected_t.map(|test| CorrectedT { t: test.t, df: test.df, p_value: test.p_value }),
    }))
}

/// Why the C-indices of two methods have no test.
fn untested(error: &survival_metrics::Error) -> String {
    match error {
        survival_metrics::Error::ZeroVariance => {
            "no patient changes the difference of the C-indices, so that it has no standard error".to_owned()
        }
        other => other.to_string(),
    }
}

/// Adjusts the p-values of comparisons that belong together.
///
/// # Errors
/// If a p-value is no probability.
pub(super) fn adjust(family: &mut [Comparison]) -> Result<()> {
    let compared = || {
        family.iter().filter_map(|comparison| match &comparison.result {
            ComparisonResult::Compared(result) => Some(result.p_value),
            ComparisonResult::Undefined(_) => None,
        })
    };
    let adjusted = adjust_p_values(&compared().collect::<Vec<f64>>(), PAdjust::Holm)?;
    let results = family.iter_mut().filter_map(|comparison| match &mut comparison.result {
        ComparisonResult::Compared(result) => Some(result),
        ComparisonResult::Undefined(_) => None,
    });
    results.zip(adjusted).for_each(|(result, p)| result.p_holm = p);
    Ok(())
}

fn of_seed(run: &FinishedRun<'_>) -> Result<OfSeed> {
    let folds = run.predictions.iter().map(|fold| {
        let risks = Risks::of_slides(&fold.selected)?.of_patients();
        let values = risks.outcomes.into_iter().zip(risks.risk);
        Ok((fold.fold, risks.patients.into_iter().zip(values).collect()))
    });
    folds.collect()
}

/// Leaves the folds, and in them the patients, that all have.
fn keep_shared(pairs: &mut [[OfSeed; 2]]) {
    let mut all = pairs.iter().flatten();
    let Some(mut shared) = all.next().cloned() else { return };
    for other in all {
        shared.retain(|fold, patients| {
            let Some(others) = other.get(fold) else { return false };
            patients.retain(|patient, _| others.contains_key(patient));
            !patients.is_empty()
        });
    }
    for of_seed in pairs.iter_mut().flatten() {
        of_seed.retain(|fold, patients| {
            let Some(kept) = shared.get(fold) else { return false };
            patients.retain(|patient, _| kept.contains_key(patient));
            true
        });
    }
}

/// For each fold in which all have a C-index, the mean over seeds of the difference.
fn fold_differences(pairs: &[[OfSeed; 2]], folds: &[usize]) -> Result<Vec<f64>> {
    let mut differences = Vec::new();
    for fold in folds {
        let mut of_seeds = Vec::new();
        for pair in pairs {
            let [method, reference] =
                [0, 1].map(|k| pair.get(k).and_then(|of_seed| of_seed.get(fold)).map(risks_of));
            let (Some(method), Some(reference)) = (method, reference) else { continue };
            of_seeds.extend(method.c_index()?.zip(reference.c_index()?).map(|(a, b)| a - b));
        }
        if of_seeds.len() == pairs.len() {
            differences.push(of_seeds.iter().sum::<f64>() / of_seeds.len() as f64);
        }
    }
    Ok(differences)
}

/// Percentiles of the differences of resamples that are the same for both.
fn interval(pairs: &[[OfSeed; 2]], config: BootstrapConfig) -> Result<Option<(f64, f64)>> {
    let resamples = |k: usize| {
        let seeds: Vec<Vec<Risks>> = pairs
            .iter()
            .map(|pair| pair.get(k).into_iter().flat_map(BTreeMap::values).map(risks_of).collect())
            .collect();
        resamples_over_seeds(&seeds, config)
    };
    let (method, reference) = (resamples(0)?, resamples(1)?);
    let differences: Vec<Option<f64>> =
        method.into_iter().zip(reference).map(|(a, b)| Some(a? - b?)).collect();
    Ok(resampling::interval(&differences, config.level).ok())
}

fn risks_of(patients: &BTreeMap<String, (Outcome, f64)>) -> Risks {
    let mut risks = Risks::default();
    for (patient, (outcome, risk)) in patients {
        risks.outcomes.push(*outcome);
        risks.risk.push(*risk);
        risks.patients.push(patient.clone());
    }
    risks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_that_no_resample_changes_has_no_interval() {
        let patients = |risk: [f64; 4]| -> OfSeed {
            let months = [1.0, 2.0, 3.0, 4.0].map(|t| Outcome::event(t).unwrap());
            let of_fold = (0..4).map(|at| (format!("p{at}"), (months[at], risk[at]))).collect();
            OfSeed::from([(0, of_fold)])
        };
        let same = [[patients([4.0, 3.0, 2.0, 1.0]), patients([8.0, 6.0, 4.0, 2.0])]];
        assert_eq!(interval(&same, BootstrapConfig::default()).unwrap(), None);
        let other = [[patients([4.0, 3.0, 2.0, 1.0]), patients([1.0, 3.0, 4.0, 2.0])]];
        assert!(interval(&other, BootstrapConfig::default()).unwrap().is_some());
    }

    #[test]
    fn methods_without_a_test_say_so_in_terms_of_the_c_index() {
        let outcomes = [1.0, 2.0, 3.0, 4.0].map(|t| Outcome::event(t).unwrap());
        let risks = [[4.0, 3.0, 2.0, 1.0], [0.0; 4]].map(|risk| Risk::new(&risk).unwrap());
        let data = SurvivalData::new(&outcomes).unwrap();
        let all = compare_concordance(&data, &risks, &ConcordanceConfig::default()).unwrap();
        let error = all.contrast(&[1.0, -1.0]).unwrap_err();
        assert!(
            untested(&error).starts_with("no patient changes the difference of the C-indices"),
            "{error}"
        );
        assert!(!error.to_string().contains("log-rank"), "{error}");
    }
}
