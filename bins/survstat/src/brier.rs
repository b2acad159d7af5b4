//! `survstat brier`.

use cf_report::{TimeCurve, TimeCurves, TimeQuantity, time_curves};
use serde::Serialize;
use survival_metrics::{
    Convention, CurveLookup, Error, KaplanMeier, PredictedSurvival, ScoreOverTime, TimeIntegral, brier_score,
};

use crate::args::BrierArguments;
use crate::choices::Library;
use crate::error::CliError;
use crate::output;
use crate::sample::{censoring, training};
use crate::table::Table;

#[derive(Serialize)]
struct BrierJson<'a> {
    time: &'a [f64],
    brier: &'a [f64],
    reference: &'a [f64],
    /// 1 - brier / reference; null where the reference is 0.
    accuracy: &'a [Option<f64>],
    integrated_brier: f64,
    integrated_reference: f64,
}

pub(crate) fn run(arguments: &BrierArguments) -> Result<String, CliError> {
    let table = Table::read(&arguments.outcome.csv, "--csv")?;
    let outcomes = table.outcomes(&arguments.outcome)?;
    let columns =
        table.columns_at((&arguments.survival_prefix, &arguments.survival_suffix), &arguments.outcome)?;
    if columns.is_empty() {
        let problem = format!("no column is called `{}` followed by a time", arguments.survival_prefix);
        return Err(CliError::in_file(table.path(), problem, "name the prefix with --survival-prefix"));
    }
    if let Some([(_, first), (_, second)]) = columns.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let problem = format!("columns `{first}` and `{second}` are of the same time");
        return Err(CliError::in_file(table.path(), problem, "leave one of them out, or rename it"));
    }
    let times: Vec<f64> = columns.iter().map(|(t, _)| *t).collect();
    let values: Vec<Vec<f64>> =
        columns.iter().map(|(_, name)| table.probabilities(name)).collect::<Result<_, _>>()?;
    let by_row = (0..outcomes.len()).flat_map(|row| values.iter().filter_map(move |v| v.get(row)).copied());
    let end = outcomes.iter().map(|outcome| outcome.time()).fold(0.0, f64::max);
    let fault = |source: Error| {
        let hint = match source {
            Error::TimeBeyondFollowUp { .. } => "leave out the columns of later times",
            Error::CensoringSurvivalZero { time, .. } if time >= end => {
                "leave out the columns of later times"
            }
            Error::CensoringSurvivalZero { .. } | Error::TimeBeyondTraining { .. } => {
                "leave out the columns of later times, or name a sample with a longer follow-up with --train"
            }
            _ => "columns of predicted survival are called by times of at least 0",
        };
        CliError::in_file(table.path(), format!("Brier score: {source}"), hint)
    };
    if let (Library::ScikitSurvival, Some(last)) =
        (arguments.convention, times.last().filter(|last| **last >= end))
    {
        let problem = format!(
            "Brier score: time {last} is not below the last one of the file, {end}, as scikit-survival wants it"
        );
        let hint = "leave out the columns of later times, or take another --convention";
        return Err(CliError::in_file(table.path(), problem, hint));
    }
    let curves = PredictedSurvival::new(&times, by_row.collect(), CurveLookup::Post).map_err(fault)?;
    let config = Convention::from(arguments.convention).brier();
    let train = training(arguments.train.as_deref(), &arguments.outcome, &outcomes)?;
    let g = censoring(&table, &train, config.censoring.ties)?;
    let km = KaplanMeier::fit(&train).map_err(fault)?;
    let known: Vec<f64> = times.iter().map(|&t| km.survival_at(t)).collect();
    let same = PredictedSurvival::same_for_all(&times, &known, outcomes.len()).map_err(fault)?;
    let score = brier_score(&outcomes, &curves, &times, &g, config).map_err(fault)?;
    let reference = brier_score(&outcomes, &same, &times, &g, config).map_err(fault)?;
    output::svg(arguments.svg.as_deref(), || {
        let curve = |label: &str, score: &ScoreOverTime| TimeCurve {
            label: label.to_owned(),
            times: score.times.clone(),
            values: score.scores.clone(),
            limits: Vec::new(),
        };
        let curves = [curve("predictions", &score), curve("Kaplan-Meier reference", &reference)];
        let title = "Brier score over time";
        let time_label = &arguments.outcome.time;
        time_curves(&TimeCurves { title, quantity: TimeQuantity::Brier, time_label, curves: &curves })
    })?;
    let accuracy = score.accuracy_against(&reference);
    let integrated = [&score, &reference].map(|s| s.integrated(TimeIntegral::Trapezoid));
    if arguments.json {
        return output::json(&BrierJson {
            time: &times,
            brier: &score.scores,
            reference: &reference.scores,
            accuracy: &accuracy,
            integrated_brier: integrated[0],
            integrated_reference: integrated[1],
        });
    }
    let mut rows = vec![["time", "Brier", "reference", "accuracy"].map(str::to_owned).to_vec()];
    for (((t, score), reference), accuracy) in
        times.iter().zip(&score.scores).zip(&reference.scores).zip(&accuracy)
    {
        let accuracy = output::limit(*accuracy);
        rows.push(vec![t.to_string(), format!("{score:.4}"), format!("{reference:.4}"), accuracy]);
    }
    Ok(format!(
        "{}\nintegrated Brier score = {:.4}, of the Kaplan-Meier reference {:.4}\n",
        output::aligned(&rows),
        integrated[0],
        integrated[1]
    ))
}
