//! Predicted survival curves: Brier score, log-likelihood, AUC over time, Antolini's C, calibration.

use std::path::Path;

use crate::concordance::{ipcw, train_and_test};
use crate::data::{Dataset, Table, assert_all_close, assert_close, json, number, numbers, required};
use crate::every_case::Verdict;
use serde_json::Value;
use survival_metrics::{
    AucConfig, AucOverTime, BrierConfig, BrierNorm, CensoringDistribution, CensoringRule, CensoringSide,
    CensoringTies, Convention, CurveLookup, CurveTies, Error, KaplanMeier, Outcome, PredictedSurvival,
    Result, Risk, RiskTies, ScoreOverTime, TimeIntegral, brier_score, calibration_groups,
    cumulative_dynamic_auc, cumulative_dynamic_auc_of_risks, d_calibration, negative_log_likelihood,
    time_dependent_concordance, unweighted_brier_score,
};

/// Required of weighted sums over subjects.
const SCORE: f64 = 1e-10;
/// Why a value stands where scikit-survival has an exception: it wants weights of all test times.
pub(crate) const NO_WEIGHT_MISSING: &str = "scikit-survival refuses; no weight that is needed is missing";
/// torchsurv works in single precision.
const SINGLE: f64 = 1e-5;

/// A test sample with predicted curves, and the sample that the model was fitted on.
pub(crate) struct Predictions {
    pub(crate) file: Value,
    test: Vec<Outcome>,
    train: Vec<Outcome>,
    risk: Risk,
    times: Vec<f64>,
    values: Vec<f64>,
}

impl Predictions {
    pub(crate) fn read(root: &Path, name: &str) -> Self {
        let file = json(&root.join(format!("expected/{name}.json")));
        let read = |key: &str| Table::read(&root.join(file[key].as_str().expect("a file")));
        let (table, train) = (read("predictions"), read("train"));
        let times: Vec<f64> = numbers(&file["times"]).into_iter().map(|t| t.expect("a time")).collect();
        let columns: Vec<Vec<f64>> = file["times"]
            .as_array()
            .expect("times")
            .iter()
            .map(|t| table.numbers(&format!("S@{t}")))
            .collect();
        let test = table.outcomes();
        let values = (0..test.len()).flat_map(|row| columns.iter().map(move |column| column[row])).collect();
        let risk = Risk::new(&table.numbers("risk")).expect("not NaN");
        Self { test, train: train.outcomes(), risk, times, values, file }
    }

    fn curves(&self, lookup: CurveLookup) -> PredictedSurvival {
        PredictedSurvival::new(&self.times, self.values.clone(), lookup).expect("probabilities")
    }

    fn g(&self, from_test: bool, ties: CensoringTies) -> CensoringDistribution {
        let sample = if from_test { &self.test } else { &self.train };
        CensoringDistribution::fit(sample, ties).expect("not empty")
    }
}

pub(crate) fn check(data: &Predictions, case: &Value) -> Verdict {
    let (function, library) = (case["fn"].as_str().expect("fn"), case["lib"].as_str().expect("lib"));
    match (function, library) {
        ("brier_score" | "integrated_brier_score" | "brier_score_km_reference", "scikit-survival") => {
            brier_scikit_survival(data, case)
        }
        ("brier_score" | "negative_binomial_log_likelihood", "pycox") => pycox_at_times(data, case),
        ("integrated_brier_score" | "integrated_nbll", "pycox") => pycox_integrated(data, case),
        ("brier_score_unweighted", "torchsurv") => {
            let ours = unweighted_brier_score(&data.test, &data.curves(CurveLookup::Post), &data.times)
                .expect("defined");
            assert_all_close("Brier", &ours.scores, &case["expected"]["brier"], SINGLE, case);
            let integral = ours.integrated(TimeIntegral::Trapezoid);
            assert_close("integral", integral, required(&case["expected"], "integral"), SINGLE, case);
            Verdict::Compared
        }
        ("auc_cumulative_unweighted", "torchsurv") => {
            // Nobody censored: all weights are 1.
            let last = Outcome::event(1e9).expect("valid");
            let g = CensoringDistribution::fit(&[last], CensoringTies::EventsFirst).expect("one");
            let config = AucConfig { training: Some(&g), ..AucConfig::default() };
            let ours = cumulative_dynamic_auc(&data.test, &data.risk, &data.times, &config).expect("defined");
            assert_all_close("AUC", &ours.auc, &case["expected"]["auc"], SINGLE, case);
            Verdict::Compared
        }
        ("cumulative_dynamic_auc" | "cumulative_dynamic_auc_time_dependent", _) => {
            auc_of_predictions(data, case)
        }
        ("concordance_index_ipcw", _) => ipcw(&data.train, &data.test, &data.risk, RiskTies::default(), case),
        ("concordance_td", _) => {
            let ties = match case["params"]["method"].as_str() {
                Some("antolini") => CurveTies::Zero,
                Some("adj_antolini") => CurveTies::AdjustedForTime,
                other => panic!("method {other:?}"),
            };
            let curves = data.curves(CurveLookup::Post);
            let ours = time_dependent_concordance(&data.test, &curves, ties).expect("defined");
            assert_close("C", ours, required(&case["expected"], "cindex"), 1e-12, case);
            Verdict::Compared
        }
        ("d_calibration", _) => calibration(data, case),
        ("one_calibration", _) => groups(data, case),
        ("auc_incident_unweighted", _) => Verdict::Listed("incident/dynamic AUC is not implemented"),
        other => panic!("no check for {other:?}"),
    }
}

