//! Laws of the C-index and of Kaplan-Meier and log-rank on small random samples full of ties.

use proptest::prelude::*;
use survival_metrics::{
    Concordance, Error, KaplanMeier, Outcome, PairCounts, RiskTies, Status, concordance_index,
    concordance_index_stratified, log_rank_test, stratified_log_rank_test,
};

const TIES: [RiskTies; 3] = [RiskTies::Exact, RiskTies::AbsTol(1e-8), RiskTies::AbsTol(0.1)];

/// Few distinct times, and risks that differ by exactly, just under and just over the tolerances.
fn subject() -> impl Strategy<Value = (Outcome, f64)> {
    let risk = prop_oneof![
        (-3..3_i32).prop_map(f64::from),
        (0..8_u32).prop_map(|k| 0.1 * f64::from(k)),
        (0..8_u32).prop_map(|k| 1.0 + 0.5e-8 * f64::from(k)),
        Just(-0.0),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        -1.0..1.0_f64,
    ];
    (0..8_u32, any::<bool>(), risk).prop_map(|(time, event, risk)| {
        let status = if event { Status::Event } else { Status::Censored };
        (Outcome::new(f64::from(time), status).expect("valid"), risk)
    })
}

fn sample() -> impl Strategy<Value = Vec<(Outcome, f64)>> {
    prop::collection::vec(subject(), 0..=40)
}

/// The definition, pair by pair.
fn count_pairs(subjects: &[(Outcome, f64)], ties: RiskTies) -> PairCounts {
    let tied = |a: f64, b: f64| match ties {
        RiskTies::Exact => a == b,
        RiskTies::AbsTol(tolerance) => a == b || (a - b).abs() <= tolerance,
    };
    let mut counts = PairCounts::default();
    for (i, (a, x)) in subjects.iter().enumerate() {
        for (j, (b, y)) in subjects.iter().enumerate() {
            let same_time = a.time() == b.time();
            if a.is_event() && b.is_event() && same_time && i < j {
                *(if tied(*x, *y) { &mut counts.tied_both } else { &mut counts.tied_time_event_event }) += 1;
            }
            if i == j || !a.is_event() || !(a.time() < b.time() || (same_time && !b.is_event())) {
                continue;
            }
            counts.tied_time_event_censored += u64::from(same_time);
            *(if tied(*x, *y) {
                &mut counts.tied_risk
            } else if x > y {
                &mut counts.concordant
            } else {
                &mut counts.discordant
            }) += 1;
        }
    }
    counts
}

