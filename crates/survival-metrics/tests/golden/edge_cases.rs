//! Tiny inputs on which libraries disagree or fail: values where one is right, typed errors elsewhere.

use crate::data::{assert_close, json, number, numbers, root, try_outcome};
use serde_json::Value;
use survival_metrics::{
    CiType, Error, KaplanMeier, LogRank, Outcome, Result, RiskTies, concordance_index, log_rank_test,
};

fn input(case: &Value, name: &str) -> Vec<f64> {
    numbers(&case["input"][name]).into_iter().map(|x| x.expect("a number")).collect()
}

/// Whether a library returned a number rather than an exception or NaN.
fn answered(outcome: &Value, key: &str) -> bool {
    outcome["error"].is_null() && number(&outcome[key]).is_some_and(|value| !value.is_nan())
}

fn check_concordance(outcomes: &[Outcome], risk: &[f64], case: &Value, n_values: &mut usize) {
    let libraries = &case["outcomes"];
    let expected_error = if let Some(index) = risk.iter().position(|x| x.is_nan()) {
        Some(Error::NanRisk { index })
    } else if libraries["lifelines.concordance_index"]["error"].is_null() {
        None
    } else if !outcomes.is_empty() && outcomes.iter().all(|o| !o.is_event()) {
        Some(Error::AllCensored { n: outcomes.len() })
    } else {
        Some(Error::NoComparablePairs { n: outcomes.len() })
    };
    for (library, key, ties) in [
        ("lifelines.concordance_index", "cindex", RiskTies::Exact),
        ("sksurv.concordance_index_censored(tied_tol=0)", "cindex", RiskTies::AbsTol(0.0)),
        ("sksurv.concordance_index_censored(tied_tol=1e-8)", "cindex", RiskTies::default()),
        ("R.concordance(timewt=n)", "concordance", RiskTies::Exact),
    ] {
        let theirs = &libraries[library];
        let ours = match (concordance_index(outcomes, risk, ties), &expected_error) {
            (Err(error), Some(expected)) => {
                assert_eq!(&error, expected, "{library} in {case}");
                // R drops a NaN risk instead of refusing it.
                assert!(!answered(theirs, key) || risk.iter().any(|x| x.is_nan()), "{library} in {case}");
                continue;
            }
            (ours, _) => ours.expect("defined"),
        };
        // scikit-survival refuses infinite risks; R merges times within 1.5e-8.
        let may_differ = case["id"] == "close_times" && library.starts_with("R.");
        if !answered(theirs, key) {
            assert!(risk.iter().any(|x| x.is_infinite()), "{library} in {case}");
        } else if !may_differ {
            assert_close(library, ours.c_index(), number(&theirs[key]).expect("C"), 1e-12, case);
            *n_values += 1;
            let counts = ours.counts();
            for (name, count) in [
                ("concordant", counts.concordant),
                ("discordant", counts.discordant),
                ("tied_risk", counts.tied_risk),
                ("tied_time", counts.tied_time_event_censored),
                ("tied.x", counts.tied_risk),
                ("tied.y", counts.tied_time_event_event),
                ("tied.xy", counts.tied_both),
            ] {
                if let Some(expected) = number(&theirs[name]) {
                    assert_eq!(count as f64, expected, "{name} of {library} in {case}");
                }
            }
        }
    }
}

