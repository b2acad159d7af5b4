//! How well the predictions of each fold do over time: AUC(t), Brier score, Uno's C-index, against a Kaplan-Meier curve.

use std::collections::HashSet;

use survival_metrics::{
    AucConfig, AucOverTime, BrierConfig, CensoringDistribution, CensoringRule, CensoringSide,
    ConcordanceConfig, KaplanMeier, Outcome, PredictedSurvival, RiskTies, ScoreOverTime, SurvivalData, Tau,
    TimeIntegral, TimeWeight, brier_score, concordance, cumulative_dynamic_auc,
};

use crate::fold_patients::{FoldPatients, FollowUp};
use crate::number::{counted, fixed};

/// Steps of the time grid, months; the smallest that gives at most [`MOST_TIMES`] times is taken.
const STEPS: [f64; 5] = [1.0, 2.0, 3.0, 6.0, 12.0];
const MOST_TIMES: usize = 40;
const FEWEST_TIMES: usize = 4;
/// The grid ends where less than this share of a fold's patients is still followed, and starts where this share of its
/// events was seen.
const SHARE: f64 = 0.1;

/// Scores at common times, fold by fold.
#[derive(Debug, Clone)]
pub(crate) struct TimeScores {
    pub(crate) times: Vec<f64>,
    pub(crate) folds: Vec<FoldScores>,
    /// A sentence for each fold that is left out.
    pub(crate) left_out: Vec<String>,
    /// Whether a patient is in several folds.
    shares_patients: bool,
}

/// The scores of one fold. The reference curve, and in cross-validation the weights for censoring, are those of its training patients.
#[derive(Debug, Clone)]
pub(crate) struct FoldScores {
    pub(crate) fold: usize,
    pub(crate) auc: AucOverTime,
    /// C-index of the pairs up to the last time, weighted by 1 / G^2.
    pub(crate) uno_c: Option<f64>,
    /// `None` where no survival is predicted, or nothing is known to hold it against.
    pub(crate) brier: Option<BrierScores>,
}

/// Brier scores of predicted survival.
#[derive(Debug, Clone)]
pub(crate) struct BrierScores {
    pub(crate) model: ScoreOverTime,
    /// Of the Kaplan-Meier curve of the training patients, which is the same prediction for everybody.
    pub(crate) reference: ScoreOverTime,
}

/// Brier scores over all times.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IntegratedBrier {
    pub(crate) model: f64,
    pub(crate) reference: f64,
}

impl BrierScores {
    pub(crate) fn integrated(&self) -> IntegratedBrier {
        let [model, reference] =
            [&self.model, &self.reference].map(|score| score.integrated(TimeIntegral::Trapezoid));
        IntegratedBrier { model, reference }
    }
}

impl IntegratedBrier {
    /// Index of prediction accuracy: `1 - IBS / IBS of the reference`; `None` where the reference is 0.
    pub(crate) fn accuracy(self) -> Option<f64> {
        (self.reference > 0.0).then(|| 1.0 - self.model / self.reference)
    }
}

/// What can be said of a fold's times.
struct Usable<'a> {
    patients: &'a FoldPatients<'a>,
    censoring: CensoringDistribution,
    first: f64,
    last: f64,
}

