//! Cox models against R and lifelines.

use crate::data::{Dataset, assert_all_close, assert_close, number, numbers, required};
use crate::every_case::Verdict;
use serde_json::Value;
use survival_metrics::{
    Convention, CoxModel, CoxTies, CoxVariance, Risk, SurvivalData, TimeWeight, concordance, cox_model,
};

/// Required of values of R, which iterates to 1e-12.
const R: f64 = 1e-8;
/// lifelines stops earlier.
const LIFELINES: f64 = 1e-5;

fn columns(data: &Dataset, names: &Value) -> Vec<Vec<f64>> {
    let names: Vec<&str> = match names {
        Value::String(name) => vec![name],
        list => list.as_array().expect("names").iter().map(|name| name.as_str().expect("a name")).collect(),
    };
    names
        .iter()
        .map(|name| data.table.labels(name).iter().map(|x| x.parse().expect("a number")).collect())
        .collect()
}

fn ties(case: &Value) -> CoxTies {
    match case["params"]["ties"].as_str() {
        Some("efron") => CoxTies::Efron,
        Some("breslow") => CoxTies::Breslow,
        Some("exact") => CoxTies::Exact,
        other => panic!("ties {other:?}"),
    }
}

fn c_index_of(model: &CoxModel, data: &SurvivalData, columns: &[Vec<f64>]) -> f64 {
    let of_row = |row: usize| model.coefficients.iter().zip(columns).map(|(b, x)| b * x[row]).sum::<f64>();
    let risk = Risk::new(&(0..data.len()).map(of_row).collect::<Vec<_>>()).expect("not NaN");
    concordance(data, &risk, &Convention::R.concordance(TimeWeight::Harrell)).expect("defined").c_index
}

pub(crate) fn r(data: &Dataset, case: &Value) -> Verdict {
    let (params, expected) = (&case["params"], &case["expected"]);
    let columns = columns(data, &params["covariates"]);
    let slices: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
    let mut sample = SurvivalData::new(&data.outcomes).expect("not empty");
    if params["strata"] != "none" {
        let strata = data.table.strings(params["strata"].as_str().expect("a column"));
        sample = sample.with_strata(strata).expect("as many");
    }
    let model = cox_model(&sample, &slices, ties(case)).expect("has a maximum");
    let p = columns.len();
    let ratios: Vec<_> =
        (0..p).map(|k| model.hazard_ratio(k, 0.95, CoxVariance::Model).expect("a covariate")).collect();
    let all = |name: &str, ours: Vec<f64>| assert_all_close(name, &ours, &expected[name], R, case);
    all("coef", model.coefficients.clone());
    all("se", ratios.iter().map(|r| r.standard_error).collect());
    all("hr", ratios.iter().map(|r| r.hazard_ratio).collect());
    all("hr_lower95", ratios.iter().map(|r| r.lower).collect());
    all("hr_upper95", ratios.iter().map(|r| r.upper).collect());
    all("z", ratios.iter().map(|r| r.z).collect());
    all("log_p", ratios.iter().map(|r| r.log10_p * std::f64::consts::LN_10).collect());
    for (row, expected) in model.covariance.iter().zip(expected["vcov"].as_array().expect("rows")) {
        let scale = row.iter().fold(0.0_f64, |a, b| a.max(b.abs()));
        for (ours, expected) in row.iter().zip(numbers(expected)) {
            // Covariances that are small beside the variances carry the rounding of these.
            assert!((ours - expected.expect("a number")).abs() <= R * scale, "vcov in {case}");
        }
    }
    for (name, ours) in [
        ("loglik_null", model.null_log_likelihood),
        ("loglik", model.log_likelihood),
        ("lr_test", model.likelihood_ratio_test.chi_square),
        ("wald_test", model.wald_test.chi_square),
        ("score_test", model.score_test.chi_square),
        ("df", model.wald_test.df as f64),
    ] {
        // The likelihood ratio statistic is a difference of numbers a hundred times as large.
        assert_close(name, ours, required(expected, name), R, case);
    }
    if !expected["robust_se"].is_null() {
        let robust = |k: usize| model.hazard_ratio(k, 0.95, CoxVariance::Robust).expect("not exact");
        all("robust_se", (0..p).map(|k| robust(k).standard_error).collect());
    }
    if let Some(c) = number(&expected["concordance"]) {
        assert_close("C", c_index_of(&model, &sample, &columns), c, 1e-10, case);
    }
    if !expected["martingale_first10"].is_null() {
        let ours = model.martingale_residuals().expect("not exact");
        for (ours, expected) in ours.iter().zip(numbers(&expected["martingale_first10"])) {
            assert!((ours - expected.expect("a number")).abs() < R, "martingale in {case}");
        }
    }
    if !expected["basehaz"].is_null() {
        let baseline = model.baseline_hazard().expect("not exact");
        // R's baseline is that of covariates 0, ours of their means.
        let shift: f64 = model.coefficients.iter().zip(model.means()).map(|(b, m)| b * m).sum();
        let times = numbers(&expected["basehaz_time"]);
        for (t, expected) in times.into_iter().zip(numbers(&expected["basehaz"])) {
            let passed = baseline.partition_point(|(u, _)| Some(*u) <= t).checked_sub(1);
            let ours = passed.map_or(0.0, |i| baseline[i].1);
            let expected = expected.expect("a number");
            let close = |x: f64| (x - expected).abs() <= R * expected.abs();
            assert!(close(ours) || close(ours / shift.exp()), "H0 {ours} instead of {expected} in {case}");
        }
    }
    if !expected["zph_km_chisq"].is_null() {
        let test = model.proportional_hazards_test().expect("not exact");
        let ours: Vec<f64> =
            test.covariates.iter().chain([&test.global]).map(|test| test.chi_square).collect();
        all("zph_km_chisq", ours);
    }
    Verdict::Compared
}

