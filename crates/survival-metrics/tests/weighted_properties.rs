//! Weighted C-indices, AUC, curves of predictions and Cox models against their definitions, pair by pair.

use proptest::prelude::*;
use survival_metrics::{
    AucConfig, CensoringDistribution, CensoringRule, ConcordanceConfig, Convention, CoxTies, CoxVariance,
    CurveLookup, CurveTies, Error, KaplanMeier, Outcome, PredictedSurvival, Risk, RiskTies, Status,
    SurvivalData, Tau, TimeWeight, ZeroCensoring, clustered_log_rank_test, compare_concordance, concordance,
    concordance_index, cox_model, cumulative_dynamic_auc, log_rank_test, time_dependent_concordance,
};

#[derive(Debug, Clone, Copy)]
struct Subject {
    outcome: Outcome,
    risk: f64,
    weight: f64,
    stratum: u8,
}

fn subject() -> impl Strategy<Value = Subject> {
    let risk = prop_oneof![(-3..3_i32).prop_map(f64::from), (0..8_u32).prop_map(|k| 0.1 * f64::from(k))];
    let weight = prop_oneof![Just(1.0), Just(2.0), Just(0.0), 0.1..3.0_f64];
    (0..8_u32, any::<bool>(), risk, weight, 0..3_u8).prop_map(|(time, event, risk, weight, stratum)| {
        let status = if event { Status::Event } else { Status::Censored };
        Subject { outcome: Outcome::new(f64::from(time), status).expect("valid"), risk, weight, stratum }
    })
}

fn sample() -> impl Strategy<Value = Vec<Subject>> {
    prop::collection::vec(subject(), 1..=30)
}

fn config() -> impl Strategy<Value = ConcordanceConfig<'static>> {
    let convention = prop_oneof![
        Just(Convention::Default),
        Just(Convention::ScikitSurvival),
        Just(Convention::Lifelines),
        Just(Convention::R)
    ];
    let time_weight = prop_oneof![
        Just(TimeWeight::Harrell),
        Just(TimeWeight::Uno),
        Just(TimeWeight::PetoWilcoxon),
        Just(TimeWeight::Schemper),
        Just(TimeWeight::Identity)
    ];
    let tau = prop_oneof![
        Just(None),
        (1..8_u32).prop_map(|t| Some(Tau::Exclusive(f64::from(t)))),
        (1..8_u32).prop_map(|t| Some(Tau::Inclusive(f64::from(t))))
    ];
    let ties = prop_oneof![Just(RiskTies::Exact), Just(RiskTies::AbsTol(0.1))];
    (convention, time_weight, tau, ties).prop_map(|(convention, time_weight, tau, ties)| {
        let preset = convention.concordance(time_weight);
        let censoring = CensoringRule { zero: ZeroCensoring::Drop, ..preset.censoring };
        ConcordanceConfig { tau, ties, censoring, ..preset }
    })
}

fn data(subjects: &[Subject]) -> Option<SurvivalData> {
    let column = |of: fn(&Subject) -> f64| subjects.iter().map(of).collect::<Vec<f64>>();
    let outcomes: Vec<Outcome> = subjects.iter().map(|s| s.outcome).collect();
    let strata: Vec<u8> = subjects.iter().map(|s| s.stratum).collect();
    // All weights 0 is refused.
    SurvivalData::new(&outcomes).ok()?.with_weights(&column(|s| s.weight)).ok()?.with_strata(&strata).ok()
}

fn risk(subjects: &[Subject]) -> Risk {
    Risk::new(&subjects.iter().map(|s| s.risk).collect::<Vec<f64>>()).expect("not NaN")
}

