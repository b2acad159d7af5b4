//! Tests whose statistic is infinite, or of a smaller rank than they seem: no rounding is taken for a variance.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use survival_metrics::{
    BrierConfig, CensoringDistribution, CensoringTies, ConcordanceConfig, CoxTies, CurveLookup, Error,
    Outcome, PredictedSurvival, Risk, SurvivalData, TimeWeight, brier_score, clustered_log_rank_test,
    compare_concordance, concordance, cox_model,
};

fn outcomes(rows: &[(f64, bool)]) -> Vec<Outcome> {
    rows.iter()
        .map(|&(time, event)| if event { Outcome::event(time) } else { Outcome::censored(time) }.unwrap())
        .collect()
}

fn events(times: &[f64]) -> Vec<Outcome> {
    times.iter().map(|&time| Outcome::event(time).unwrap()).collect()
}

#[test]
fn risks_that_are_tied_up_to_rounding_do_not_differ() {
    let times = outcomes(&[
        (1.0, false),
        (2.0, false),
        (3.0, false),
        (4.0, true),
        (5.0, true),
        (6.0, false),
        (7.0, true),
        (8.0, true),
    ]);
    let data = SurvivalData::new(&times).unwrap();
    let tied =
        [[4e-9, 4e-9, 0.0, 3e-9, 4e-9, 3e-9, 4e-9, 3e-9], [1e-9, 2e-9, 3e-9, 4e-9, 4e-9, 4e-9, 3e-9, 0.0]];
    let risks = tied.map(|risk| Risk::new(&risk).unwrap());
    let config = ConcordanceConfig { time_weight: TimeWeight::Uno, ..ConcordanceConfig::default() };
    let both = compare_concordance(&data, &risks, &config).unwrap();
    assert_eq!(both.equality(), Err(Error::ZeroVariance));
    assert_eq!(both.difference(0, 1), Err(Error::ZeroVariance));
}

#[test]
fn a_combination_of_risks_that_differs_without_variance_has_no_test() {
    // Of three subjects, influences have a rank of two at most: a combination of three risks is the same whoever is drawn, and is not 0.
    let data_of = events(&[1.0, 2.0, 3.0]);
    let data = SurvivalData::new(&data_of).unwrap();
    let risks = [[1.0, 0.0, 3.0], [0.0, 0.0, 2.0], [3.0, 2.0, 1.0]].map(|risk| Risk::new(&risk).unwrap());
    let all = compare_concordance(&data, &risks, &ConcordanceConfig::default()).unwrap();
    assert!(all.difference(1, 2).unwrap().z.abs() > 5.0);
    assert_eq!(all.equality(), Err(Error::ZeroVariance));
    // Two of them, and one of them twice, are as good as two.
    let two = compare_concordance(&data, &risks[1..], &ConcordanceConfig::default()).unwrap();
    let twice = [risks[1].clone(), risks[2].clone(), risks[1].clone()];
    let twice = compare_concordance(&data, &twice, &ConcordanceConfig::default()).unwrap();
    let [two, twice] = [two.equality().unwrap(), twice.equality().unwrap()];
    assert_eq!((two.df, twice.df), (1, 1));
    assert!((two.chi_square - twice.chi_square).abs() < 1e-9 * two.chi_square);
}

#[test]
fn strata_and_weights_leave_no_rounding_behind() {
    let rows = outcomes(&[
        (45.697_473_753_247_72, true),
        (10.221_375_608_379_784, true),
        (32.731_204_568_805_865, false),
        (2.810_156_574_344_855, true),
        (1.875_303_500_041_694, false),
        (54.818_452_219_538_955, true),
        (4.988_859_084_146_267, false),
    ]);
    let data = SurvivalData::new(&rows).unwrap().with_strata(&[0, 0, 0, 1, 1, 1, 1]).unwrap();
    let risks = [
        [1.200_000_016, 0.3, 0.100_000_008, 0.4, -0.399_999_984, -0.299_999_992, -0.099_999_992],
        [-5.0, -3.0, -4.0, -1.0, -0.0, -6.0, -2.0],
        [-1.199_999_984, -1.099_999_984, 0.900_000_016, -0.299_999_984, 8e-9, 0.500_000_008, -0.2],
    ];
    let risks = risks.map(|risk| Risk::new(&risk).unwrap());
    let config = ConcordanceConfig { time_weight: TimeWeight::Uno, ..ConcordanceConfig::default() };
    let all = compare_concordance(&data, &risks, &config).unwrap();
    assert_eq!(all.equality(), Err(Error::ZeroVariance));
}

