//! C-indices: Harrell's and those with time weights, their counts, variances, jackknife and paired comparison.

use crate::data::{Dataset, assert_all_close, assert_close, number, numbers, required};
use crate::every_case::Verdict;
use serde_json::Value;
use survival_metrics::{
    CensoringDistribution, ConcordanceConfig, Convention, Error, IntervalScale, Outcome, PairCounts,
    PairedDifference, Risk, RiskTies, SurvivalData, Tau, TimeWeight, compare_concordance,
    compare_concordance_kang, concordance, concordance_index, concordance_index_stratified,
};

/// Measured agreement between the libraries is 1e-15.
const C_INDEX: f64 = 1e-12;
/// Of variances, which sum squares of differences.
const VARIANCE: f64 = 1e-10;

fn sample(data: &Dataset) -> SurvivalData {
    SurvivalData::new(&data.outcomes).expect("not empty")
}

pub(crate) fn lifelines(data: &Dataset, case: &Value) -> Verdict {
    let risk = data.risk_of(case, "risk");
    let ours = concordance_index(&data.outcomes, risk.values(), RiskTies::Exact).expect("defined");
    let expected = required(&case["expected"], "cindex");
    assert_close("C", ours.c_index(), expected, C_INDEX, case);
    let config = Convention::Lifelines.concordance(TimeWeight::Harrell);
    let estimate = concordance(&sample(data), &risk, &config).expect("defined");
    assert_close("C", estimate.c_index, expected, C_INDEX, case);
    Verdict::Compared
}

fn tolerance(case: &Value) -> RiskTies {
    RiskTies::AbsTol(required(&case["params"], "tied_tol"))
}

fn assert_sksurv_counts(counts: PairCounts, case: &Value) {
    let ours = [counts.concordant, counts.discordant, counts.tied_risk, counts.tied_time_event_censored];
    let names = ["concordant", "discordant", "tied_risk", "tied_time"];
    assert_eq!(ours.map(Some), names.map(|name| case["expected"][name].as_u64()), "{case}");
}

pub(crate) fn scikit_survival(data: &Dataset, case: &Value) -> Verdict {
    let risk = data.risk_of(case, "risk");
    let ours = concordance_index(&data.outcomes, risk.values(), tolerance(case)).expect("defined");
    assert_close("C", ours.c_index(), required(&case["expected"], "cindex"), C_INDEX, case);
    assert_sksurv_counts(ours.counts(), case);
    Verdict::Compared
}

/// Uno's C with G of the sample itself or of the other folds.
pub(crate) fn scikit_survival_ipcw(data: &Dataset, case: &Value) -> Verdict {
    let risk = data.risk_of(case, "risk");
    let (train, rows) = train_and_test(data, &case["params"]);
    let train: Vec<Outcome> = train.iter().map(|&row| data.outcomes[row]).collect();
    let test: Vec<Outcome> = rows.iter().map(|&row| data.outcomes[row]).collect();
    let risk: Vec<f64> = rows.iter().map(|&row| risk.values()[row]).collect();
    ipcw(&train, &test, &Risk::new(&risk).expect("not NaN"), tolerance(case), case)
}

/// Rows of the training and the test sample: all, or those outside and inside a fold (`folds!=2` and `fold==2`).
pub(crate) fn train_and_test(data: &Dataset, params: &Value) -> (Vec<usize>, Vec<usize>) {
    let rows = 0..data.outcomes.len();
    let Some(test) = params["test"].as_str() else {
        assert_eq!(params["train"], "self");
        return (rows.clone().collect(), rows.collect());
    };
    let fold: f64 = test.strip_prefix("fold==").expect("a fold").parse().expect("a number");
    assert_eq!(params["train"], format!("folds!={fold}"));
    let folds = data.table.numbers("fold");
    rows.partition(|&row| folds[row] != fold)
}