/// Weight of an event of a stratum at `t`, by the definition.
fn time_weight(stratum: &[Subject], t: f64, config: &ConcordanceConfig<'_>) -> f64 {
    use survival_metrics::{CensoringSide, CensoringTies};
    let sum = |keep: &dyn Fn(&Outcome) -> bool| -> f64 {
        stratum.iter().filter(|s| keep(&s.outcome)).map(|s| s.weight).sum()
    };
    let mut times: Vec<f64> = stratum.iter().map(|s| s.outcome.time()).collect();
    times.sort_by(f64::total_cmp);
    times.dedup();
    let at_risk = |u: f64| sum(&|o| o.time() >= u);
    let events = |u: f64| sum(&|o| o.time() == u && o.is_event());
    let censored = |u: f64| sum(&|o| o.time() == u && !o.is_event());
    let survival: f64 = times.iter().filter(|&&u| u < t).map(|&u| 1.0 - events(u) / at_risk(u)).product();
    let counts = |u: f64| match config.censoring.side {
        CensoringSide::Before => u < t,
        CensoringSide::At => u <= t,
    };
    let g: f64 = times
        .iter()
        .filter(|&&u| counts(u) && censored(u) > 0.0)
        .map(|&u| match config.censoring.ties {
            CensoringTies::EventsFirst => 1.0 - censored(u) / (at_risk(u) - events(u)),
            CensoringTies::Flipped => 1.0 - censored(u) / at_risk(u),
        })
        .product();
    // A last risk set that is all censored leaves rounding instead of 0.
    let g = if g < 1e-12 { 0.0 } else { g };
    let dropped = |w: f64| if g == 0.0 { 0.0 } else { w };
    match config.time_weight {
        TimeWeight::Harrell => 1.0,
        TimeWeight::Uno => dropped(1.0 / (g * g)),
        TimeWeight::PetoWilcoxon => survival / at_risk(t),
        TimeWeight::Schemper => dropped(survival / (g * at_risk(t))),
        TimeWeight::Identity => 1.0 / at_risk(t),
    }
}

