//! Results go into JSON with all their counts and no NaN (feature `serde`).
#![cfg(feature = "serde")]

use serde_json::json;
use survival_metrics::{
    ConcordanceConfig, CoxTies, KaplanMeier, Outcome, Risk, RiskTies, Status, SurvivalData, concordance,
    concordance_index, cox_model, log_rank_test,
};

fn outcomes() -> Vec<Outcome> {
    [(5.0, true), (8.0, false), (11.0, true), (20.0, true), (31.0, false), (40.0, true)]
        .map(|(time, event)| Outcome::new(time, if event { Status::Event } else { Status::Censored }))
        .into_iter()
        .collect::<Result<_, _>>()
        .expect("valid times")
}

#[test]
fn counts_and_names_are_kept() {
    let outcomes = outcomes();
    assert_eq!(serde_json::to_value(outcomes[1]).expect("JSON"), json!({"time": 8.0, "status": "Censored"}));

    let index =
        concordance_index(&outcomes, &[6.0, 1.0, 4.0, 5.0, 2.0, 3.0], RiskTies::default()).expect("pairs");
    let text = serde_json::to_value(index).expect("JSON");
    assert_eq!(text["counts"]["concordant"], json!(index.counts().concordant));

    let test = log_rank_test(&outcomes, &["a", "b", "a", "b", "a", "b"]).expect("two groups");
    let text = serde_json::to_value(&test).expect("JSON");
    assert_eq!((&text["groups"][1]["level"], &text["df"]), (&json!("b"), &json!(1)));
    assert_eq!(text["chi_square"].as_f64(), Some(test.chi_square));
}

#[test]
fn curves_models_and_estimates_are_numbers_throughout() {
    let outcomes = outcomes();
    let data = SurvivalData::new(&outcomes).expect("valid");
    let risk = Risk::new(&[6.0, 1.0, 4.0, 5.0, 2.0, 3.0]).expect("finite");
    let estimate = concordance(&data, &risk, &ConcordanceConfig::default()).expect("pairs");
    let model = cox_model(&data, &[&[1.0, 0.0, 0.0, 1.0, 0.0, 1.0]], CoxTies::Efron).expect("fits");
    let values = [
        serde_json::to_value(KaplanMeier::fit(&outcomes).expect("fits")),
        serde_json::to_value(&estimate),
        serde_json::to_value(&model),
    ];
    for value in values {
        // A NaN would have become null.
        let text = value.expect("JSON").to_string();
        assert!(text.len() > 50 && !text.contains(":null"), "{text}");
    }
}
