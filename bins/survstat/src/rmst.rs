//! `survstat rmst`.

use serde::Serialize;
use survival_metrics::{KaplanMeier, RestrictedMean, RestrictedMeanDifference, restricted_mean};

use crate::args::RmstArguments;
use crate::error::CliError;
use crate::grouping::{Cut, Grouping};
use crate::output;
use crate::table::Table;

#[derive(Serialize)]
struct RmstJson<'a> {
    /// The horizon of all groups.
    tau: f64,
    groups: Vec<GroupJson<'a>>,
    /// Each group against the first one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<DifferenceJson<'a>>,
    /// Where the groups are sides of a risk.
    #[serde(skip_serializing_if = "Option::is_none")]
    cut: Option<&'a Cut>,
}

#[derive(Serialize)]
struct GroupJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<&'a str>,
    n: u64,
    /// Up to the horizon.
    n_events: u64,
    rmst: f64,
    standard_error: f64,
    lower: f64,
    upper: f64,
}

/// `first` minus `second`; all but the difference is null where neither mean has an error, as before the first event.
#[derive(Serialize)]
struct DifferenceJson<'a> {
    first: &'a str,
    second: &'a str,
    difference: f64,
    standard_error: Option<f64>,
    lower: Option<f64>,
    upper: Option<f64>,
    p_value: Option<f64>,
    log10_p: Option<f64>,
}

/// A group and its curve.
struct Group<'a> {
    level: Option<&'a str>,
    km: KaplanMeier,
}

impl Group<'_> {
    fn last_time(&self) -> f64 {
        self.km.times().last().copied().unwrap_or(0.0)
    }

    /// Whether nobody is known to be alive after the last time.
    fn ends(&self) -> bool {
        self.km.survival().last() == Some(&0.0)
    }
}

pub(crate) fn run(arguments: &RmstArguments) -> Result<String, CliError> {
    let table = Table::read(&arguments.outcome.csv, "--csv")?;
    let outcomes = table.outcomes(&arguments.outcome)?;
    let fault = |problem: String, hint: &'static str| CliError::in_file(table.path(), problem, hint);
    let grouping = Grouping::new(&table, &arguments.groups)?;
    let fit = |level, members: &[_]| {
        let km = KaplanMeier::fit(members)
            .map_err(|source| fault(format!("Kaplan-Meier curve: {source}"), "check the rows of the file"))?;
        Ok::<_, CliError>(Group { level, km })
    };
    let groups = match &grouping {
        None => vec![fit(None, &outcomes)?],
        Some(grouping) => {
            let levels = grouping.levels.iter().enumerate();
            levels
                .map(|(at, level)| fit(Some(level.as_str()), &grouping.members(&outcomes, at)))
                .collect::<Result<_, _>>()?
        }
    };
    let earliest = groups.iter().map(Group::last_time).fold(f64::INFINITY, f64::min);
    let tau = arguments.tau.unwrap_or(earliest);
    let mean = |group: &Group<'_>| {
        restricted_mean(&group.km, tau).map_err(|source| {
            if tau > group.last_time() && !group.ends() {
                let who = group.level.map(|level| format!(" of `{level}`")).unwrap_or_default();
                let problem = format!(
                    "follow-up{who} ends at {}, expected no end before --tau {tau}",
                    group.last_time()
                );
                return fault(problem, "give an earlier --tau, or none");
            }
            fault(format!("restricted mean up to {tau}: {source}"), "give a later --tau")
        })
    };
    let means = groups.iter().map(mean).collect::<Result<Vec<_>, _>>()?;
    let compared = |mean: &RestrictedMean, first: &RestrictedMean| match mean.compare(first, arguments.level)
    {
        Ok(difference) => Ok(Some(difference)),
        Err(survival_metrics::Error::ZeroVariance) => Ok(None),
        Err(source) => Err(fault(format!("difference of restricted means: {source}"), "check --level")),
    };
    let differences: Vec<Option<RestrictedMeanDifference>> = match means.as_slice() {
        [first, others @ ..] => others.iter().map(|mean| compared(mean, first)).collect::<Result<_, _>>()?,
        [] => Vec::new(),
    };
    let cut = grouping.as_ref().and_then(|grouping| grouping.cut.as_ref());
    let json = to_json((tau, arguments.level), (&groups, &means), &differences, cut)
        .map_err(|source| fault(format!("interval: {source}"), "check --level"))?;
    if arguments.json { output::json(&json) } else { Ok(describe(&json, arguments)) }
}