/// Concordant and comparable weight of each ordered pair (i the earlier), by the definition.
fn pairs(subjects: &[Subject], config: &ConcordanceConfig<'_>) -> Vec<(usize, usize, f64, f64)> {
    let mut pairs = Vec::new();
    for (i, a) in subjects.iter().enumerate().filter(|(_, s)| s.outcome.is_event() && s.weight > 0.0) {
        let admitted = match config.tau {
            None => true,
            Some(Tau::Exclusive(tau)) => a.outcome.time() < tau,
            Some(Tau::Inclusive(tau)) => a.outcome.time() <= tau,
        };
        let stratum: Vec<Subject> = subjects.iter().filter(|s| s.stratum == a.stratum).copied().collect();
        let weight = if admitted { time_weight(&stratum, a.outcome.time(), config) } else { 0.0 };
        for (j, b) in subjects.iter().enumerate() {
            let later = b.outcome.time() > a.outcome.time()
                || (b.outcome.time() == a.outcome.time() && !b.outcome.is_event());
            if i == j || a.stratum != b.stratum || !later {
                continue;
            }
            let tied = match config.ties {
                RiskTies::Exact => a.risk == b.risk,
                RiskTies::AbsTol(tolerance) => (a.risk - b.risk).abs() <= tolerance,
            };
            let kernel = if tied { 0.5 } else { f64::from(u8::from(a.risk > b.risk)) };
            let pair = weight * a.weight * b.weight;
            pairs.push((i, j, pair * kernel, pair));
        }
    }
    pairs
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-10 * (1.0 + b.abs())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_weighted_sweep_sums_what_the_definition_sums(subjects in sample(), config in config()) {
        let Some(data) = data(&subjects) else { return Ok(()) };
        let pairs = pairs(&subjects, &config);
        let total: f64 = pairs.iter().map(|p| p.3).sum();
        let estimate = match concordance(&data, &risk(&subjects), &config) {
            Ok(estimate) => estimate,
            Err(Error::AllCensored { .. } | Error::NoComparablePairs { .. }) => {
                prop_assert!(total <= 1e-12);
                return Ok(());
            }
            // An event without weight of its own may need what the drop rule does not cover.
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        };
        let concordant: f64 = pairs.iter().map(|p| p.2).sum();
        prop_assert!(close(estimate.comparable_weight, total), "{} {total}", estimate.comparable_weight);
        prop_assert!(close(estimate.c_index, concordant / total));
        // Influences and leave-one-out values from the sums over each subject's pairs.
        let influence = estimate.influence();
        prop_assert!(influence.iter().sum::<f64>().abs() < 1e-9);
        for (k, (ours, without)) in influence.iter().zip(estimate.leave_one_out()).enumerate() {
            let of = |pick: fn(&(usize, usize, f64, f64)) -> f64| -> f64 {
                pairs.iter().filter(|p| p.0 == k || p.1 == k).map(pick).sum()
            };
            let (a, b) = (of(|p| p.2), of(|p| p.3));
            prop_assert!(close(*ours, (a - estimate.c_index * b) / total));
            if let Some(without) = without
                && total - b > 1e-6 * total
            {
                prop_assert!(close(without, (concordant - a) / (total - b)));
            }
        }
    }

    #[test]
    fn influence_is_the_derivative_by_the_weight(subjects in sample()) {
        // With time weights held fixed only Harrell's can be differentiated by refitting.
        let config = ConcordanceConfig::default();
        let Some(Ok(at)) = data(&subjects).map(|d| concordance(&d, &risk(&subjects), &config)) else {
            return Ok(());
        };
        let step = 1e-6;
        for (k, influence) in at.influence().into_iter().enumerate() {
            if subjects[k].weight < 0.05 {
                continue;
            }
            let moved = |by: f64| {
                let mut moved = subjects.clone();
                moved[k].weight *= 1.0 + by;
                concordance(&data(&moved).expect("valid"), &risk(&moved), &config).expect("defined").c_index
            };
            let derivative = (moved(step) - moved(-step)) / (2.0 * step);
            prop_assert!((derivative - influence).abs() < 1e-7, "{derivative} {influence}");
        }
    }

    #[test]
    fn whole_weights_are_copies_to_the_index(subjects in sample()) {
        let whole: Vec<Subject> =
            subjects.iter().map(|s| Subject { weight: s.weight.round(), stratum: 0, ..*s }).collect();
        let copies: Vec<Subject> = whole
            .iter()
            .flat_map(|s| vec![Subject { weight: 1.0, ..*s }; s.weight as usize])
            .collect();
        let config = Convention::R.concordance(TimeWeight::Harrell);
        let Some(weighted) = data(&whole).map(|d| concordance(&d, &risk(&whole), &config)) else { return Ok(()) };
        let outcomes: Vec<Outcome> = copies.iter().map(|s| s.outcome).collect();
        let plain = concordance_index(&outcomes, risk(&copies).values(), RiskTies::Exact);
        match (weighted, plain) {
            (Ok(weighted), Ok(plain)) => prop_assert!(close(weighted.c_index, plain.c_index())),
            (weighted, plain) => prop_assert!(weighted.is_err() && plain.is_err()),
        }
    }

    #[test]
    fn auc_is_the_share_of_ordered_case_control_pairs(subjects in sample(), t in 0..8_u32) {
        let t = f64::from(t);
        let outcomes: Vec<Outcome> = subjects.iter().map(|s| s.outcome).collect();
        let censoring = CensoringRule { zero: ZeroCensoring::Drop, ..CensoringRule::default() };
        // Ties are chained there and not here; without a tolerance both are equality.
        let config = AucConfig { censoring, tie_tolerance: 0.0, training: None };
        let g = CensoringDistribution::fit(&outcomes, censoring.ties).expect("not empty");
        let (mut wins, mut all) = (0.0, 0.0);
        for a in subjects.iter().filter(|s| s.outcome.is_event() && s.outcome.time() <= t) {
            let weight = 1.0 / g.before(a.outcome.time());
            for b in subjects.iter().filter(|s| s.outcome.time() > t && weight.is_finite()) {
                let kernel = if a.risk == b.risk { 0.5 } else { f64::from(u8::from(a.risk > b.risk)) };
                wins += weight * kernel;
                all += weight;
            }
        }
        match cumulative_dynamic_auc(&outcomes, &risk(&subjects), &[t], &config) {
            Ok(auc) => prop_assert!(close(auc.auc[0], wins / all) && close(auc.mean, auc.auc[0])),
            Err(Error::OutOfRange { what: "time", .. }) => prop_assert_eq!(all, 0.0),
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        }
    }

    #[test]
    fn curves_that_do_not_cross_give_harrells_c(subjects in sample()) {
        let outcomes: Vec<Outcome> = subjects.iter().map(|s| s.outcome).collect();
        // Proportional hazards, coarse enough that equal risks give equal curves and others do not.
        let curve = |s: &Subject| [1.0, 3.0, 5.0].map(|t: f64| (-0.05 * t * (0.3 * s.risk).exp()).exp());
        let values: Vec<f64> = subjects.iter().flat_map(curve).collect();
        let curves = PredictedSurvival::new(&[0.0, 3.0, 5.0], values, CurveLookup::Post).expect("valid");
        let harrell = concordance_index(&outcomes, risk(&subjects).values(), RiskTies::Exact);
        let ours = time_dependent_concordance(&outcomes, &curves, CurveTies::Half);
        match (ours, harrell) {
            (Ok(ours), Ok(harrell)) => prop_assert!(close(ours, harrell.c_index())),
            (ours, harrell) => prop_assert_eq!(ours.err(), harrell.err()),
        }
    }

    #[test]
    fn the_exact_score_test_of_a_binary_covariate_is_the_log_rank_test(
        subjects in sample(),
        labels in prop::collection::vec(any::<bool>(), 30),
    ) {
        let outcomes: Vec<Outcome> = subjects.iter().map(|s| s.outcome).collect();
        let groups = &labels[..outcomes.len()];
        let covariate: Vec<f64> = groups.iter().map(|&g| f64::from(u8::from(g))).collect();
        let data = SurvivalData::new(&outcomes).expect("not empty");
        let (Ok(test), Ok(model)) =
            (log_rank_test(&outcomes, groups), cox_model(&data, &[&covariate], CoxTies::Exact))
        else {
            return Ok(());
        };
        let score = model.score_test.chi_square;
        prop_assert!((score - test.chi_square).abs() <= 1e-9 * (1.0 + test.chi_square), "{score} {test:?}");
    }

    #[test]
    fn observed_and_expected_do_not_depend_on_clusters(
        subjects in sample(),
        labels in prop::collection::vec(0..3_u8, 30),
    ) {
        let outcomes: Vec<Outcome> = subjects.iter().map(|s| s.outcome).collect();
        let groups = &labels[..outcomes.len()];
        let clusters: Vec<u8> = subjects.iter().map(|s| s.stratum).collect();
        let data = SurvivalData::new(&outcomes).expect("not empty");
        let clustered = data.with_clusters(&clusters).expect("as many");
        let (Ok(plain), Ok(robust)) =
            (log_rank_test(&outcomes, groups), clustered_log_rank_test(&clustered, groups))
        else {
            return Ok(());
        };
        for (a, b) in plain.groups.iter().zip(&robust.groups) {
            prop_assert!(a.level == b.level && a.n == b.n && close(a.observed, b.observed));
            prop_assert!(close(a.expected, b.expected));
        }
        prop_assert!(robust.variance.iter().all(|row| row.iter().sum::<f64>().abs() < 1e-9));
    }
}

