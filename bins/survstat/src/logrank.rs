//! `survstat logrank`.

use cf_cli::listed;
use cf_report::{SurvivalCurve, survival_curves};
use serde::Serialize;
use survival_metrics::{
    Convention, KaplanMeier, LogRank, LogRankWeight, Outcome, PAdjust, PairwiseLogRank,
    clustered_log_rank_test, pairwise_log_rank_tests, stratified_log_rank_test, weighted_log_rank_test,
};

use crate::args::LogrankArguments;
use crate::choices::TestWeight;
use crate::error::CliError;
use crate::grouping::{Cut, Grouping};
use crate::output;
use crate::sample::{SINGLE_CLUSTER, sample};
use crate::table::Table;

#[derive(Serialize)]
struct LogrankJson<'a> {
    chi_square: f64,
    df: usize,
    p_value: f64,
    log10_p: f64,
    groups: Vec<GroupJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pairs: Vec<PairJson<'a>>,
    /// Where the groups are sides of a risk.
    #[serde(skip_serializing_if = "Option::is_none")]
    cut: Option<&'a Cut>,
}

#[derive(Serialize)]
struct PairJson<'a> {
    first: &'a str,
    second: &'a str,
    /// Null, as all that follows, where the pair has no test.
    chi_square: Option<f64>,
    p_value: Option<f64>,
    log10_p: Option<f64>,
    holm_p: Option<f64>,
    log10_holm_p: Option<f64>,
}

/// Two groups, and their test where they have one.
struct Pair<'a> {
    first: &'a str,
    second: &'a str,
    test: Option<&'a PairwiseLogRank<usize>>,
}

#[derive(Serialize)]
struct GroupJson<'a> {
    level: &'a str,
    n: u64,
    observed: f64,
    expected: f64,
}

pub(crate) fn run(arguments: &LogrankArguments) -> Result<String, CliError> {
    let table = Table::read(&arguments.outcome.csv, "--csv")?;
    let outcomes = table.outcomes(&arguments.outcome)?;
    // The command line requires one of --by and --risk.
    let grouping = Grouping::new(&table, &arguments.groups)?.unwrap_or(Grouping {
        levels: Vec::new(),
        of_subject: vec![0; outcomes.len()],
        cut: None,
    });
    let weight: LogRankWeight = arguments.weight.into();
    let (strata, cluster) = (arguments.strata.as_deref(), arguments.cluster.as_deref());
    let test = match (strata, cluster) {
        (_, Some(_)) => {
            let data = sample(&table, &arguments.outcome, strata, cluster)?;
            clustered_log_rank_test(&data, &grouping.of_subject)
        }
        (None, None) => weighted_log_rank_test(&outcomes, &grouping.of_subject, weight),
        (Some(_), None) if weight != LogRankWeight::LogRank => {
            let problem = "--weight and --strata do not go together".to_owned();
            return Err(CliError::Usage { problem, hint: "leave one of them out" });
        }
        (Some(column), None) => {
            stratified_log_rank_test(&outcomes, &grouping.of_subject, &table.labels(column)?)
        }
    };
    let fault = |source: survival_metrics::Error| {
        let hint = match source {
            survival_metrics::Error::SingleCluster => SINGLE_CLUSTER,
            survival_metrics::Error::ZeroVariance if cluster.is_some() => {
                "clusters that can tell groups apart must outnumber the groups less one; join groups, or leave --cluster out if rows are \
                 independent"
            }
            survival_metrics::Error::ZeroVariance => {
                "at no event time are two groups at risk with a choice of who fails; with --strata, groups must mix within them"
            }
            survival_metrics::Error::SingleGroup => {
                "all rows are in one group; name a column with two values or more, or another --cut"
            }
            _ => "check --event and --censored-is; with --strata, groups must mix within strata",
        };
        let problem = format!("log-rank test of the groups {}: {source}", listed(&grouping.levels));
        CliError::in_file(table.path(), problem, hint)
    };
    let test = test.map_err(fault)?;
    let pairwise = || pairwise_log_rank_tests(&outcomes, &grouping.of_subject, weight, PAdjust::Holm);
    let pair_tests = arguments.pairwise.then(pairwise).transpose().map_err(fault)?;
    let pairs = pair_tests.as_deref().map_or_else(Vec::new, |tests| pairs_of(&grouping, tests));
    let p = output::p_value(test.p_value, test.log10_p);
    let name = arguments.weight.name_of_test();
    let cut = grouping.cut.as_ref().map(|cut| format!("{}; ", cut.short())).unwrap_or_default();
    draw(arguments, &outcomes, &grouping, &format!("{cut}{name} p = {p}")).map_err(|error| match error {
        Drawing::Statistics(source) => fault(source),
        Drawing::Output(error) => error,
    })?;
    if arguments.json {
        output::json(&to_json(&test, &pairs, &grouping))
    } else {
        Ok(describe(arguments.weight, &test, &pairs, &grouping))
    }
}