fn to_json<'a>(
    (tau, level): (f64, f64),
    (groups, means): (&[Group<'a>], &[RestrictedMean]),
    differences: &[Option<RestrictedMeanDifference>],
    cut: Option<&'a Cut>,
) -> survival_metrics::Result<RmstJson<'a>> {
    let of_group = |(group, mean): (&Group<'a>, &RestrictedMean)| {
        let (lower, upper) = mean.interval(level)?;
        let events = group.km.times().iter().zip(group.km.events()).take_while(|(time, _)| **time <= tau);
        Ok(GroupJson {
            level: group.level,
            n: group.km.n_subjects(),
            n_events: events.map(|(_, events)| events).sum(),
            rmst: mean.mean,
            standard_error: mean.standard_error,
            lower,
            upper,
        })
    };
    let mean = |at: usize| means.get(at).map_or(0.0, |mean| mean.mean);
    let name = |at: usize| groups.get(at).and_then(|group| group.level).unwrap_or_default();
    let difference = |(at, difference): (usize, &Option<RestrictedMeanDifference>)| DifferenceJson {
        first: name(at + 1),
        second: name(0),
        difference: mean(at + 1) - mean(0),
        standard_error: difference.map(|of| of.standard_error),
        lower: difference.map(|of| of.lower),
        upper: difference.map(|of| of.upper),
        p_value: difference.map(|of| of.p_value),
        log10_p: difference.map(|of| of.log10_p),
    };
    Ok(RmstJson {
        tau,
        groups: groups.iter().zip(means).map(of_group).collect::<survival_metrics::Result<_>>()?,
        differences: differences.iter().enumerate().map(difference).collect(),
        cut,
    })
}

fn describe(found: &RmstJson<'_>, arguments: &RmstArguments) -> String {
    let titled = |titles: &[&str]| titles.iter().map(|title| (*title).to_owned()).collect::<Vec<_>>();
    let limits = output::limit_titles(arguments.level);
    let mut rows = vec![[titled(&["group", "n", "events", "mean", "s.e."]), limits.to_vec()].concat()];
    for group in &found.groups {
        let numbers = [group.rmst, group.standard_error, group.lower, group.upper];
        let mut row = titled(&[group.level.unwrap_or("all")]);
        row.extend([group.n, group.n_events].map(|n| n.to_string()));
        row.extend(numbers.map(|number| output::limit(Some(number))));
        rows.push(row);
    }
    let cut = found.cut.map(|cut| format!("{}\n\n", cut.words())).unwrap_or_default();
    let horizon = match arguments.tau {
        Some(_) => "",
        None if found.groups.len() > 1 => ", the earliest of the groups' last times (--tau)",
        None => ", the last time (--tau)",
    };
    let mut text = format!(
        "{cut}Restricted mean of `{}` up to {}{horizon}\n\n{}",
        arguments.outcome.time,
        found.tau,
        output::aligned(&rows)
    );
    if found.differences.is_empty() {
        return text;
    }
    let mut rows = vec![[titled(&["difference", "mean"]), limits.to_vec(), titled(&["p"])].concat()];
    for of in &found.differences {
        let mut row = vec![format!("{} - {}", of.first, of.second)];
        row.extend([Some(of.difference), of.lower, of.upper].map(output::limit));
        row.push(
            of.p_value.zip(of.log10_p).map_or_else(|| "-".to_owned(), |(p, log)| output::p_value(p, log)),
        );
        rows.push(row);
    }
    text.push('\n');
    text.push_str(&output::aligned(&rows));
    if found.differences.iter().any(|of| of.standard_error.is_none()) {
        text.push_str("-: neither mean has a standard error, so that the difference has none\n");
    }
    text
}
