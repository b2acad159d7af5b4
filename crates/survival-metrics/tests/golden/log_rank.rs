//! Log-rank tests: two and more groups, weights, strata.

use crate::data::{Dataset, assert_close, number, numbers};
use crate::every_case::Verdict;
use serde_json::Value;
use survival_metrics::{
    Error, LogRank, LogRankWeight, Outcome, PAdjust, PairwiseLogRank, pairwise_log_rank_tests,
    stratified_log_rank_test, weighted_log_rank_test,
};

/// Required of O, E, V and the statistic.
const STATISTIC: f64 = 1e-10;
/// Required of p, and absolutely of its logarithm.
pub(crate) const P_VALUE: f64 = 1e-9;

fn weight(params: &Value) -> LogRankWeight {
    let exponent = |name: &str| number(&params[name]).unwrap_or(0.0);
    match params["weightings"].as_str() {
        Some("wilcoxon") => LogRankWeight::Gehan,
        Some("tarone-ware") => LogRankWeight::TaroneWare,
        Some("peto") => LogRankWeight::Peto,
        Some("fleming-harrington") => {
            LogRankWeight::FlemingHarrington { rho: exponent("p"), gamma: exponent("q") }
        }
        Some("none") => LogRankWeight::LogRank,
        Some(other) => panic!("weighting {other}"),
        None => match exponent("rho") {
            0.0 => LogRankWeight::LogRank,
            rho => LogRankWeight::FlemingHarrington { rho, gamma: 0.0 },
        },
    }
}

/// The outcomes, with events after `t_0` censored where the case says so.
fn outcomes(data: &Dataset, params: &Value) -> Vec<Outcome> {
    let Some(t_0) = number(&params["t_0"]) else {
        return data.outcomes.clone();
    };
    let censor = |o: &Outcome| {
        if o.time() > t_0 { Outcome::censored(o.time()).expect("valid") } else { *o }
    };
    data.outcomes.iter().map(censor).collect()
}

fn compare(ours: &LogRank<String>, case: &Value) {
    let expected = &case["expected"];
    let required = |name: &str| number(&expected[name]).expect("a number");
    assert_close("chi-square", ours.chi_square, required("chisq"), STATISTIC, case);
    assert_eq!(ours.df as f64, required("df"), "{case}");
    let log10_error = (ours.log10_p - required("log10_p")).abs();
    assert!(log10_error <= P_VALUE, "log10 p off by {log10_error:e} in {case}");
    let group = |name: &str, ours: &dyn Fn(usize) -> f64| {
        if expected[name].is_null() {
            return;
        }
        for (g, value) in numbers(&expected[name]).into_iter().enumerate() {
            assert_close(name, ours(g), value.expect("a number"), STATISTIC, case);
        }
    };
    group("n", &|g| ours.groups[g].n as f64);
    group("observed", &|g| ours.groups[g].observed);
    group("expected", &|g| ours.groups[g].expected);
    if let Some(p) = number(&expected["p"]) {
        assert_close("p", ours.p_value, p, P_VALUE, case);
    }
    if let Some(log_p) = number(&expected["log_p"]) {
        assert_close("ln p", ours.log10_p * std::f64::consts::LN_10, log_p, P_VALUE, case);
    }
    if let Some(rows) = expected["var"].as_array() {
        for (row, expected_row) in ours.variance.iter().zip(rows) {
            for (cell, expected) in row.iter().zip(numbers(expected_row)) {
                assert_close("variance", *cell, expected.expect("a number"), STATISTIC, case);
            }
        }
    }
}

pub(crate) fn groups(data: &Dataset, case: &Value) -> Verdict {
    let params = &case["params"];
    let groups = data.table.labels(params["group"].as_str().expect("a column"));
    let ours = weighted_log_rank_test(&outcomes(data, params), &groups, weight(params)).expect("defined");
    compare(&ours, case);
    Verdict::Compared
}

pub(crate) fn strata(data: &Dataset, case: &Value) -> Verdict {
    let params = &case["params"];
    assert_eq!(number(&params["rho"]), Some(0.0));
    let groups = data.table.labels(params["group"].as_str().expect("a column"));
    let strata = data.table.strings(params["strata"].as_str().expect("a column"));
    match stratified_log_rank_test(&data.outcomes, &groups, strata) {
        Ok(ours) => compare(&ours, case),
        // This method's risk is constant within folds, so that its split is one of folds. R reports chi-square 0
        // with one degree of freedom.
        Err(error) => {
            assert_eq!((error, number(&case["expected"]["chisq"])), (Error::ZeroVariance, Some(0.0)));
            assert_eq!(case["params"]["group"], "hi_DS");
        }
    }
    Verdict::Compared
}

pub(crate) fn pairs(data: &Dataset, case: &Value) -> Verdict {
    let groups = data.table.labels(case["params"]["group"].as_str().expect("a column"));
    let expected = &case["expected"];
    let ours = pairwise_log_rank_tests(&data.outcomes, &groups, LogRankWeight::LogRank, PAdjust::Bonferroni)
        .expect("defined");
    let expected_pairs = expected["pairs"].as_array().expect("pairs");
    let statistics = numbers(&expected["chisq"]).into_iter().zip(numbers(&expected["p"]));
    assert_eq!(ours.len(), expected_pairs.len());
    for (pair, (chi_square, p)) in expected_pairs.iter().zip(statistics) {
        let is_pair = |pair_test: &&PairwiseLogRank<String>| {
            pair_test.test.groups.iter().all(|group| pair[0] == group.level || pair[1] == group.level)
        };
        let ours = ours.iter().find(is_pair).expect("the pair");
        assert_close("chi-square", ours.test.chi_square, chi_square.expect("a number"), STATISTIC, case);
        assert_close("p", ours.test.p_value, p.expect("a number"), P_VALUE, case);
        let bonferroni = (ours.test.p_value * expected_pairs.len() as f64).min(1.0);
        assert_eq!(ours.adjusted_p, bonferroni);
    }
    Verdict::Compared
}
