//! Kaplan-Meier curves, their limits, quantiles, areas and differences; cumulative hazards; censoring.

use crate::data::{Dataset, assert_close, number, numbers, required};
use crate::every_case::Verdict;
use serde_json::Value;
use survival_metrics::{
    CensoringDistribution, CensoringTies, CiType, Error, HazardTies, KaplanMeier, NelsonAalen, Outcome,
    QuantileRule, SurvivalData, SurvivalScale, restricted_mean, survival_difference_at,
};

/// Measured agreement between the libraries is 5e-14.
const CURVE: f64 = 1e-10;

const CI_TYPES: [(&str, CiType); 5] = [
    ("plain", CiType::Plain),
    ("log", CiType::Log),
    ("log-log", CiType::LogLog),
    ("logit", CiType::Logit),
    ("arcsin", CiType::Arcsin),
];

/// Compares every column of the case that is a curve.
fn compare(km: &KaplanMeier, case: &Value, is_late: bool) {
    let expected = &case["expected"];
    let times = numbers(&expected["time"]);
    let at = |t: f64| match is_late {
        true => km.times().iter().rposition(|&u| u <= t),
        false => km.times().iter().position(|&u| u == t),
    };
    let check = |name: &str, ours: &dyn Fn(usize) -> Option<f64>, before: Option<f64>| {
        if expected[name].is_null() {
            return;
        }
        for (t, value) in times.iter().zip(numbers(&expected[name])) {
            // lifelines starts at time 0, before the first observation; with late entry, libraries list entries too.
            let t = t.expect("a time");
            let ours = at(t).map_or(before, ours);
            match (ours, value.filter(|v| !v.is_nan())) {
                (Some(ours), Some(expected)) => assert_close(name, ours, expected, CURVE, case),
                (None, None) => {}
                // lifelines and scikit-survival put both limits on S where it is 0 or 1.
                (None, Some(limit)) if limit == km.survival_at(t) && case["lib"] != "R-survival" => {}
                (ours, value) => panic!("{name} at {t}: {ours:?} instead of {value:?} in {case}"),
            }
        }
    };
    let n = Some(km.n_subjects() as f64);
    check("surv", &|i| Some(km.survival()[i]), Some(1.0));
    check("n_risk", &|i| Some(km.at_risk()[i] as f64), n);
    check("at_risk", &|i| Some(km.at_risk()[i] as f64), n);
    check("n_event", &|i| Some(km.events()[i] as f64), Some(0.0));
    check("observed", &|i| Some(km.events()[i] as f64), Some(0.0));
    check("n_censor", &|i| Some(km.censored()[i] as f64), Some(0.0));
    check("censored", &|i| Some(km.censored()[i] as f64), Some(0.0));
    check("greenwood_se_log", &|i| Some(km.greenwood_sum()[i].sqrt()), Some(0.0));
    let level = number(&case["params"]["conf_level"]).expect("a level");
    for (name, ci_type) in CI_TYPES {
        let limits = km.confidence_limits(level, ci_type).expect("a valid level");
        check(&format!("lower_{name}"), &|i| limits[i].map(|l| l.0), None);
        check(&format!("upper_{name}"), &|i| limits[i].map(|l| l.1), None);
        if case["params"]["conf_type"] == name {
            check("lower", &|i| limits[i].map(|l| l.0), None);
            check("upper", &|i| limits[i].map(|l| l.1), None);
        }
    }
}

fn is_late(data: &Dataset) -> bool {
    data.name() == "macs"
}

fn ci_type(case: &Value) -> CiType {
    let name = case["params"]["conf_type"].as_str().expect("a type");
    CI_TYPES.iter().find(|(known, _)| *known == name).expect("a known type").1
}

pub(crate) fn curve(data: &Dataset, case: &Value) -> Verdict {
    compare(&KaplanMeier::fit_sample(&data.sample(case)), case, is_late(data));
    if !is_late(data) {
        let rows = data.group_rows(case);
        let outcomes: Vec<Outcome> = rows.iter().map(|&row| data.outcomes[row]).collect();
        assert_eq!(KaplanMeier::fit(&outcomes), Ok(KaplanMeier::fit_sample(&data.sample(case))));
    }
    Verdict::Compared
}

