//! Log-rank p-values down to 1e-877, from replicated rows.

use crate::data::{Table, assert_close, json, number, root};
use crate::log_rank::P_VALUE;
use survival_metrics::{log_rank_test, median_split};

#[test]
fn p_values_survive_underflow() {
    let Some(root) = root() else { return };
    let file = json(&root.join("expected/extreme_p.json"));
    let mut n_cases = 0;
    for case in file["cases"].as_array().expect("cases") {
        let table = Table::read(&root.join(case["dataset"].as_str().expect("a file")));
        let risk = table.numbers(case["column"].as_str().expect("a column"));
        let replicates = case["replicate_rows"].as_u64().expect("a count") as usize;
        let split = median_split(&risk.repeat(replicates)).expect("two groups");
        let ours = log_rank_test(&table.outcomes().repeat(replicates), &split.groups).expect("defined");
        let required = |name: &str| number(&case[name]).expect("a number");
        assert_close("chi-square", ours.chi_square, required("chisq_lifelines"), 1e-10, case);
        assert_close("chi-square", ours.chi_square, required("chisq_sksurv"), 1e-10, case);
        let log10_error = (ours.log10_p - required("log10_p_mpmath")).abs();
        assert!(log10_error <= P_VALUE, "log10 p off by {log10_error:e} in {case}");
        // The libraries' p is 0 from 1e-309 on.
        let p = 10_f64.powf(required("log10_p_mpmath"));
        if p > 1e-300 {
            assert!((ours.p_value / p - 1.0).abs() <= P_VALUE, "{} instead of {p} in {case}", ours.p_value);
        }
        n_cases += 1;
    }
    println!("compared {n_cases} cases of extreme_p");
    assert_eq!(n_cases, 9);
}
