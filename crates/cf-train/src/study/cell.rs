//! One cell of the tables: the finished folds of all seeds of a cohort, model and encoder.

use survival_metrics::{BootstrapConfig, CvSummary, FoldRisks, bootstrap_mean_c_indices};

use super::finished::FinishedRun;
use super::published;
use super::results::{Cell, Estimate, FoldResult, Published, SeedLogRank};
use crate::error::Result;
use crate::evaluate::{self, CIndex, Cost, FoldPredictions, LogRankSummary, Risks, Summary};
use crate::resampling;

/// A C-index of a run.
type OfSummary = fn(&Summary) -> &CIndex;

/// The risks of a fold that it is made from.
type OfFold = fn(&FoldPredictions) -> Result<Risks>;

/// Joins the runs of one cell, which differ in their seeds; `None` without runs.
///
/// # Errors
/// If a prediction is not usable.
pub(super) fn cell(runs: &[&FinishedRun<'_>]) -> Result<Option<Cell>> {
    let Some(first) = runs.first() else { return Ok(None) };
    let begun: Vec<&FinishedRun<'_>> = runs.iter().copied().filter(|run| !run.folds.is_empty()).collect();
    let cost = Cost { wall_seconds: 0.0, peak_rss_bytes: 0 };
    let summaries: Vec<Summary> = begun
        .iter()
        .map(|run| evaluate::summarise(&run.config, &run.predictions, cost))
        .collect::<Result<_>>()?;
    let levels: [(OfSummary, OfFold); 3] = [
        (|summary| &summary.c_index, |fold| Risks::of_slides(&fold.selected)),
        (|summary| &summary.patient_c_index, |fold| Ok(Risks::of_slides(&fold.selected)?.of_patients())),
        (|summary| &summary.last_epoch_c_index, |fold| Risks::of_slides(&fold.last)),
    ];
    let mut estimates = Vec::new();
    for (c_index, risks) in levels {
        let of_seeds: Vec<&CIndex> = summaries.iter().map(c_index).collect();
        estimates.push(estimate(&of_seeds, &begun, risks)?);
    }
    let mut estimates = estimates.into_iter();
    let mut next = || estimates.next().unwrap_or_else(Estimate::nothing);
    let (c_index, patient_c_index, last_epoch_c_index) = (next(), next(), next());

    let folds = begun.iter().zip(&summaries).flat_map(|(run, summary)| fold_results(run, summary)).collect();
    let tests = |test_of: fn(&Summary) -> Option<LogRankSummary>| -> Vec<SeedLogRank> {
        let of_seeds = begun.iter().zip(&summaries);
        let test = |(run, summary): (&&FinishedRun<'_>, &Summary)| {
            let LogRankSummary { chi_square, p_value } = test_of(summary)?;
            Some(SeedLogRank { seed: run.run.seed, chi_square, p_value })
        };
        of_seeds.filter_map(test).collect()
    };
    let most = |count: fn(&Summary) -> usize| summaries.iter().map(count).max().unwrap_or(0);
    let (cohort, model, backbone) = (&first.run.cohort, &first.run.model, &first.run.backbone);
    let published = published::c_index(model, backbone, cohort).map(|(mean, sd)| Published {
        mean,
        sd,
        difference: c_index.mean.map(|ours| ours - mean),
    });
    Ok(Some(Cell {
        cohort: cohort.clone(),
        model: model.clone(),
        backbone: backbone.clone(),
        is_complete: runs.iter().all(|run| run.folds.len() == run.n_planned),
        protocol: first.run.protocol.clone(),
        folds,
        c_index,
        patient_c_index,
        last_epoch_c_index,
        log_rank: tests(|summary| Some(summary.log_rank.clone())),
        log_rank_learned_cut: tests(|summary| Some(summary.log_rank_learned_cut.as_ref()?.test())),
        patient_log_rank_learned_cut: tests(|summary| {
            Some(summary.patient_log_rank_learned_cut.as_ref()?.test())
        }),
        n_slides: most(|summary| summary.n_slides),
        n_patients: most(|summary| summary.n_patients),
        n_event_patients: most(|summary| summary.n_event_patients),
        n_validated_twice: most(|summary| summary.n_validated_twice),
        wall_seconds: begun.iter().flat_map(|run| &run.folds).map(|fold| fold.seconds()).sum(),
        published,
    }))
}

fn fold_results(run: &FinishedRun<'_>, summary: &Summary) -> Vec<FoldResult> {
    let at = |c_index: &CIndex, index: usize| c_index.folds.get(index).copied().flatten();
    let folds = run.folds.iter().enumerate().map(|(index, fold)| FoldResult {
        seed: run.run.seed,
        fold: fold.fold,
        task: fold.task.clone(),
        c_index: at(&summary.c_index, index),
        patient_c_index: at(&summary.patient_c_index, index),
        last_epoch_c_index: at(&summary.last_epoch_c_index, index),
        best_epoch_c_index: fold.best_epoch_c_index(),
        final_epoch_c_index: fold.final_epoch_c_index(),
    });
    folds.collect()
}

impl Estimate {
    fn nothing() -> Self {
        Self { mean: None, sd: None, n: 0, ci95: None }
    }
}

/// Mean over the folds of all seeds. Its interval resamples patients alike for all seeds, which score the same patients.
fn estimate(of_seeds: &[&CIndex], runs: &[&FinishedRun<'_>], risks: OfFold) -> Result<Estimate> {
    let values: Vec<f64> =
        of_seeds.iter().flat_map(|c_index| c_index.folds.iter().flatten()).copied().collect();
    if values.is_empty() {
        return Ok(Estimate::nothing());
    }
    let summary = CvSummary::new(&values)?;
    let ci95 = match of_seeds {
        [only] => only.ci95,
        _ => {
            let seed = runs.first().map_or(0, |run| run.run.seed);
            let config = BootstrapConfig { seed, ..BootstrapConfig::default() };
            let folds =
                |run: &&FinishedRun<'_>| run.predictions.iter().map(risks).collect::<Result<Vec<Risks>>>();
            let of_runs: Vec<Vec<Risks>> = runs.iter().map(folds).collect::<Result<_>>()?;
            resampling::interval(&resamples_over_seeds(&of_runs, config)?, config.level).ok()
        }
    };
    let sd = (values.len() > 1).then(|| summary.population_sd());
    Ok(Estimate { mean: Some(summary.mean()), sd, n: values.len(), ci95 })
}

/// For each resample the mean over seeds of the mean over folds; folds without a C-index are left out.
///
/// # Errors
/// If a risk is NaN.
pub(super) fn resamples_over_seeds(
    seeds: &[Vec<Risks>],
    config: BootstrapConfig,
) -> Result<Vec<Option<f64>>> {
    let mut sums: Vec<Option<f64>> = vec![Some(0.0); config.replicates];
    for folds in seeds {
        let mut usable = Vec::new();
        for fold in folds {
            if fold.c_index()?.is_some() {
                usable.push(FoldRisks {
                    outcomes: &fold.outcomes,
                    risk: &fold.risk,
                    clusters: &fold.patients,
                });
            }
        }
        let means = bootstrap_mean_c_indices(&usable, config)?;
        sums.iter_mut().zip(means).for_each(|(sum, mean)| *sum = sum.zip(mean).map(|(sum, mean)| sum + mean));
    }
    let n = seeds.len().max(1) as f64;
    Ok(sums.into_iter().map(|sum| sum.map(|sum| sum / n)).collect())
}