/// What a library that refused became here: the same refusal as a type, or a value where ours needs less.
fn refused<T: std::fmt::Debug>(ours: Result<T>, case: &Value) -> Verdict {
    match ours {
        Err(Error::TimeBeyondTraining { .. } | Error::CensoringSurvivalZero { .. }) => Verdict::Compared,
        Ok(_) => Verdict::Listed(NO_WEIGHT_MISSING),
        Err(other) => panic!("{other} in {case}"),
    }
}

fn brier_scikit_survival(data: &Predictions, case: &Value) -> Verdict {
    let config = Convention::ScikitSurvival.brier();
    let expected = &case["expected"];
    let g = data.g(case["params"]["censoring_from"] == "test", config.censoring.ties);
    let curves = if case["fn"] == "brier_score_km_reference" {
        let km = KaplanMeier::fit(&data.train).expect("not empty");
        let survival: Vec<f64> = data.times.iter().map(|&t| km.survival_at(t)).collect();
        if expected["error"].is_null() {
            assert_all_close("KM", &survival, &expected["km_train"], SCORE, case);
        }
        PredictedSurvival::same_for_all(&data.times, &survival, data.test.len()).expect("probabilities")
    } else {
        data.curves(CurveLookup::Post)
    };
    let ours = brier_score(&data.test, &curves, &data.times, &g, config);
    if !expected["error"].is_null() {
        return refused(ours, case);
    }
    let ours: ScoreOverTime = ours.expect("defined");
    if !expected["brier"].is_null() {
        assert_all_close("Brier", &ours.scores, &expected["brier"], SCORE, case);
    }
    if let Some(ibs) = number(&expected["ibs"]) {
        assert_close("IBS", ours.integrated(TimeIntegral::Trapezoid), ibs, SCORE, case);
    }
    Verdict::Compared
}

/// pycox: a flipped curve of the test sample, read before events, and the sum of weights as the divisor.
fn pycox(data: &Predictions) -> (CensoringDistribution, BrierConfig) {
    let censoring = CensoringRule {
        ties: CensoringTies::Flipped,
        side: CensoringSide::Before,
        ..CensoringRule::default()
    };
    (data.g(true, censoring.ties), BrierConfig { censoring, norm: BrierNorm::SumOfWeights })
}

fn pycox_at_times(data: &Predictions, case: &Value) -> Verdict {
    let (g, config) = pycox(data);
    let (curves, expected) = (data.curves(CurveLookup::Post), &case["expected"]);
    if case["fn"] == "brier_score" {
        let ours = brier_score(&data.test, &curves, &data.times, &g, config).expect("defined");
        assert_all_close("Brier", &ours.scores, &expected["brier"], SCORE, case);
    } else {
        let epsilon = required(&case["params"], "eps");
        let ours =
            negative_log_likelihood(&data.test, &curves, &data.times, &g, config, epsilon).expect("defined");
        assert_all_close("NBLL", &ours.scores, &expected["nbll"], SCORE, case);
    }
    Verdict::Compared
}

fn pycox_integrated(data: &Predictions, case: &Value) -> Verdict {
    let (g, config) = pycox(data);
    let curves = data.curves(CurveLookup::Post);
    let grid = numbers(&case["params"]["grid"]);
    let [Some(first), Some(last), Some(n)] = grid[..] else { panic!("grid {grid:?}") };
    let times: Vec<f64> = (0..n as usize).map(|k| first + (last - first) * k as f64 / (n - 1.0)).collect();
    if case["fn"] == "integrated_brier_score" {
        let ours = brier_score(&data.test, &curves, &times, &g, config).expect("defined");
        let ours = ours.integrated(TimeIntegral::Simpson);
        assert_close("IBS", ours, required(&case["expected"], "ibs"), SCORE, case);
    } else {
        let ours = negative_log_likelihood(&data.test, &curves, &times, &g, config, 1e-7).expect("defined");
        let ours = ours.integrated(TimeIntegral::Simpson);
        assert_close("INBLL", ours, required(&case["expected"], "inbll"), SCORE, case);
    }
    Verdict::Compared
}

