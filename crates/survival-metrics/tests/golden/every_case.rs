//! Every case of every file is compared, or listed with the reason why not.

use std::collections::BTreeMap;

use crate::data::{Dataset, datasets, json, root};
use crate::predictions::NO_WEIGHT_MISSING;
use crate::predictions::Predictions;
use crate::{concordance, cox, cross_validation, kaplan_meier, log_rank, predictions};
use serde_json::Value;

/// What became of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All values that the crate computes agree.
    Compared,
    /// Not compared, for this reason.
    Listed(&'static str),
}

fn check(data: &Dataset, case: &Value) -> Verdict {
    let (function, library) = (case["fn"].as_str().expect("fn"), case["lib"].as_str().expect("lib"));
    let check = match (function, library) {
        ("concordance_index", "lifelines") => concordance::lifelines,
        ("concordance_index_censored", "scikit-survival") => concordance::scikit_survival,
        ("concordance_index_ipcw", "scikit-survival") => concordance::scikit_survival_ipcw,
        ("concordance", "R-survival") => concordance::r,
        ("cindex", "torchsurv") => concordance::torchsurv,
        ("jackknife_cindex", "lifelines") => concordance::jackknife,
        ("bootstrap_cindex_fixed_resamples", "lifelines") => concordance::fixed_resamples,
        ("paired_concordance", "R-survival") => concordance::paired_r,
        ("paired_concordance", "compare_concordance") => concordance::paired_kang,
        ("kaplan_meier", _) => kaplan_meier::curve,
        ("kaplan_meier_left_truncated", _) => kaplan_meier::left_truncated,
        ("kaplan_meier_weighted", "R-survival") => kaplan_meier::weighted,
        ("survival_quantile", "R-survival") => kaplan_meier::quantiles_r,
        ("survival_quantile", "lifelines") => kaplan_meier::quantiles_lifelines,
        ("median_follow_up_reverse_km", "R-survival") => kaplan_meier::follow_up,
        ("cumulative_hazard" | "nelson_aalen", _) => kaplan_meier::hazard,
        ("survival_from_nelson_aalen", "R-survival") => kaplan_meier::survival_of_hazard,
        ("rmst", "R-survival") => kaplan_meier::area_r,
        ("rmst", "lifelines") => kaplan_meier::area_lifelines,
        ("censoring_distribution", _) => kaplan_meier::censoring,
        ("survival_difference_at_time", "lifelines") => kaplan_meier::difference_at,
        ("logrank", _) => log_rank::groups,
        ("logrank_stratified", "R-survival") => log_rank::strata,
        ("logrank_pairwise", "lifelines") => log_rank::pairs,
        ("cox_ph", "R-survival") => cox::r,
        ("hazard_ratio_two_group", "lifelines") => cox::lifelines,
        ("cumulative_dynamic_auc", "scikit-survival") => predictions::auc_of_dataset,
        ("cv_protocol", _) => cross_validation::protocol,
        other => panic!("no check for {other:?}"),
    };
    check(data, case)
}

/// Cases by what became of them.
#[derive(Default)]
struct Tally {
    compared: BTreeMap<String, usize>,
    listed: BTreeMap<(String, &'static str), usize>,
    failed: BTreeMap<String, usize>,
}

impl Tally {
    fn add(&mut self, case: &Value, check: impl FnOnce() -> Verdict) {
        let name = format!("{} ({})", case["fn"].as_str().expect("fn"), case["lib"].as_str().expect("lib"));
        // One case that disagrees does not hide the others.
        let Ok(verdict) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)) else {
            return *self.failed.entry(name).or_default() += 1;
        };
        match verdict {
            Verdict::Compared => *self.compared.entry(name).or_default() += 1,
            Verdict::Listed(reason) => *self.listed.entry((name, reason)).or_default() += 1,
        }
    }
}

#[test]
fn every_case_is_compared_or_listed() {
    let (Some(root), Some(datasets)) = (root(), datasets()) else { return };
    let mut tally = Tally::default();
    for data in &datasets {
        for case in data.cases() {
            tally.add(case, || check(data, case));
        }
    }
    for name in ["pred_gbsg2", "pred_veteran"] {
        let data = Predictions::read(&root, name);
        for case in data.file["cases"].as_array().expect("cases") {
            tally.add(case, || predictions::check(&data, case));
        }
    }
    // Competing risks: a subject can leave by more than one kind of event.
    let competing = json(&root.join("expected/bmt_cr.json"));
    for case in competing["cases"].as_array().expect("cases") {
        tally.add(case, || Verdict::Listed("competing risks are not implemented"));
    }

    let n_compared: usize = tally.compared.values().sum();
    assert!(tally.failed.is_empty(), "disagree: {:#?}", tally.failed);
    println!("compared {n_compared} cases: {:#?}\nlisted: {:#?}", tally.compared, tally.listed);
    assert_eq!(tally.compared.get("cv_protocol (sksurv+lifelines)"), Some(&33));
    let listed: usize = tally.listed.values().sum();
    // Edge cases, extreme p-values and special functions have tests of their own, with counts of their own.
    let elsewhere = ["edge_cases", "extreme_p", "special_functions"];
    let in_files: usize = std::fs::read_dir(root.join("expected"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| !elsewhere.iter().any(|name| path.file_stem().is_some_and(|stem| stem == *name)))
        .map(|path| json(&path)["cases"].as_array().expect("cases").len())
        .sum();
    assert_eq!(n_compared + listed, in_files, "a file has cases that no test reads");
    assert_eq!(listed, LISTED.iter().map(|(.., n)| n).sum::<usize>(), "{:#?}", tally.listed);
    for (function, reason, n) in LISTED {
        assert_eq!(tally.listed.get(&(function.to_owned(), reason)), Some(&n), "{function}: {reason}");
    }
}

/// Cases that are not compared: function and library, reason, number.
const LISTED: [(&str, &str, usize); 11] = [
    ("auc_incident_unweighted (torchsurv)", "incident/dynamic AUC is not implemented", 2),
    ("brier_score (scikit-survival)", NO_WEIGHT_MISSING, 1),
    ("brier_score_km_reference (scikit-survival)", NO_WEIGHT_MISSING, 1),
    ("cindex (torchsurv)", "torchsurv gives a weight to events at which G is 0", 2),
    (
        "concordance_index_ipcw (scikit-survival)",
        "scikit-survival refuses; no subject that has pairs lacks a weight",
        1,
    ),
    ("cumulative_dynamic_auc (scikit-survival)", NO_WEIGHT_MISSING, 3),
    ("cumulative_dynamic_auc_time_dependent (scikit-survival)", NO_WEIGHT_MISSING, 1),
    ("cumulative_incidence (R-survival)", "competing risks are not implemented", 3),
    ("cumulative_incidence (scikit-survival)", "competing risks are not implemented", 9),
    ("integrated_brier_score (scikit-survival)", NO_WEIGHT_MISSING, 1),
    ("rmst (R-survival)", "R carries the last value of S on, beyond follow-up", 2),
];
