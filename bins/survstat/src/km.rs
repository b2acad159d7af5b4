//! `survstat km`.

use cf_report::{SurvivalCurve, survival_curves};
use serde::Serialize;
use survival_metrics::{CiType, Convention, KaplanMeier, Outcome};

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
    /// Where the groups are sides of a risk.
    #[serde(skip_serializing_if = "Option::is_none")]
    cut: Option<&'a Cut>,
}

struct Curve {
    level: Option<String>,
    km: KaplanMeier,
    limits: Vec<Option<(f64, f64)>>,
    median: Option<f64>,
}

pub(crate) fn run(arguments: &KmArguments) -> Result<String, CliError> {
    let table = Table::read(&arguments.outcome.csv, "--csv")?;
    let outcomes = table.outcomes(&arguments.outcome)?;
    let convention: Convention = arguments.convention.into();
    let ci_type: CiType = arguments.ci.map_or(convention.ci_type(), Into::into);
    let fit = |level: Option<String>, outcomes: &[Outcome]| {
        let km = KaplanMeier::fit(outcomes);
        let fitted = km.and_then(|km| Ok((km.confidence_limits(arguments.level, ci_type)?, km)));
        let (limits, km) = fitted.map_err(|source| {
            CliError::in_file(
                table.path(),
                format!("Kaplan-Meier curve: {source}"),
                "check --level and the rows of the file",
            )
        })?;
        let median = km.quantile_by(0.5, convention.quantile_rule());
        Ok::<_, CliError>(Curve { level, km, limits, median })
    };
    let grouping = Grouping::new(&table, &arguments.groups)?;
    let cut = grouping.as_ref().and_then(|grouping| grouping.cut.as_ref());
    let curves = match &grouping {
        None => vec![fit(None, &outcomes)?],
        Some(grouping) => {
            let curve = |(at, level): (usize, &String)| {
                let members = outcomes.iter().zip(&grouping.of_subject).filter(|(_, group)| **group == at);
                fit(Some(level.clone()), &members.map(|(o, _)| *o).collect::<Vec<_>>())
            };
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
        let all: Vec<KmJson<'_>> = curves.iter().map(|curve| to_json(curve, cut)).collect();
        return match all.as_slice() {
            [one] if one.level.is_none() => output::json(one),
            several => output::json(several),
        };
    }
    let texts: Vec<String> = curves.iter().map(|curve| describe(curve, arguments.level)).collect();
    let cut = cut.map(|cut| format!("{}\n\n", cut.words())).unwrap_or_default();
    Ok(cut + &texts.join("\n"))
}

fn to_json<'a>(curve: &'a Curve, cut: Option<&'a Cut>) -> KmJson<'a> {
    KmJson {
        level: curve.level.as_deref(),
        time: curve.km.times(),
        survival: curve.km.survival(),
        lower: curve.limits.iter().map(|limits| limits.map(|l| l.0)).collect(),
        upper: curve.limits.iter().map(|limits| limits.map(|l| l.1)).collect(),
        at_risk: curve.km.at_risk(),
        median: curve.median,
        cut,
    }
}

fn describe(curve: &Curve, level: f64) -> String {
    let km = &curve.km;
    let titles = ["time", "at risk", "events", "censored", "survival"].map(str::to_owned);
    let mut rows = vec![titles.into_iter().chain(output::limit_titles(level)).collect()];
    let counts = km.at_risk().iter().zip(km.events()).zip(km.censored());
    let points = km.times().iter().zip(km.survival()).zip(&curve.limits);
    for (((time, survival), limits), ((at_risk, events), censored)) in points.zip(counts) {
        rows.push(vec![
            time.to_string(),
            at_risk.to_string(),
            events.to_string(),
            censored.to_string(),
            format!("{survival:.4}"),
            output::limit(limits.map(|l| l.0)),
            output::limit(limits.map(|l| l.1)),
        ]);
    }
    let n_events: u64 = km.events().iter().sum();
    let median = curve.median.map_or_else(|| "not reached".to_owned(), |median| median.to_string());
    let name = curve.level.as_deref().map(|level| format!("{level}: ")).unwrap_or_default();
    format!(
        "{name}{} subjects, {n_events} events, median survival {median}\n\n{}",
        km.n_subjects(),
        output::aligned(&rows)
    )
}