fn outcomes(rows: &[(f64, bool)]) -> Vec<Outcome> {
    let outcome = |&(t, e): &(f64, bool)| if e { Outcome::event(t) } else { Outcome::censored(t) };
    rows.iter().map(outcome).collect::<Result<_, _>>().expect("valid")
}

#[test]
fn a_weight_that_does_not_exist_is_an_error_with_the_largest_usable_time() {
    let train = outcomes(&[(1.0, true), (4.0, false)]);
    let test = outcomes(&[(2.0, true), (5.0, true), (6.0, false)]);
    let preset = Convention::Default.concordance(TimeWeight::Uno);
    let g = CensoringDistribution::fit(&train, preset.censoring.ties).expect("not empty");
    let config = ConcordanceConfig { training: Some(&g), ..preset };
    let data = SurvivalData::new(&test).expect("not empty");
    let risk = Risk::new(&[3.0, 2.0, 1.0]).expect("not NaN");
    let error = concordance(&data, &risk, &config).expect_err("G is 0 from 4 on");
    assert_eq!(error, Error::CensoringSurvivalZero { time: 5.0, max_tau: 4.0 });
    // With the suggested horizon, or by dropping, the rest is defined.
    let upto = ConcordanceConfig { tau: Some(Tau::Inclusive(4.0)), ..config };
    assert_eq!(concordance(&data, &risk, &upto).expect("defined").counts.comparable(), 2);
    let censoring = CensoringRule { zero: ZeroCensoring::Drop, ..config.censoring };
    let dropped = concordance(&data, &risk, &ConcordanceConfig { censoring, ..config }).expect("defined");
    assert_eq!(dropped.counts.comparable(), 2);
    let censoring = CensoringRule { zero: ZeroCensoring::Clamp(2.0), ..config.censoring };
    let clamped = concordance(&data, &risk, &ConcordanceConfig { censoring, ..config }).expect("defined");
    assert_eq!((clamped.counts.comparable(), clamped.comparable_weight), (3, 2.0 + 4.0));
}

#[test]
fn the_last_event_has_no_pairs_and_needs_no_weight() {
    let train = outcomes(&[(1.0, true), (4.0, false), (4.5, true)]);
    let test = outcomes(&[(2.0, true), (3.0, false), (9.0, true)]);
    let preset = Convention::ScikitSurvival.concordance(TimeWeight::Uno);
    let g = CensoringDistribution::fit(&train, preset.censoring.ties).expect("not empty");
    let config = ConcordanceConfig { training: Some(&g), ..preset };
    let risk = Risk::new(&[3.0, 2.0, 1.0]).expect("not NaN");
    let c = concordance(&SurvivalData::new(&test).expect("not empty"), &risk, &config).expect("defined");
    assert_eq!(c.c_index, 1.0);
}