pub(crate) fn ipcw(
    train: &[Outcome],
    test: &[Outcome],
    risk: &Risk,
    ties: RiskTies,
    case: &Value,
) -> Verdict {
    let preset = Convention::ScikitSurvival.concordance(TimeWeight::Uno);
    let g = CensoringDistribution::fit(train, preset.censoring.ties).expect("not empty");
    let tau = number(&case["params"]["tau"]).map(Tau::Exclusive);
    let config = ConcordanceConfig { ties, tau, training: Some(&g), ..preset };
    let ours = concordance(&SurvivalData::new(test).expect("not empty"), risk, &config);
    if !case["expected"]["error"].is_null() {
        let zero = case["expected"]["message"].as_str().is_some_and(|m| m.contains("is zero"));
        return match ours {
            Err(Error::CensoringSurvivalZero { .. }) if zero => Verdict::Compared,
            Err(Error::TimeBeyondTraining { .. }) if !zero => Verdict::Compared,
            // The library wants weights of all test times, here only those of events with pairs are looked up.
            Ok(_) if !zero => {
                Verdict::Listed("scikit-survival refuses; no subject that has pairs lacks a weight")
            }
            other => panic!("{other:?} in {case}"),
        };
    }
    let ours = ours.expect("defined");
    assert_close("C", ours.c_index, required(&case["expected"], "cindex"), C_INDEX, case);
    // The library counts pairs after tau too, with weight 0.
    let all = concordance_index(test, risk.values(), ties).expect("defined");
    assert_sksurv_counts(all.counts(), case);
    Verdict::Compared
}