fn check_kaplan_meier(outcomes: &[Outcome], case: &Value, n_values: &mut usize) {
    let libraries = &case["outcomes"];
    let km = match KaplanMeier::fit(outcomes) {
        Ok(km) => km,
        Err(error) => {
            assert_eq!((error, outcomes.len()), (Error::Empty { what: "outcomes" }, 0), "{case}");
            return;
        }
    };
    let limits = km.confidence_limits(0.95, CiType::LogLog).expect("a valid level");
    for library in
        ["lifelines.KaplanMeierFitter", "sksurv.kaplan_meier_estimator", "R.survfit(log-log)+quantile"]
    {
        let theirs = &libraries[library];
        let is_r = library.starts_with("R.");
        if !theirs["error"].is_null() || (is_r && case["id"] == "close_times") {
            continue;
        }
        let curves = numbers(&theirs["surv"]).into_iter().zip(numbers(&theirs["lower"]));
        for (t, (survival, lower)) in numbers(&theirs["time"]).into_iter().zip(curves) {
            let t = t.expect("a time");
            assert_close(library, km.survival_at(t), survival.expect("S"), 1e-10, case);
            let ours = km.times().iter().position(|&u| u == t).and_then(|i| limits[i]);
            match (ours, lower) {
                (Some((ours, _)), Some(lower)) => assert_close(library, ours, lower, 1e-10, case),
                (None, None) => {}
                (None, Some(_)) => assert!(!is_r && [0.0, 1.0].contains(&km.survival_at(t)), "{case}"),
                (ours, lower) => panic!("{ours:?} instead of {lower:?}: {library} in {case}"),
            }
        }
        *n_values += 1;
    }
    let r = &libraries["R.survfit(log-log)+quantile"];
    if r["error"].is_null() && case["id"] != "close_times" {
        let expected = numbers(&r["quantile"]);
        let ours: Vec<_> = [0.25, 0.5, 0.75].into_iter().map(|p| km.quantile(p)).collect();
        assert_eq!(ours, expected, "{case}");
    }
}

fn check_log_rank(ours: Result<LogRank<u8>>, case: &Value, n_values: &mut usize) {
    let libraries = &case["outcomes"];
    let ours = match ours {
        Ok(ours) => ours,
        Err(error) => {
            let groups = input(case, "group");
            let single = groups.iter().all(|g| Some(g) == groups.first());
            assert_eq!(error, if single { Error::SingleGroup } else { Error::ZeroVariance }, "{case}");
            // Nobody finds a difference here: lifelines gives 0 or NaN, the others fail or give 0.
            for library in ["lifelines.multivariate_logrank_test", "sksurv.compare_survival", "R.survdiff"] {
                let chi_square = &libraries[library]["chisq"];
                assert!(!number(chi_square).is_some_and(|x| x > 1e-12), "{library} in {case}");
            }
            return;
        }
    };
    for library in ["lifelines.multivariate_logrank_test", "sksurv.compare_survival", "R.survdiff"] {
        let theirs = &libraries[library];
        if !answered(theirs, "chisq") || (library.starts_with("R.") && case["id"] == "close_times") {
            continue;
        }
        assert_close(library, ours.chi_square, number(&theirs["chisq"]).expect("chi"), 1e-10, case);
        if case["id"] == "three_groups_one_censored_first" {
            // The third group is gone before the first event. The libraries count it, R's own printout does not.
            assert_eq!(ours.df, 1);
        } else {
            assert_close(library, ours.p_value, number(&theirs["p"]).expect("p"), 1e-9, case);
        }
        *n_values += 1;
    }
}

#[test]
fn edge_cases_have_the_right_value_or_a_typed_error() {
    let Some(root) = root() else { return };
    let file = json(&root.join("expected/edge_cases.json"));
    let (mut n_cases, mut n_values) = (0, 0);
    let mut refused = Vec::new();
    for case in file["cases"].as_array().expect("cases") {
        n_cases += 1;
        let (time, event) = (input(case, "time"), input(case, "event"));
        let outcomes: Result<Vec<Outcome>> =
            time.iter().zip(&event).map(|(&time, &event)| try_outcome(time, event)).collect();
        let outcomes = match outcomes {
            Ok(outcomes) => outcomes,
            Err(error) => {
                assert!(matches!(error, Error::InvalidTime { .. }), "{case}");
                refused.push(case["id"].as_str().expect("an id"));
                continue;
            }
        };
        check_concordance(&outcomes, &input(case, "risk"), case, &mut n_values);
        check_kaplan_meier(&outcomes, case, &mut n_values);
        let groups: Vec<u8> = input(case, "group").into_iter().map(|g| g as u8).collect();
        check_log_rank(log_rank_test(&outcomes, &groups), case, &mut n_values);
    }
    println!("compared {n_cases} edge cases: {n_values} results, {refused:?} refused");
    assert_eq!(refused, ["nan_time", "inf_time", "negative_time"]);
    assert_eq!((n_cases, n_values), (44, 323));
}