pub(crate) fn left_truncated(data: &Dataset, case: &Value) -> Verdict {
    let km = KaplanMeier::fit_sample(&data.sample(case));
    compare(&km, case, true);
    if let Some(median) = number(&case["expected"]["median"]) {
        assert_eq!(km.quantile_by(0.5, QuantileRule::LeftEnd), Some(median), "{case}");
    }
    Verdict::Compared
}

pub(crate) fn weighted(data: &Dataset, case: &Value) -> Verdict {
    let sample = data.sample(case).with_weights(&data.case_weights()).expect("valid");
    let km = KaplanMeier::fit_sample(&sample);
    let expected = &case["expected"];
    let limits = km.confidence_limits(0.95, CiType::LogLog).expect("a level");
    let columns = ["surv", "se", "lower", "upper"].map(|name| numbers(&expected[name]));
    for (at, t) in numbers(&expected["time"]).into_iter().enumerate() {
        let i = km.times().iter().position(|&u| Some(u) == t).expect("an observed time");
        let s = km.survival()[i];
        assert_close("S", s, columns[0][at].expect("a number"), CURVE, case);
        if let Some(se) = columns[1][at].filter(|se| se.is_finite()) {
            assert_close("se", km.greenwood_sum()[i].sqrt(), se, CURVE, case);
        }
        let expected = columns[2][at].zip(columns[3][at]);
        assert_eq!(limits[i].is_some(), expected.is_some(), "limits at {t:?} in {case}");
        for ((l, u), (lower, upper)) in limits[i].into_iter().zip(expected) {
            assert_close("lower", l, lower, CURVE, case);
            assert_close("upper", u, upper, CURVE, case);
        }
    }
    Verdict::Compared
}

fn assert_time(what: &str, ours: Option<f64>, expected: Option<f64>, case: &Value) {
    match (ours, expected.filter(|t| t.is_finite())) {
        (Some(ours), Some(expected)) => assert_close(what, ours, expected, CURVE, case),
        (ours, expected) => assert_eq!(ours, expected, "{what} in {case}"),
    }
}

pub(crate) fn quantiles_r(data: &Dataset, case: &Value) -> Verdict {
    let km = KaplanMeier::fit_sample(&data.sample(case));
    let columns = ["quantile", "lower", "upper"].map(|name| numbers(&case["expected"][name]));
    for (at, p) in numbers(&case["params"]["probs"]).into_iter().enumerate() {
        let p = p.expect("a probability");
        let ours = km.quantile_with_limits(p, 0.95, ci_type(case), QuantileRule::Midpoint).expect("a level");
        assert_time("quantile", ours.time, columns[0][at], case);
        assert_time("lower", ours.lower, columns[1][at], case);
        assert_time("upper", ours.upper, columns[2][at], case);
    }
    Verdict::Compared
}

/// lifelines misses a level that S reaches exactly, because it multiplies through logarithms; and its limits become finite
/// once S is 0.
pub(crate) fn quantiles_lifelines(data: &Dataset, case: &Value) -> Verdict {
    let km = KaplanMeier::fit_sample(&data.sample(case));
    let expected = &case["expected"];
    let times = numbers(&expected["time"]);
    for (level, expected) in numbers(&case["params"]["probs_survival"]).into_iter().zip(times) {
        let level = level.expect("a level");
        let ours = km.quantile_by(1.0 - level, QuantileRule::LeftEnd);
        let hits_level = ours.is_some_and(|t| (km.survival_at(t) - level).abs() < 1e-9);
        if !hits_level {
            assert_time("quantile", ours, expected, case);
        }
    }
    let ours = km.quantile_with_limits(0.5, 0.95, ci_type(case), QuantileRule::LeftEnd).expect("a level");
    let ends_at_0 = km.survival().last() == Some(&0.0);
    for (name, ours) in [("median_lower", ours.lower), ("median_upper", ours.upper)] {
        let expected = number(&expected[name]);
        if !(ours.is_none() && ends_at_0 && expected == km.times().last().copied()) {
            assert_time(name, ours, expected, case);
        }
    }
    Verdict::Compared
}

