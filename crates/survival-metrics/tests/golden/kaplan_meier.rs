//! Kaplan-Meier curves, their limits and quantiles.

use crate::data::{Dataset, assert_close, datasets, number, numbers};
use serde_json::Value;
use survival_metrics::{CiType, KaplanMeier, Outcome};

/// In this data set subjects enter late (left truncation), which the crate's estimate does not cover.
fn enters_late(case: &Value) -> bool {
    case["id"].as_str().is_some_and(|id| id.starts_with("macs/"))
}

/// Measured agreement between the libraries is 5e-14.
const CURVE: f64 = 1e-10;

const CI_TYPES: [(&str, CiType); 5] = [
    ("plain", CiType::Plain),
    ("log", CiType::Log),
    ("log-log", CiType::LogLog),
    ("logit", CiType::Logit),
    ("arcsin", CiType::Arcsin),
];

/// The curve of a case's group: `all`, or `column=label`.
fn fit(data: &Dataset, case: &Value) -> KaplanMeier {
    let rows: Vec<Outcome> = match case["params"]["group"].as_str().expect("a group").split_once('=') {
        None => data.outcomes.clone(),
        Some((column, wanted)) => {
            let labels = data.table.labels(column);
            data.outcomes.iter().zip(labels).filter(|(_, label)| label == wanted).map(|(o, _)| *o).collect()
        }
    };
    KaplanMeier::fit(&rows).expect("not empty")
}

/// Compares every column of the case that is a curve.
fn compare(km: &KaplanMeier, case: &Value) {
    let expected = &case["expected"];
    let times = numbers(&expected["time"]);
    let at = |t: f64| km.times().iter().position(|&u| u == t);
    let check = |name: &str, ours: &dyn Fn(usize) -> Option<f64>, before: Option<f64>| {
        if expected[name].is_null() {
            return;
        }
        for (t, value) in times.iter().zip(numbers(&expected[name])) {
            // lifelines starts at time 0, before the first observation.
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

#[test]
fn curves_and_limits_agree_with_all_libraries() {
    let Some(datasets) = datasets() else { return };
    let (mut n_cases, mut n_late) = (0, 0);
    for data in &datasets {
        for case in data.cases("kaplan_meier") {
            if enters_late(case) {
                n_late += 1;
                continue;
            }
            compare(&fit(data, case), case);
            n_cases += 1;
        }
    }
    println!("compared {n_cases} cases of kaplan_meier; {n_late} with late entry are out of scope");
    assert_eq!((n_cases, n_late), (175, 2));
}

#[test]
fn quantiles_agree_with_r() {
    let Some(datasets) = datasets() else { return };
    let (mut n_cases, mut n_late) = (0, 0);
    for data in &datasets {
        for case in data.cases("survival_quantile").filter(|case| case["lib"] == "R-survival") {
            if enters_late(case) {
                n_late += 1;
                continue;
            }
            let km = fit(data, case);
            let expected = numbers(&case["expected"]["quantile"]);
            for (p, expected) in numbers(&case["params"]["probs"]).into_iter().zip(expected) {
                let ours = km.quantile(p.expect("a probability"));
                match (ours, expected) {
                    (Some(ours), Some(expected)) => assert_close("quantile", ours, expected, CURVE, case),
                    (ours, expected) => assert_eq!(ours, expected, "{case}"),
                }
            }
            n_cases += 1;
        }
    }
    println!("compared {n_cases} cases of survival_quantile (R); {n_late} with late entry are out of scope");
    assert_eq!((n_cases, n_late), (165, 3));
}
