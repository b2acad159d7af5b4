//! Harrell's C and its pair counts.

use crate::data::{Dataset, assert_close, datasets, number, numbers};
use serde_json::Value;
use survival_metrics::{PairCounts, RiskTies, concordance_index, concordance_index_stratified};

/// Measured agreement between the libraries is 1e-15.
const C_INDEX: f64 = 1e-12;

fn risk(data: &Dataset, case: &Value) -> Vec<f64> {
    data.risk(case["params"]["risk"].as_str().expect("a risk"))
}

#[test]
fn c_index_agrees_with_lifelines() {
    let Some(datasets) = datasets() else { return };
    let mut n_cases = 0;
    for data in &datasets {
        for case in data.cases("concordance_index") {
            let ours =
                concordance_index(&data.outcomes, &risk(data, case), RiskTies::Exact).expect("defined");
            let expected = number(&case["expected"]["cindex"]).expect("a number");
            assert_close("C", ours.c_index(), expected, C_INDEX, case);
            n_cases += 1;
        }
    }
    println!("compared {n_cases} cases of concordance_index");
    assert_eq!(n_cases, 49);
}

#[test]
fn c_index_and_counts_agree_with_scikit_survival() {
    let Some(datasets) = datasets() else { return };
    let mut n_cases = 0;
    for data in &datasets {
        for case in data.cases("concordance_index_censored") {
            let ties = RiskTies::AbsTol(number(&case["params"]["tied_tol"]).expect("a tolerance"));
            let ours = concordance_index(&data.outcomes, &risk(data, case), ties).expect("defined");
            let expected = &case["expected"];
            assert_close("C", ours.c_index(), number(&expected["cindex"]).expect("C"), C_INDEX, case);
            let counts = ours.counts();
            let counts =
                [counts.concordant, counts.discordant, counts.tied_risk, counts.tied_time_event_censored];
            let names = ["concordant", "discordant", "tied_risk", "tied_time"];
            assert_eq!(counts.map(Some), names.map(|name| expected[name].as_u64()), "{case}");
            n_cases += 1;
        }
    }
    println!("compared {n_cases} cases of concordance_index_censored");
    assert_eq!(n_cases, 197);
}

#[test]
fn counts_agree_with_r_also_summed_over_strata() {
    let Some(datasets) = datasets() else { return };
    let mut n_cases = 0;
    for data in &datasets {
        for case in data.cases("concordance") {
            let params = &case["params"];
            if params["timewt"] != "n" || !params["ymax"].is_null() || !params["weights"].is_null() {
                continue;
            }
            let risk = risk(data, case);
            let ours = match params["strata"].as_str() {
                None => concordance_index(&data.outcomes, &risk, RiskTies::Exact),
                Some(column) => {
                    let strata = data.table.strings(column);
                    concordance_index_stratified(&data.outcomes, &risk, strata, RiskTies::Exact)
                }
            };
            let ours = ours.expect("defined");
            assert_eq!(r_counts(ours.counts()), expected_r_counts(&case["expected"]), "{case}");
            let expected = number(&case["expected"]["concordance"]).expect("C");
            assert_close("C", ours.c_index(), expected, C_INDEX, case);
            n_cases += 1;
        }
    }
    println!("compared {n_cases} cases of concordance (49 plain, 56 stratified)");
    assert_eq!(n_cases, 105);
}

fn r_counts(counts: PairCounts) -> [Option<f64>; 5] {
    let PairCounts { concordant, discordant, tied_risk, tied_time_event_event, tied_both, .. } = counts;
    [concordant, discordant, tied_risk, tied_time_event_event, tied_both].map(|count| Some(count as f64))
}

fn expected_r_counts(expected: &Value) -> [Option<f64>; 5] {
    let names = ["concordant", "discordant", "tied.x", "tied.y", "tied.xy"];
    // R sums the counts of each stratum in a table of its own.
    names.map(|name| match &expected[name] {
        Value::Array(strata) => strata.iter().map(number).sum(),
        single => number(single),
    })
}

#[test]
fn c_indices_of_fixed_resamples_agree_with_lifelines() {
    let Some(datasets) = datasets() else { return };
    let mut n_cases = 0;
    for data in &datasets {
        for case in data.cases("bootstrap_cindex_fixed_resamples") {
            let risk = risk(data, case);
            let resamples = case["params"]["resamples"].as_array().expect("resamples");
            let expected = numbers(&case["expected"]["cindex"]);
            assert_eq!((resamples.len(), expected.len()), (60, 60));
            for (rows, expected) in resamples.iter().zip(expected) {
                let rows: Vec<usize> =
                    numbers(rows).into_iter().map(|row| row.expect("a row") as usize).collect();
                let outcomes: Vec<_> = rows.iter().map(|&row| data.outcomes[row]).collect();
                let risk: Vec<_> = rows.iter().map(|&row| risk[row]).collect();
                let ours = concordance_index(&outcomes, &risk, RiskTies::Exact).expect("defined");
                assert_close("C", ours.c_index(), expected.expect("C"), C_INDEX, case);
            }
            n_cases += 1;
        }
    }
    println!("compared {n_cases} cases of bootstrap_cindex_fixed_resamples, 60 resamples each");
    assert_eq!(n_cases, 2);
}