fn c_index(subjects: &[(Outcome, f64)], ties: RiskTies) -> Result<Concordance, Error> {
    let (outcomes, risk): (Vec<Outcome>, Vec<f64>) = subjects.iter().copied().unzip();
    concordance_index(&outcomes, &risk, ties)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn the_sweep_counts_what_the_definition_counts(subjects in sample()) {
        for ties in TIES {
            let expected = count_pairs(&subjects, ties);
            match c_index(&subjects, ties) {
                Ok(ours) => {
                    prop_assert_eq!(ours.counts(), expected);
                    let twice = (2 * expected.concordant + expected.tied_risk) as f64;
                    prop_assert_eq!(ours.c_index(), twice / (2 * expected.comparable()) as f64);
                }
                Err(error) => {
                    prop_assert_eq!(expected.comparable(), 0);
                    let n = subjects.len();
                    let has_event = subjects.iter().any(|(o, _)| o.is_event());
                    let expected =
                        if has_event || n == 0 { Error::NoComparablePairs { n } } else { Error::AllCensored { n } };
                    prop_assert_eq!(error, expected);
                }
            }
        }
    }

    #[test]
    fn the_order_of_subjects_is_irrelevant(subjects in sample().prop_shuffle(), by in 0..40_usize) {
        let mut rotated = subjects.clone();
        rotated.rotate_left(by % subjects.len().max(1));
        rotated.reverse();
        for ties in TIES {
            prop_assert_eq!(c_index(&subjects, ties), c_index(&rotated, ties));
        }
    }

    #[test]
    fn reversed_risk_gives_the_complement(subjects in sample()) {
        let reversed: Vec<_> = subjects.iter().map(|&(o, x)| (o, -x)).collect();
        for ties in TIES {
            if let (Ok(c), Ok(d)) = (c_index(&subjects, ties), c_index(&reversed, ties)) {
                prop_assert!((c.c_index() + d.c_index() - 1.0).abs() < 1e-15);
            }
        }
    }

    #[test]
    fn a_monotone_transform_of_risk_changes_nothing_when_ties_are_exact(subjects in sample()) {
        // Doubling is exact; the steps are wider than any rounding.
        let transformed: Vec<_> = subjects.iter().map(|&(o, x)| (o, 2.0 * x)).collect();
        prop_assert_eq!(c_index(&subjects, RiskTies::Exact), c_index(&transformed, RiskTies::Exact));
    }

    #[test]
    fn counts_of_strata_add(subjects in sample(), split in 0..=40_usize) {
        let split = split.min(subjects.len());
        let strata: Vec<bool> = (0..subjects.len()).map(|i| i < split).collect();
        let (outcomes, risk): (Vec<Outcome>, Vec<f64>) = subjects.iter().copied().unzip();
        let both = concordance_index_stratified(&outcomes, &risk, &strata, RiskTies::default());
        let (first, second) = subjects.split_at(split);
        let sum = count_pairs(first, RiskTies::default()) + count_pairs(second, RiskTies::default());
        match both {
            Ok(both) => prop_assert_eq!(both.counts(), sum),
            Err(_) => prop_assert_eq!(sum.comparable(), 0),
        }
        if let (Ok(a), Ok(b)) = (c_index(first, RiskTies::default()), c_index(second, RiskTies::default())) {
            prop_assert_eq!((a + b).counts(), sum);
        }
    }

    #[test]
    fn risks_widened_from_f32_keep_their_counts(subjects in sample()) {
        let narrow: Vec<f32> = subjects.iter().map(|&(_, x)| x as f32).collect();
        let widened: Vec<_> = subjects.iter().zip(&narrow).map(|(&(o, _), &x)| (o, f64::from(x))).collect();
        if let Ok(ours) = c_index(&widened, RiskTies::default()) {
            prop_assert_eq!(ours.counts(), count_pairs(&widened, RiskTies::default()));
        }
    }

    #[test]
    fn survival_falls_from_1_and_counts_add_up(subjects in sample()) {
        let outcomes: Vec<Outcome> = subjects.iter().map(|(o, _)| *o).collect();
        let Ok(km) = KaplanMeier::fit(&outcomes) else {
            prop_assert!(outcomes.is_empty());
            return Ok(());
        };
        prop_assert!(km.survival().iter().all(|s| (0.0..=1.0).contains(s)));
        prop_assert!(km.survival().is_sorted_by(|a, b| a >= b));
        prop_assert!(km.times().is_sorted_by(|a, b| a < b));
        let gone: u64 = km.events().iter().chain(km.censored()).sum();
        prop_assert_eq!(gone, outcomes.len() as u64);
        for t in [-1.0, 0.0, 2.5, 3.0, 9.0] {
            let at_risk = outcomes.iter().filter(|o| o.time() >= t).count();
            prop_assert_eq!(km.at_risk_at(t), at_risk as u64);
        }
        let n_marks = km.censored().iter().filter(|&&c| c > 0).count();
        prop_assert_eq!(km.censor_marks().count(), n_marks);
        if let Some(median) = km.median_survival() {
            prop_assert!(km.survival_at(median) <= 0.5 + 1e-8);
        }
    }

    #[test]
    fn without_censoring_survival_is_the_exact_share_alive(times in prop::collection::vec(0..20_u32, 1..40)) {
        let outcomes: Vec<Outcome> = times.iter().map(|&t| Outcome::event(f64::from(t)).expect("valid")).collect();
        let km = KaplanMeier::fit(&outcomes).expect("not empty");
        for (&t, &survival) in km.times().iter().zip(km.survival()) {
            let alive = outcomes.iter().filter(|o| o.time() > t).count();
            prop_assert_eq!(survival, alive as f64 / outcomes.len() as f64);
        }
    }

    #[test]
    fn log_rank_sums_are_consistent(subjects in sample(), labels in prop::collection::vec(0..4_u8, 40)) {
        let outcomes: Vec<Outcome> = subjects.iter().map(|(o, _)| *o).collect();
        let groups = &labels[..outcomes.len()];
        let Ok(test) = log_rank_test(&outcomes, groups) else { return Ok(()) };
        let observed: f64 = test.groups.iter().map(|g| g.observed).sum();
        let expected: f64 = test.groups.iter().map(|g| g.expected).sum();
        prop_assert!((observed - expected).abs() < 1e-9);
        prop_assert!(test.chi_square >= 0.0 && test.df < test.groups.len());
        prop_assert!((0.0..=1.0).contains(&test.p_value));
        for row in &test.variance {
            prop_assert!(row.iter().sum::<f64>().abs() < 1e-9);
        }
        let one_stratum = stratified_log_rank_test(&outcomes, groups, &vec![0; outcomes.len()]);
        prop_assert_eq!(Ok(test), one_stratum);
    }
}

#[test]
fn malformed_arguments_are_named() {
    let outcomes = [Outcome::event(1.0).expect("valid"), Outcome::censored(2.0).expect("valid")];
    let error =
        |risk: &[f64], ties| concordance_index(&outcomes, risk, ties).expect_err("malformed").to_string();
    assert_eq!(error(&[0.0], RiskTies::Exact), "`risk` has 1 values, expected 2, one per subject");
    assert_eq!(error(&[0.0, f64::NAN], RiskTies::Exact), "risk 1 (counted from 0) is NaN, expected a number");
    assert_eq!(
        error(&[0.0, 1.0], RiskTies::AbsTol(-1.0)),
        "`risk tie tolerance` is -1, expected a finite number of at least 0"
    );
}