#[test]
fn a_clustered_test_counts_the_groups_that_clusters_tell_apart() {
    let rows = outcomes(&[(1.0, true), (2.0, true), (4.0, true), (2.0, true), (1.0, true), (2.0, false)]);
    let groups = ["c", "c", "c", "a", "a", "b"];
    let clusters = ["q", "p", "q", "p", "q", "q"];
    let data = SurvivalData::new(&rows).unwrap().with_clusters(&clusters).unwrap();
    let test = clustered_log_rank_test(&data, &groups).unwrap();
    // Two clusters whose parts sum to 0: one number varies. Group c has as many events as expected.
    assert_eq!(test.df, 1);
    assert!((test.chi_square - 18.0 / 13.0).abs() < 1e-9, "{}", test.chi_square);
}

#[test]
fn as_many_clusters_as_degrees_of_freedom_are_no_test() {
    let times: Vec<f64> = (0..90).map(|at| f64::from(at * 37 % 91) + 1.0).collect();
    let data_of = events(&times);
    let groups: Vec<usize> = (0..90).map(|at| at % 3).collect();
    let clustered = |n: usize| {
        let clusters: Vec<usize> = (0..90).map(|at| at % 7 % n).collect();
        let data = SurvivalData::new(&data_of).unwrap().with_clusters(&clusters).unwrap();
        clustered_log_rank_test(&data, &groups)
    };
    assert_eq!(clustered(2), Err(Error::ZeroVariance), "it would be 2, whatever the data");
    assert_eq!(clustered(7).unwrap().df, 2);
}

#[test]
fn a_cox_model_of_which_one_cluster_says_all_has_no_robust_variance() {
    let rows = outcomes(&[(1.0, false), (2.0, true), (3.0, false), (4.0, false)]);
    let covariate = [5.0, -0.5, -0.4, -2.4];
    let data = SurvivalData::new(&rows).unwrap();
    let clustered = data.clone().with_clusters(&["a", "b", "b", "b"]).unwrap();
    assert_eq!(cox_model(&clustered, &[&covariate], CoxTies::Efron), Err(Error::ZeroVariance));
    // Every subject for itself: it has one.
    let model = cox_model(&data, &[&covariate], CoxTies::Efron).unwrap();
    assert!(model.robust_covariance.is_some_and(|robust| robust[0][0] > 1e-3));
}

#[test]
fn a_c_index_lies_between_0_and_1() {
    let times = events(&[1.0, 2.0, 3.0, 5.0, 1.0, 2.0, 3.0]);
    let data = SurvivalData::new(&times).unwrap();
    let risk = Risk::new(&[1.0, 2.0, 3.0, 5.0, 1.0, 2.0, 3.0]).unwrap();
    let config = ConcordanceConfig { time_weight: TimeWeight::Identity, ..ConcordanceConfig::default() };
    assert_eq!(concordance(&data, &risk, &config).unwrap().c_index, 0.0);
}

#[test]
fn no_survivor_stands_for_those_whose_follow_up_ended() {
    // The training sample was followed for longer: its censoring would give weights that nobody is there to carry.
    let train = outcomes(&[(1.0, true), (20.0, true), (30.0, false)]);
    let mut test = outcomes(&[(1.0, true), (2.0, true)]);
    test.extend(outcomes(&[(10.0, false); 6]));
    let censoring = CensoringDistribution::fit(&train, CensoringTies::EventsFirst).unwrap();
    let score = |times: &[f64]| {
        let curves =
            PredictedSurvival::new(times, vec![0.9; times.len() * test.len()], CurveLookup::Post).unwrap();
        brier_score(&test, &curves, times, &censoring, BrierConfig::default())
    };
    assert!(score(&[5.0]).is_ok());
    for time in [10.0, 15.0] {
        assert_eq!(score(&[5.0, time]), Err(Error::TimeBeyondFollowUp { time, last: 10.0 }));
    }
}