#[test]
fn cox_models_without_a_finite_estimate_say_why() {
    let all = outcomes(&[(1.0, true), (2.0, true), (3.0, true), (4.0, false), (5.0, false), (6.0, false)]);
    let data = SurvivalData::new(&all).expect("not empty");
    let fit = |columns: &[&[f64]]| cox_model(&data, columns, CoxTies::Efron).expect_err("undefined");
    let separating = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0];
    assert_eq!(fit(&[&separating]), Error::Separation { index: 0 });
    let fine = [0.3, 0.1, 0.5, 0.2, 0.4, 0.0];
    let double = fine.map(|x| 2.0 * x);
    assert_eq!(fit(&[&fine, &double]), Error::Collinear { index: 1 });
    assert_eq!(fit(&[&[7.0; 6]]), Error::Collinear { index: 0 });
    assert!(matches!(fit(&[&fine[..5]]), Error::LengthMismatch { .. }));
    let censored = SurvivalData::new(&outcomes(&[(1.0, false), (2.0, false)])).expect("not empty");
    assert_eq!(cox_model(&censored, &[&[0.0, 1.0]], CoxTies::Efron), Err(Error::AllCensored { n: 2 }));
    let weighted = data.clone().with_weights(&[1.0; 6]).expect("valid");
    let refused = cox_model(&weighted, &[&fine], CoxTies::Efron).expect_err("weights");
    assert!(refused.to_string().starts_with("a Cox model does not take case weights"));
}

#[test]
fn a_value_far_from_all_others_separates_nothing() {
    // Who dies first with by far the highest value has all the weight of the first risk set: the likelihood is that of the others.
    let times = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
    let rows: Vec<(f64, bool)> = times.iter().map(|&t| (t, ![4.0, 7.0, 9.0].contains(&t))).collect();
    let others = [3.0, 1.0, 2.0, 2.0, 1.0, 0.0, 1.0, 0.0];
    let of_others = SurvivalData::new(&outcomes(&rows[1..])).expect("not empty");
    let all = SurvivalData::new(&outcomes(&rows)).expect("not empty");
    for ties in [CoxTies::Efron, CoxTies::Breslow, CoxTies::Exact] {
        let expected = cox_model(&of_others, &[&others], ties).expect("fits");
        for far in [300.0, 3000.0, 9999.0, 1e6, 1e9] {
            let x: Vec<f64> = [far].into_iter().chain(others).collect();
            let model = cox_model(&all, &[&x], ties).expect("fits");
            let close = |found: f64, wanted: f64| (found / wanted - 1.0).abs() < 1e-9;
            assert!(close(model.coefficients[0], expected.coefficients[0]), "{far}: {model:?}");
            assert!(close(model.covariance[0][0], expected.covariance[0][0]), "{far}: {model:?}");
            assert!(close(model.log_likelihood, expected.log_likelihood), "{far}: {model:?}");
            let residuals = (model.martingale_residuals(), expected.martingale_residuals());
            if let (Some(found), Some(wanted)) = residuals {
                let wanted = [0.0].iter().chain(wanted);
                assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-9), "{far}: {found:?}");
            }
        }
    }
}

#[test]
fn covariates_that_nearly_agree_are_told_apart() {
    // The model of x and x + y / 1e5 is that of x and y in other units.
    let rows = [(2.0, true), (2.5, true), (3.0, false), (5.0, true), (5.5, true), (7.0, true), (8.0, false)];
    let data = SurvivalData::new(&outcomes(&rows)).expect("not empty");
    let (x, y) = ([1.5, 0.5, 1.0, 0.0, 2.0, 1.0, -0.5], [0.0, 1.0, -1.0, 0.5, 0.0, 2.0, 1.0]);
    let near: Vec<f64> = x.iter().zip(&y).map(|(x, y)| x + y / 1e5).collect();
    let apart = cox_model(&data, &[&x, &y], CoxTies::Efron).expect("fits");
    let model = cox_model(&data, &[&x, &near], CoxTies::Efron).expect("fits");
    assert!((model.coefficients[1] / 1e5 / apart.coefficients[1] - 1.0).abs() < 1e-6, "{model:?}");
    assert!((model.log_likelihood - apart.log_likelihood).abs() < 1e-9);
}

