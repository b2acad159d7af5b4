//! `survstat cox`.

use cf_report::{ForestPlot, ForestRow, ForestScale, forest_plot};
use serde::Serialize;
use survival_metrics::{CoxModel, CoxTest, CoxVariance, Error, HazardRatio, SurvivalData, cox_model};

use crate::args::CoxArguments;
use crate::cox_terms::{Term, terms};
use crate::error::CliError;
use crate::output;
use crate::sample::{NO_EVENTS, SINGLE_CLUSTER, sample};
use crate::table::Table;

#[derive(Serialize)]
struct CoxJson<'a> {
    covariates: Vec<CovariateJson<'a>>,
    log_likelihood: f64,
    null_log_likelihood: f64,
    likelihood_ratio_test: TestJson,
    wald_test: TestJson,
    score_test: TestJson,
    proportional_hazards_test: Option<TestJson>,
    /// Wald tests of all levels of a column of labels together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    factors: Vec<FactorJson<'a>>,
}

#[derive(Serialize)]
struct FactorJson<'a> {
    factor: &'a str,
    #[serde(flatten)]
    test: TestJson,
}

#[derive(Serialize)]
struct CovariateJson<'a> {
    covariate: &'a str,
    /// Of a column of labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
    coefficient: f64,
    standard_error: f64,
    hazard_ratio: f64,
    lower: f64,
    upper: f64,
    z: f64,
    p_value: f64,
    log10_p: f64,
    proportional_hazards_p: Option<f64>,
}

#[derive(Serialize)]
struct TestJson {
    chi_square: f64,
    df: usize,
    p_value: f64,
    log10_p: f64,
}

impl From<&CoxTest> for TestJson {
    fn from(test: &CoxTest) -> Self {
        Self { chi_square: test.chi_square, df: test.df, p_value: test.p_value, log10_p: test.log10_p }
    }
}

pub(crate) fn run(arguments: &CoxArguments) -> Result<String, CliError> {
    let table = Table::read(&arguments.outcome.csv, "--csv")?;
    let data = sample(&table, &arguments.outcome, arguments.strata.as_deref(), arguments.cluster.as_deref())?;
    let terms = terms(&table, arguments)?;
    let slices: Vec<&[f64]> = terms.iter().map(|term| term.values.as_slice()).collect();
    let names: Vec<String> = terms.iter().map(Term::label).collect();
    let fault = |source: Error| {
        let (problem, hint) = explain(&source, &names);
        CliError::in_file(table.path(), format!("Cox model: {problem}"), hint)
    };
    let model = cox_model(&data, &slices, arguments.ties.into()).map_err(fault)?;
    let variance = if arguments.cluster.is_some() { CoxVariance::Robust } else { CoxVariance::Model };
    let ratios: Vec<HazardRatio> = (0..terms.len())
        .map(|k| model.hazard_ratio(k, arguments.level, variance))
        .collect::<Result<_, _>>()
        .map_err(fault)?;
    let is_shown = |ratio: &HazardRatio| ratio.lower > 0.0 && ratio.upper.is_finite();
    let undrawn = names.iter().zip(&ratios).find(|(_, ratio)| !is_shown(ratio));
    if let (Some(_), Some((name, _))) = (&arguments.svg, undrawn) {
        let problem =
            format!("Cox model: the limits of the hazard ratio of `{name}` are too large or small to draw");
        let hint = "give the column in a larger or smaller unit, or leave --svg out for the numbers alone";
        return Err(CliError::in_file(table.path(), problem, hint));
    }
    output::svg(arguments.svg.as_deref(), || {
        let row = |(name, ratio): (&String, &HazardRatio)| ForestRow {
            label: name.clone(),
            detail: String::new(),
            estimate: ratio.hazard_ratio,
            limits: Some((ratio.lower, ratio.upper)),
        };
        let rows: Vec<ForestRow> = names.iter().zip(&ratios).map(row).collect();
        let title = "Hazard ratios";
        forest_plot(&ForestPlot {
            title,
            scale: ForestScale::HazardRatio,
            level: arguments.level,
            rows: &rows,
        })
    })?;
    // Undefined with exact ties or a single event time.
    let proportional = model.proportional_hazards_test().ok();
    let of_covariate = |k: usize| proportional.as_ref().and_then(|test| test.covariates.get(k));
    let factors = factor_tests(&model, &terms, variance).map_err(fault)?;
    if arguments.json {
        let covariates = terms.iter().zip(&ratios).enumerate().map(|(k, (term, r))| CovariateJson {
            covariate: term.column,
            level: term.level.map(|(level, _)| level),
            reference: term.level.map(|(_, reference)| reference),
            coefficient: r.coefficient,
            standard_error: r.standard_error,
            hazard_ratio: r.hazard_ratio,
            lower: r.lower,
            upper: r.upper,
            z: r.z,
            p_value: r.p_value,
            log10_p: r.log10_p,
            proportional_hazards_p: of_covariate(k).map(|test| test.p_value),
        });
        return output::json(&CoxJson {
            covariates: covariates.collect(),
            log_likelihood: model.log_likelihood,
            null_log_likelihood: model.null_log_likelihood,
            likelihood_ratio_test: (&model.likelihood_ratio_test).into(),
            wald_test: (&model.wald_test).into(),
            score_test: (&model.score_test).into(),
            proportional_hazards_test: proportional.as_ref().map(|test| (&test.global).into()),
            factors: factors.iter().map(|(factor, test)| FactorJson { factor, test: test.into() }).collect(),
        });
    }
    let titles = ["covariate", "hazard ratio"].map(str::to_owned).into_iter();
    let limits = output::limit_titles(arguments.level);
    let tests = ["z", "p", "p (constant)"].map(str::to_owned);
    let mut rows: Vec<Vec<String>> = vec![titles.chain(limits).chain(tests).collect()];
    for (k, (name, r)) in names.iter().zip(&ratios).enumerate() {
        rows.push(vec![
            name.clone(),
            format!("{:.4}", r.hazard_ratio),
            format!("{:.4}", r.lower),
            format!("{:.4}", r.upper),
            format!("{:.2}", r.z),
            output::p_value(r.p_value, r.log10_p),
            of_covariate(k).map_or_else(|| "-".to_owned(), |t| output::p_value(t.p_value, t.log10_p)),
        ]);
    }
    Ok(describe(&model, &data, arguments.cluster.is_some(), (&rows, &factors)))
}