pub(crate) fn follow_up(data: &Dataset, case: &Value) -> Verdict {
    let km = KaplanMeier::follow_up(&data.outcomes).expect("not empty");
    let ours = km.quantile_with_limits(0.5, 0.95, ci_type(case), QuantileRule::Midpoint).expect("a level");
    for (name, ours) in [("median", ours.time), ("lower", ours.lower), ("upper", ours.upper)] {
        assert_time(name, ours, number(&case["expected"][name]), case);
    }
    Verdict::Compared
}

fn hazard_ties(case: &Value) -> HazardTies {
    match (number_or_none(&case["params"]["ctype"]), &case["params"]["smoothing"]) {
        (Some(2.0), _) | (None, Value::Bool(true)) => HazardTies::FlemingHarrington,
        (None, Value::Bool(false)) => HazardTies::Binomial,
        _ => HazardTies::NelsonAalen,
    }
}

fn number_or_none(value: &Value) -> Option<f64> {
    value.as_f64()
}

/// Last observed time up to `t`.
fn position(times: &[f64], t: f64) -> Option<usize> {
    times.partition_point(|&u| u <= t).checked_sub(1)
}

pub(crate) fn hazard(data: &Dataset, case: &Value) -> Verdict {
    let expected = &case["expected"];
    let h = NelsonAalen::fit(&data.sample(case), hazard_ties(case));
    let limits = h.confidence_limits(0.95).expect("a level");
    let column = |name: &str| (!expected[name].is_null()).then(|| numbers(&expected[name]));
    let (se, lower, upper) = (column("se"), column("lower"), column("upper"));
    for (at, (t, value)) in
        numbers(&expected["time"]).into_iter().zip(numbers(&expected["cumhaz"])).enumerate()
    {
        let t = t.expect("a time");
        assert_close("H", h.hazard_at(t), value.expect("a number"), CURVE, case);
        let i = position(h.times(), t);
        if let Some(se) = &se {
            let ours = i.map_or(0.0, |i| h.variance()[i].sqrt());
            assert_close("se", ours, se[at].expect("a number"), CURVE, case);
        }
        for (name, column, pick) in [("lower", &lower, 0), ("upper", &upper, 1)] {
            // lifelines has both limits on 0 while H is 0.
            let ours = i.and_then(|i| limits[i]).map_or(0.0, |limits| [limits.0, limits.1][pick]);
            if let Some(column) = column {
                assert_close(name, ours, column[at].expect("a number"), CURVE, case);
            }
        }
    }
    Verdict::Compared
}

pub(crate) fn survival_of_hazard(data: &Dataset, case: &Value) -> Verdict {
    let expected = &case["expected"];
    let h = NelsonAalen::fit(&data.sample(case), HazardTies::NelsonAalen);
    let columns = [numbers(&expected["surv"]), numbers(&expected["se"])];
    for (at, t) in numbers(&expected["time"]).into_iter().enumerate() {
        let t = t.expect("a time");
        assert_close("S", h.survival_at(t), columns[0][at].expect("a number"), CURVE, case);
        let ours = position(h.times(), t).map_or(0.0, |i| h.variance()[i].sqrt());
        assert_close("se", ours, columns[1][at].expect("a number"), CURVE, case);
    }
    Verdict::Compared
}

pub(crate) fn area_r(data: &Dataset, case: &Value) -> Verdict {
    let km = KaplanMeier::fit_sample(&data.sample(case));
    let tau = required(&case["params"], "tau");
    let ours = match restricted_mean(&km, tau) {
        Ok(ours) => ours,
        Err(error) => {
            assert!(km.times().last().is_some_and(|&last| tau > last), "{error} in {case}");
            return Verdict::Listed("R carries the last value of S on, beyond follow-up");
        }
    };
    assert_close("RMST", ours.mean, required(&case["expected"], "rmst"), CURVE, case);
    assert_close("se", ours.standard_error, required(&case["expected"], "se"), CURVE, case);
    Verdict::Compared
}