fn assert_auc(ours: Result<AucOverTime>, case: &Value) -> Verdict {
    let expected = &case["expected"];
    if !expected["error"].is_null() {
        return refused(ours, case);
    }
    let ours = ours.unwrap_or_else(|error| panic!("{error} in {case}"));
    assert_all_close("AUC", &ours.auc, &expected["auc"], SCORE, case);
    assert_close("mean AUC", ours.mean, required(expected, "mean_auc"), SCORE, case);
    assert!(ours.standard_error.iter().all(|se| se.is_finite() && *se >= 0.0));
    Verdict::Compared
}

fn auc_config(tie_tolerance: f64, training: &CensoringDistribution) -> AucConfig<'_> {
    AucConfig { tie_tolerance, censoring: Convention::ScikitSurvival.censoring(), training: Some(training) }
}

fn auc_of_predictions(data: &Predictions, case: &Value) -> Verdict {
    let g = data.g(false, CensoringTies::EventsFirst);
    let config = auc_config(1e-8, &g);
    if case["params"]["estimate"] == "risk" {
        return assert_auc(cumulative_dynamic_auc(&data.test, &data.risk, &data.times, &config), case);
    }
    let at = |k: usize| {
        let column = data.values.iter().skip(k).step_by(data.times.len());
        Risk::new(&column.map(|s| 1.0 - s).collect::<Vec<_>>()).expect("not NaN")
    };
    let risks: Vec<Risk> = (0..data.times.len()).map(at).collect();
    assert_auc(cumulative_dynamic_auc_of_risks(&data.test, &risks, &data.times, &config), case)
}

/// AUC of a risk in a data set, with G of all rows or of the other folds.
pub(crate) fn auc_of_dataset(data: &Dataset, case: &Value) -> Verdict {
    let params = &case["params"];
    let of = |rows: &[usize]| -> Vec<Outcome> { rows.iter().map(|&row| data.outcomes[row]).collect() };
    let (train, test) = train_and_test(data, params);
    let risk = data.risk_of(case, "risk");
    let risk = Risk::new(&test.iter().map(|&row| risk.values()[row]).collect::<Vec<_>>()).expect("not NaN");
    let times: Vec<f64> = numbers(&params["times"]).into_iter().map(|t| t.expect("a time")).collect();
    let g = CensoringDistribution::fit(&of(&train), CensoringTies::EventsFirst).expect("not empty");
    let config = auc_config(required(params, "tied_tol"), &g);
    assert_auc(cumulative_dynamic_auc(&of(&test), &risk, &times, &config), case)
}

fn calibration(data: &Predictions, case: &Value) -> Verdict {
    let expected = &case["expected"];
    let given = &expected["pred_at_own_time"];
    let own: Vec<f64> = if given.is_null() {
        let curves = data.curves(CurveLookup::Post);
        data.test.iter().enumerate().map(|(i, o)| curves.at(i, o.time())).collect()
    } else {
        numbers(given).into_iter().map(|s| s.expect("a probability")).collect()
    };
    let n_bins = required(&case["params"], "num_bins") as usize;
    let ours = d_calibration(&data.test, &own, n_bins).expect("probabilities");
    assert_all_close("bins", &ours.bins, &expected["hist"], SCORE, case);
    assert_close("statistic", ours.chi_square, required(expected, "statistic"), SCORE, case);
    assert_close("p", ours.p_value, required(expected, "p"), 1e-9, case);
    Verdict::Compared
}

fn groups(data: &Predictions, case: &Value) -> Verdict {
    let (params, expected) = (&case["params"], &case["expected"]);
    let t = required(params, "time");
    let curves = data.curves(CurveLookup::Post);
    let predicted: Vec<f64> = (0..data.test.len()).map(|i| 1.0 - curves.at(i, t)).collect();
    let n_groups = required(params, "num_bins") as usize;
    let ours = calibration_groups(&data.test, &predicted, t, n_groups).expect("probabilities");
    let column = |of: fn(&survival_metrics::CalibrationGroup) -> f64| ours.iter().map(of).collect::<Vec<_>>();
    assert_all_close("observed", &column(|g| g.observed), &expected["observed"], SCORE, case);
    assert_all_close("expected", &column(|g| g.predicted), &expected["expected"], SCORE, case);
    Verdict::Compared
}
