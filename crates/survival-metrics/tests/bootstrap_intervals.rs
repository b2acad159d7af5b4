//! Bootstrap intervals against SciPy, which was given resamples drawn by the documented rule in Python.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use survival_metrics::{
    BootstrapConfig, BootstrapMethod, FoldRisks, Outcome, cluster_bootstrap_mean_c_index,
};

/// Sums of products in another order; SciPy's quantiles of the normal are good to some units in the last place.
const TOLERANCE: f64 = 1e-12;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[test]
fn percentile_and_bca_intervals_are_those_of_scipy() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/reference/bca.json");
    let cases: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let columns: Vec<(Vec<Outcome>, Vec<f64>, Vec<u64>)> = case["folds"]
            .as_array()
            .unwrap()
            .iter()
            .map(|fold| {
                let rows = numbers(&fold["time"]).into_iter().zip(numbers(&fold["event"]));
                let outcome = |(time, event)| {
                    if event == 1.0 { Outcome::event(time) } else { Outcome::censored(time) }
                };
                let outcomes = rows.map(|row| outcome(row).unwrap()).collect();
                let clusters = fold["cluster"].as_array().unwrap().iter().map(|c| c.as_u64().unwrap());
                (outcomes, numbers(&fold["risk"]), clusters.collect())
            })
            .collect();
        let folds: Vec<FoldRisks<'_, u64>> =
            columns.iter().map(|(outcomes, risk, clusters)| FoldRisks { outcomes, risk, clusters }).collect();
        for (method, key) in [(BootstrapMethod::Percentile, "percentile"), (BootstrapMethod::Bca, "bca")] {
            let config = BootstrapConfig {
                replicates: case["replicates"].as_u64().unwrap() as usize,
                seed: case["seed"].as_u64().unwrap(),
                level: case["level"].as_f64().unwrap(),
                method,
                ..BootstrapConfig::default()
            };
            let found = cluster_bootstrap_mean_c_index(&folds, config).unwrap();
            let expected = [&case["estimate"], &case[key][0], &case[key][1]].map(|x| x.as_f64().unwrap());
            for (found, expected) in [found.estimate, found.lower, found.upper].into_iter().zip(expected) {
                assert!((found - expected).abs() < TOLERANCE, "{name}, {key}: {found}, expected {expected}");
            }
        }
    }
}
