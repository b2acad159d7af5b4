//! The evaluation protocol on the published risks of eleven methods and three cohorts.

use crate::data::{Dataset, assert_close, number, numbers};
use crate::every_case::Verdict;
use crate::log_rank::P_VALUE;
use serde_json::Value;
use survival_metrics::{
    BootstrapConfig, CvSummary, FoldRisks, KaplanMeier, Outcome, RiskGroup, RiskTies,
    cluster_bootstrap_mean_c_index, concordance_index, fold_c_indices, log_rank_test, median_split,
    pooled_c_index, stratified_c_index,
};

const C_INDEX: f64 = 1e-12;
/// The published tables are reproduced to 1e-9 in C and 1e-6 in p.
const PUBLISHED_C: f64 = 1e-9;
const PUBLISHED_P: f64 = 1e-6;

/// Rows of one validation fold.
struct Fold {
    outcomes: Vec<Outcome>,
    risk: Vec<f64>,
    patients: Vec<String>,
}

fn folds(data: &Dataset, risk: &[f64]) -> Vec<Fold> {
    let (fold, patients) = (data.table.numbers("fold"), data.table.strings("case_id"));
    (0..5)
        .map(|k| {
            let rows: Vec<usize> = (0..risk.len()).filter(|&row| fold[row] == f64::from(k)).collect();
            Fold {
                outcomes: rows.iter().map(|&row| data.outcomes[row]).collect(),
                risk: rows.iter().map(|&row| risk[row]).collect(),
                patients: rows.iter().map(|&row| patients[row].clone()).collect(),
            }
        })
        .collect()
}

pub(crate) fn protocol(data: &Dataset, case: &Value) -> Verdict {
    let method = case["params"]["risk"].as_str().expect("a risk");
    let risk = data.risk(method);
    let ties = RiskTies::AbsTol(number(&case["params"]["tied_tol"]).expect("a tolerance"));
    let folds = folds(data, &risk);
    let folds: Vec<FoldRisks<'_, String>> = folds
        .iter()
        .map(|f| FoldRisks { outcomes: &f.outcomes, risk: &f.risk, clusters: &f.patients })
        .collect();
    let expected = &case["expected"];
    let all = |name: &str, ours: &[f64], tolerance: f64, expected: &Value| {
        let expected = numbers(expected);
        assert_eq!(ours.len(), expected.len(), "{name}");
        for (ours, expected) in ours.iter().zip(expected) {
            assert_close(name, *ours, expected.expect("a number"), tolerance, case);
        }
    };
    let one = |name: &str, ours: f64| {
        assert_close(name, ours, number(&expected[name]).expect("a number"), C_INDEX, case);
    };

    let c = fold_c_indices(&folds, ties).expect("defined");
    all("fold C", &c, C_INDEX, &expected["fold_cindex_sksurv"]);
    let exact = fold_c_indices(&folds, RiskTies::Exact).expect("defined");
    all("fold C", &exact, C_INDEX, &expected["fold_cindex_lifelines"]);
    for (fold, counts) in folds.iter().zip(expected["fold_counts"].as_array().expect("counts")) {
        let ours = concordance_index(fold.outcomes, fold.risk, ties).expect("defined").counts();
        let ours = [ours.concordant, ours.discordant, ours.tied_risk, ours.tied_time_event_censored];
        assert_eq!(ours.map(|count| Some(count as f64)).to_vec(), numbers(counts), "{case}");
    }

    let summary = CvSummary::new(&c).expect("five folds");
    one("mean", summary.mean());
    one("std_ddof0", summary.population_sd());
    one("std_ddof1", summary.sample_sd().expect("five folds"));
    let paper = CvSummary::paper_format(&c).expect("five folds");
    all("rounded", paper.folds(), C_INDEX, &expected["fold_cindex_rounded3"]);
    one("mean_of_rounded", paper.mean());
    one("std_of_rounded_ddof0", paper.population_sd());
    let pooled = pooled_c_index(&folds, ties).expect("defined").c_index();
    one("pooled_cindex_sksurv", pooled);
    let exact = pooled_c_index(&folds, RiskTies::Exact).expect("defined");
    one("pooled_cindex_lifelines", exact.c_index());

    let split = median_split(&risk).expect("two groups");
    one("median_threshold", split.threshold);
    let of_group = |group: RiskGroup| -> Vec<Outcome> {
        data.outcomes.iter().zip(&split.groups).filter(|(_, g)| **g == group).map(|(o, _)| *o).collect()
    };
    let (high, low) = (of_group(RiskGroup::High), of_group(RiskGroup::Low));
    one("n_high", high.len() as f64);
    one("n_low", low.len() as f64);
    one("n_equal_to_threshold", risk.iter().filter(|x| **x == split.threshold).count() as f64);
    for (name, group) in [("median_high", &high), ("median_low", &low)] {
        let km = KaplanMeier::fit(group).expect("not empty");
        let expected = number(&expected[name]).filter(|median| median.is_finite());
        assert_eq!(km.median_survival(), expected, "{name} in {case}");
    }
    let test = log_rank_test(&data.outcomes, &split.groups).expect("defined");
    let expected_test = &expected["logrank_high_low"];
    let required = |name: &str| number(&expected_test[name]).expect("a number");
    assert_close("chi-square", test.chi_square, required("chisq"), 1e-10, case);
    assert_eq!(test.df as f64, required("df"));
    assert_close("p", test.p_value, required("p"), P_VALUE, case);
    assert!((test.log10_p - required("log10_p")).abs() <= P_VALUE, "{case}");

    let published = &expected["published"];
    let published_number = |name: &str| number(&published[name]).expect("a number");
    all("published fold C", &c, PUBLISHED_C, &published["fold_cindex"]);
    assert_close("published mean", summary.mean(), published_number("mean"), PUBLISHED_C, case);
    assert_close("published std", summary.population_sd(), published_number("std"), PUBLISHED_C, case);
    assert_close("published pooled C", pooled, published_number("pooled"), PUBLISHED_C, case);
    assert_close("published p", test.p_value, published_number("logrank_p"), PUBLISHED_P, case);

    // The pair-weighted alternative to the mean of folds agrees with the counts of the folds.
    let stratified = stratified_c_index(&folds, ties).expect("defined");
    let comparable: u64 = stratified.counts().comparable();
    let weighted: f64 = folds
        .iter()
        .map(|fold| concordance_index(fold.outcomes, fold.risk, ties).expect("defined"))
        .map(|c| c.c_index() * c.counts().comparable() as f64 / comparable as f64)
        .sum();
    assert_close("stratified C", stratified.c_index(), weighted, C_INDEX, case);
    let config = BootstrapConfig { replicates: 200, ..BootstrapConfig::default() };
    let interval = cluster_bootstrap_mean_c_index(&folds, config).expect("defined");
    assert_eq!((interval.estimate, interval.unusable_replicates), (summary.mean(), 0));
    assert!(interval.lower <= interval.estimate && interval.estimate <= interval.upper, "{interval:?}");
    Verdict::Compared
}