#[test]
fn covariates_that_separate_together_have_no_estimate() {
    // Neither x nor y is highest at every event; x + y is.
    let rows = [(1.0, true), (2.0, true), (3.0, true), (4.0, false), (5.0, false)];
    let data = SurvivalData::new(&outcomes(&rows)).expect("not empty");
    let (x, y) = ([4.0, 1.0, 3.0, 0.0, 1.0], [1.0, 3.0, 0.0, 2.0, 0.0]);
    for ties in [CoxTies::Efron, CoxTies::Breslow, CoxTies::Exact] {
        for column in [x, y] {
            assert!(cox_model(&data, &[&column], ties).is_ok());
        }
        let error = cox_model(&data, &[&x, &y], ties).expect_err("no maximum");
        assert!(matches!(error, Error::Separation { .. }), "{error}");
    }
}

#[test]
fn cox_estimates_are_where_the_likelihood_is_flat() {
    // Against a second implementation: the Breslow likelihood written out, differentiated by finite differences.
    let rows = [(2.0, true), (2.0, true), (3.0, false), (5.0, true), (5.0, false), (7.0, true), (8.0, true)];
    let all = outcomes(&rows);
    let x = [1.5, 0.5, 1.0, 0.0, 2.0, 1.0, -0.5];
    let model =
        cox_model(&SurvivalData::new(&all).expect("not empty"), &[&x], CoxTies::Breslow).expect("fits");
    let log_likelihood = |b: f64| -> f64 {
        let of_event = |(i, o): (usize, &Outcome)| {
            let at_risk = all.iter().zip(&x).filter(|(other, _)| other.time() >= o.time());
            b * x[i] - at_risk.map(|(_, x)| (b * x).exp()).sum::<f64>().ln()
        };
        all.iter().enumerate().filter(|(_, o)| o.is_event()).map(of_event).sum()
    };
    let b = model.coefficients[0];
    assert!((log_likelihood(b) - model.log_likelihood).abs() < 1e-12);
    let h = 1e-4;
    let slope = (log_likelihood(b + h) - log_likelihood(b - h)) / (2.0 * h);
    let curvature = (log_likelihood(b + h) - 2.0 * log_likelihood(b) + log_likelihood(b - h)) / (h * h);
    assert!(slope.abs() < 1e-7, "{slope}");
    assert!((-1.0 / curvature / model.covariance[0][0] - 1.0).abs() < 1e-5);
}

#[test]
fn exact_ties_take_many_events_at_one_time() {
    // 2,000 subjects have 1e325 sets of 250, more than f64 holds. With one event time and a binary covariate, the likelihood is
    // that of a noncentral hypergeometric count, whose mean at the estimate is the count observed.
    let (n, n_exposed, n_events, n_both) = (2000, 800, 250, 130);
    let all: Vec<Outcome> = (0..n)
        .map(|i| {
            // Exposed subjects come first; of each group, those with events.
            let dies = i < n_both || (n_exposed..n_exposed + n_events - n_both).contains(&i);
            if dies { Outcome::event(5.0) } else { Outcome::censored(9.0) }
        })
        .collect::<Result<_, _>>()
        .expect("finite");
    let exposed: Vec<f64> = (0..n).map(|i| f64::from(u8::from(i < n_exposed))).collect();
    let data = SurvivalData::new(&all).expect("not empty");
    let model = cox_model(&data, &[&exposed], CoxTies::Exact).expect("fits");
    let log_rank = log_rank_test(&all, &(0..n).map(|i| i < n_exposed).collect::<Vec<_>>()).expect("defined");
    assert!((model.score_test.chi_square / log_rank.chi_square - 1.0).abs() < 1e-10);
    let ln_choose = |n: usize, k: usize| (0..k).map(|i| ((n - i) as f64 / (k - i) as f64).ln()).sum::<f64>();
    let b = model.coefficients[0];
    let ln_term = |k: usize| ln_choose(n_exposed, k) + ln_choose(n - n_exposed, n_events - k) + b * k as f64;
    let terms: Vec<f64> = (0..=n_events).map(ln_term).collect();
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = terms.iter().map(|t| (t - largest).exp()).collect();
    let total: f64 = weights.iter().sum();
    let moment = |f: &dyn Fn(f64) -> f64| {
        (0_u32..).zip(&weights).map(|(k, w)| f(f64::from(k)) * w).sum::<f64>() / total
    };
    let mean = moment(&|k| k);
    assert!((mean - n_both as f64).abs() < 1e-8, "{mean}");
    let information = moment(&|k| (k - mean).powi(2));
    assert!((model.covariance[0][0] * information - 1.0).abs() < 1e-9);
    let log_likelihood = b * n_both as f64 - largest - total.ln();
    assert!((model.log_likelihood - log_likelihood).abs() < 1e-9 * log_likelihood.abs());
}