pub(crate) fn lifelines(data: &Dataset, case: &Value) -> Verdict {
    let (params, expected) = (&case["params"], &case["expected"]);
    let coded = params["coded_1"].as_str().expect("a label");
    let labels = data.table.labels(params["group"].as_str().expect("a column"));
    let column: Vec<f64> = labels.iter().map(|label| f64::from(u8::from(label == coded))).collect();
    let sample = SurvivalData::new(&data.outcomes).expect("not empty");
    let model = cox_model(&sample, &[&column], ties(case)).expect("has a maximum");
    let ratio = model.hazard_ratio(0, 0.95, CoxVariance::Model).expect("a covariate");
    let absolute = |name: &str, ours: f64, tolerance: f64| {
        let expected = required(expected, name);
        assert!((ours - expected).abs() <= tolerance, "{name}: {ours} instead of {expected} in {case}");
    };
    absolute("coef", ratio.coefficient, LIFELINES);
    absolute("se", ratio.standard_error, LIFELINES);
    absolute("log_likelihood", model.log_likelihood, 1e-7);
    absolute("lr_test", model.likelihood_ratio_test.chi_square, 1e-6);
    // z is the coefficient over its standard error, and p and the limits follow.
    absolute("z", ratio.z, LIFELINES / ratio.standard_error * 2.0);
    absolute("p", ratio.p_value, LIFELINES / ratio.standard_error);
    for (name, ours) in [("hr", ratio.hazard_ratio), ("hr_lower95", ratio.lower), ("hr_upper95", ratio.upper)]
    {
        assert_close(name, ours, required(expected, name), 2.0 * LIFELINES, case);
    }
    absolute("concordance", c_index_of(&model, &sample, &[column]), 1e-10);
    absolute("aic_partial", 2.0 - 2.0 * model.log_likelihood, 1e-6);
    Verdict::Compared
}