impl TimeScores {
    /// Scores every fold at the times that all of them support, or says in a sentence why that is impossible.
    pub(crate) fn of(folds: &[FoldPatients<'_>]) -> std::result::Result<Self, String> {
        let (mut usable, mut left_out) = (Vec::new(), Vec::new());
        for patients in folds {
            match usable_times(patients) {
                Ok(fold) => usable.push(fold),
                Err(reason) => left_out.push(format!("Fold {} is left out: {reason}.", patients.fold)),
            }
        }
        if usable.is_empty() {
            let reasons = left_out.join(" ");
            return Err(format!(
                "AUC(t) and Brier score are undefined, as no fold has a time to score at. {reasons}"
            ));
        }
        let first = usable.iter().map(|fold| fold.first).fold(0.0, f64::max);
        let last = usable.iter().map(|fold| fold.last).fold(f64::INFINITY, f64::min);
        let times = grid(first, last).ok_or_else(|| {
            format!(
                "AUC(t) and Brier score are undefined, as no time suits every fold: a tenth of the events of some fold is \
                 seen by {} months only, and less than a tenth of the patients of some fold is followed after {} months.",
                fixed(first, 1),
                fixed(last, 1)
            )
        })?;
        let mut scores = Vec::with_capacity(usable.len());
        for fold in &usable {
            match fold.scores(&times) {
                Ok(fold) => scores.push(fold),
                Err(error) => left_out.push(format!("Fold {} is left out: {error}.", fold.patients.fold)),
            }
        }
        if scores.is_empty() {
            return Err(format!("AUC(t) and Brier score are undefined. {}", left_out.join(" ")));
        }
        let mut seen = HashSet::new();
        let shares_patients =
            !folds.iter().flat_map(|fold| &fold.patient_ids).all(|patient| seen.insert(patient));
        Ok(Self { times, folds: scores, left_out, shares_patients })
    }

    /// Scores a cohort that took no part in training, as if it were a fold; or says in a sentence why that is impossible.
    pub(crate) fn of_cohort(patients: &FoldPatients<'_>) -> std::result::Result<Self, String> {
        // What is known of patients ends where the predictions do.
        let until = if patients.n_followed_longer > 0 { " by the time that predictions end" } else { "" };
        let undefined = |reason: String| format!("AUC(t) and Brier score are undefined{until}: {reason}.");
        let usable = usable_times(patients).map_err(undefined)?;
        let times = grid(usable.first, usable.last).ok_or_else(|| {
            undefined(format!(
                "a tenth of the events was seen by {} months only, and less than a tenth of the patients is followed after {} months",
                fixed(usable.first, 1),
                fixed(usable.last, 1)
            ))
        })?;
        let scores = usable.scores(&times).map_err(|error| undefined(error.to_string()))?;
        Ok(Self { times, folds: vec![scores], left_out: Vec::new(), shares_patients: false })
    }

    /// Mean over folds at each time.
    pub(crate) fn mean(&self, of: impl Fn(&FoldScores) -> &[f64]) -> Vec<f64> {
        let at = |k: usize| self.mean_of(|fold| of(fold).get(k).copied().unwrap_or(0.0));
        (0..self.times.len()).map(at).collect()
    }

    /// Mean over folds of one number each.
    pub(crate) fn mean_of(&self, of: impl Fn(&FoldScores) -> f64) -> f64 {
        self.folds.iter().map(of).sum::<f64>() / self.folds.len() as f64
    }

    /// Mean of Uno's C-index over folds, `None` unless all have one.
    pub(crate) fn mean_uno_c(&self) -> Option<f64> {
        let values: Option<Vec<f64>> = self.folds.iter().map(|fold| fold.uno_c).collect();
        values.map(|values| values.iter().sum::<f64>() / values.len() as f64)
    }

    /// 95 % limits of the mean AUC at each time, from the standard errors of the folds, whose patients are different people; none where
    /// they are not, as the standard errors do not tell how the folds go together.
    pub(crate) fn auc_limits(&self) -> Vec<(f64, f64)> {
        if self.shares_patients {
            return Vec::new();
        }
        let n = self.folds.len() as f64;
        let variance = |k: usize| {
            let squares =
                self.folds.iter().filter_map(|fold| fold.auc.standard_error.get(k)).map(|se| se * se);
            squares.sum::<f64>() / (n * n)
        };
        let means = self.mean(|fold| &fold.auc.auc);
        let limits = means.iter().enumerate().map(|(k, mean)| {
            let half = 1.959_964 * variance(k).sqrt();
            ((mean - half).max(0.0), (mean + half).min(1.0))
        });
        limits.collect()
    }

    /// Means over folds at each time: of the model, and of the reference; `None` unless all folds have them.
    pub(crate) fn mean_brier(&self) -> Option<[Vec<f64>; 2]> {
        let mean = |of: fn(&BrierScores) -> &ScoreOverTime| {
            self.mean(|fold| fold.brier.as_ref().map_or(&[], |brier| of(brier).scores.as_slice()))
        };
        self.have_brier().then(|| [mean(|brier| &brier.model), mean(|brier| &brier.reference)])
    }

    /// Means over folds of what is integrated over all times; `None` unless all folds have it.
    pub(crate) fn integrated_brier(&self) -> Option<IntegratedBrier> {
        let mean = |of: fn(IntegratedBrier) -> f64| {
            self.mean_of(|fold| fold.brier.as_ref().map_or(0.0, |brier| of(brier.integrated())))
        };
        self.have_brier().then(|| IntegratedBrier {
            model: mean(|brier| brier.model),
            reference: mean(|brier| brier.reference),
        })
    }

    fn have_brier(&self) -> bool {
        self.folds.iter().all(|fold| fold.brier.is_some())
    }
}

/// The times at which a fold can be scored, or why there are none.
fn usable_times<'a>(patients: &'a FoldPatients<'a>) -> std::result::Result<Usable<'a>, String> {
    let rule = CensoringRule::default();
    if patients.train.is_empty() && patients.follow_up == FollowUp::Trained {
        return Err("the outcomes of its training patients are unknown".to_owned());
    }
    let (followed, one, several) = match patients.follow_up {
        FollowUp::Trained => (patients.train, "validation patient", "validation patients"),
        FollowUp::Scored => (patients.outcomes.as_slice(), "patient", "patients"),
    };
    let censoring = CensoringDistribution::fit(followed, rule.ties).map_err(|error| error.to_string())?;
    let mut events: Vec<f64> = patients.outcomes.iter().filter(|o| o.is_event()).map(|o| o.time()).collect();
    events.sort_by(f64::total_cmp);
    let n_first = ((events.len() as f64 * SHARE).ceil() as usize).max(2);
    let first = events.get(n_first - 1).copied().ok_or_else(|| {
        let events = counted(events.len(), one, several);
        format!("it has {events} with the event, and 2 are needed")
    })?;
    let mut times: Vec<f64> = patients.outcomes.iter().map(|o| o.time()).collect();
    times.sort_by(f64::total_cmp);
    // A tenth of the patients, and at least one, is followed longer than `last`.
    let n_left = ((times.len() as f64 * SHARE).ceil() as usize).max(1);
    let left = times.len().checked_sub(n_left).and_then(|first| times.get(first)).copied().unwrap_or(0.0);
    let last = times.iter().rev().copied().find(|&time| time < left).unwrap_or(0.0);
    let last = last.min(censoring.largest_usable_time(CensoringSide::At));
    Ok(Usable { patients, censoring, first, last })
}

/// Whole months in `[first, last]`, or 25 even steps where that is too short for them; `None` without room.
fn grid(first: f64, last: f64) -> Option<Vec<f64>> {
    if !(first < last && last.is_finite()) {
        return None;
    }
    let multiples = |step: f64| -> Vec<f64> {
        let (from, to) = ((first / step).ceil() as u64, (last / step).floor() as u64);
        (from..=to).map(|k| k as f64 * step).collect()
    };
    let whole = STEPS.into_iter().map(multiples).find(|times| times.len() <= MOST_TIMES);
    Some(match whole {
        Some(times) if times.len() >= FEWEST_TIMES => times,
        _ => (0..=24).map(|k| first + (last - first) * f64::from(k) / 24.0).collect(),
    })
}

impl Usable<'_> {
    fn scores(&self, times: &[f64]) -> survival_metrics::Result<FoldScores> {
        let FoldPatients { fold, outcomes, risk, curves, train, .. } = self.patients;
        let config = AucConfig { training: Some(&self.censoring), ..AucConfig::default() };
        let auc = cumulative_dynamic_auc(outcomes, risk, times, &config)?;
        let score = |curves: &PredictedSurvival| {
            brier_score(outcomes, curves, times, &self.censoring, BrierConfig::default())
        };
        let brier = |curves: &PredictedSurvival| -> survival_metrics::Result<BrierScores> {
            Ok(BrierScores { model: score(curves)?, reference: score(&reference(train, outcomes.len())?)? })
        };
        Ok(FoldScores {
            fold: *fold,
            auc,
            uno_c: self.uno_c(times)?,
            brier: curves.as_ref().filter(|_| !train.is_empty()).map(brier).transpose()?,
        })
    }