#[test]
fn the_wald_test_allows_for_clusters() {
    let rows = [(2.0, true), (2.5, true), (3.0, false), (5.0, true), (5.5, false), (7.0, true), (8.0, true)];
    let (x, y) = ([1.5, 0.5, 1.0, 0.0, 2.0, 1.0, -0.5], [0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
    let once = SurvivalData::new(&outcomes(&rows)).expect("not empty");
    let patients = [1, 2, 3, 4, 5, 6, 7];
    let once = once.with_clusters(&patients).expect("as many");
    // Each patient with two slides: by Breslow's ties the estimate stays, and clusters keep its variance.
    let slides = SurvivalData::new(&outcomes(&rows.map(|row| [row; 2]).concat())).expect("not empty");
    let pairs = patients.map(|patient| [patient; 2]).concat();
    let twice = slides.clone().with_clusters(&pairs).expect("as many");
    let (xs, ys) = (x.map(|x| [x; 2]).concat(), y.map(|y| [y; 2]).concat());
    let fit =
        |data: &SurvivalData, columns: &[&[f64]]| cox_model(data, columns, CoxTies::Breslow).expect("fits");
    let (a, b) = (fit(&once, &[&x, &y]), fit(&twice, &[&xs, &ys]));
    assert!((a.wald_test.chi_square / b.wald_test.chi_square - 1.0).abs() < 1e-9, "{a:?} {b:?}");
    let independent = fit(&slides, &[&xs, &ys]);
    assert!((independent.wald_test.chi_square / a.wald_test.chi_square - 1.0).abs() > 0.1);
    // With one covariate it is the square of z.
    let single = fit(&twice, &[&xs]);
    let z = single.hazard_ratio(0, 0.95, CoxVariance::Robust).expect("a covariate").z;
    assert!((single.wald_test.chi_square / (z * z) - 1.0).abs() < 1e-12);
    // Influences sum to 0, so that two clusters move two coefficients along one line.
    let halves = slides.with_clusters(&[0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1]).expect("as many");
    assert_eq!(cox_model(&halves, &[&xs, &ys], CoxTies::Breslow).err(), Some(Error::ZeroVariance));
}

#[test]
fn equal_risks_have_no_difference_to_test() {
    let all = outcomes(&[(1.0, true), (2.0, true), (3.0, true), (4.0, false)]);
    let risk = Risk::new(&[3.0, 4.0, 2.0, 1.0]).expect("not NaN");
    let doubled = Risk::new(&[6.0, 8.0, 4.0, 2.0]).expect("not NaN");
    let data = SurvivalData::new(&all).expect("not empty");
    let both = compare_concordance(&data, &[risk.clone(), doubled.clone()], &ConcordanceConfig::default())
        .expect("defined");
    assert_eq!(both.difference(0, 1), Err(Error::ZeroVariance));
    assert_eq!(both.equality(), Err(Error::ZeroVariance));
    assert!(matches!(both.difference(0, 2), Err(Error::OutOfRange { what: "position", .. })));
    let kang = survival_metrics::compare_concordance_kang(&all, &risk, &doubled, RiskTies::Exact);
    assert_eq!(kang, Err(Error::ZeroVariance));
    let three = outcomes(&[(1.0, true), (2.0, true), (3.0, true)]);
    let short = Risk::new(&[1.0, 2.0, 3.0]).expect("not NaN");
    let kang = survival_metrics::compare_concordance_kang(&three, &short, &short, RiskTies::Exact);
    assert!(matches!(kang, Err(Error::OutOfRange { what: "number of subjects", .. })));
}

#[test]
fn risks_that_differ_in_all_pairs_alike_have_no_variance() {
    // A perfect risk and a constant one: no subject moves either C-index, but weights leave rounding.
    for n in [4, 30, 200] {
        let rows: Vec<(f64, bool)> = (0..n).map(|i| (f64::from(i), i % 3 != 1)).collect();
        let all = outcomes(&rows);
        let weights: Vec<f64> = (0..n).map(|i| 0.1 * f64::from(i % 7 + 1)).collect();
        let data =
            SurvivalData::new(&all).and_then(|data| data.with_weights(&weights)).expect("valid weights");
        let perfect = Risk::new(&rows.iter().map(|(t, _)| -t).collect::<Vec<_>>()).expect("not NaN");
        let constant = Risk::new(&vec![0.0; all.len()]).expect("not NaN");
        let noisy = Risk::new(&(0..n).map(|i| f64::from(i * 7 % 10)).collect::<Vec<_>>()).expect("not NaN");
        for weight in [TimeWeight::Harrell, TimeWeight::Uno] {
            let config = Convention::Default.concordance(weight);
            let risks = [perfect.clone(), constant.clone(), noisy.clone()];
            let both = compare_concordance(&data, &risks, &config).expect("defined");
            assert!((both.estimates[0].c_index - 1.0).abs() < 1e-15);
            assert!((both.estimates[1].c_index - 0.5).abs() < 1e-15);
            assert_eq!(both.difference(0, 1), Err(Error::ZeroVariance), "{n} {weight:?}");
            assert_eq!(both.contrast(&[2.0, -2.0, 0.0]), Err(Error::ZeroVariance), "{n} {weight:?}");
            assert_eq!(both.equality(), Err(Error::ZeroVariance), "{n} {weight:?}");
            assert!(both.difference(0, 2).is_ok() && both.contrast(&[0.5, 0.5, -1.0]).is_ok());
        }
        let kang = survival_metrics::compare_concordance_kang(&all, &perfect, &constant, RiskTies::Exact);
        assert_eq!(kang, Err(Error::ZeroVariance), "{n}");
    }
}

#[test]
fn one_cluster_has_no_variance_to_estimate() {
    let all = outcomes(&[(1.0, true), (2.0, true), (3.0, false), (4.0, true), (5.0, true)]);
    let risk = Risk::new(&[3.0, 4.0, 2.0, 1.0, 1.5]).expect("not NaN");
    let data = SurvivalData::new(&all).expect("not empty");
    let clustered = |labels: &[u8]| data.clone().with_clusters(labels).expect("as many");
    let (one, two) = (clustered(&[7; 5]), clustered(&[7, 7, 7, 8, 8]));
    let groups = [1, 0, 1, 0, 0];
    let column = [1.0, 0.0, 1.0, 0.0, 2.0];
    let config = ConcordanceConfig::default();
    assert_eq!(concordance(&one, &risk, &config).err(), Some(Error::SingleCluster));
    assert_eq!(clustered_log_rank_test(&one, &groups).err(), Some(Error::SingleCluster));
    assert_eq!(cox_model(&one, &[&column], CoxTies::Efron).err(), Some(Error::SingleCluster));
    assert!(concordance(&two, &risk, &config).is_ok_and(|c| c.standard_error() > 0.0));
    assert!(clustered_log_rank_test(&two, &groups).is_ok());
    assert!(cox_model(&two, &[&column], CoxTies::Efron).is_ok());
    // A patient whose slides share an outcome has no pairs, which is said first.
    let alike = SurvivalData::new(&outcomes(&[(1.0, true); 2])).and_then(|data| data.with_clusters(&[1, 1]));
    let short = Risk::new(&[1.0, 2.0]).expect("not NaN");
    let found = concordance(&alike.expect("as many"), &short, &config).err();
    assert_eq!(found, Some(Error::NoComparablePairs { n: 2 }));
}

#[test]
fn restricted_means_stop_at_the_last_observed_time() {
    let km = KaplanMeier::fit(&outcomes(&[(1.0, true), (3.0, false)])).expect("not empty");
    assert!(survival_metrics::restricted_mean(&km, 3.0).is_ok());
    assert!(survival_metrics::restricted_mean(&km, 3.5).is_err());
    assert!(survival_metrics::restricted_mean(&km, f64::NAN).is_err());
    // Once S is 0 nothing lies beyond.
    let km = KaplanMeier::fit(&outcomes(&[(1.0, true), (3.0, true)])).expect("not empty");
    let beyond = survival_metrics::restricted_mean(&km, 9.0).expect("known");
    assert_eq!(beyond.mean, 2.0);
    let whole = survival_metrics::restricted_mean(&km, f64::INFINITY).expect("known");
    assert_eq!((whole.mean, whole.standard_error), (beyond.mean, beyond.standard_error));
}