/// Of each column of labels with more than two levels, the test that none of them changes the hazard.
fn factor_tests<'a>(
    model: &CoxModel,
    terms: &[Term<'a>],
    variance: CoxVariance,
) -> Result<Vec<(&'a str, CoxTest)>, Error> {
    let mut tests = Vec::new();
    for group in
        terms.chunk_by(|a, b| a.level.is_some() && a.column == b.column).filter(|group| group.len() > 1)
    {
        let of_group = |(_, term): &(usize, &Term<'_>)| group.iter().any(|of| of.column == term.column);
        let positions: Vec<usize> = terms.iter().enumerate().filter(of_group).map(|(k, _)| k).collect();
        tests.push((group[0].column, model.joint_wald_test(&positions, variance)?));
    }
    Ok(tests)
}

/// What is wrong, with covariates by name, and the way out.
fn explain(source: &Error, covariates: &[String]) -> (String, &'static str) {
    let name = |index: usize| covariates.get(index).map_or("", String::as_str);
    let hint = match source {
        Error::AllCensored { .. } => NO_EVENTS,
        Error::SingleCluster => SINGLE_CLUSTER,
        Error::ZeroVariance => {
            "standard errors over clusters want more clusters than covariates; leave covariates or --cluster out"
        }
        Error::Unsupported { .. } => {
            let problem = "standard errors over clusters are not defined with --ties exact".to_owned();
            return (problem, "take --ties efron or breslow, or leave --cluster out");
        }
        Error::Collinear { index } => {
            let problem = format!(
                "`{}` is constant or a combination of the other covariates among those who are compared: \
                 the rows at risk at the same event, in the same stratum",
                name(*index)
            );
            return (problem, "leave it out, or one of the columns that give it");
        }
        Error::Separation { index } => {
            let problem = format!(
                "`{}` separates those with events from those at risk with them, alone or with the other covariates: \
                 its hazard ratio has no finite estimate",
                name(*index)
            );
            return (problem, "leave it out, or join levels of a --factor of which one has no events");
        }
        _ => "check the columns of --covariate; leave out those that say nearly the same",
    };
    (source.to_string(), hint)
}

fn describe(
    model: &CoxModel,
    data: &SurvivalData,
    has_clusters: bool,
    (rows, factors): (&[Vec<String>], &[(&str, CoxTest)]),
) -> String {
    let test = |name: &str, test: &CoxTest| {
        let p = output::p_value(test.p_value, test.log10_p);
        format!("{name}: chi-square = {:.4}, df = {}, p = {p}\n", test.chi_square, test.df)
    };
    let of_clusters = if has_clusters {
        "Limits, z, p and the Wald test allow for clusters; the other tests take rows for independent.\n"
    } else {
        ""
    };
    format!(
        "{} subjects, {} events\n\n{}\n{}{}{}{}p (constant): test of a hazard ratio that does not change with time\n{of_clusters}",
        data.len(),
        data.n_events(),
        output::aligned(rows),
        factors
            .iter()
            .map(|(name, of)| test(&format!("all levels of {name} (Wald)"), of))
            .collect::<String>(),
        test("likelihood ratio test", &model.likelihood_ratio_test),
        test("Wald test", &model.wald_test),
        test("score test", &model.score_test),
    )
}