pub(crate) fn r(data: &Dataset, case: &Value) -> Verdict {
    let (params, expected) = (&case["params"], &case["expected"]);
    let risk = data.risk_of(case, "risk");
    let time_weight = match params["timewt"].as_str().expect("a weight") {
        "n" => TimeWeight::Harrell,
        "n/G2" => TimeWeight::Uno,
        "S" => TimeWeight::PetoWilcoxon,
        "S/G" => TimeWeight::Schemper,
        "I" => TimeWeight::Identity,
        other => panic!("timewt {other}"),
    };
    let tau = number(&params["ymax"]).map(Tau::Inclusive);
    let config = ConcordanceConfig { tau, ..Convention::R.concordance(time_weight) };
    let mut sample = sample(data);
    let strata = params["strata"].as_str().map(|column| data.table.strings(column));
    if let Some(strata) = strata {
        sample = sample.with_strata(strata).expect("as many");
    }
    let weighted = !params["weights"].is_null();
    if weighted {
        sample = sample.with_weights(&data.case_weights()).expect("valid");
    }
    let ours = concordance(&sample, &risk, &config).expect("defined");
    assert_close("C", ours.c_index, required(expected, "concordance"), C_INDEX, case);
    assert_close("variance", ours.variance(), required(expected, "var"), VARIANCE, case);
    if weighted {
        let sums = ["concordant", "discordant", "tied.x"].map(|name| required(expected, name));
        assert_close("concordant", ours.concordant_weight, sums[0] + sums[2] / 2.0, C_INDEX, case);
        assert_close("comparable", ours.comparable_weight, sums.iter().sum(), C_INDEX, case);
    } else if !expected["concordant"].is_null() {
        assert_eq!(r_counts(ours.counts), expected_r_counts(expected), "{case}");
        if time_weight == TimeWeight::Harrell {
            let plain = match strata {
                None => concordance_index(&data.outcomes, risk.values(), RiskTies::Exact),
                Some(strata) => {
                    concordance_index_stratified(&data.outcomes, risk.values(), strata, RiskTies::Exact)
                }
            };
            assert_eq!(plain.expect("defined").counts(), ours.counts);
        }
    }
    Verdict::Compared
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

pub(crate) fn torchsurv(data: &Dataset, case: &Value) -> Verdict {
    // Its C is single precision with weights, and its standard error sums one role of each subject only.
    const SINGLE: f64 = 1e-6;
    let risk = data.risk_of(case, "risk");
    let time_weight = match case["params"]["weight"].as_str().expect("a weight") {
        "none" => TimeWeight::Harrell,
        _ => TimeWeight::Uno,
    };
    let config = Convention::ScikitSurvival.concordance(time_weight);
    match concordance(&sample(data), &risk, &config) {
        Ok(ours) => assert_close("C", ours.c_index, required(&case["expected"], "cindex"), SINGLE, case),
        Err(Error::CensoringSurvivalZero { .. }) => {
            return Verdict::Listed("torchsurv gives a weight to events at which G is 0");
        }
        Err(other) => panic!("{other} in {case}"),
    }
    Verdict::Compared
}

pub(crate) fn jackknife(data: &Dataset, case: &Value) -> Verdict {
    let expected = &case["expected"];
    let config = Convention::Lifelines.concordance(TimeWeight::Harrell);
    let ours = concordance(&sample(data), &data.risk_of(case, "risk"), &config).expect("defined");
    let values: Vec<f64> = ours.leave_one_out().into_iter().map(|c| c.expect("defined")).collect();
    // All rows, or the first 20.
    let n_listed = expected["loo"].as_array().map_or(0, Vec::len);
    assert!(n_listed == values.len() || (n_listed == 20 && !expected["loo_note"].is_null()));
    assert_all_close("C without one", &values[..n_listed], &expected["loo"], C_INDEX, case);
    let n = values.len() as f64;
    let se = ours.jackknife_standard_error().expect("defined");
    assert_close("se", se, required(expected, "jackknife_se"), VARIANCE, case);
    let mean = values.iter().sum::<f64>() / n;
    let corrected = n * ours.c_index - (n - 1.0) * mean;
    assert_close("bias", corrected, required(expected, "bias_corrected"), VARIANCE, case);
    let interval = survival_metrics::probability_interval(ours.c_index, se, 0.95, IntervalScale::Plain)
        .expect("a level");
    assert_all_close("interval", &[interval.0, interval.1], &expected["ci95_normal"], VARIANCE, case);
    Verdict::Compared
}

pub(crate) fn fixed_resamples(data: &Dataset, case: &Value) -> Verdict {
    let risk = data.risk_of(case, "risk");
    let resamples = case["params"]["resamples"].as_array().expect("resamples");
    let expected = numbers(&case["expected"]["cindex"]);
    assert_eq!((resamples.len(), expected.len()), (60, 60));
    for (rows, expected) in resamples.iter().zip(expected) {
        let rows: Vec<usize> = numbers(rows).into_iter().map(|row| row.expect("a row") as usize).collect();
        let outcomes: Vec<_> = rows.iter().map(|&row| data.outcomes[row]).collect();
        let risk: Vec<_> = rows.iter().map(|&row| risk.values()[row]).collect();
        let ours = concordance_index(&outcomes, &risk, RiskTies::Exact).expect("defined");
        assert_close("C", ours.c_index(), expected.expect("C"), C_INDEX, case);
    }
    Verdict::Compared
}

fn assert_difference(ours: &PairedDifference, tolerance: f64, case: &Value) {
    let expected = &case["expected"];
    assert_close("difference", ours.difference, required(expected, "diff"), 1e-9, case);
    assert_close("z", ours.z, required(expected, "z"), tolerance, case);
    let ln_p = ours.log10_p * std::f64::consts::LN_10;
    assert_close("ln p", ln_p, required(expected, "log_p_two_sided"), tolerance, case);
}

pub(crate) fn paired_r(data: &Dataset, case: &Value) -> Verdict {
    let expected = &case["expected"];
    let risks = [data.risk_of(case, "risk1"), data.risk_of(case, "risk2")];
    let config = Convention::R.concordance(TimeWeight::Harrell);
    let ours = compare_concordance(&sample(data), &risks, &config).expect("defined");
    for (k, name) in ["c1", "c2"].into_iter().enumerate() {
        assert_close(name, ours.estimates[k].c_index, required(expected, name), C_INDEX, case);
    }
    assert_close("var1", ours.covariance[0][0], required(expected, "var1"), VARIANCE, case);
    assert_close("var2", ours.covariance[1][1], required(expected, "var2"), VARIANCE, case);
    assert_close("cov", ours.covariance[0][1], required(expected, "cov"), 1e-9, case);
    assert_difference(&ours.difference(0, 1).expect("they differ"), 1e-9, case);
    Verdict::Compared
}

pub(crate) fn paired_kang(data: &Dataset, case: &Value) -> Verdict {
    let expected = &case["expected"];
    let (first, second) = (data.risk_of(case, "risk1"), data.risk_of(case, "risk2"));
    let ours = compare_concordance_kang(&data.outcomes, &first, &second, RiskTies::Exact).expect("defined");
    assert_close("c1", ours.c_index[0], required(expected, "c1"), C_INDEX, case);
    assert_close("c2", ours.c_index[1], required(expected, "c2"), C_INDEX, case);
    // The formula subtracts numbers a thousand times the result.
    assert_close("var1", ours.variance[0], required(expected, "var1"), 1e-9, case);
    assert_close("var2", ours.variance[1], required(expected, "var2"), 1e-9, case);
    assert_close("cov", ours.covariance, required(expected, "cov"), 1e-8, case);
    assert_difference(&ours.difference, 1e-8, case);
    Verdict::Compared
}
