//! `survstat km`.

use cf_report::{SurvivalCurve, percent, survival_curves};
use serde::Serialize;
use survival_metrics::{CiType, Convention, KaplanMeier, Outcome, SurvivalQuantile};

use crate::args::KmArguments;
use crate::error::CliError;
use crate::grouping::{Cut, Grouping};
use crate::output;
use crate::table::Table;

/// One curve. A limit that is undefined is null.
#[derive(Serialize)]
struct KmJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<&'a str>,
    time: &'a [f64],
    survival: &'a [f64],
    lower: Vec<Option<f64>>,
    upper: Vec<Option<f64>>,
    at_risk: &'a [u64],
    median: Option<f64>,
    /// Where the lower limits of the curve cross 1/2.
    median_lower: Option<f64>,
    /// Where the upper limits do.
    median_upper: Option<f64>,
    /// At the times that were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    at: Vec<AtTime>,
    /// Where the groups are sides of a risk.
    #[serde(skip_serializing_if = "Option::is_none")]
    cut: Option<&'a Cut>,
}

/// The curve at one time. Survival is null after the last observed time of a curve that has not come down to 0: nobody was seen there.
#[derive(Serialize)]
struct AtTime {
    time: f64,
    survival: Option<f64>,
    lower: Option<f64>,
    upper: Option<f64>,
    /// Just before the time.
    at_risk: u64,
    /// Up to the time, including it.
    #[serde(skip)]
    events: u64,
    #[serde(skip)]
    censored: u64,
}

struct Curve {
    level: Option<String>,
    km: KaplanMeier,
    limits: Vec<Option<(f64, f64)>>,
    median: SurvivalQuantile,
}

pub(crate) fn run(arguments: &KmArguments) -> Result<String, CliError> {
    let table = Table::read(&arguments.outcome.csv, "--csv")?;
    let outcomes = table.outcomes(&arguments.outcome)?;
    let convention: Convention = arguments.convention.into();
    let ci_type: CiType = arguments.ci.map_or(convention.ci_type(), Into::into);
    let fit = |level: Option<String>, outcomes: &[Outcome]| {
        let km = KaplanMeier::fit(outcomes);
        let fitted = km.and_then(|km| {
            let rule = convention.quantile_rule();
            let median = km.quantile_with_limits(0.5, arguments.level, ci_type, rule)?;
            Ok((km.confidence_limits(arguments.level, ci_type)?, median, km))
        });
        let (limits, median, km) = fitted.map_err(|source| {
            CliError::in_file(
                table.path(),
                format!("Kaplan-Meier curve: {source}"),
                "check --level and the rows of the file",
            )
        })?;
        Ok::<_, CliError>(Curve { level, km, limits, median })
    };
    let grouping = Grouping::new(&table, &arguments.groups)?;
    let cut = grouping.as_ref().and_then(|grouping| grouping.cut.as_ref());
    let curves = match &grouping {
        None => vec![fit(None, &outcomes)?],
        Some(grouping) => {
            let curve =
                |(at, level): (usize, &String)| fit(Some(level.clone()), &grouping.members(&outcomes, at));
            grouping.levels.iter().enumerate().map(curve).collect::<Result<_, _>>()?
        }
    };
    output::svg(arguments.svg.as_deref(), || {
        let drawn: Vec<SurvivalCurve<'_>> = curves
            .iter()
            .map(|curve| SurvivalCurve {
                name: curve.level.as_deref().unwrap_or("all"),
                km: &curve.km,
                limits: &curve.limits,
            })
            .collect();
        let note = cut.map(Cut::short).unwrap_or_default();
        survival_curves("Kaplan-Meier estimate of survival", &note, &arguments.outcome.time, &drawn)
    })?;
    if arguments.json {
        let all: Vec<KmJson<'_>> = curves.iter().map(|curve| to_json(curve, &arguments.at, cut)).collect();
        return match all.as_slice() {
            [one] if one.level.is_none() => output::json(one),
            several => output::json(several),
        };
    }
    let texts: Vec<String> =
        curves.iter().map(|curve| describe(curve, &arguments.at, arguments.level)).collect();
    let cut = cut.map(|cut| format!("{}\n\n", cut.words())).unwrap_or_default();
    Ok(cut + &texts.join("\n"))
}