    fn uno_c(&self, times: &[f64]) -> survival_metrics::Result<Option<f64>> {
        use survival_metrics::Error;
        let data = SurvivalData::new(&self.patients.outcomes)?;
        let config = ConcordanceConfig {
            ties: RiskTies::default(),
            time_weight: TimeWeight::Uno,
            tau: times.last().map(|&last| Tau::Inclusive(last)),
            training: Some(&self.censoring),
            ..ConcordanceConfig::default()
        };
        match concordance(&data, &self.patients.risk, &config) {
            Ok(estimate) => Ok(Some(estimate.c_index)),
            Err(Error::AllCensored { .. } | Error::NoComparablePairs { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The Kaplan-Meier curve of the training patients as a prediction for `n` others.
fn reference(train: &[Outcome], n: usize) -> survival_metrics::Result<PredictedSurvival> {
    let curve = KaplanMeier::fit(train)?;
    PredictedSurvival::same_for_all(curve.times(), curve.survival(), n)
}

#[cfg(test)]
mod tests {
    use survival_metrics::{CurveLookup, Risk};

    use super::*;

    fn outcomes(times: std::ops::Range<u32>) -> Vec<Outcome> {
        let outcome = |t: u32| {
            let time = f64::from(t);
            if t.is_multiple_of(3) { Outcome::censored(time) } else { Outcome::event(time) }
        };
        times.map(|t| outcome(t).expect("a valid time")).collect()
    }

    /// Patients of 1 to 30 months, whose predicted survival falls along straight lines to `survival_at_end`.
    fn patients<'a>(train: &'a [Outcome], survival_at_end: impl Fn(usize) -> f64) -> FoldPatients<'a> {
        let outcomes = outcomes(1..31);
        let values: Vec<f64> = (0..outcomes.len()).map(survival_at_end).collect();
        let risk: Vec<f64> = values.iter().map(|s| -s).collect();
        FoldPatients {
            fold: 4,
            patient_ids: (0..outcomes.len()).map(|i| &*format!("p{i}").leak()).collect(),
            risk: Risk::new(&risk).expect("finite"),
            curves: Some(
                PredictedSurvival::new(&[40.0], values, CurveLookup::Linear).expect("probabilities"),
            ),
            outcomes,
            train,
            follow_up: FollowUp::Trained,
            n_followed_longer: 0,
        }
    }

    #[test]
    fn a_perfect_order_has_auc_1_and_a_reversed_one_0() {
        let train = outcomes(1..61);
        let scores =
            |survival: &dyn Fn(usize) -> f64| TimeScores::of(&[patients(&train, survival)]).expect("scored");
        let right = scores(&|i| i as f64 / 30.0);
        // The weights of the cases are added up in two orders.
        assert!(right.folds[0].auc.auc.iter().all(|auc| (auc - 1.0).abs() < 1e-12), "{right:?}");
        assert_eq!(right.mean_uno_c(), Some(1.0));
        let wrong = scores(&|i| 1.0 - i as f64 / 30.0);
        assert!(wrong.folds[0].auc.auc.iter().all(|&auc| auc == 0.0));
        let accuracy = |scores: &TimeScores| scores.integrated_brier().and_then(IntegratedBrier::accuracy);
        assert!(accuracy(&right) > accuracy(&wrong));
        assert_eq!(right.left_out, Vec::<String>::new());
    }

    #[test]
    fn a_cohort_of_its_own_is_weighted_by_its_own_follow_up() {
        let train = outcomes(20..61);
        let fold = patients(&train, |i| i as f64 / 30.0);
        let cohort = FoldPatients { follow_up: FollowUp::Scored, ..fold.clone() };
        let scores = TimeScores::of_cohort(&cohort).expect("scored");
        assert_eq!((scores.times.first(), scores.times.last()), (Some(&2.0), Some(&27.0)));
        let own =
            CensoringDistribution::fit(&cohort.outcomes, CensoringRule::default().ties).expect("fitted");
        let curves = cohort.curves.as_ref().expect("curves");
        let brier = brier_score(&cohort.outcomes, curves, &scores.times, &own, BrierConfig::default())
            .expect("scored");
        let of_fold = |scores: &TimeScores| scores.folds[0].brier.clone().expect("curves");
        assert_eq!(of_fold(&scores).model.scores, brier.scores);
        let reference = KaplanMeier::fit(&train).expect("fitted");
        // Nobody who was trained on had the event by 19 months: the reference says that all live.
        let at_19 = scores.times.iter().position(|&time| time == 19.0).expect("on the grid");
        assert_eq!(reference.survival_at(19.0), 1.0);
        let all_live = PredictedSurvival::same_for_all(&[60.0], &[1.0], 30).expect("a curve");
        let all_live =
            brier_score(&cohort.outcomes, &all_live, &[19.0], &own, BrierConfig::default()).expect("scored");
        assert_eq!(of_fold(&scores).reference.scores[at_19], all_live.scores[0]);
        assert_ne!(brier.scores, of_fold(&TimeScores::of(&[fold]).expect("scored")).model.scores);
        // Without outcomes to hold probabilities against, or without probabilities, the order of the risks is scored all the same.
        for without in
            [FoldPatients { train: &[], ..cohort.clone() }, FoldPatients { curves: None, ..cohort.clone() }]
        {
            let found = TimeScores::of_cohort(&without).expect("scored");
            assert_eq!(found.folds[0].auc.auc, scores.folds[0].auc.auc);
            assert!(found.integrated_brier().is_none() && found.mean_brier().is_none());
        }

        let dead = FoldPatients { outcomes: cohort.outcomes[..2].to_vec(), ..cohort };
        let reason = TimeScores::of_cohort(&dead).expect_err("no time between the events");
        assert!(
            reason.starts_with(
                "AUC(t) and Brier score are undefined: a tenth of the events was seen by 2.0 months only"
            ),
            "{reason}"
        );
    }

    #[test]
    fn times_stay_where_every_fold_is_followed_and_has_events() {
        let train = outcomes(1..61);
        // The second of the 20 events is at 2 months; 3 of 30 patients, from 28 months on, are followed longer than 27.
        let scores = TimeScores::of(&[patients(&train, |_| 0.5)]).expect("scored");
        assert_eq!((scores.times.first(), scores.times.last()), (Some(&2.0), Some(&27.0)));
        // A training sample that ends at 10 months knows nothing of censoring later.
        let short = outcomes(1..11);
        let scores = TimeScores::of(&[patients(&train, |_| 0.5), patients(&short, |_| 0.5)]).expect("scored");
        assert_eq!(scores.times.last(), Some(&10.0));
        assert_eq!(scores.folds.len(), 2);
    }

    #[test]
    fn folds_that_share_patients_have_no_band() {
        let train = outcomes(1..61);
        let (one, mut other) = (patients(&train, |i| (i * 7 % 30) as f64 / 30.0), patients(&train, |_| 0.5));
        other.patient_ids = other.patient_ids.iter().map(|id| &*format!("other {id}").leak()).collect();
        let limits = |folds: [&FoldPatients<'_>; 2]| {
            TimeScores::of(&folds.map(Clone::clone)).expect("scored").auc_limits().len()
        };
        assert_eq!((limits([&one, &other]), limits([&one, &one])), (26, 0));
    }

    #[test]
    fn the_reference_against_itself_has_accuracy_0() {
        let train = outcomes(1..61);
        let mut fold = patients(&train, |_| 0.5);
        fold.curves = Some(reference(&train, 30).expect("a curve"));
        let scores = TimeScores::of(&[fold]).expect("scored");
        assert_eq!(scores.integrated_brier().and_then(IntegratedBrier::accuracy), Some(0.0));
    }

    #[test]
    fn a_fold_without_events_is_left_out_by_name() {
        let train = outcomes(1..61);
        let mut fold = patients(&train, |_| 0.5);
        fold.outcomes = (1..31).map(|t| Outcome::censored(f64::from(t)).expect("valid")).collect();
        let reason = TimeScores::of(&[fold.clone()]).expect_err("nothing to score");
        assert!(
            reason.contains("Fold 4 is left out: it has 0 validation patients with the event"),
            "{reason}"
        );
        fold.train = &[];
        let both = TimeScores::of(&[fold, patients(&train, |_| 0.5)]).expect("one is left");
        assert_eq!((both.folds.len(), both.left_out.len()), (1, 1));
    }

    #[test]
    fn the_grid_is_of_whole_months_or_even() {
        assert_eq!(grid(1.5, 6.2), Some(vec![2.0, 3.0, 4.0, 5.0, 6.0]));
        assert_eq!(grid(2.0, 100.0).map(|times| (times[0], times[1], times.len())), Some((3.0, 6.0, 33)));
        assert_eq!(grid(0.1, 0.4).map(|times| times.len()), Some(25));
        assert_eq!(grid(5.0, 5.0), None);
    }
}
