//! `survstat auc`.

use cf_report::{TimeCurve, TimeCurves, TimeQuantity, time_curves};
use serde::Serialize;
use survival_metrics::{
    AucConfig, AucOverTime, Convention, Error, IntervalScale, Outcome, RiskTies, cumulative_dynamic_auc,
    probability_interval,
};

use crate::args::AucArguments;
use crate::error::CliError;
use crate::output;
use crate::sample::{NO_EVENTS, NO_INTERVAL, censoring, known_error, risk, training};
use crate::table::Table;

#[derive(Serialize)]
struct AucJson<'a> {
    time: &'a [f64],
    auc: &'a [f64],
    /// Null, as the limits, where no interval can be had.
    standard_error: &'a [Option<f64>],
    lower: Vec<Option<f64>>,
    upper: Vec<Option<f64>>,
    cases: &'a [usize],
    controls: &'a [usize],
    mean_auc: f64,
}

pub(crate) fn run(arguments: &AucArguments) -> Result<String, CliError> {
    let table = Table::read(&arguments.outcome.csv, "--csv")?;
    let outcomes = table.outcomes(&arguments.outcome)?;
    let risk = risk(&table, &arguments.risk)?;
    let in_words = |problem: &str, hint: &str| {
        CliError::in_file(table.path(), format!("AUC of `{}`: {problem}", arguments.risk), hint)
    };
    let fault = |source: Error| {
        let hint = match source {
            Error::AllCensored { .. } => NO_EVENTS,
            Error::CensoringSurvivalZero { .. } | Error::TimeBeyondTraining { .. } => {
                "name earlier times with --at, or a sample with a longer follow-up with --train"
            }
            _ => "name times with --at that have events before and subjects after them",
        };
        in_words(&source.to_string(), hint)
    };
    if !outcomes.iter().any(|outcome| outcome.is_event()) {
        return Err(fault(Error::AllCensored { n: outcomes.len() }));
    }
    let mut times = if arguments.at.is_empty() { deciles(&outcomes) } else { arguments.at.clone() };
    if times.is_empty() {
        let problem = "no subject outlives an event, so that no time has subjects on both sides of it";
        return Err(in_words(problem, "check --time, --event and --censored-is"));
    }
    times.sort_by(f64::total_cmp);
    if let Some(pair) = times.windows(2).find(|pair| pair[0] == pair[1]) {
        let problem = format!("--at names the time {} twice", pair[0]);
        return Err(CliError::Usage { problem, hint: "name each time once" });
    }
    let convention = Convention::from(arguments.convention);
    let rule = convention.censoring();
    let tie_tolerance = match convention.risk_ties() {
        RiskTies::AbsTol(tolerance) => tolerance,
        RiskTies::Exact => 0.0,
    };
    let g = match &arguments.train {
        None => None,
        Some(path) => {
            let train = training(Some(path.as_path()), &arguments.outcome, &outcomes)?;
            Some(censoring(&table, &train, rule.ties)?)
        }
    };
    let config = AucConfig { tie_tolerance, censoring: rule, training: g.as_ref() };
    let auc = cumulative_dynamic_auc(&outcomes, &risk, &times, &config).map_err(fault)?;
    let errors: Vec<Option<f64>> =
        auc.auc.iter().zip(&auc.standard_error).map(|(&auc, &se)| known_error(auc, se)).collect();
    let interval = |(auc, se): (&f64, &Option<f64>)| {
        se.map(|se| probability_interval(*auc, se, arguments.level, IntervalScale::Logit)).transpose()
    };
    let limits: Vec<Option<(f64, f64)>> =
        auc.auc.iter().zip(&errors).map(interval).collect::<Result<_, _>>().map_err(fault)?;
    output::svg(arguments.svg.as_deref(), || {
        let curve = TimeCurve {
            label: format!("{} (mean {:.3})", arguments.risk, auc.mean),
            times: auc.times.clone(),
            values: auc.auc.clone(),
            // Where none can be had, the band shrinks to the curve.
            limits: limits.iter().zip(&auc.auc).map(|(limits, &auc)| limits.unwrap_or((auc, auc))).collect(),
        };
        let time_label = &arguments.outcome.time;
        let title = "Cumulative/dynamic AUC";
        time_curves(&TimeCurves { title, quantity: TimeQuantity::Auc, time_label, curves: &[curve] })
    })?;
    if arguments.json {
        return output::json(&AucJson {
            time: &auc.times,
            auc: &auc.auc,
            standard_error: &errors,
            lower: limits.iter().map(|limits| limits.map(|l| l.0)).collect(),
            upper: limits.iter().map(|limits| limits.map(|l| l.1)).collect(),
            cases: &auc.n_cases,
            controls: &auc.n_controls,
            mean_auc: auc.mean,
        });
    }
    Ok(describe(&auc, &limits, arguments.level))
}

/// Deciles of the event times that a subject outlives, so that each has a case and a control.
fn deciles(outcomes: &[Outcome]) -> Vec<f64> {
    let last = outcomes.iter().map(|o| o.time()).fold(0.0, f64::max);
    let outlived = outcomes.iter().filter(|o| o.is_event() && o.time() < last);
    let mut events: Vec<f64> = outlived.map(|o| o.time()).collect();
    events.sort_by(f64::total_cmp);
    let mut deciles: Vec<f64> = (1..10).filter_map(|k| events.get(k * events.len() / 10).copied()).collect();
    deciles.dedup();
    deciles
}

fn describe(auc: &AucOverTime, limits: &[Option<(f64, f64)>], level: f64) -> String {
    let titles = ["time", "cases", "controls", "AUC"].map(str::to_owned).into_iter();
    let mut rows: Vec<Vec<String>> = vec![titles.chain(output::limit_titles(level)).collect()];
    for (k, (t, interval)) in auc.times.iter().zip(limits).enumerate() {
        let count = |of: &[usize]| of.get(k).map_or_else(String::new, usize::to_string);
        let value = auc.auc.get(k).copied().unwrap_or_default();
        rows.push(vec![
            t.to_string(),
            count(&auc.n_cases),
            count(&auc.n_controls),
            format!("{value:.4}"),
            output::limit(interval.map(|l| l.0)),
            output::limit(interval.map(|l| l.1)),
        ]);
    }
    let note = if limits.iter().any(Option::is_none) { NO_INTERVAL } else { "" };
    format!("{}{note}\nmean AUC = {:.4}\n", output::aligned(&rows), auc.mean)
}