impl Curve {
    fn at(&self, time: f64) -> AtTime {
        let (km, seen) = (&self.km, self.km.times().partition_point(|&t| t <= time));
        let is_known = seen < km.times().len()
            || km.times().last().is_some_and(|&last| last == time)
            || km.survival().last() == Some(&0.0);
        // Before the first time everybody is alive, for certain.
        let limits = match seen.checked_sub(1) {
            Some(last) => self.limits.get(last).copied().flatten(),
            None => Some((1.0, 1.0)),
        };
        let limits = limits.filter(|_| is_known);
        let sum = |counts: &[u64]| counts.iter().take(seen).sum();
        AtTime {
            time,
            survival: is_known.then(|| km.survival_at(time)),
            lower: limits.map(|limits| limits.0),
            upper: limits.map(|limits| limits.1),
            at_risk: km.at_risk_at(time),
            events: sum(km.events()),
            censored: sum(km.censored()),
        }
    }
}

fn to_json<'a>(curve: &'a Curve, at: &[f64], cut: Option<&'a Cut>) -> KmJson<'a> {
    KmJson {
        level: curve.level.as_deref(),
        time: curve.km.times(),
        survival: curve.km.survival(),
        lower: curve.limits.iter().map(|limits| limits.map(|l| l.0)).collect(),
        upper: curve.limits.iter().map(|limits| limits.map(|l| l.1)).collect(),
        at_risk: curve.km.at_risk(),
        median: curve.median.time,
        median_lower: curve.median.lower,
        median_upper: curve.median.upper,
        at: at.iter().map(|&time| curve.at(time)).collect(),
        cut,
    }
}

/// The whole curve or, where times are asked for, the curve at these, with the events and censorings up to each.
fn describe(curve: &Curve, at: &[f64], level: f64) -> String {
    let km = &curve.km;
    let titles = ["time", "at risk", "events", "censored", "survival"].map(str::to_owned);
    let mut rows = vec![titles.into_iter().chain(output::limit_titles(level)).collect()];
    let mut row = |at: &AtTime| {
        rows.push(vec![
            at.time.to_string(),
            at.at_risk.to_string(),
            at.events.to_string(),
            at.censored.to_string(),
            output::limit(at.survival),
            output::limit(at.lower),
            output::limit(at.upper),
        ]);
    };
    let mut note = "";
    if at.is_empty() {
        let counts = km.at_risk().iter().zip(km.events()).zip(km.censored());
        let points = km.times().iter().zip(km.survival()).zip(&curve.limits);
        for (((&time, &survival), limits), ((&at_risk, &events), &censored)) in points.zip(counts) {
            let (lower, upper) = (limits.map(|limits| limits.0), limits.map(|limits| limits.1));
            row(&AtTime { time, survival: Some(survival), lower, upper, at_risk, events, censored });
        }
    } else {
        for &time in at {
            let at = curve.at(time);
            if at.survival.is_none() {
                note = "-: after the last observed time, where nobody was seen\n";
            }
            row(&at);
        }
    }
    let n_events: u64 = km.events().iter().sum();
    let median = median_in_words(&curve.median, level);
    let name = curve.level.as_deref().map(|level| format!("{level}: ")).unwrap_or_default();
    format!(
        "{name}{} subjects, {n_events} events, median survival {median}\n\n{}{note}",
        km.n_subjects(),
        output::aligned(&rows)
    )
}

/// The median with its limits; a limit that is not reached is `-`.
fn median_in_words(median: &SurvivalQuantile, level: f64) -> String {
    let Some(time) = median.time else {
        let from = median.lower.map(|lower| format!(" (from {lower} on, by the lower limits)"));
        return format!("not reached{}", from.unwrap_or_default());
    };
    let limit = |limit: Option<f64>| limit.map_or_else(|| "-".to_owned(), |time| time.to_string());
    let (lower, upper) = (limit(median.lower), limit(median.upper));
    format!("{time} ({} limits {lower} to {upper})", percent(level))
}