pub(crate) fn area_lifelines(data: &Dataset, case: &Value) -> Verdict {
    let km = KaplanMeier::fit_sample(&data.sample(case));
    let expected = numbers(&case["expected"]["rmst"]);
    let last = *km.times().last().expect("not empty");
    for (tau, expected) in numbers(&case["params"]["taus"]).into_iter().zip(expected) {
        let tau = tau.expect("a time");
        match restricted_mean(&km, tau) {
            Ok(ours) => assert_close("RMST", ours.mean, expected.expect("a number"), CURVE, case),
            // lifelines goes on with the last value of S, which nobody has seen.
            Err(error) => assert!(tau > last && km.survival_at(last) > 0.0, "{error} in {case}"),
        }
    }
    Verdict::Compared
}

pub(crate) fn censoring(data: &Dataset, case: &Value) -> Verdict {
    let ties = match case["lib"].as_str() {
        Some("lifelines") => CensoringTies::Flipped,
        _ => CensoringTies::EventsFirst,
    };
    let g = CensoringDistribution::fit(data.sample(case).outcomes(), ties).expect("not empty");
    let expected = numbers(&case["expected"]["surv"]);
    for (t, expected) in numbers(&case["expected"]["time"]).into_iter().zip(expected) {
        assert_close("G", g.at(t.expect("a time")), expected.expect("a number"), CURVE, case);
    }
    Verdict::Compared
}

pub(crate) fn difference_at(data: &Dataset, case: &Value) -> Verdict {
    let (params, expected) = (&case["params"], &case["expected"]);
    let labels = data.table.labels(params["group"].as_str().expect("a column"));
    let mut levels = labels.clone();
    levels.sort();
    levels.dedup();
    let fit = |level: &String| {
        let rows = data.outcomes.iter().zip(&labels).filter(|(_, label)| *label == level);
        let outcomes: Vec<Outcome> = rows.map(|(o, _)| *o).collect();
        KaplanMeier::fit_sample(&SurvivalData::new(&outcomes).expect("not empty"))
    };
    assert_eq!(params["transform"], "log(-log)");
    let (first, second) = (fit(&levels[0]), fit(&levels[1]));
    let t = required(params, "time");
    let survival = [&first, &second].map(|km| km.survival_at(t));
    assert_close("S", survival[0], required(expected, "s_a"), CURVE, case);
    assert_close("S", survival[1], required(expected, "s_b"), CURVE, case);
    let ours = match survival_difference_at(&first, &second, t, SurvivalScale::LogLog) {
        Ok(ours) => ours,
        // lifelines answers infinity where one S is 0.
        Err(error) => {
            assert!(
                matches!(error, Error::OutOfRange { what: "survival", value: 0.0, .. }),
                "{error} in {case}"
            );
            assert_eq!(required(expected, "chisq"), f64::INFINITY);
            return Verdict::Compared;
        }
    };
    // lifelines interpolates Greenwood's sum between observed times, although S is a step.
    let theirs = [&first, &second].map(|km| interpolated(km, t));
    let steps = [&first, &second].map(|km| km.greenwood_sum_at(t));
    let chi_square = |v: [f64; 2]| {
        let part = |k: usize| v[k] / survival[k].ln().powi(2);
        ((-survival[0].ln()).ln() - (-survival[1].ln()).ln()).powi(2) / (part(0) + part(1))
    };
    assert_close("chi-square", chi_square(theirs), required(expected, "chisq"), 1e-9, case);
    assert_close("chi-square", ours.chi_square, chi_square(steps), 1e-12, case);
    if theirs == steps {
        assert_close("p", ours.p_value, required(expected, "p"), 1e-9, case);
    }
    Verdict::Compared
}

/// Greenwood's sum at `t` on the straight line between its neighbours.
fn interpolated(km: &KaplanMeier, t: f64) -> f64 {
    let passed = km.times().partition_point(|&u| u <= t);
    let point = |i: Option<usize>| i.map_or((0.0, 0.0), |i| (km.times()[i], km.greenwood_sum()[i]));
    let (start, before) = point(passed.checked_sub(1));
    match km.times().get(passed) {
        // Where S falls to 0, lifelines leaves the infinite term out.
        Some(&end) if start < t && km.greenwood_sum()[passed].is_finite() => {
            before + (km.greenwood_sum()[passed] - before) * (t - start) / (end - start)
        }
        _ => before,
    }
}