enum Drawing {
    Statistics(survival_metrics::Error),
    Output(CliError),
}

fn draw(
    arguments: &LogrankArguments,
    outcomes: &[Outcome],
    grouping: &Grouping,
    note: &str,
) -> Result<(), Drawing> {
    let convention: Convention = arguments.convention.into();
    let mut curves = Vec::new();
    for at in 0..grouping.levels.len() {
        let km = KaplanMeier::fit(&grouping.members(outcomes, at)).map_err(Drawing::Statistics)?;
        let limits = km.confidence_limits(0.95, convention.ci_type()).map_err(Drawing::Statistics)?;
        curves.push((km, limits));
    }
    let drawn: Vec<SurvivalCurve<'_>> = grouping
        .levels
        .iter()
        .zip(&curves)
        .map(|(name, (km, limits))| SurvivalCurve { name, km, limits })
        .collect();
    let title = "Kaplan-Meier estimate of survival";
    output::svg(arguments.svg.as_deref(), || survival_curves(title, note, &arguments.outcome.time, &drawn))
        .map_err(Drawing::Output)
}

/// All pairs of groups; a pair without variance has no test.
fn pairs_of<'a>(grouping: &'a Grouping, tests: &'a [PairwiseLogRank<usize>]) -> Vec<Pair<'a>> {
    let is_of = |test: &&PairwiseLogRank<usize>, pair: [usize; 2]| {
        test.test.groups.iter().map(|group| group.level).eq(pair)
    };
    // They come in the order of the pairs.
    let mut tests = tests.iter().peekable();
    let mut pairs = Vec::new();
    for (a, first) in grouping.levels.iter().enumerate() {
        for (b, second) in grouping.levels.iter().enumerate().skip(a + 1) {
            pairs.push(Pair { first, second, test: tests.next_if(|test| is_of(test, [a, b])) });
        }
    }
    pairs
}

fn to_json<'a>(test: &LogRank<usize>, pairs: &[Pair<'a>], grouping: &'a Grouping) -> LogrankJson<'a> {
    let pair = |pair: &Pair<'a>| PairJson {
        first: pair.first,
        second: pair.second,
        chi_square: pair.test.map(|of| of.test.chi_square),
        p_value: pair.test.map(|of| of.test.p_value),
        log10_p: pair.test.map(|of| of.test.log10_p),
        holm_p: pair.test.map(|of| of.adjusted_p),
        log10_holm_p: pair.test.map(|of| of.log10_adjusted_p),
    };
    let groups = test.groups.iter().zip(&grouping.levels).map(|(group, level)| GroupJson {
        level,
        n: group.n,
        observed: group.observed,
        expected: group.expected,
    });
    LogrankJson {
        chi_square: test.chi_square,
        df: test.df,
        p_value: test.p_value,
        log10_p: test.log10_p,
        groups: groups.collect(),
        pairs: pairs.iter().map(pair).collect(),
        cut: grouping.cut.as_ref(),
    }
}

fn describe(weight: TestWeight, test: &LogRank<usize>, pairs: &[Pair<'_>], grouping: &Grouping) -> String {
    let mut rows = vec![["group", "n", "observed", "expected"].map(str::to_owned).to_vec()];
    for (group, level) in test.groups.iter().zip(&grouping.levels) {
        // Numbers of events, unless events are weighted.
        let observed = match weight {
            TestWeight::Logrank => group.observed.to_string(),
            TestWeight::Gehan | TestWeight::TaroneWare | TestWeight::Peto => format!("{:.2}", group.observed),
        };
        rows.push(vec![level.clone(), group.n.to_string(), observed, format!("{:.2}", group.expected)]);
    }
    let mut pair_rows = vec![["pair", "chi-square", "p", "p (Holm)"].map(str::to_owned).to_vec()];
    for pair in pairs {
        let mut row = vec![format!("{} and {}", pair.first, pair.second)];
        row.extend(pair.test.map_or_else(
            || ["-"; 3].map(str::to_owned),
            |of| {
                [
                    format!("{:.4}", of.test.chi_square),
                    output::p_value(of.test.p_value, of.test.log10_p),
                    output::p_value(of.adjusted_p, of.log10_adjusted_p),
                ]
            },
        ));
        pair_rows.push(row);
    }
    let note = if pairs.iter().any(|pair| pair.test.is_none()) {
        "-: at no event time are both groups at risk with a choice of who fails; p (Holm) is of the other pairs\n"
    } else {
        ""
    };
    let pair_table =
        if pairs.is_empty() { String::new() } else { format!("\n{}{note}", output::aligned(&pair_rows)) };
    let cut = grouping.cut.as_ref().map(|cut| format!("{}\n\n", cut.words())).unwrap_or_default();
    format!(
        "{cut}{}\n{} chi-square = {:.4}, df = {}, p = {}\n{pair_table}",
        output::aligned(&rows),
        weight.name_of_test(),
        test.chi_square,
        test.df,
        output::p_value(test.p_value, test.log10_p)
    )
}
